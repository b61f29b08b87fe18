"""The inference engine: the generator with folded weights and shared work.

It gives what the generator gives outside training, to rounding, with fewer operations:

* *Spectral norm* divides by a constant: ``W / (u^T W v)`` is stored.
* *Batch norm* uses running statistics, so SPADE computes
  ``(x - mean) * rstd * (1 + gamma) + beta``. Gamma is affine in the hidden values: rstd is
  multiplied into gamma's kernel and bias. The mean is subtracted from the bias of the layer that
  gives ``x``: wherever a norm follows, features are *centred*, ``x - mean``. An identity shortcut
  passes the centred ``x`` on, and the bias of the convolution beside it adds the mean again. Zero
  padding follows the modulation and does not change. (In half precision, centred values lose fewer
  bits than ``x * scale - mean * scale``.)
* *Modulation*: one kernel gives gamma and beta, another one the hidden values of all norms of a
  block. Both are applied once to every kind of surroundings (``layers/patterns.py``). Where few
  surroundings repeat, they are applied to all pixels instead.
* *Noise* of every form becomes distinct vectors and a map of their numbers. Where noise is constant
  over the image, a class or a region, surroundings repeat as those of labels do.

On a CPU, images of a batch are generated one after the other inside one graph
(``engine.per_image``). So the choice at a resolution, and with it every bit of an image, depends
only on that image. On a GPU, nothing is shared or chosen: all pixels of all images are computed at
the same time (``generate_every_pixel``). XLA is not used: TensorFlow Serving runs the same graphs.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from oasis_tf.layers import by_device
from oasis_tf.layers.activation import LEAKY_SLOPE
from oasis_tf.layers.label_conv import conditional_conv, downsample, split_channels
from oasis_tf.layers.patterns import find_patterns, hidden_table, modulation_table
from oasis_tf.layers.resampling import upsample
from oasis_tf.systems.oasis.editing.noise_fields import IndexedNoise
from oasis_tf.systems.oasis.inference.engine import Engine, per_image, whole_batches
from oasis_tf.systems.oasis.inference.folded_weights import folded_weights

# Distinct surroundings per pixel up to which telling them apart costs less than computing every
# pixel. Measured on street scenes with more and more random pixels, 8x8 to 256x256, on a CPU with
# AVX512: equal at 0.95 to 1 in float32 and at 0.9 to 0.95 in bfloat16, at every resolution.
_LARGEST_SHARE = 0.9


class InferenceEngine(Engine):
    """Generates with a snapshot of a generator's weights.

    Args:
        generator: ``Generator``.
        dtype: str, type of the convolutions, default the generator's compute dtype. Their kernels
            are cast once. What is computed once for all pixels alike, and the image, stay in the
            generator's variable dtype.
        batching: as in ``Engine``.

    All calls run one graph of dynamic sizes, traced once; with dense batches one graph for every
    form of noise.
    """

    def __init__(self, generator, dtype=None, batching=None):
        super().__init__(generator, folded_weights, dtype, batching)
        maps, channels = tf.TensorSpec([None, None, None], tf.int32), generator.vector_channels
        if self.batching == "dense":
            self._form_noise, self._generate = _shortest, self._dense_graphs(maps, channels)
            return
        vectors = tf.TensorSpec([None, None, channels], generator.variable_dtype)
        image = tf.TensorSpec([None, None, 3], generator.variable_dtype)
        inputs = [maps, maps, vectors] if channels else [maps]
        self._form_noise, self._generate = _indexed, per_image(self._generate_one, inputs, image)

    def _dense_graphs(self, maps, channels):
        """function(label_map, *noise as ``_shortest`` gives it) -> images."""
        vector, vectors, field = (
            tf.TensorSpec([None] * axes + [channels], self._network.variable_dtype)
            for axes in (1, 2, 3)
        )
        forms = [[vector], [field], [maps, vectors]] if channels else [[]]
        graphs = {
            tuple(len(spec.shape) for spec in form): whole_batches(
                self._generate_all, [maps, *form]
            )
            for form in forms
        }
        return lambda label_map, *noise: graphs[tuple(len(part.shape) for part in noise)](
            label_map, *noise
        )

    def __call__(self, label_map, noise=None):
        """Images of label maps, by the weights of the last ``refresh``.

        Args:
            label_map: int [B, H, W], values 0..N-1, sides divisible by ``size_multiple``.
            noise: None if Z = 0; float [B, Z], one vector per image; float [B, H, W, Z], one per
                pixel; or ``IndexedNoise``, of noise fields. However noise is given, equal noise
                gives equal images: image by image equal bits, as vectors are compared bit by bit.
                A generator with a latent stem takes its latent vectors, one per image.

        Returns:
            [B, H, W, 3] in [-1, 1], in the generator's variable dtype.

        Raises:
            ValueError: sizes that do not divide, noise that does not fit, or several vectors per
                image for a generator with a latent stem.
        """
        label_map = tf.cast(label_map, tf.int32)
        if isinstance(noise, IndexedNoise):
            noise = self._checked(label_map, noise)
            return self._generate(label_map, *self._form_noise(label_map, noise))
        noise = None if noise is None else tf.cast(noise, self._network.variable_dtype)
        self._network.check_inputs(label_map, noise)
        if noise is None:
            return self._generate(label_map)
        # Its channels may be unknown while a caller is traced; the engine's graph needs them.
        noise = tf.ensure_shape(noise, [*noise.shape[:-1], self._network.vector_channels])
        return self._generate(label_map, *self._form_noise(label_map, noise))

    def _checked(self, label_map, noise):
        """``IndexedNoise`` in the engine's types."""
        index = tf.cast(noise.index, tf.int32)
        vectors = tf.cast(noise.vectors, self._network.variable_dtype)
        if len(vectors.shape) != 3 or not index.shape.is_compatible_with(label_map.shape):
            raise ValueError(
                "The index of noise must be [B, H, W] like the label map and its vectors "
                f"[B, K, Z]. Received: {tuple(index.shape)} and {tuple(vectors.shape)} for a label "
                f"map {tuple(label_map.shape)}."
            )
        if self._network.latent_stem and vectors.shape[1] != 1:
            raise ValueError(
                "The first features of this generator come from a latent vector, which is one for "
                "the whole image: noise cannot differ between pixels. Give one vector per image. "
                f"Received: {vectors.shape[1]} vectors per image."
            )
        self._network.check_inputs(label_map, vectors[:, 0])
        return IndexedNoise(index, vectors)

    def _generate_one(self, label_map, index=None, vectors=None):
        if vectors is None:
            index = tf.zeros_like(label_map)
        else:
            index, vectors = _distinct(index, vectors)
        whole = _Condition(label_map[None], index[None], vectors)
        return _generate(self.weights, self._network.upsamples, whole, _modulations)[0]

    def _generate_all(self, label_map, *noise):
        if len(noise) == 2:
            index, vectors = noise
            noise = [tf.gather(vectors, index, batch_dims=1)]
        one_hot = by_device.few_classes(self._network.num_classes)
        return generate_every_pixel(
            self.weights, self._network.upsamples, label_map, *noise, one_hot=one_hot
        )


