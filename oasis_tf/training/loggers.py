"""Where a run sends its values besides TensorBoard, as ``--log_to`` says.

Values have the names that TensorBoard shows. What needs an extra is imported when it is used. To
add a logger: a class with ``log`` and ``close`` below, and its line in ``LOGGERS``.
"""

import csv
import importlib.util
import os
import re

from oasis_tf.io import files, json_files

_RUNS = "loggers.json"  # which run of a service is that of the model directory


class Csv:
    """metrics.csv: a row for every line of metrics and every evaluation, a column for each name."""

    EXTRA = None
    LOCAL = True

    def __init__(self, model_dir, config, step):
        del config
        self._path = os.path.join(model_dir, "metrics.csv")
        self._columns = ["step"]
        if os.path.exists(self._path):  # later rows are about to be written again
            self._write([row for row in self._rows() if int(row["step"]) <= step])

    def log(self, values, step):
        new = [name for name in values if name not in self._columns]
        if new:
            rows = self._rows()
            self._columns += new
            self._write(rows)
        with open(self._path, "a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns).writerow({"step": step} | values)

    def close(self):
        pass

    def _rows(self):
        """Whole rows of the file; a killed process may leave part of one."""
        if not os.path.exists(self._path):
            return []
        with open(self._path, newline="", encoding="utf-8", errors="replace") as file:
            reader = csv.DictReader(text for text in file if text.endswith("\n"))
            rows = list(reader)
        self._columns = list(reader.fieldnames or self._columns)
        return [row for row in rows if row.get("step", "").isdecimal() and None not in row.values()]

    def _write(self, rows):
        with (
            files.written_aside(self._path) as aside,
            open(aside, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(rows)


class Wandb:
    """A run of Weights & Biases. It drops steps that a restarted run repeats."""

    EXTRA = "wandb"
    LOCAL = False

    def __init__(self, model_dir, config, step):
        del step
        import wandb

        known = _known_run(model_dir, self.EXTRA)
        self._run = wandb.init(
            dir=model_dir, name=name_of(model_dir), config=config, id=known, resume="allow"
        )
        _keep_run(model_dir, self.EXTRA, self._run.id)

    def log(self, values, step):
        self._run.log(values, step=step)

    def close(self):
        self._run.finish()


class Mlflow:
    """A run of MLflow. Steps that a restarted run repeats are not sent again."""

    EXTRA = "mlflow"
    LOCAL = False

    def __init__(self, model_dir, config, step):
        del step
        import mlflow

        self._mlflow = mlflow
        known = _known_run(model_dir, self.EXTRA)
        run = mlflow.start_run(run_id=known, run_name=None if known else name_of(model_dir))
        self._run_id = run.info.run_id
        _keep_run(model_dir, self.EXTRA, self._run_id)
        if known is None:
            mlflow.log_dict(config, "config.json")
        history = mlflow.MlflowClient().get_metric_history
        self._last = {
            name: max(value.step for value in history(self._run_id, name))
            for name in run.data.metrics
        }

    def log(self, values, step):
        names = {re.sub(r"[^\w/. -]", "_", name): name for name in values}  # MLflow allows no other
        values = {to: values[name] for to, name in names.items() if step > self._last.get(to, -1)}
        if values:
            self._mlflow.log_metrics(values, step=step)

    def close(self):
        self._mlflow.end_run()


LOGGERS = {"csv": Csv, "wandb": Wandb, "mlflow": Mlflow}


def check(names):
    """Refuses loggers whose extra is not installed.

    Args:
        names: of ``LOGGERS``.

    Raises:
        ValueError: one is missing; the error names the extra.
    """
    for name in names:
        extra = LOGGERS[name].EXTRA
        if extra and importlib.util.find_spec(extra) is None:
            raise ValueError(
                f"`log_to` needs {extra} to be installed: pip install "
                f'"oasis-tf[{extra}]". Received: log_to={",".join(names)}.'
            )


def start(names, model_dir, config, step):
    """Starts loggers for a run that continues from ``step``.

    Args:
        names: of ``LOGGERS``.
        model_dir: str.
        config: what config.json holds.
        step: int.

    Returns:
        list of objects with ``log(values, step)`` and ``close()``.

    Raises:
        ValueError: a service does not take the run.
        OSError: a file cannot be written.
    """
    started = []
    for name in names:
        kind = LOGGERS[name]
        try:
            started.append(kind(model_dir, config, step))
        except Exception as error:
            if kind.LOCAL:
                raise
            raise ValueError(
                f"`log_to={name}` must be able to begin a run. Received: {error} Mend it, or leave "
                f"{name} out of --log_to."
            ) from error
    return started


def name_of(model_dir):
    """The run's own name: that of its folder."""
    return os.path.basename(os.path.abspath(model_dir))


def _known_run(model_dir, service):
    return _runs(model_dir).get(service)


def _keep_run(model_dir, service, run_id):
    runs = _runs(model_dir) | {service: run_id}
    json_files.write(os.path.join(model_dir, _RUNS), runs)


def _runs(model_dir):
    try:
        return dict(json_files.read(os.path.join(model_dir, _RUNS)))
    except (OSError, TypeError, ValueError):
        return {}  # none yet, or no longer readable: the service begins another run
