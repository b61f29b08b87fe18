"""What the package needs of Keras: the TensorFlow backend, images with channels last, float32.

Users may have set up Keras for other projects (`KERAS_BACKEND`, keras.json). Importing the package
chooses TensorFlow unless Keras is imported already. Layers state their data format themselves.
"""

import contextlib
import os
import sys
from collections.abc import Iterator

BACKEND = "tensorflow"


def choose_backend() -> None:
    """Has Keras use TensorFlow when it is imported, whatever the user's settings say."""
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = BACKEND


def check_backend() -> None:
    """Raises ValueError if Keras has been imported with another backend.

    The layers and networks, which are written on `keras.ops`, run there all the same.
    """
    keras = sys.modules.get("keras")
    found = keras.config.backend() if keras else BACKEND
    if found != BACKEND:
        raise ValueError(
            f"Models of oasis_tf need Keras on TensorFlow. Received: Keras on {found}, as it was "
            "imported before oasis_tf. Import oasis_tf first, or set KERAS_BACKEND=tensorflow."
        )


@contextlib.contextmanager
def usual_settings() -> Iterator[None]:
    """Has networks of libraries, which take Keras' settings, be built with channels last, float32.

    Also a decorator: `@usual_settings()`.
    """
    import keras  # here: importing the package does not load it

    config = keras.config
    before = config.image_data_format(), config.floatx(), config.dtype_policy()
    try:
        _set("channels_last", "float32", "float32")
        yield
    finally:
        _set(*before)


def _set(image_data_format, floatx, policy) -> None:
    import keras

    keras.config.set_image_data_format(image_data_format)
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)
