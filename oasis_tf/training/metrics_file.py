"""metrics.jsonl: what a run measured, a line for every --log_every steps and every evaluation.

{"step": 100, "loss_g": 2.1, …, "digest": …}                            means since the line before
{"step": 5000, "evaluation": {"fid_seeded64": 12.3, …}, "digest": …}    null: there is no value
"""

import json
import math
import os

from absl import logging

from oasis_tf.io import files, json_files
from oasis_tf.metrics import metrics_lines
from oasis_tf.metrics.names import higher_is_better


class MetricsFile:
    """The file of one model directory.

    Args:
        model_dir: str.
    """

    def __init__(self, model_dir):
        self._model_dir = model_dir
        self.path = os.path.join(model_dir, metrics_lines.NAME)

    def append(self, line):
        """Writes one line, a dict ready for JSON with ``step`` in it; it is on disk then."""
        line = line | {json_files.KEY: json_files.digest(line)}
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())  # no later than the checkpoint that it belongs to

    def append_evaluation(self, step, values):
        """Writes the line of an evaluation, values by name."""
        values = {name: None if math.isnan(v) else v for name, v in values.items()}
        self.append({"step": step, "evaluation": values})

    def truncate(self, step):
        """Drops the lines after ``step``, which the run is about to write again.

        Damaged lines go, too: the file with them is kept as metrics.jsonl.damaged.
        """
        if not os.path.exists(self.path):
            return
        with open(self.path, "rb") as file:
            before = file.read()
        lines = metrics_lines.read(self._model_dir)
        if before.count(b"\n") > len(lines):
            copy = f"{self.path}.damaged"
            with files.written_aside(copy) as aside, open(aside, "wb") as file:
                file.write(before)
            logging.warning("%s continues without the damaged lines; see %s.", self.path, copy)
        with files.written_aside(self.path) as aside, open(aside, "wb") as file:
            file.writelines(text for text, line in lines if line["step"] <= step)

    def evaluations(self):
        """Values by name of every step that was evaluated, ``{step: {name: value or None}}``."""
        lines = (line for _, line in metrics_lines.read(self._model_dir) if "evaluation" in line)
        return {line["step"]: line["evaluation"] for line in lines}

    def averages(self):
        """Pairs of step and means by name, of every line but those of evaluations."""
        for _, line in metrics_lines.read(self._model_dir):
            if "evaluation" not in line:
                yield line["step"], {name: v for name, v in line.items() if name != "step"}

    def best_step(self, metric, steps):
        """The step whose value is best; of equals, the first.

        Args:
            metric: value name; None for the first value of the newest evaluation. (Metrics may
                change during a run; values of different names do not compare.)
            steps: those to choose from.

        Returns:
            int, or None if none of them has the value.
        """
        evaluations = self.evaluations()
        if metric is None and evaluations:
            metric = next(iter(evaluations[max(evaluations)]), None)
        found = {step: evaluations[step].get(metric) for step in sorted(evaluations)}
        found = {step: v for step, v in found.items() if step in steps and v is not None}
        if not found:
            return None
        return (max if higher_is_better(metric) else min)(found, key=found.get)


def best_checkpoint(model_dir, steps, metric=None):
    """The step of a model directory's best checkpoint.

    Args:
        model_dir: str.
        steps: the steps that have a checkpoint.
        metric: as in ``MetricsFile.best_step``.

    Raises:
        ValueError: none of them was evaluated.
    """
    best = MetricsFile(model_dir).best_step(metric, steps)
    if best is None:
        raise ValueError(
            f"{model_dir} has no best checkpoint: none of {steps} was evaluated"
            f"{f' by {metric}' if metric else ''} while training (--eval_every). Name a step, or "
            "take the newest."
        )
    return best


def check_best(metric, values, step):
    """Refuses a ``best_metric`` that an evaluation did not give, once its step is saved.

    Args:
        metric: the setting, or None.
        values: of the evaluation, by name.
        step: int, that the run continues from.

    Raises:
        ValueError: it is not among the values.
    """
    if metric is not None and metric not in values:
        raise ValueError(
            "`best_metric` must be one of the values of an evaluation. Received: "
            f"best_metric={metric}; values: {', '.join(values)}. Repeat the command with one "
            f"of these as --best_metric: it continues from step {step}."
        )
