"""Activation, normalisation, and resampling by 2 with the filter [1, 3, 3, 1] of StyleGAN2.

``K = k k^T / 64`` with ``k = [1, 3, 3, 1]``. No zeros are inserted before filters. Filters are
linear and symmetric, so their gradients are such filters again, of which this module makes use:

* ``blur`` with padding 1 and with padding 2 are transposes of each other.
* ``upsample`` is four times the transpose of ``downsample``.
"""

import math

import keras
import numpy as np
from keras import ops

from oasis_tf.layers.activation import LEAKY_SLOPE, leaky_relu
from oasis_tf.layers.gradients import of_upstream

GAIN = math.sqrt(2)
_FILTER = np.array([1, 3, 3, 1]) / 8


def pixel_norm(z):
    """Rows of ``z`` [B, Z], divided by the root of their mean square."""
    return z * ops.rsqrt(ops.mean(ops.square(z), axis=-1, keepdims=True) + 1e-8)


def activated(x, clamp=None):
    """LeakyReLU of slope 0.2, clamped to [-clamp, clamp] if ``clamp`` is a number.

    The gain sqrt(2) of StyleGAN2's activation is not applied here. It commutes with the LeakyReLU,
    so whoever makes ``x`` puts it into scales and biases, which are smaller.
    """
    if keras.backend.standardize_dtype(x.dtype) == "float64":
        # The slope of `leaky_relu` is one of float32.
        y = 0.5 * ((1 + LEAKY_SLOPE) * x + (1 - LEAKY_SLOPE) * ops.abs(x))
    else:
        y = leaky_relu(x)
    return clamped(y, clamp)


def clamped(x, clamp=None):
    """``x`` clamped to [-clamp, clamp] if ``clamp`` is a number."""
    return x if clamp is None else ops.clip(x, -clamp, clamp)


# === Filters ===


def blur(x, padding, gain=1):
    """Correlation with K after zero padding: [B, H, W, C] -> [B, H + 2 p - 3, W + 2 p - 3, C].

    Args:
        x: float [B, H, W, C].
        padding: int p, 1 or 2, on every side.
        gain: float, factor of K.
    """

    @ops.custom_gradient
    def blurred(x):
        gradient = of_upstream(lambda upstream: blur(upstream, 3 - padding, gain))
        return _correlated(x, padding, gain), gradient

    return blurred(x)


@ops.custom_gradient
def upsample(x):
    """Upsampling by 2 with filter 4K: [B, H, W, C] -> [B, 2H, 2W, C]."""
    return _upsampled(x), of_upstream(lambda upstream: 4 * downsample(upstream))


@ops.custom_gradient
def downsample(x):
    """Downsampling by 2 with filter K: [B, H, W, C] -> [B, H/2, W/2, C]; H and W are even."""
    kernel = np.outer(_FILTER, _FILTER)
    return _filtered(_padded(x, 1), kernel, 2), of_upstream(lambda upstream: upsample(upstream) / 4)


def _correlated(x, padding, gain):
    """Columns, then rows: two filters of 4 entries take less than one of 16."""
    kernel = math.sqrt(gain) * _FILTER
    return _filtered(_filtered(_padded(x, padding), kernel[:, None]), kernel[None])


def _padded(x, padding):
    return ops.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))


def _filtered(x, kernel, strides=1):
    """Correlation of every channel with ``kernel`` [h, w], without padding."""
    shape = (*kernel.shape, x.shape[-1], 1)
    kernel = np.ascontiguousarray(np.broadcast_to(kernel[:, :, None, None], shape))
    kernel = ops.cast(ops.convert_to_tensor(kernel), x.dtype)
    return ops.depthwise_conv(
        x, kernel, strides=strides, padding="valid", data_format="channels_last"
    )


def _upsampled(x):
    """Two pixels of three quarters of one and one quarter of its neighbour, for every pixel."""
    batch, height, width, channels = ops.shape(x)
    rows = ops.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)))
    above = ops.slice(rows, (0, 0, 0, 0), (batch, height, width, channels))
    below = ops.slice(rows, (0, 2, 0, 0), (batch, height, width, channels))
    x = ops.stack([0.75 * x + 0.25 * above, 0.75 * x + 0.25 * below], axis=2)
    x = ops.reshape(x, (batch, 2 * height, width, channels))
    columns = ops.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    left = ops.slice(columns, (0, 0, 0, 0), (batch, 2 * height, width, channels))
    right = ops.slice(columns, (0, 0, 2, 0), (batch, 2 * height, width, channels))
    x = ops.stack([0.75 * x + 0.25 * left, 0.75 * x + 0.25 * right], axis=3)
    return ops.reshape(x, (batch, 2 * height, 2 * width, channels))


# === Filters next to convolutions ===


def up_conv(x, kernel):
    """Transposed 3x3 convolution of stride 2, then the filter 4K.

    Args:
        x: float [B, H, W, C].
        kernel: float [3, 3, C, F].

    Returns:
        [B, 2H, 2W, F].
    """
    kernel = ops.transpose(kernel, (0, 1, 3, 2))
    wide = ops.conv_transpose(x, kernel, strides=2, padding="valid", data_format="channels_last")
    return blur(wide, 1, gain=4)


def down_conv(x, kernel):
    """The filter K, then a 3x3 convolution of stride 2.

    Args:
        x: float [B, H, W, C]; H and W are even.
        kernel: float [3, 3, C, F].

    Returns:
        [B, H/2, W/2, F].
    """
    return ops.conv(blur(x, 2), kernel, strides=2, padding="valid", data_format="channels_last")
