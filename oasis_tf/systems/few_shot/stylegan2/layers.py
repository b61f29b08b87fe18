"""Layers with equalised learning rate: their kernels are scaled when they are used.

Stored kernels are standard normal at the start, whatever the width; the scale is
``1 / sqrt(fan in)``. Layers are not cast by Keras: kernels, styles and demodulation are in the
dtype of the variables, feature maps in that of computation.
"""

import math

import keras
from keras import ops

from oasis_tf.layers.winograd import conv
from oasis_tf.systems.few_shot.stylegan2.operators import (
    GAIN,
    activated,
    clamped,
    down_conv,
    downsample,
    up_conv,
)
from oasis_tf.training.named_weights import named_weights


class EqualLayer(keras.layers.Layer):
    """A layer whose kernel is scaled when it is used, and whose values are cast by hand."""

    def __init__(self, **kwargs):
        # A network's own `autocast` would have Keras cast latents and variables.
        super().__init__(**kwargs | {"autocast": False})

    def add_kernel(self, *shape, deviation=1.0):
        """Adds the variable ``kernel``."""
        normal = keras.initializers.RandomNormal(stddev=deviation)
        self.kernel = self.add_weight(
            name="kernel", shape=shape, initializer=normal, autocast=False
        )

    def add_bias(self, size, value=0.0):
        """Adds the variable ``bias``."""
        start = keras.initializers.Constant(value)
        self.bias = self.add_weight(name="bias", shape=(size,), initializer=start, autocast=False)

    @property
    def kernel_scale(self):
        """What the stored kernel is multiplied by: 1 / sqrt(fan in)."""
        return 1 / math.sqrt(math.prod(self.kernel.shape[:-1]))

    def scaled_kernel(self, factor=1.0):
        """The kernel as it is used, times ``factor``, in the dtype of the variables."""
        return ops.convert_to_tensor(self.kernel) * (factor * self.kernel_scale)

    def computed(self, x):
        """``x`` in the dtype of computation."""
        return ops.cast(x, self.compute_dtype)


@keras.saving.register_keras_serializable("oasis_tf.few_shot")
class EqualDense(EqualLayer):
    """A dense layer: [B, C] -> [B, units], in the dtype of the variables.

    Args:
        units: int.
        activate: bool, default False, whether sqrt(2) LeakyReLU follows.
        rate: float, default 1, relative learning rate: kernel and bias are used times this, and
            the kernel starts with deviation ``1 / rate``.
        bias: float, default 0, what biases start with.
    """

    def __init__(self, units, activate=False, rate=1.0, bias=0.0, **kwargs):
        super().__init__(**kwargs)
        self.units, self.activate, self.rate, self.first_bias = units, activate, rate, bias

    def build(self, input_shape):
        self.add_kernel(input_shape[-1], self.units, deviation=1 / self.rate)
        self.add_bias(self.units, self.first_bias)
        self.built = True

    def call(self, x):
        gain = self.rate * (GAIN if self.activate else 1.0)
        x = ops.cast(x, self.variable_dtype)
        y = ops.matmul(x, self.scaled_kernel(gain)) + gain * ops.convert_to_tensor(self.bias)
        return activated(y) if self.activate else y

    def get_config(self):
        config = {"units": self.units, "activate": self.activate}
        return super().get_config() | config | {"rate": self.rate, "bias": self.first_bias}


