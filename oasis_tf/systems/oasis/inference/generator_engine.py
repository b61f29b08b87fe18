"""The inference engine: the generator as it is used, with folded weights and shared work.

What the generator does outside training, to rounding, with fewer operations:

* *Spectral norm* divides constants: ``W / (u^T W v)`` is stored.
* *Batch norm* with running statistics is ``(x - mean) * rstd``, and SPADE makes of it
  ``(x - mean) * rstd * (1 + gamma) + beta``. Gamma is affine in the hidden values, so rstd goes
  into gamma's kernel and bias. Whatever gives ``x`` adds a bias at its end, so the mean goes in
  there: features are *centred*, ``x - mean``, wherever a norm follows. An identity shortcut hands a
  centred ``x`` on; the bias beside it gives the mean back. Zero padding comes behind the modulation
  and is what it was. (In half precision, centred values lose fewer bits than
  ``x * scale - mean * scale``.)
* *Modulation*: gamma and beta are one kernel, the label kernels of a block's norms another. Both
  are applied once for every distinct surroundings (``layers/patterns.py``), or to all pixels where
  few repeat: which is the same with every pixel as a kind of its own, so that all that follows is
  the same.
* *Noise* is vectors and a map of their numbers: where it is constant over the image, a class or a
  region, surroundings repeat as those of labels do.

Images of a batch are painted one after the other inside one graph (``per_image``). So the way that
is taken at a resolution, and with it every bit of an image, depends on that image alone. XLA is not
used: TensorFlow Serving runs the same graph.
"""

import functools
from typing import Any, NamedTuple

import tensorflow as tf

from oasis_tf.layers.activation import LEAKY_SLOPE
from oasis_tf.layers.label_conv import conditional_conv, downsample, split_channels
from oasis_tf.layers.patterns import find_patterns, hidden_table, modulation_table
from oasis_tf.layers.resampling import upsample
from oasis_tf.systems.oasis.inference.folded_weights import folded_weights
from oasis_tf.systems.oasis.inference.image_by_image import per_image

# Distinct surroundings per pixel up to which telling them apart costs less than computing every
# pixel. Measured on street scenes with more and more random pixels, 8x8 to 256x256, on a CPU with
# AVX512: equal at 0.95 to 1 in float32 and at 0.9 to 0.95 in bfloat16, whatever the resolution.
_LARGEST_SHARE = 0.9

_MAP = tf.TensorSpec([None, None, None], tf.int32)


