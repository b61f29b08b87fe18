"""The registry: systems by name. Each has its own room, which is imported when it is needed.

To delete a system, delete its line here, its room, and its files in `tests/`, `benchmarks/`,
`configs/` and `docs/`. Nothing here needs TensorFlow.
"""

import functools
import importlib
import os
from typing import Any

from oasis_tf import pretrained
from oasis_tf.settings import run_config
from oasis_tf.systems.system import System

DEFAULT = "oasis"
# Name -> module of its room that defines `SYSTEM`.
_ROOMS = {
    "oasis": "oasis_tf.systems.oasis.system",
    "one_shot": "oasis_tf.systems.one_shot.system",
    "few_shot": "oasis_tf.systems.few_shot.system",
}
NAMES = tuple(_ROOMS)


@functools.cache
def get(name: str) -> System:
    """Returns the system with a name.

    Raises:
        ValueError: there is no such system.
    """
    if name not in _ROOMS:
        raise ValueError(f"`system` must be one of {', '.join(NAMES)}. Received: system={name}.")
    return importlib.import_module(_ROOMS[name]).SYSTEM


def of_model_dir(model_dir: str | os.PathLike[str]) -> System:
    """Returns the system of the model in a model directory, or of a shipped model.

    Raises:
        FileNotFoundError: this is not a model directory.
        ValueError: config.json is damaged, or names a system that this release does not have.
    """
    try:
        name = run_config.system_name(pretrained.find(model_dir))
    except FileNotFoundError as error:
        shipped = ", ".join(pretrained.names()) or "none"
        raise FileNotFoundError(f"{error} Shipped with this package: {shipped}.") from error
    if name not in _ROOMS:
        path = os.path.join(model_dir, run_config.CONFIG_FILE)
        raise ValueError(
            f"{path}: the directory holds a model of the system {name!r}, which this release does "
            f"not have. It has {', '.join(NAMES)}. Use the release of oasis_tf that wrote it."
        )
    return get(name)


def with_ability(ability: str) -> list[str]:
    """Returns the names of the systems that have an ability."""
    return [name for name in NAMES if ability in get(name).abilities]


def load(model_dir: str | os.PathLike[str], checkpoint: int | str | None = None) -> Any:
    """Loads the model of a model directory, of any system, ready for use.

    Args:
        model_dir: directory that `python -m oasis_tf.train` or `convert` wrote, or the name of a
            model that comes with the package (see `oasis_tf.pretrained`). A local path, `~` is the
            home folder.
        checkpoint: a step, or "best", which the evaluations during training chose; default: the
            newest.

    Raises:
        ValueError, FileNotFoundError: this is not a model directory, or it has no whole checkpoint.
    """
    return of_model_dir(model_dir).load(pretrained.find(model_dir), checkpoint)
