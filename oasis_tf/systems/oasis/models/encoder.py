"""The image encoder of SPADE's variational mode (Park et al. 2019)."""

import keras
from keras import ops

from oasis_tf.layers.activation import leaky_relu
from oasis_tf.layers.initializers import xavier_normal
from oasis_tf.layers.instance_norm import InstanceNorm
from oasis_tf.layers.spectral_norm import SpectralConv2D
from oasis_tf.systems.oasis.models.shapes import check_rank

# Height and width after the convolutions.
_LAST_SIDE = 4
_LARGEST_WIDTH = 8


def reparameterised(mean, log_variance, noise):
    """Latent vectors ``mean + exp(log_variance / 2) * noise``, differentiable in both moments.

    Args:
        mean, log_variance, noise: float [B, L]; ``noise`` is standard normal.

    Returns:
        float [B, L].
    """
    return mean + ops.exp(0.5 * log_variance) * noise


@keras.saving.register_keras_serializable("oasis_tf")
class Encoder(keras.Model):
    """Encodes an image as a normal distribution of its latent vector.

    log2(size / 4) spectrally normalised 3x3 convolutions of stride 2 without bias, with 1, 2, 4, 8,
    8 ... times ``channels``, each followed by instance norm and LeakyReLU; then one dense layer for
    the mean and one for the logarithm of the variance.

    Args:
        latent_channels: int L >= 1.
        channels: int, default 64, unit of the widths.
        size: int, default 256, a power of 2, at least 8. Images are first resized to size x size:
            bilinear, half-pixel centres, no antialiasing (PyTorch's ``align_corners=False``).

    Call arguments:
        image: float [B, H, W, 3] in [-1, 1], H and W of any size.
        training: bool. True takes a power iteration.

    Returns:
        (mean, log_variance), each [B, L] in the variable dtype (float32 under mixed precision).

    Raises:
        ValueError: ``size`` is not a power of 2, or the input is not a batch of images.
    """

    def __init__(self, latent_channels, channels=64, size=256, **kwargs):
        super().__init__(**kwargs)
        if size < 2 * _LAST_SIDE or size & (size - 1):
            raise ValueError(f"`size` must be a power of 2, 8 or above. Received: size={size}.")
        self.latent_channels = latent_channels
        self.channels = channels
        self.size = size
        common = {"dtype": self.dtype_policy}
        depth = (size // _LAST_SIDE).bit_length() - 1
        self.widths = tuple(min(2**level, _LARGEST_WIDTH) for level in range(depth))
        self.convs = [
            SpectralConv2D(
                channels * width, 3, use_bias=False, resample="stride", name=f"conv_{k}", **common
            )
            for k, width in enumerate(self.widths)
        ]
        self.norm = InstanceNorm(name="norm", **common)
        self.to_mean, self.to_log_variance = (
            keras.layers.Dense(
                latent_channels, kernel_initializer=xavier_normal(), name=name, **common
            )
            for name in ("to_mean", "to_log_variance")
        )
        self.build()

    def build(self, input_shape=None):
        if self.built:
            return
        units = [3, *(self.channels * width for width in self.widths)]
        for conv, fan_in in zip(self.convs, units[:-1], strict=True):
            conv.build((None, None, None, fan_in))
        self.norm.build()
        for dense in (self.to_mean, self.to_log_variance):
            dense.build((None, _LAST_SIDE**2 * units[-1]))
        self.built = True

    def call(self, image, training=False):
        self._check(image)
        x = self._resized(image)
        for conv in self.convs:
            x = leaky_relu(self.norm(conv(x, training=training)))
        x = ops.reshape(x, (-1, self.to_mean.kernel.shape[0]))
        return tuple(
            ops.cast(dense(x), self.variable_dtype)
            for dense in (self.to_mean, self.to_log_variance)
        )

    def _resized(self, image):
        if tuple(image.shape[1:3]) == (self.size, self.size):
            return image
        image = ops.image.resize(
            image,
            (self.size, self.size),
            interpolation="bilinear",
            antialias=False,
            data_format="channels_last",
        )
        return ops.cast(image, self.compute_dtype)

    def _check(self, image):
        check_rank(image.shape, 4, "image")
        if image.shape[-1] != 3:
            raise ValueError(f"`image` must have 3 channels. Received: {tuple(image.shape)}.")

    def compute_output_shape(self, input_shape):
        shape = (input_shape[0], self.latent_channels)
        return shape, shape

    def compute_output_spec(self, image, training=False):
        self._check(image)
        shape = (image.shape[0], self.latent_channels)
        return tuple(keras.KerasTensor(shape, dtype=self.variable_dtype) for _ in range(2))

    def get_config(self):
        return super().get_config() | {
            "latent_channels": self.latent_channels,
            "channels": self.channels,
            "size": self.size,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config)
