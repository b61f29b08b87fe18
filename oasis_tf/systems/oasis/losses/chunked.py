"""Losses of logits that are never written out: for thousands of classes they dwarf all else.

A discriminator that segments ends in a 1x1 convolution from C features (64) to N + 1 logits per
pixel. With the 1204 classes of LVIS a map of logits takes 19 times the memory of the features, and
a training step holds several. Here the losses are computed from the features: cross-entropies chunk
by chunk of pixels, computed again for the gradient; the squared distance of LabelMix in closed form
(a distance of logits is a quadratic form of the distance of features). All of it equals what
written-out logits give, to rounding.
"""

import dataclasses
from typing import Any

import keras
from keras import ops

from oasis_tf.layers.chunks import fold
from oasis_tf.layers.gradients import of_upstream

# Pixels whose logits exist at a time: 20 MB of them with 1205 channels in float32.
CHUNK_PIXELS = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class ChunkedLogits:
    """Logits ``features @ kernel + bias`` that nothing has computed yet.

    Attributes:
        features: float [B, H, W, C], in the dtype to compute in; H and W are static.
        kernel: float [C, M].
        bias: float [M]; its dtype and that of ``kernel`` is the one of the losses.
    """

    features: Any
    kernel: Any
    bias: Any

    @property
    def parts(self):
        """(features, kernel, bias)."""
        return self.features, self.kernel, self.bias

    @property
    def dtype(self):
        """Dtype of the losses."""
        return self.kernel.dtype


def head_cross_entropy(features, kernel, bias, channel, weights):
    """``mean(weights * CE(features @ kernel + bias, channel))``: a scalar in the dtype of kernel.

    Args:
        features, kernel, bias: as in ``ChunkedLogits``.
        channel: int [B, H, W], the right channels in 0..M-1.
        weights: float [B, H, W], in the dtype of ``kernel``. No gradient flows into them.
    """
    channel, weights = _chunks(channel), _chunks(weights)
    pixels = ops.cast(ops.size(channel), kernel.dtype)

    @ops.custom_gradient
    def mean_loss(features, kernel, bias):
        def add_chunk(total, x, channel, weights):
            logits = _logits(x, kernel, bias)
            per_pixel = ops.sparse_categorical_crossentropy(channel, logits, from_logits=True)
            return total + ops.sum(weights * per_pixel), None

        zero = ops.zeros((), kernel.dtype)
        total, _ = fold(add_chunk, zero, (_chunks(features), channel, weights))

        def gradient(upstream):
            scale = upstream / pixels
            return _gradients(features, kernel, bias, channel, weights * scale)

        return total / pixels, of_upstream(gradient)

    return mean_loss(features, kernel, bias)


def _gradients(features, kernel, bias, channel, weights):
    """Of ``sum(weights * CE)``, by features, kernel and bias."""

    def add_chunk(sums, x, channel, weights):
        of_kernel, of_bias = sums
        slope = _slope(_logits(x, kernel, bias), channel) * ops.expand_dims(weights, -1)
        of_bias = of_bias + ops.sum(slope, axis=0)
        slope = ops.cast(slope, x.dtype)
        product = ops.matmul(ops.transpose(x), slope)
        of_x = ops.matmul(slope, ops.transpose(ops.cast(kernel, x.dtype)))
        return (of_kernel + ops.cast(product, kernel.dtype), of_bias), of_x

    zeros = ops.zeros_like(kernel), ops.zeros_like(bias)
    parts = (_chunks(features), channel, weights)
    (of_kernel, of_bias), of_features = fold(add_chunk, zeros, parts, features.dtype)
    return ops.reshape(of_features, ops.shape(features)), of_kernel, of_bias


def _slope(logits, channel):
    """Gradient of the cross-entropies by the logits: softmax less one-hot."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # In one pass, the same numbers as behind `sparse_categorical_crossentropy`.
        return tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(features=logits, labels=channel)[1]
    return ops.softmax(logits) - ops.one_hot(channel, logits.shape[-1], dtype=logits.dtype)


def head_accuracy(features, kernel, bias, channel):
    """Share of pixels whose largest logit is that of ``channel``, int [B, H, W]: a scalar."""
    channel = _chunks(channel)

    def add_chunk(total, x, channel):
        found = ops.argmax(_logits(x, kernel, bias), axis=-1)
        hits = ops.equal(found, ops.cast(channel, found.dtype))
        return total + ops.sum(ops.cast(hits, kernel.dtype)), None

    zero = ops.zeros((), kernel.dtype)
    total, _ = fold(add_chunk, zero, (_chunks(ops.stop_gradient(features)), channel))
    return total / ops.cast(ops.size(channel), kernel.dtype)


def head_labelmix_loss(features_of_mix, mask, features_real, features_fake, kernel):
    """``labelmix_loss`` of logits with the same head: a scalar in the dtype of ``kernel``.

    The mask's parts add up to 1, so the bias drops out of the difference of logits. What is left is
    ``d @ kernel`` with the mixed difference d of features, and the sum of its squares is
    ``d^T (kernel kernel^T) d``.

    Args:
        features_of_mix, features_real, features_fake: float [B, H, W, C].
        mask: float [B, H, W, 1], 1 where the mixed image is real.
        kernel: float [C, M].
    """
    of_mix, real, fake, mask = (
        ops.cast(x, kernel.dtype) for x in (features_of_mix, features_real, features_fake, mask)
    )
    difference = of_mix - (mask * real + (1 - mask) * fake)
    gram = ops.matmul(kernel, ops.transpose(kernel))
    squares = ops.sum(ops.matmul(difference, gram) * difference, axis=-1)
    return ops.mean(squares) / kernel.shape[-1]


def _logits(x, kernel, bias):
    """Logits of one chunk in the dtype of the losses, computed in that of the features."""
    logits = ops.matmul(x, ops.cast(kernel, x.dtype)) + ops.cast(bias, x.dtype)
    return ops.cast(logits, kernel.dtype)


def _chunks(x):
    """[B, H, W, ...] as [chunks, pixels, ...]; the parts of an image are equally large."""
    _, height, width, *channels = x.shape
    parts = next(n for n in range(1, height * width + 1)
                 if height * width % n == 0 and height * width <= n * CHUNK_PIXELS)  # fmt: skip
    return ops.reshape(x, (-1, height * width // parts, *channels))
