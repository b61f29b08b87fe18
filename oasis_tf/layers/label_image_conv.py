"""Convolution of ``concat(one-hot(label map), image)``, for discriminators that see both.

As in ``label_conv``, the one-hot map is never built: its convolution looks up rows of the kernel.
The kernel is still one tensor, label channels first, and is normalised as a whole.
"""

import keras
from keras import ops

from oasis_tf.layers import resampling
from oasis_tf.layers.class_rows import mark
from oasis_tf.layers.initializers import xavier_normal
from oasis_tf.layers.label_conv import lookup_conv
from oasis_tf.layers.spectral_norm import SpectralConv2D, resampled_shape


def label_image_conv(label_map, image, kernel, resample="none"):
    """Convolves ``concat(one-hot(label_map), image)``, zero padding of k // 2 on every side.

    Args:
        label_map: int [B, H, W] with values in 0..N-1.
        image: float [B, H, W, C], or None if C = 0.
        kernel: float [k, k, N + C, F], label channels first.
        resample: ``"none"``; ``"stride"``, which keeps every second row and column, for kernels of
            3 or 4; or ``"average_pool"``, the means over 2x2 windows, for kernels of 1.

    Returns:
        float [B, H', W', F].
    """
    if image is None:
        return _CONVOLUTIONS[resample][0](label_map, kernel)
    label_kernel, image_kernel = ops.split(kernel, [kernel.shape[2] - image.shape[-1]], axis=2)
    convolve_labels, convolve_image = _CONVOLUTIONS[resample]
    return convolve_labels(label_map, label_kernel) + convolve_image(image, image_kernel)


def _strided_lookup(label_map, kernel):
    return lookup_conv(label_map, kernel, stride=2)


def _pooled_lookup(label_map, kernel):
    # Pooling after a 1x1 convolution is a 2x2 convolution whose four taps are a quarter each.
    return lookup_conv(label_map, ops.tile(kernel / 4, (2, 2, 1, 1)), stride=2, padding=0)


def _pooled_conv(image, kernel):
    return resampling.conv(resampling.average_pool(image), kernel)


# resample -> (convolution of the labels, convolution of the image)
_CONVOLUTIONS = {
    "none": (lookup_conv, resampling.conv),
    "stride": (_strided_lookup, resampling.strided_conv),
    "average_pool": (_pooled_lookup, _pooled_conv),
}


@keras.saving.register_keras_serializable("oasis_tf")
class LabelImageConv2D(keras.layers.Layer):
    """Convolution of ``concat(one-hot(label_map), image)`` with a bias, not normalised.

    Args:
        filters: int, number of output channels.
        kernel_size: int k.
        num_classes: int N, number of label channels, including the unknown class.
        image_channels: int, default 3.
        resample: ``"none"`` (default), ``"stride"`` for kernels of 3 or 4, ``"average_pool"`` for
            kernels of 1.

    Call arguments:
        label_map: int [B, H, W], values in 0..N-1.
        image: float [B, H, W, image_channels].

    Returns:
        [B, H', W', filters] in the compute dtype.
    """

    def __init__(
        self, filters, kernel_size, num_classes, image_channels=3, resample="none", **kwargs
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.num_classes = num_classes
        self.image_channels = image_channels
        self.resample = resample

    def build(self, *_):
        self.kernel = self.add_weight(
            name="kernel",
            shape=(
                self.kernel_size,
                self.kernel_size,
                self.num_classes + self.image_channels,
                self.filters,
            ),
            initializer=xavier_normal(),
            autocast=False,
        )
        mark(self.kernel, axis=2)
        self.bias = self.add_weight(
            name="bias", shape=(self.filters,), initializer="zeros", autocast=False
        )
        self.built = True

    def call(self, label_map, image):
        kernel, bias = (ops.cast(v, self.compute_dtype) for v in (self.kernel, self.bias))
        return label_image_conv(label_map, image, kernel, self.resample) + bias

    def compute_output_shape(self, label_map_shape, image_shape):
        return resampled_shape(label_map_shape, self.filters, self.kernel_size, self.resample)

    def get_config(self):
        return super().get_config() | {
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "num_classes": self.num_classes,
            "image_channels": self.image_channels,
            "resample": self.resample,
        }


@keras.saving.register_keras_serializable("oasis_tf")
class SpectralLabelImageConv2D(SpectralConv2D):
    """``SpectralConv2D`` of ``concat(one-hot(label_map), image)``.

    The norm is that of the whole kernel [k, k, N + C, filters], as with a one-hot map.

    Args:
        filters, kernel_size, use_bias: as in ``SpectralConv2D``.
        num_classes: int N, number of label channels, including the unknown class.
        image_channels: int C, default 3. 0 means labels only; ``image`` is then None.
        resample: ``"none"`` (default), ``"stride"`` for kernels of 3 or 4, ``"average_pool"`` for
            kernels of 1.

    Call arguments:
        label_map: int [B, H, W], values in 0..N-1.
        image: float [B, H, W, C] or None.
        training: bool, as in ``SpectralConv2D``.

    Returns:
        [B, H', W', filters] in the compute dtype.
    """

    def __init__(self, filters, kernel_size, num_classes, image_channels=3, **kwargs):
        super().__init__(filters, kernel_size, **kwargs)
        self.num_classes = num_classes
        self.image_channels = image_channels

    def build(self, *_):
        super().build((None, None, None, self.num_classes + self.image_channels))
        mark(self.kernel, axis=2)
        # With zeros for new classes, sigma stays that of the rows which were carried over, until
        # the first step's power iteration. That starts from u, and never reads v.
        mark(self.v, axis=2, shape=tuple(self.kernel.shape)[:3], drawn=False)

    def call(self, label_map, image=None, training=False):
        kernel = self.normalised_kernel(self.power_iteration() if training else None)
        y = label_image_conv(label_map, image, kernel, self.resample)
        return y + ops.cast(self.bias, self.compute_dtype) if self.use_bias else y

    def compute_output_shape(self, label_map_shape, image_shape=None):
        return super().compute_output_shape(label_map_shape)

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "image_channels": self.image_channels,
        }