class InferenceEngine:
    """Paints with a snapshot of a generator's weights.

    Args:
        generator: ``Generator``.
        dtype: str, type of the convolutions, default the generator's compute dtype. Their kernels
            are cast once; what is computed once for all pixels alike, and the image, stay in the
            generator's variable dtype.

    Attributes:
        weights: ``tf.Variable`` by name, everything that painting needs; no u, v or statistics.

    All calls run graphs of dynamic sizes, traced once.
    """

    def __init__(self, generator, dtype=None):
        self._generator = generator
        self._dtype = dtype or generator.compute_dtype
        self.weights = {
            name: tf.Variable(value, trainable=False, name=name)
            for name, value in folded_weights(generator, self._dtype).items()
        }
        self._fold_again = tf.function(self._assign_folded, autograph=False)
        paint_vector = _paint_with_latent if generator.latent_stem else _paint_with_vector
        self._without_noise = self._over_batch(_paint_without_noise, _MAP)
        self._with_vector = self._over_batch(paint_vector, _MAP, self._floats())
        self._with_field = self._over_batch(_paint_with_field, _MAP, self._floats(None, None))
        self._with_index = self._over_batch(_paint_with_index, _MAP, _MAP, self._floats(None))

    def refresh(self):
        """Folds the weights again, as they are in the generator now; nothing is traced again."""
        self._fold_again()

    def _assign_folded(self):
        for name, value in folded_weights(self._generator, self._dtype).items():
            self.weights[name].assign(value)

    def __call__(self, label_map, noise=None):
        """Images of label maps, by the weights of the last ``refresh``.

        Args:
            label_map: int [B, H, W], values 0..N-1, sides divisible by ``size_multiple``.
            noise: float [B, Z] (one vector per image) or [B, H, W, Z] (local), None if Z = 0. Where
                local noise repeats itself it is recognised, by exact comparison. Latent vectors
                of a generator with a latent stem.

        Returns:
            [B, H, W, 3] in [-1, 1], in the generator's variable dtype.

        Raises:
            ValueError: sizes that do not divide, or noise that does not fit.
        """
        label_map = tf.cast(label_map, tf.int32)
        noise = None if noise is None else tf.cast(noise, self._generator.variable_dtype)
        self._generator.check_inputs(label_map, noise)
        if noise is None:
            return self._without_noise(label_map)
        paint = self._with_vector if len(noise.shape) == 2 else self._with_field
        return paint(label_map, noise)

    def paint(self, label_map, noise_index, vectors):
        """Images whose noise is given as vectors and a map of their numbers.

        Args:
            label_map: as in ``__call__``.
            noise_index: int [B, H, W], values 0..K-1.
            vectors: float [B, K, Z] with Z > 0.

        Returns:
            what ``__call__`` returns for ``noise[b, i, j] = vectors[b, noise_index[b, i, j]]``.

        Raises:
            ValueError: sizes that do not divide, an index or vectors that do not fit, or a
                generator with a latent stem, whose images have one vector each.
        """
        if self._generator.latent_stem:
            raise ValueError(
                "This generator's latent vector gives its first features, so it holds for a whole "
                "image: there is no noise that could differ between pixels. Give one vector per "
                "image instead."
            )
        label_map, noise_index = tf.cast(label_map, tf.int32), tf.cast(noise_index, tf.int32)
        vectors = tf.cast(vectors, self._generator.variable_dtype)
        if len(vectors.shape) != 3 or not noise_index.shape.is_compatible_with(label_map.shape):
            raise ValueError(
                "`noise_index` must be [B, H, W] like the label map and `vectors` [B, K, Z]. "
                f"Received: {tuple(noise_index.shape)} and {tuple(vectors.shape)} for a label map "
                f"{tuple(label_map.shape)}."
            )
        self._generator.check_inputs(label_map, vectors[:, 0])
        return self._with_index(label_map, noise_index, vectors)

    def _floats(self, *sides):
        shape = [None, *sides, self._generator.vector_channels]
        return tf.TensorSpec(shape, self._generator.variable_dtype)

    def _over_batch(self, paint_one, *signature):
        """A graph that calls ``paint_one(paint, ...)`` for one row of its arguments at a time.

        ``paint`` is ``paint_image`` of the engine's weights.
        """
        paint = functools.partial(paint_image, self.weights, self._generator.upsamples)
        result = tf.TensorSpec([None, None, 3], self._generator.variable_dtype)
        return per_image(lambda *rows: paint_one(paint, *rows), signature, result)


# === Painting ===


class _Condition(NamedTuple):
    """What an image is painted from: int32 [1, H, W] twice, and float [K, Z] or None if Z = 0."""

    label_map: Any
    noise_index: Any
    vectors: Any

    def at(self, factor):
        """The condition at the ``factor``-th part of the resolution."""
        maps = (downsample(part, factor) for part in (self.label_map, self.noise_index))
        return _Condition(*maps, self.vectors)

    @property
    def noise_channels(self):
        return 0 if self.vectors is None else self.vectors.shape[-1]

    def convolve(self, kernel, bias):
        """``conditional_conv`` at every pixel, noise that is the same everywhere apart."""
        if self.vectors is None:
            return self._convolve(kernel, bias, None)
        index, vectors = self.noise_index, tf.cast(self.vectors, kernel.dtype)
        return tf.cond(
            tf.reduce_all(index == index[0, 0, 0]),
            lambda: self._convolve(kernel, bias, tf.gather(vectors, index[0, 0, :1])),
            lambda: self._convolve(kernel, bias, tf.gather(vectors, index)),
        )

    def _convolve(self, kernel, bias, noise):
        return conditional_conv(self.label_map, noise, kernel, bias, self.noise_channels)


class _PixelCondition(NamedTuple):
    """What images are painted from: int32 [B, H, W], and float [B, Z] or None if Z = 0."""

    label_map: Any
    noise: Any

    def at(self, factor):
        """The condition at the ``factor``-th part of the resolution."""
        return _PixelCondition(downsample(self.label_map, factor), self.noise)

    def convolve(self, kernel, bias):
        """``conditional_conv`` at every pixel."""
        noise = None if self.noise is None else tf.cast(self.noise, kernel.dtype)
        channels = 0 if noise is None else noise.shape[-1]
        return conditional_conv(self.label_map, noise, kernel, bias, channels)


