"""A small network of fixed random weights: feature metrics that need no downloaded file.

Random convolutions tell images apart by colour, texture and layout, but not by what they show. The
values compare models on one data set and never compare with published numbers, so all their names
end in ``seeded64``. Weights come from ``numpy.random.RandomState``, whose stream never changes.
"""

import keras
import numpy as np
from keras import layers, ops

NAME = "seeded64"
DIMENSION = 64
SEED = 20150
MIN_SIZE = 32
WIDTHS = (16, 32, 64, 64)
# Makes features of natural images vary by about 1.
_FEATURE_SCALE = 10.0


def _kernels(random, channels_in, channels_out):
    """One stage's kernel, float32 [3,3,in,out].

    Every other channel sums to zero over space: it sees texture, which kernels of any sum hide
    under colour.
    """
    kernel = random.standard_normal((3, 3, channels_in, channels_out))
    kernel[..., ::2] -= kernel[..., ::2].mean((0, 1), keepdims=True)
    return (kernel * np.sqrt(2 / (9 * channels_in))).astype(np.float32)


def weights():
    """All weights by name: ``stage_K/kernel``, ``stage_K/bias`` and ``projection``, float32."""
    random = np.random.RandomState(SEED)
    values, channels = {}, 3
    for stage, width in enumerate(WIDTHS):
        values[f"stage_{stage}/kernel"] = _kernels(random, channels, width)
        values[f"stage_{stage}/bias"] = (0.1 * random.standard_normal(width)).astype(np.float32)
        channels = width
    pooled = 4 * sum(WIDTHS)
    projection = random.standard_normal((pooled, DIMENSION)) * _FEATURE_SCALE / np.sqrt(pooled)
    return values | {"projection": projection.astype(np.float32)}


def _stages(x, values):
    """Outputs of all stages: convolution, relu; half the size from one to the next."""
    outputs = []
    for stage, width in enumerate(WIDTHS):
        if stage:
            x = layers.AveragePooling2D(2, data_format="channels_last", dtype="float32")(x)
        layer = layers.Conv2D(
            width,
            3,
            padding="same",
            activation="relu",
            dtype="float32",
            data_format="channels_last",
            name=f"stage_{stage}",
        )
        x = layer(x)
        layer.set_weights([values[f"stage_{stage}/kernel"], values[f"stage_{stage}/bias"]])
        outputs.append(x)
    return outputs


class _QuadrantMeans(keras.layers.Layer):
    """Means over the four quadrants of [B,H,W,C]: [B, 4 * C]; keeps where things lie."""

    def call(self, x):
        height, width = ops.shape(x)[1] // 2, ops.shape(x)[2] // 2
        parts = [part for half in (x[:, :height], x[:, height:])
                 for part in (half[:, :, :width], half[:, :, width:])]  # fmt: skip
        return ops.concatenate([ops.mean(part, (1, 2)) for part in parts], -1)


class _Projection(keras.layers.Layer):
    """Product with a fixed matrix [D,E]: [B,D] -> [B,E].

    Summed explicitly: on some processors a matrix product's bits depend on where a row stands.
    """

    def __init__(self, matrix, **kwargs):
        super().__init__(**kwargs)
        self._matrix = matrix

    def call(self, x):
        return ops.sum(x[:, :, None] * self._matrix, axis=1)


def stage_network():
    """Keras model: float32 [B,H,W,3] in [-1, 1] -> list of four outputs, [B,h,w,C] each."""
    image = keras.Input((None, None, 3), dtype="float32")
    return keras.Model(image, _stages(image, weights()))


def feature_network():
    """Keras model: float32 [B,H,W,3] in [-1, 1] -> float32 [B,64]."""
    values = weights()
    image = keras.Input((None, None, 3), dtype="float32")
    pooled = [_QuadrantMeans(dtype="float32")(x) for x in _stages(image, values)]
    projection = _Projection(values["projection"], dtype="float32", name="projection")
    return keras.Model(image, projection(layers.Concatenate(dtype="float32")(pooled)))
