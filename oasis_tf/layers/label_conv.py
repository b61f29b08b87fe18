"""3x3 convolution of ``concat(noise, one-hot(label map))``; this tensor is never built.

A convolution is linear in its input, so the two parts are computed separately and added:

* *Labels.* Tap (s, t) of the kernel times a one-hot vector is one row of that tap. The convolution
  is a sum of nine row look-ups in tables [N, C]; time and memory do not grow with N.
* *Noise that is constant over the image.* Zero padding only decides which taps are inside the
  image: tap s is inside at row i iff 0 <= i + s - 1 < H; likewise for columns. With these 0/1
  matrices R [H, 3] and S [W, 3], the result is ``sum_st R[i, s] S[j, t] (K[s, t] . z)``. It is
  exact for every size, 1x1 included.
* *Noise that varies over the image* is convolved directly.

On a GPU the gradient of look-ups is a sum of many rows into few, by atomic additions. With few
classes one-hot labels, and they alone, are cheaper to build and to convolve: ``one_hot=True``, for
every backend. ``by_device`` chooses.
"""

import keras
import numpy as np
from keras import ops

from oasis_tf.layers.class_rows import mark
from oasis_tf.layers.initializers import xavier_normal
from oasis_tf.layers.lookup import lookup
from oasis_tf.layers.scheduling import after


def downsample(x, factor):
    """Nearest-neighbour downsampling of [B, H, W, ...]: every ``factor``-th row and column."""
    return x if factor == 1 else x[:, ::factor, ::factor]


