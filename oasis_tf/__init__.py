"""OASIS for TensorFlow and Keras: semantic image synthesis with adversarial supervision alone.

Paper: "You Only Need Adversarial Supervision for Semantic Image Synthesis", ICLR 2021.
Importing the package is cheap; TensorFlow is loaded when `oasis_tf.OASIS` is first touched.
"""

from typing import Any

__version__ = "0.1.0"  # the only place: pyproject.toml reads it

__all__ = ["OASIS", "__version__"]


def __getattr__(name: str) -> Any:
    """Loads `OASIS` on first use, so that `--help` and bad flags answer without TensorFlow."""
    if name == "OASIS":
        from oasis_tf.models.oasis import OASIS

        return OASIS
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
