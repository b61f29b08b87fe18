"""What the package needs of Keras: the TensorFlow backend, images with channels last.

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
def channels_last() -> Iterator[None]:
    """Has networks of libraries that cannot be told be built for channels last."""
    import keras  # here: importing the package does not load it

    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        keras.config.set_image_data_format(before)