def lookup_conv(label_map, kernel, stride=1, padding=None):
    """Convolves one-hot(``label_map``) with ``kernel``.

    Args:
        label_map: int [B, H, W] with values in 0..N-1.
        kernel: float [k, k, N, C].
        stride: int, default 1.
        padding: int, zeros on every side, default k // 2. With this default, odd kernels of stride
            1 keep the size.

    Returns:
        float [B, H', W', C] with ``H' = (H + 2 * padding - k) // stride + 1``, likewise W'.
    """
    size, num_classes = kernel.shape[0], kernel.shape[2]
    padding = size // 2 if padding is None else padding
    # Row N of every table is zero: it stands for the padding outside the image.
    tables = ops.pad(kernel, ((0, 0), (0, 0), (0, 1), (0, 0)))
    tables = ops.unstack(ops.reshape(tables, (size**2, num_classes + 1, -1)), size**2)
    # Look-ups do not accept unsigned types, and index N may not fit into a small type.
    label_map = ops.cast(label_map, "int32")
    margins = ((0, 0), (padding, padding), (padding, padding))
    padded = ops.pad(label_map, margins, constant_values=num_classes)
    # From the first position of a tap to one past its last position.
    spans = [(side - size) // stride * stride + 1 for side in ops.shape(padded)[1:]]
    total = None
    for tap, table in enumerate(tables):
        s, t = divmod(tap, size)
        labels = padded[:, s : s + spans[0] : stride, t : t + spans[1] : stride]
        # One tap after the other: all look-ups at once would need k * k times the memory.
        rows = lookup(table, labels if total is None else after(total, labels))
        total = rows if total is None else total + rows
    return total


def one_hot_conv(label_map, kernel, stride=1, padding=None):
    """What ``lookup_conv`` gives, by building one-hot(``label_map``) in the dtype of ``kernel``."""
    padding = kernel.shape[0] // 2 if padding is None else padding
    margins = ((0, 0), (padding, padding), (padding, padding))
    # A negative label has zeros in all channels, as what is outside the image.
    padded = ops.pad(ops.cast(label_map, "int32"), margins, constant_values=-1)
    dtype = keras.backend.standardize_dtype(kernel.dtype)
    one_hot = ops.one_hot(padded, kernel.shape[2], dtype=dtype)
    return ops.conv(one_hot, kernel, stride, padding="valid", data_format="channels_last")


def visible_taps(size, dtype):
    """0/1 matrix [size, 3]: 1 where tap s of a kernel of 3 at row i is inside 0..size-1."""
    position = ops.expand_dims(ops.arange(size, dtype="int32"), 1) + ops.arange(
        -1, 2, dtype="int32"
    )
    return ops.cast(ops.logical_and(position >= 0, position < size), dtype)


def constant_conv(noise, kernel, height, width):
    """Convolves a map that is ``noise`` [B, Z] at every pixel with ``kernel`` [3, 3, Z, C].

    Returns:
        float [B, height, width, C], zero-padded to keep the size.
    """
    batch, channels = ops.shape(noise)[0], kernel.shape[-1]
    flat = ops.reshape(ops.transpose(kernel, (2, 0, 1, 3)), (-1, 9 * channels))
    taps = ops.reshape(ops.matmul(noise, flat), (batch, 3, 3 * channels))
    rows = ops.matmul(visible_taps(height, taps.dtype), taps)
    rows = ops.reshape(rows, (batch, height, 3, channels))
    return ops.matmul(visible_taps(width, taps.dtype), rows)


def noise_conv(noise, kernel, height, width):
    """Convolves ``noise``, [B, Z] (constant) or [B, H, W, Z], with ``kernel`` [3, 3, Z, C]."""
    if len(noise.shape) == 2:
        return constant_conv(noise, kernel, height, width)
    return ops.conv(noise, kernel, strides=1, padding="same", data_format="channels_last")


def conditional_conv(label_map, noise, kernel, bias, noise_channels, one_hot=False):
    """Convolves noise and labels with ``kernel`` [3, 3, Z + N, C], noise channels first."""
    convolve_labels = one_hot_conv if one_hot else lookup_conv
    if noise_channels == 0:
        return convolve_labels(label_map, kernel) + bias
    noise_kernel, label_kernel = ops.split(kernel, [noise_channels], axis=2)
    height, width = ops.shape(label_map)[1:3]
    y = convolve_labels(label_map, label_kernel) + bias
    return y + noise_conv(noise, noise_kernel, height, width)


def shared_label_conv(layers, label_map, noise):
    """Outputs of several ``LabelConv2D`` on one input, in one pass over the label map.

    The kernels are concatenated along their output channels, so that each of the nine look-ups runs
    once for all layers. The result equals calling the layers one by one.

    Returns:
        list of float [B, H, W, filters_i].
    """
    first = layers[0]
    cast = lambda v: ops.cast(v, first.compute_dtype)  # noqa: E731
    kernel = ops.concatenate([cast(layer.kernel) for layer in layers], axis=-1)
    bias = ops.concatenate([cast(layer.bias) for layer in layers], axis=-1)
    y = conditional_conv(label_map, noise, kernel, bias, first.noise_channels, first.one_hot)
    return split_channels(y, [layer.filters for layer in layers])


def split_channels(x, sizes):
    """Splits ``x`` [..., C] into parts of these sizes, which must sum to C."""
    if len(sizes) == 1:
        return [x]
    # The gradient of `split` is one concatenation; that of slices is a sum of padded copies.
    return ops.split(x, np.cumsum(sizes)[:-1].tolist(), axis=-1)


@keras.saving.register_keras_serializable("oasis_tf")
class LabelConv2D(keras.layers.Layer):
    """3x3 convolution of ``concat(noise, one-hot(label_map))`` (ICLR 2021, section 3.3).

    Args:
        filters: int, number of output channels.
        num_classes: int N, number of label channels, including the unknown class.
        noise_channels: int Z >= 0. 0 means no 3D noise; ``noise`` is then None.
        one_hot: bool, default False: labels are looked up. True: they are convolved as a one-hot
            map [B, H, W, N] in the compute dtype. Equal to rounding.

    Call arguments:
        label_map: int [B, H, W], values in 0..N-1.
        noise: float [B, Z] (one vector per image) or [B, H, W, Z], or None if Z = 0.

    Returns:
        [B, H, W, filters] in the compute dtype.
    """

    def __init__(self, filters, num_classes, noise_channels, one_hot=False, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.num_classes = num_classes
        self.noise_channels = noise_channels
        self.one_hot = one_hot

    def build(self, input_shape=None):
        self.kernel = self.add_weight(
            name="kernel",
            shape=(3, 3, self.noise_channels + self.num_classes, self.filters),
            initializer=xavier_normal(),
            autocast=False,
        )
        mark(self.kernel, axis=2, first=self.noise_channels)
        self.bias = self.add_weight(
            name="bias", shape=(self.filters,), initializer="zeros", autocast=False
        )
        self.built = True

    def call(self, label_map, noise=None):
        return shared_label_conv([self], label_map, noise)[0]

    def compute_output_shape(self, label_map_shape, noise_shape=None):
        return (*label_map_shape, self.filters)

    def get_config(self):
        return super().get_config() | {
            "filters": self.filters,
            "num_classes": self.num_classes,
            "noise_channels": self.noise_channels,
            "one_hot": self.one_hot,
        }
