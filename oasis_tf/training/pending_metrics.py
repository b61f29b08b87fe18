"""The metrics of the steps since the last line of metrics.jsonl, which are not yet averaged."""

import numpy as np

_NAMES, _VALUES, _PRESENT = "pending/names", "pending/values", "pending/present"


class PendingMetrics:
    """Metrics by name, a row a step. A step may lack a metric that others have.

    Values may be tensors that devices are still at work on: they are waited for when they are first
    asked for.

    Args:
        arrays: of a checkpoint, what ``arrays()`` gave; default: no rows.
    """

    def __init__(self, arrays=None):
        arrays = arrays or {}
        names = [str(name) for name in arrays.get(_NAMES, [])]
        values = arrays.get(_VALUES, np.zeros((0, len(names)), np.float32))
        present = arrays.get(_PRESENT, np.ones(np.shape(values), bool))
        self._rows = [
            {n: v for n, v, there in zip(names, *row, strict=True) if there}
            for row in zip(values, present, strict=True)
        ]

    def append(self, metrics):
        """Takes in the metrics of a step."""
        self._rows.append(metrics)

    def rows(self):
        """For every step, oldest first, its metrics as float32."""
        self._rows = [{n: np.float32(value) for n, value in row.items()} for row in self._rows]
        return self._rows

    def averages(self):
        """Means over the steps that have the metric, by name."""
        rows = self.rows()
        return {
            name: float(np.mean([row[name] for row in rows if name in row], dtype=np.float64))
            for name in self._names()
        }

    def arrays(self):
        """The rows as arrays by name, for a checkpoint: a restarted run writes the same line."""
        rows, names = self.rows(), self._names()
        if not names:
            return {}
        values = np.array([[row.get(name, 0) for name in names] for row in rows], np.float32)
        present = np.array([[name in row for name in names] for row in rows])
        arrays = {_NAMES: np.array(names), _VALUES: values}
        return arrays if present.all() else arrays | {_PRESENT: present}

    def _names(self):
        """All names, in the order in which they first appear."""
        return list(dict.fromkeys(name for row in self._rows for name in row))
