"""OASIS and its relatives for TensorFlow and Keras, from raw data to a served model.

Papers: docs/README.md lists them. Importing the package is cheap: TensorFlow is loaded when a name
that needs it is first touched.

    oasis_tf.load(model_dir)    the model of a model directory, of whichever system
    oasis_tf.OASIS              the model class of the system `oasis`
    oasis_tf.editing, oasis_tf.images, oasis_tf.models, oasis_tf.convert
"""

import importlib
from typing import Any

from oasis_tf import environment, forwarding

__version__ = "0.1.0"  # the only place: pyproject.toml reads it

# Public name -> module, and its attribute if it is not the module itself.
_PUBLIC = {
    "OASIS": ("oasis_tf.systems.oasis.models.oasis", "OASIS"),
    "convert": ("oasis_tf.convert", None),
    "editing": ("oasis_tf.editing", None),
    "images": ("oasis_tf.io.images", None),
    "load": ("oasis_tf.systems", "load"),
    "models": ("oasis_tf.models", None),
}

__all__ = ["__version__", *_PUBLIC]

environment.choose_backend()
forwarding.install()


def __getattr__(name: str) -> Any:
    """Loads public names on first use, so that `--help` and bad flags answer at once."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
