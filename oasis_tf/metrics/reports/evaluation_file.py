"""The file of an evaluation, a *report*: JSON with values and what they depend on.

One file holds what was measured of one checkpoint, by one command or by several.
"""

import math
import os
import re

from absl import logging

from oasis_tf.io import json_files
from oasis_tf.metrics import names

FORMAT_VERSION = 1
FOLDER = "evaluations"
_FILE = re.compile(r"step_(\d+)\.json")

# What must be the same for values of two commands to stand in one report.
_SAME = (
    "format_version",
    "step",
    "data_dir",
    "dataset",
    "split",
    "num_images",
    "height",
    "width",
    "seed",
)
_NEEDED = ("format_version", "model_dir", "step", "dataset", "metrics", "protocols")


def default_path(model_dir, step):
    """Where the report of a model directory's step is kept."""
    return os.path.join(model_dir, FOLDER, f"step_{step:08d}.json")


def write(contents, path):
    """Writes a report as JSON; `path` is whole or as it was.

    If `path` holds a report of the same model, step, data, size, seed and number of images, its
    other metrics are kept, and all values of those measured now are replaced. Any other file is
    replaced as a whole; with a warning if it is damaged or no report. `measured` in the file says
    for every metric when, in what time and with which versions it was measured.

    Args:
        contents: what `evaluation.make_report` gives. NaN, wherever it is, becomes null.
        path: the file.

    Returns:
        the report as it is in the file, with NaN for null in `metrics`.

    Raises:
        ValueError: a value is infinite.
        OSError: the file cannot be written.
    """
    merged = _merged(_previous(contents, path), _with_time(contents))
    ready = _ready(merged, "report")
    json_files.write(path, ready, indent=2, allow_nan=False)
    return _with_nan(ready)


def read(path):
    """A report that `write` wrote, with NaN for values that do not exist.

    Args:
        path: the file, or a model directory: then the report of its newest step.

    Raises:
        OSError: there is no such file, or no report in the model directory.
        ValueError: the file holds something else.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        path = _newest(path)
    try:
        contents = json_files.read(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"There is no report {path}. Name a model directory or the JSON file of an evaluation; "
            "python -m oasis_tf.evaluate --model_dir=DIR writes one."
        ) from error
    except ValueError as error:
        raise ValueError(f"{error} Or else: {_REMEDY}") from error
    _check(contents, path)
    return _with_nan(contents)


_REMEDY = "Measure the model again: python -m oasis_tf.evaluate --model_dir=DIR."


def _newest(model_dir):
    folder = os.path.join(model_dir, FOLDER)
    found = os.listdir(folder) if os.path.isdir(folder) else []
    steps = {int(match[1]): name for name in found if (match := _FILE.fullmatch(name))}
    if not steps:
        raise FileNotFoundError(
            f"{model_dir} holds no evaluation ({FOLDER}/step_*.json). Measure the model first: "
            f"python -m oasis_tf.evaluate --model_dir={model_dir}."
        )
    return os.path.join(folder, steps[max(steps)])


def _check(contents, path):
    held = contents if isinstance(contents, dict) else {}
    missing = [key for key in _NEEDED if key not in held]
    for key in ("metrics", "protocols"):
        if key in held and not isinstance(held[key], dict):
            missing.append(f"{key} by name")
    if missing:
        raise ValueError(
            f"{path} is no report of an evaluation: it lacks {', '.join(missing)}. {_REMEDY}"
        )
    if contents["format_version"] != FORMAT_VERSION:
        raise ValueError(
            f"{path} must have format_version {FORMAT_VERSION}. Received: "
            f"format_version={contents['format_version']}, of another release. {_REMEDY}"
        )


def _with_nan(contents):
    metrics = {k: math.nan if v is None else v for k, v in contents["metrics"].items()}
    return contents | {"metrics": metrics}


def _with_time(contents):
    """Adds to each metric of a new report what the report says of all of them."""
    run = {key: contents[key] for key in ("time", "seconds", "versions") if key in contents}
    return contents | {"measured": {metric: run for metric in contents.get("protocols", {})}}


def _previous(contents, path):
    """The report at `path` if it is one of the same measurement, else None."""
    try:
        previous = read(path)
    except FileNotFoundError:
        return None
    except ValueError as error:
        logging.warning("%s The file is replaced.", error)
        return None
    same = all(previous.get(key) == contents.get(key) for key in _SAME)
    return previous if same and _same_model(previous, contents, path) else None


def _same_model(previous, contents, path):
    """A report inside a model directory is of that model, wherever it was moved to."""
    model_dir = contents.get("model_dir")
    if previous.get("model_dir") == model_dir:
        return True
    inside = default_path(model_dir, contents["step"])
    return os.path.abspath(inside) == os.path.abspath(path)


def _merged(previous, contents):
    if previous is None:
        return contents
    measured = contents["protocols"]
    kept = {k: v for k, v in previous["metrics"].items() if names.metric_of(k) not in measured}
    return contents | {
        "metrics": kept | dict(contents["metrics"]),
        "protocols": previous["protocols"] | measured,
        "measured": previous.get("measured", {}) | contents["measured"],
    }


def _ready(value, place):
    """A value for JSON: NaN becomes None, NumPy's numbers and arrays become Python's."""
    if isinstance(value, dict):
        return {str(k): _ready(v, f"{place}/{k}") for k, v in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_ready(v, place) for v in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, float) and math.isinf(value):
        raise ValueError(f"A report holds finite numbers or NaN. Received: {value} in {place}.")
    return value
