"""OASIS and its relatives for TensorFlow and Keras, from raw data to a served model.

Papers: docs/README.md lists them. Importing the package is cheap: TensorFlow is loaded when a name
that needs it is first touched.

    oasis_tf.load(model_dir)    the model of a model directory, of whichever system
    oasis_tf.OASIS              the model class of the system `oasis`
    oasis_tf.editing, oasis_tf.models, oasis_tf.convert
"""

import importlib
from typing import Any

from oasis_tf import forwarding

__version__ = "0.1.0"  # the only place: pyproject.toml reads it

__all__ = ["OASIS", "__version__", "load"]

_MODULES = ("convert", "editing", "models")

forwarding.install()


def __getattr__(name: str) -> Any:
    """Loads public names on first use, so that `--help` and bad flags answer at once."""
    if name == "OASIS":
        from oasis_tf.systems.oasis.models.oasis import OASIS

        return OASIS
    if name == "load":
        from oasis_tf.systems import load

        return load
    if name in _MODULES:
        return importlib.import_module(f"oasis_tf.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
