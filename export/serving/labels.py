"""What a client must know of a served model: its label space and the size it was trained on.

Label PNGs hold raw ids or palette colours; signatures take model ids. An export carries what is
needed to turn one into the other in `assets.extra/labels.json`, which servers pass over;
`config.json` of a model directory says the same.
"""

import dataclasses
from pathlib import Path

from oasis_tf import pretrained
from oasis_tf.data.datasets import LabelSpace
from oasis_tf.io import json_files

PLACE = Path("assets.extra") / "labels.json"
FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True)
class ServedLabels:
    """Label space, and height and width of the images trained on."""

    space: LabelSpace
    height: int
    width: int


def write(folder, config):
    """Writes labels.json into the folder of a SavedModel.

    Args:
        folder: with `saved_model.pb`.
        config: configuration of the model, with a label space.
    """
    contents = {
        "format_version": FORMAT_VERSION,
        "label_space": config.label_space.to_json(),
        "height": config.data.crop_height,
        "width": config.data.crop_width,
    }
    json_files.write(Path(folder) / PLACE, contents, indent=1)


def read(path):
    """`ServedLabels` of labels.json, of config.json, of a folder with either, of a shipped model.

    Raises:
        ValueError: no such file, or a damaged one.
    """
    path = found = Path(pretrained.find(path))
    if path.is_dir():
        places = [path / "config.json", path / PLACE]
        found = next((place for place in places if place.is_file()), None)
    if found is None or not found.is_file():
        raise ValueError(
            "A label space is read from labels.json (in assets.extra/ of an export) or config.json "
            f"(of a model directory), or from a folder with either. Received: {path}."
        )
    contents = json_files.read(found)
    try:
        size = contents.get("data", contents)  # a config.json has its size with its data
        height, width = (size.get(f"crop_{side}") or size[side] for side in ("height", "width"))
        return ServedLabels(LabelSpace.from_json(contents["label_space"]), height, width)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{found} holds no label space of a model: {error!r}") from error
