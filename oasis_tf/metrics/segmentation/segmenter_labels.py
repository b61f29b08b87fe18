"""The file of `--segmenter_labels`: how a segmenter is used, and what its outputs stand for.

    {"input": {"range": [0, 1], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
     "output": "logits",
     "classes": {"0": "wall", "1": "building", "2": null}}

`input`:
    `range`: what black and white become, or "uint8": integers 0..255.
    `mean`, `std` (optional): then subtracted and divided by, for each channel as the network takes
        them.
    `channels` (optional): "rgb" (default) or "bgr".
    `resize` (optional): [height, width] that images are brought to, bilinear with half-pixel
        centres and no antialiasing; default: as they are.
`output`: "logits", [B,h,w,K], or "label_map", integers [B,h,w]. Where h and w are not those of the
    label maps, logits are resized bilinearly before the argmax, label maps by nearest neighbours.
`classes`: each output id with the name of a class of the data set, or null: predicting that is an
    error for a pixel of any class. Of logits, every id 0..K-1 is named.
`merge` (optional): true, where several outputs are meant to stand for one class.

Classes of the data set that no output stands for are left out: pixels whose true class they are do
not count. So the mIoU of Cityscapes is that of its 19 evaluation classes if the file names these.
"""

import dataclasses
import json
import math
import re
from collections.abc import Mapping

from oasis_tf.io.text_files import read_text
from oasis_tf.metrics.segmentation.confusion import NO_CLASS

EXAMPLE = (
    '{"input": {"range": [0, 1], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], '
    '"resize": [512, 512]}, "output": "logits", "classes": {"0": "wall", "1": null}}'
)
OUTPUTS = ("logits", "label_map")


@dataclasses.dataclass(frozen=True)
class Usage:
    """How a segmenter is used.

    Attributes:
        values: the JSON file's contents.
        model_ids: output id -> model id, or `NO_CLASS`.
    """

    values: Mapping
    model_ids: Mapping[int, int]

    @property
    def classes(self):
        """Model ids that an output stands for, ascending."""
        return sorted(set(self.model_ids.values()) - {NO_CLASS})


def read_usage(path, label_space):
    """Reads and checks a `--segmenter_labels` file.

    Args:
        path: the JSON file.
        label_space: `LabelSpace` of the data set.

    Returns:
        `Usage`.

    Raises:
        ValueError: no such file, not JSON, another form, or classes that the data set lacks; the
            message names the file and what is wrong in it.
    """
    try:
        values = json.loads(read_text(path), object_pairs_hook=_without_repeats)
    except OSError as error:
        raise ValueError(f"--segmenter_labels={path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise ValueError(f"--segmenter_labels={path} is not JSON: {error}.") from error
    try:
        _check_keys("The file", values, {"input", "output", "classes"}, {"merge"})
        _check_input(values["input"])
        _require(values["output"] in OUTPUTS, '"output" must be "logits" or "label_map"', values)
        _require(isinstance(values.get("merge", False), bool), '"merge" must be a bool', values)
        return Usage(values, _model_ids(values, label_space))
    except ValueError as error:
        raise ValueError(f"--segmenter_labels={path}: {error}. Its form: {EXAMPLE}") from error


def _without_repeats(pairs):
    repeated = sorted({key for key, _ in pairs if [k for k, _ in pairs].count(key) > 1})
    if repeated:
        raise ValueError(f"{', '.join(repeated)} is named twice")
    return dict(pairs)


def _require(holds, rule, received):
    if not holds:
        raise ValueError(f"{rule}. Received: {json.dumps(received)[:200]}")


def _check_keys(what, values, required, optional):
    _require(isinstance(values, dict), f"{what} must hold a JSON object", values)
    missing, unknown = sorted(required - set(values)), sorted(set(values) - required - optional)
    if missing or unknown:
        problems = [f"lacks {', '.join(missing)}"] * bool(missing)
        problems += [f"has unknown entries {', '.join(unknown)}"] * bool(unknown)
        raise ValueError(f"{what} {' and '.join(problems)}")


def _check_input(values):
    _check_keys('"input"', values, {"range"}, {"mean", "std", "channels", "resize"})
    value_range, resize = values["range"], values.get("resize")
    whole = value_range == "uint8"
    rule = '"range" must be "uint8" or two different numbers'
    _require(whole or _numbers(value_range, 2) and len(set(value_range)) == 2, rule, value_range)
    for key in ("mean", "std"):
        given = values.get(key, [1, 1, 1])
        _require(_numbers(given, 3), f'"{key}" must be three numbers', given)
        rule = f'"{key}" needs a "range" of numbers, not "uint8"'
        _require(not (whole and key in values), rule, values)
    _require(min(values.get("std", [1])) > 0, '"std" must be positive', values)
    rule = '"channels" must be "rgb" or "bgr"'
    _require(values.get("channels", "rgb") in ("rgb", "bgr"), rule, values)
    sizes = (
        resize is None
        or _numbers(resize, 2)
        and all(isinstance(side, int) and side > 0 for side in resize)
    )
    _require(sizes, '"resize" must be null or [height, width]', resize)


def _numbers(values, count):
    return (
        isinstance(values, list)
        and len(values) == count
        and all(type(v) in (int, float) and math.isfinite(v) for v in values)
    )


def _model_ids(values, label_space):
    """Output id -> model id, checked against the classes of the data set."""
    named = values["classes"]
    _check_ids(named, values["output"])
    names = [name for name in named.values() if name is not None]
    first = int(label_space.has_unknown)
    model_ids = {name: first + k for k, name in enumerate(label_space.class_names[first:])}
    _require(names, '"classes" must name at least one class', named)
    unknown = sorted(set(names) - set(model_ids))
    rule = 'Classes that the data set does not have ("class_names" in its dataset.json; use null)'
    _require(not unknown, rule, unknown)
    repeated = sorted({name for name in names if names.count(name) > 1})
    rule = 'Several outputs stand for one class; if that is meant, add "merge": true'
    _require(values.get("merge") or not repeated, rule, repeated)
    return {int(k): NO_CLASS if name is None else model_ids[name] for k, name in named.items()}


def _check_ids(named, output):
    rule = '"classes" must map output ids such as "0" to class names or null'
    _require(isinstance(named, dict), rule, named)
    well_formed = all(re.fullmatch("0|[1-9][0-9]{0,4}", key) for key in named)
    well_formed &= all(name is None or isinstance(name, str) for name in named.values())
    _require(well_formed, rule, named)
    if output == "logits":
        ids = sorted(map(int, named))
        missing = sorted(set(range(len(named))) - set(ids))
        rule = f'Of logits, "classes" must name every id 0..K-1, null included. {missing[:10]} lack'
        _require(not missing, rule, ids)
