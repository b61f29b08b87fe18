"""Models that come with the package, by name: ready right after installation.

Each is a small model directory in this folder, written by `python -m oasis_tf.pretrained.pack`, and
read in place. The manifest of its checkpoint has the digests of its files. What only reads a model
takes its name in place of a folder; a folder of that name in the working directory wins. Nothing is
written here. Nothing here needs TensorFlow.
"""

import os
from pathlib import Path

from oasis_tf.io.paths import local_path
from oasis_tf.settings.run_config import CONFIG_FILE

EXAMPLES = "examples"
_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Returns the names of the shipped models."""
    return sorted(path.parent.name for path in _FOLDER.glob(f"*/{CONFIG_FILE}"))


def find(model_dir: str | os.PathLike[str]) -> str:
    """Returns the folder of a shipped model for its name, any other path by `local_path`."""
    name = local_path(model_dir)
    if name in names() and not os.path.lexists(name):
        return str(_FOLDER / name)
    return name


def name_of(model_dir: str | os.PathLike[str]) -> str | None:
    """Returns the name of the shipped model in a folder, or None if it is any other folder."""
    path = Path(model_dir).resolve()
    return path.name if path.parent == _FOLDER.resolve() else None


def examples(model_dir: str | os.PathLike[str]) -> str | None:
    """Returns the folder of example inputs in a model directory, or None if it has none."""
    path = os.path.join(find(model_dir), EXAMPLES)
    return path if os.path.isdir(path) else None