# === Noise ===


def _indexed(label_map, noise):
    """Noise in any form as a map of numbers, int32 [B, H, W], and vectors [B, K, Z]."""
    if isinstance(noise, IndexedNoise):
        return noise
    if len(noise.shape) == 2:
        return tf.zeros_like(label_map), noise[:, None]
    batch, height, width = tf.unstack(tf.shape(label_map))
    pixels = height * width
    index = tf.broadcast_to(tf.reshape(tf.range(pixels), (height, width)), tf.shape(label_map))
    return index, tf.reshape(noise, (batch, pixels, noise.shape[-1]))


def _shortest(label_map, noise):
    """Noise in any form as (noise,), [B, Z] or [B, H, W, Z]; or as (index, vectors)."""
    if not isinstance(noise, IndexedNoise):
        return (noise,)
    return noise if noise.vectors.shape[1] != 1 else (noise.vectors[:, 0],)


def _distinct(index, vectors):
    """Of an image: equal vectors merged, unused ones left out, all numbered by first appearance.

    So its bits depend on the noise of its pixels, not on the form in which that was given.
    """
    distinct, merged = tf.raw_ops.UniqueV2(x=vectors, axis=[0])
    used, number = tf.unique(tf.reshape(tf.gather(merged, index), [-1]))
    vectors = tf.ensure_shape(tf.gather(distinct, used), (None, vectors.shape[-1]))
    return tf.reshape(number, tf.shape(index)), vectors


# === Generation ===


