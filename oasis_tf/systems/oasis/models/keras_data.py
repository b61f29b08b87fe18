"""Batches that Keras' methods take, with their photographs checked as `checked_images` does.

What is right passes as it is: uint8 data sets are not touched. Others are looked at on the way.
"""

import contextlib
import inspect

import keras
import numpy as np
import tensorflow as tf

from oasis_tf.io.image_arrays import checked_images


class CheckedData:
    """Checks what one call of `fit` or `evaluate` reads.

    TensorFlow wraps an error inside a data set into one of its own; ``plain_errors`` unwraps it.
    """

    def __init__(self):
        self._error = None

    def __call__(self, x, y=None):
        """``(x, y)`` with checked images: arrays are checked now, all others when they are read."""
        if isinstance(x, tf.data.Dataset):
            return self._dataset(x), y
        if isinstance(x, keras.utils.PyDataset):
            return _CheckedPyDataset(x), y
        if inspect.isgenerator(x):
            return ((checked_images(batch[0]), *batch[1:]) for batch in x), y
        if isinstance(x, np.ndarray | list) or tf.is_tensor(x):
            return checked_images(x), y
        return x, y

    @contextlib.contextmanager
    def plain_errors(self):
        """Raises the ValueError of a check in place of TensorFlow's error."""
        try:
            yield
        except tf.errors.OpError:
            if self._error is None:
                raise
            raise self._error from None

    def _dataset(self, dataset):
        spec = dataset.element_spec
        first = spec[0] if isinstance(spec, tuple) and spec else None
        if not isinstance(first, tf.TensorSpec) or first.dtype == tf.uint8:
            return dataset

        def checked(image, *rest):
            with tf.control_dependencies([tf.numpy_function(self._look, [image], tf.bool)]):
                return tf.identity(image), *rest

        return dataset.map(checked)

    def _look(self, image):
        try:
            checked_images(image)
        except ValueError as error:
            self._error = error
            raise
        return True


class _CheckedPyDataset(keras.utils.PyDataset):
    def __init__(self, inner):
        super().__init__(inner.workers, inner.use_multiprocessing, inner.max_queue_size)
        self._inner = inner

    @property
    def num_batches(self):
        return self._inner.num_batches

    def __getitem__(self, index):
        image, *rest = self._inner[index]
        return checked_images(image), *rest

    def on_epoch_begin(self):
        self._inner.on_epoch_begin()

    def on_epoch_end(self):
        self._inner.on_epoch_end()