@keras.saving.register_keras_serializable("oasis_tf.few_shot")
class EqualConv2D(EqualLayer):
    """A convolution of the discriminator, [B, H, W, C] -> [B, H, W, filters] or half the sides.

    Args:
        filters: int.
        size: int, side of the kernel, 1 or 3.
        down: bool, default False, whether the sides are halved behind the filter K.
        activate: bool, default True, whether a bias and LeakyReLU follow.
        gain: float, default sqrt(2), factor of the output.
        clamp: float, outputs are clamped to [-clamp, clamp]; default None, they are not.
        use_bias: bool, default ``activate``.
    """

    def __init__(
        self,
        filters,
        size,
        down=False,
        activate=True,
        gain=GAIN,
        clamp=None,
        use_bias=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters, self.size, self.down = filters, size, down
        self.use_bias = activate if use_bias is None else use_bias
        self.activate, self.gain, self.clamp = activate, gain, clamp

    def build(self, input_shape):
        self.add_kernel(self.size, self.size, input_shape[-1], self.filters)
        if self.use_bias:
            self.add_bias(self.filters)
        self.built = True

    def call(self, x):
        y = self._convolved(self.computed(x), self.computed(self.scaled_kernel(self.gain)))
        if self.use_bias:
            y = y + self.computed(self.gain * self.bias)
        return activated(y, self.clamp) if self.activate else y

    def _convolved(self, x, kernel):
        if not self.down:
            return conv(x, kernel)
        return down_conv(x, kernel) if self.size > 1 else conv(downsample(x), kernel)

    def get_config(self):
        return super().get_config() | {
            "filters": self.filters,
            "size": self.size,
            "down": self.down,
            "activate": self.activate,
            "gain": self.gain,
            "clamp": self.clamp,
            "use_bias": self.use_bias,
        }


class ModulatedLayer(EqualLayer):
    """A convolution whose input channels are scaled by a style.

    That equals a kernel of its own for every sample (``W' = W s``), but is one convolution for all.

    Args:
        filters: int.
        size: int, side of the kernel.
        clamp: float, outputs are clamped to [-clamp, clamp]; default None, they are not.
    """

    def __init__(self, filters, size, clamp=None, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.size, self.clamp = filters, size, clamp
        self.modulation = None

    def build(self, input_shape, style_shape):
        channels = input_shape[-1]
        self.modulation = EqualDense(
            channels, bias=1.0, name="modulation", dtype=self.variable_dtype
        )
        self.modulation.build(style_shape)
        self.add_kernel(self.size, self.size, channels, self.filters)
        self.add_bias(self.filters)
        self.built = True

    def scales(self, style):
        """What input channels are multiplied by, [B, C]: the scale of the kernel is part of it."""
        return self.modulation(style) * self.kernel_scale

    def modulated(self, x, scales):
        """``x`` [B, H, W, C] times scales [B, C]."""
        return self.computed(x) * self.computed(scales)[:, None, None]

    def get_config(self):
        config = {"filters": self.filters, "size": self.size, "clamp": self.clamp}
        return super().get_config() | config


@keras.saving.register_keras_serializable("oasis_tf.few_shot")
class StyledConv(ModulatedLayer):
    """Modulated 3x3 convolution with demodulation, noise, bias and sqrt(2) LeakyReLU.

    Args:
        filters, clamp: as of ``ModulatedLayer``.
        up: bool, default False, whether the sides are doubled.

    Call arguments:
        x: float [B, H, W, C].
        style: float [B, S].
        noise: float [B or 1, H', W', 1], of the size of the output.

    Returns:
        float [B, H', W', filters].
    """

    def __init__(self, filters, up=False, clamp=None, size=3, **kwargs):
        super().__init__(filters, size, clamp, **kwargs)
        self.up = up

    def build(self, input_shape, style_shape):
        self.noise_strength = self.add_weight(
            name="noise_strength", shape=(), initializer="zeros", autocast=False
        )
        super().build(input_shape, style_shape)

    def call(self, x, style, noise):
        scales, kernel = self.scales(style), ops.convert_to_tensor(self.kernel)
        x = self.modulated(x, scales)
        y = (up_conv if self.up else conv)(x, self.computed(kernel))
        # sqrt(2) of the activation is part of all that is added and multiplied from here on.
        factors = self.computed(GAIN * self._demodulation(scales, kernel))
        noise = self.computed(noise) * self.computed(GAIN * self.noise_strength)
        y = y * factors[:, None, None] + (noise + self.computed(GAIN * self.bias))
        return activated(y, self.clamp)

    def _demodulation(self, scales, kernel):
        """[B, filters]: reciprocal norms of the kernels that the samples would have."""
        norms = ops.matmul(ops.square(scales), ops.sum(ops.square(kernel), axis=(0, 1)))
        return ops.rsqrt(norms + 1e-8)

    def get_config(self):
        return super().get_config() | {"up": self.up}


@keras.saving.register_keras_serializable("oasis_tf.few_shot")
class ToRGB(ModulatedLayer):
    """Modulated 1x1 convolution to an image, without demodulation: [B, H, W, C] -> [B, H, W, 3]."""

    def __init__(self, filters=3, size=1, clamp=None, **kwargs):
        super().__init__(filters, size, clamp, **kwargs)

    def call(self, x, style):
        x = self.modulated(x, self.scales(style))
        y = conv(x, self.computed(self.kernel)) + self.computed(self.bias)
        return clamped(y, self.clamp)


def initialise(network, seed):
    """Gives a network its initial values.

    Kernels, the constant and stored noise are standard normal (kernels of slow layers are divided
    by their rate); biases and noise strengths are zero, biases of modulations one.

    Args:
        network: ``Generator`` or ``Discriminator``.
        seed: int.
    """
    layers = [x for x in network._flatten_layers() if isinstance(x, EqualDense)]
    rates = {id(layer.kernel): layer.rate for layer in layers}
    generator = keras.random.SeedGenerator(seed)
    for name, variable in named_weights(network).items():
        if name.endswith(("/bias", "/noise_strength")):
            value = ops.full(variable.shape, float("/modulation/" in name))
        else:
            value = keras.random.normal(variable.shape, seed=generator)
            value = value / rates.get(id(variable), 1)
        variable.assign(ops.cast(value, variable.dtype))