class _Condition(NamedTuple):
    """What one image is generated from: int32 [1, H, W] twice; float [K, Z], or None if Z = 0."""

    label_map: Any
    noise_index: Any
    vectors: Any

    def at(self, factor):
        """The condition at 1 / ``factor`` of the resolution."""
        maps = (downsample(part, factor) for part in (self.label_map, self.noise_index))
        return _Condition(*maps, self.vectors)

    @property
    def noise_channels(self):
        return 0 if self.vectors is None else self.vectors.shape[-1]

    def convolve(self, kernel, bias):
        """``conditional_conv`` at every pixel; noise that is constant over the image apart."""
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
    """What images are generated from: int32 [B, H, W], float [B, Z], [B, H, W, Z] or None."""

    label_map: Any
    vectors: Any
    one_hot: bool

    def at(self, factor):
        """The condition at 1 / ``factor`` of the resolution."""
        differs = self.vectors is not None and len(self.vectors.shape) == 4
        vectors = downsample(self.vectors, factor) if differs else self.vectors
        return self._replace(label_map=downsample(self.label_map, factor), vectors=vectors)

    def convolve(self, kernel, bias):
        """``conditional_conv`` at every pixel."""
        noise = None if self.vectors is None else tf.cast(self.vectors, kernel.dtype)
        channels = 0 if noise is None else noise.shape[-1]
        return conditional_conv(self.label_map, noise, kernel, bias, channels, self.one_hot)


def generate_every_pixel(weights, upsamples, label_map, noise=None, one_hot=False):
    """Images of a batch with folded weights, every pixel computed for itself.

    It gives what the engine gives, to rounding, in a graph without branches, loops or tensors whose
    size depends on values: for runtimes that must know the shapes of all tensors beforehand.

    Args:
        weights: dict of tensors or variables, as ``folded_weights`` gives them.
        upsamples: sequence of bool, whether a block's input is upsampled, as in ``Generator``.
        label_map: int32 [B, H, W].
        noise: float [B, Z] or [B, H, W, Z], with a latent stem its latent vectors; None if Z = 0.
        one_hot: bool, as in ``LabelConv2D``.

    Returns:
        [B, H, W, 3] in [-1, 1].
    """
    whole = _PixelCondition(label_map, noise, one_hot)
    return _generate(weights, upsamples, whole, _modulations_of_pixels)


def _generate(weights, upsamples, whole, modulations):
    """Images of a condition at full resolution.

    ``modulations(weights of a block, condition)`` gives function(norm, x) -> ``x * scale + shift``
    with what the norm's kernels give.
    """
    factor = 2 ** sum(upsamples)
    if "stem/kernel" in weights:
        x = whole.at(factor).convolve(weights["stem/kernel"], weights["stem/bias"])
    else:
        x = _latent_features(_of(weights, "latent_stem"), whole.vectors)
        whole = whole._replace(vectors=None)
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


def _of(weights, part):
    start = f"{part}/"
    return {name.removeprefix(start): w for name, w in weights.items() if name.startswith(start)}


def _block(weights, x, modulate):
    """``SPADEResBlock`` on centred features [B, H, W, C] that are already upsampled."""
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
    """What ``_modulations`` gives, with nothing shared between pixels."""
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
    """Scale and shift [P, C] of all norms for every kind of surroundings."""
    shared = [weights["shared/kernel"]], [weights["shared/bias"]]
    hidden = hidden_table(*shared, condition.noise_channels, patterns, condition.vectors)

    def table(part, kernel):
        return modulation_table(part, patterns, tf.convert_to_tensor(kernel))

    return _tables(weights, norms, hidden, table)


def _of_pixels(weights, norms, condition):
    """Scale and shift [B, H, W, C] of all norms for every pixel."""
    dtype = weights["norm_0/kernel"].dtype
    shared = (tf.cast(weights[f"shared/{part}"], dtype) for part in ("kernel", "bias"))
    return _tables(weights, norms, tf.nn.relu(condition.convolve(*shared)), _conv)


def _tables(weights, norms, hidden, convolve):
    """Scale and shift of every norm in turn, from its part of the hidden values."""
    kernels = [weights[f"{name}/kernel"] for name in norms]
    parts = split_channels(hidden, [kernel.shape[2] for kernel in kernels])
    tables = []
    for name, kernel, part in zip(norms, kernels, parts, strict=True):
        table = convolve(part, kernel)
        bias = tf.convert_to_tensor(weights[f"{name}/bias"])
        table = tf.nn.bias_add(tf.cast(table, bias.dtype), bias)
        tables += tf.split(tf.cast(table, kernel.dtype), 2, axis=-1)
    return tables
