"""The lines of metrics.jsonl, what a run measured; `training/metrics_file.py` writes them."""

import os

from oasis_tf.io import json_files

NAME = "metrics.jsonl"


def read(model_dir):
    """Pairs of the text (bytes) and the contents of every sound line; none without a file.

    Damaged lines are left out, with a warning that names file and line.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        return json_files.read_lines(os.path.join(model_dir, NAME), _check)
    except FileNotFoundError:
        return []


def _check(line):
    if not isinstance(line, dict) or type(line.get("step")) is not int:
        raise ValueError("a line is an object with an integer `step`.")
    values = line.get("evaluation", {})
    numbers = values.values() if isinstance(values, dict) else [values]
    if not all(value is None or type(value) in (int, float) for value in numbers):
        raise ValueError("an `evaluation` holds numbers, or null, by name.")
