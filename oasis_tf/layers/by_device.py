"""What suits a device: the one place that chooses between ways to compute the same numbers.

The results of all ways are equal to rounding. Why each is chosen where: docs/performance.md.

* *Modulation* is shared between equal neighbourhoods, or *dense*: every pixel for itself. Sharing
  saves most of the arithmetic, which a CPU lacks. On a GPU the host would wait for the size of
  every table, and gradients would be sums of many rows into few. XLA must know sizes beforehand.
* *Labels* of dense modulation are looked up, or convolved as one-hot maps (``label_conv``).
* *Batches* in inference are computed image by image, whose bits then depend on no other image; or
  *dense*: all images and all pixels at the same time.
"""

import keras

# Up to so many classes, convolving one-hot maps costs a GPU less than look-ups and their gradient.
MOST_ONE_HOT_CLASSES = 256


def on_gpu():
    """Whether TensorFlow has a GPU here. On other backends False: callers choose for themselves."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    # The visible ones: asking for logical ones would start them, before a cluster is joined.
    return bool(tf.config.get_visible_devices("GPU"))


def dense_setting(modulation, jit_compile):
    """``dense`` of a ``Generator`` by the settings of a training: a bool, or None, by device."""
    return {"auto": True if jit_compile else None, "shared": False, "dense": True}[modulation]


def is_dense(dense=None):
    """Whether modulation is dense: ``dense`` itself, or by device if it is None."""
    return on_gpu() if dense is None else dense


def is_one_hot(num_classes, dense, one_hot=None):
    """Whether labels are one-hot maps: ``one_hot`` itself, or by device and classes if None."""
    return dense and on_gpu() and few_classes(num_classes) if one_hot is None else one_hot


def few_classes(num_classes):
    """Whether a GPU convolves one-hot maps of so many classes faster than it looks labels up."""
    return num_classes <= MOST_ONE_HOT_CLASSES


def batching(choice=None):
    """How an inference engine treats a batch: ``"image"`` or ``"dense"``; None: by device.

    Raises:
        ValueError: another choice.
    """
    if choice not in (None, "image", "dense"):
        raise ValueError(f"`batching` must be image or dense. Received: batching={choice!r}.")
    return choice or ("dense" if on_gpu() else "image")