def paint_image(weights, upsamples, label_map, noise_index, vectors, latent=None):
    """Paints one image with folded weights.

    Args:
        weights: dict of tensors or variables, as ``folded_weights`` gives them.
        upsamples: sequence of bool, whether a block's input is upsampled, as in ``Generator``.
        label_map, noise_index: int32 [H, W].
        vectors: float [K, Z], or None if Z = 0.
        latent: float [1, L] with a latent stem, None for others.

    Returns:
        [H, W, 3] in [-1, 1].
    """
    whole = _Condition(label_map[None], noise_index[None], vectors)
    return _paint(weights, upsamples, whole, _modulations, latent)[0]


def paint_every_pixel(weights, upsamples, label_map, noise, latent=None):
    """Paints a batch with folded weights, every pixel for itself.

    What ``paint_image`` gives, to rounding, in a graph without branches, loops or tensors whose
    size depends on what they hold: for runtimes that know the shapes of all tensors beforehand.

    Args:
        weights, upsamples: as in ``paint_image``.
        label_map: int32 [B, H, W].
        noise: float [B, Z], or None if Z = 0.
        latent: float [B, L] for a generator with a latent stem, None for others.

    Returns:
        [B, H, W, 3] in [-1, 1].
    """
    whole = _PixelCondition(label_map, noise)
    return _paint(weights, upsamples, whole, _modulations_of_pixels, latent)


def _paint(weights, upsamples, whole, modulations, latent):
    """An image of a condition at its whole resolution.

    ``modulations(weights of a block, condition)`` gives function(norm, x) -> ``x * scale + shift``
    with what the norm's kernels give.
    """
    factor = 2 ** sum(upsamples)
    if latent is None:
        x = whole.at(factor).convolve(weights["stem/kernel"], weights["stem/bias"])
    else:
        x = _latent_features(_of(weights, "latent_stem"), latent)
    x = tf.cast(x, weights["to_rgb/kernel"].dtype)
    for index, doubled in enumerate(upsamples):
        factor //= 2 if doubled else 1
        x = upsample(x) if doubled else x
        block = _of(weights, f"block_{index}")
        x = _block(block, x, modulations(block, whole.at(factor)))
    x = _conv(tf.nn.leaky_relu(x, LEAKY_SLOPE), weights["to_rgb/kernel"])
    bias = tf.convert_to_tensor(weights["to_rgb/bias"])
    return tf.tanh(tf.nn.bias_add(tf.cast(x, bias.dtype), bias))


def _latent_features(weights, latent):
    """First features [B, h, w, C] of latent vectors [B, L]."""
    kernel, bias = (tf.convert_to_tensor(weights[part]) for part in ("kernel", "bias"))
    return tf.tensordot(latent, kernel, 1) + bias


def _paint_without_noise(paint, label_map):
    return paint(label_map, tf.zeros_like(label_map), None)


def _paint_with_latent(paint, label_map, latent):
    return paint(label_map, tf.zeros_like(label_map), None, latent[None])


def _paint_with_vector(paint, label_map, vector):
    return paint(label_map, tf.zeros_like(label_map), vector[None])


def _paint_with_index(paint, label_map, noise_index, vectors):
    return paint(label_map, *_reduced(noise_index, vectors))


def _reduced(index, vectors):
    """Equal vectors merged, unused ones left out, all numbered by first appearance.

    So an image's bits depend on the noise of its pixels, not on how that was written down.
    """
    distinct, merged = tf.raw_ops.UniqueV2(x=vectors, axis=[0])
    used, number = tf.unique(tf.reshape(tf.gather(merged, index), [-1]))
    vectors = tf.ensure_shape(tf.gather(distinct, used), (None, vectors.shape[-1]))
    return tf.reshape(number, tf.shape(index)), vectors


def _paint_with_field(paint, label_map, field):
    """With noise [H, W, Z]: the distinct vectors of all pixels, compared in every bit."""
    rows = tf.reshape(field, (-1, field.shape[-1]))
    vectors, index = tf.raw_ops.UniqueV2(x=rows, axis=[0])
    vectors = tf.ensure_shape(vectors, (None, field.shape[-1]))
    return paint(label_map, tf.reshape(index, tf.shape(label_map)), vectors)


def _of(weights, part):
    start = f"{part}/"
    return {name.removeprefix(start): w for name, w in weights.items() if name.startswith(start)}


def _block(weights, x, modulate):
    """``SPADEResBlock`` on centred features [B, H, W, C], upsampled already."""
    y = tf.nn.leaky_relu(modulate("norm_0", x), LEAKY_SLOPE)
    y = tf.nn.bias_add(_conv(y, weights["conv_0/kernel"]), weights["conv_0/bias"])
    y = tf.nn.leaky_relu(modulate("norm_1", y), LEAKY_SLOPE)
    y = tf.nn.bias_add(_conv(y, weights["conv_1/kernel"]), weights["conv_1/bias"])
    if "conv_s/kernel" not in weights:
        return y + x
    return y + _conv(modulate("norm_s", x), weights["conv_s/kernel"])


def _conv(x, kernel):
    return tf.nn.conv2d(x, kernel, 1, "SAME")


# === Modulation ===


def _modulations(weights, condition):
    """function(norm, x) -> ``x * scale + shift`` with what the norm's kernels give."""
    norms = _norms(weights)
    patterns = find_patterns(condition.label_map, condition.noise_index)
    kinds, pixels = tf.shape(patterns.columns)[0], tf.size(condition.label_map)
    index, *tables = tf.cond(
        tf.cast(kinds, tf.float32) <= _LARGEST_SHARE * tf.cast(pixels, tf.float32),
        lambda: [patterns.index, *_of_kinds(weights, norms, condition, patterns)],
        lambda: [_numbers(condition.label_map), *_rows(_of_pixels(weights, norms, condition))],
    )

    def modulate(name, x):
        scale, shift = tables[2 * norms.index(name) :][:2]
        return x * tf.gather(scale, index) + tf.gather(shift, index)

    return modulate


def _modulations_of_pixels(weights, condition):
    """What ``_modulations`` gives, of a condition at which nothing is shared."""
    norms = _norms(weights)
    maps = _of_pixels(weights, norms, condition)

    def modulate(name, x):
        scale, shift = maps[2 * norms.index(name) :][:2]
        return x * scale + shift

    return modulate


def _norms(weights):
    return [name for name in ("norm_0", "norm_1", "norm_s") if f"{name}/kernel" in weights]


def _numbers(label_map):
    return tf.reshape(tf.range(tf.size(label_map)), tf.shape(label_map))


def _rows(maps):
    return [tf.reshape(x, (-1, x.shape[-1])) for x in maps]


def _of_kinds(weights, norms, condition, patterns):
    """Scale and shift [P, C] of all norms, for every kind of surroundings."""
    shared = [weights["shared/kernel"]], [weights["shared/bias"]]
    hidden = hidden_table(*shared, condition.noise_channels, patterns, condition.vectors)

    def table(part, kernel):
        return modulation_table(part, patterns, tf.convert_to_tensor(kernel))

    return _tables(weights, norms, hidden, table)


def _of_pixels(weights, norms, condition):
    """Scale and shift [B, H, W, C] of all norms, for every pixel."""
    dtype = weights["norm_0/kernel"].dtype
    shared = (tf.cast(weights[f"shared/{part}"], dtype) for part in ("kernel", "bias"))
    return _tables(weights, norms, tf.nn.relu(condition.convolve(*shared)), _conv)


def _tables(weights, norms, hidden, convolve):
    """Scale and shift by every norm's convolution of its part of the hidden values, in a row."""
    kernels = [weights[f"{name}/kernel"] for name in norms]
    parts = split_channels(hidden, [kernel.shape[2] for kernel in kernels])
    tables = []
    for name, kernel, part in zip(norms, kernels, parts, strict=True):
        table = convolve(part, kernel)
        bias = tf.convert_to_tensor(weights[f"{name}/bias"])
        table = tf.nn.bias_add(tf.cast(table, bias.dtype), bias)
        tables += tf.split(tf.cast(table, kernel.dtype), 2, axis=-1)
    return tables
