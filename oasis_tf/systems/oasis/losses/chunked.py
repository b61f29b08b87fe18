"""Losses computed from features, without a full map of logits.

A segmenting discriminator ends in a 1x1 convolution from C features (64) to N + 1 logits per pixel.
With the 1204 classes of LVIS a map of logits takes 19 times the memory of the features, and a
training step holds several maps. Here the losses are computed from the features. Cross-entropies
are computed for one chunk of pixels at a time and recomputed for the gradient. The squared distance
of LabelMix has a closed form: a quadratic form of the difference of features. Up to rounding, the
results equal those of full maps of logits.
"""

import dataclasses
from typing import Any

import keras
from keras import ops

from oasis_tf.layers.chunks import fold
from oasis_tf.layers.gradients import of_upstream

# Number of pixels whose logits exist at a time: 20 MB in float32 with 1205 channels.
CHUNK_PIXELS = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class ChunkedLogits:
    """Logits ``features @ kernel + bias`` that are not computed yet.

    Attributes:
        features: float [B, H, W, C], in the dtype of the computation; H and W are static.
        kernel: float [C, M].
        bias: float [M]. The losses have the dtype of ``kernel`` and ``bias``.
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
    """``mean(weights * CE(features @ kernel + bias, channel))``: scalar, in the dtype of kernel.

    Args:
        features, kernel, bias: as in ``ChunkedLogits``.
        channel: int [B, H, W], the target channels in 0..M-1.
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
    """Gradients of ``sum(weights * CE)`` with respect to features, kernel and bias."""

    def add_chunk(sums, x, channel, weights):
        grad_kernel, grad_bias = sums
        grad = _logit_gradient(_logits(x, kernel, bias), channel) * ops.expand_dims(weights, -1)
        grad_bias = grad_bias + ops.sum(grad, axis=0)
        grad = ops.cast(grad, x.dtype)
        product = ops.matmul(ops.transpose(x), grad)
        grad_x = ops.matmul(grad, ops.transpose(ops.cast(kernel, x.dtype)))
        return (grad_kernel + ops.cast(product, kernel.dtype), grad_bias), grad_x

    zeros = ops.zeros_like(kernel), ops.zeros_like(bias)
    parts = (_chunks(features), channel, weights)
    (grad_kernel, grad_bias), grad_features = fold(add_chunk, zeros, parts, features.dtype)
    return ops.reshape(grad_features, ops.shape(features)), grad_kernel, grad_bias


def _logit_gradient(logits, channel):
    """Gradient of the cross-entropies with respect to the logits: softmax minus one-hot."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # One pass, with the same numbers as the gradient of `sparse_categorical_crossentropy`.
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

    The weights of the mix sum to 1, so the bias cancels in the difference of logits. With d the
    features of the mixed image minus the mixed features, this difference is ``d @ kernel``, and the
    sum of its squares is ``d^T (kernel kernel^T) d``.

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
    """Logits of one chunk, computed in the dtype of the features, cast to that of the losses."""
    logits = ops.matmul(x, ops.cast(kernel, x.dtype)) + ops.cast(bias, x.dtype)
    return ops.cast(logits, kernel.dtype)


def _chunks(x):
    """[B, H, W, ...] -> [chunks, pixels, ...]: equal parts of at most CHUNK_PIXELS per image."""
    _, height, width, *channels = x.shape
    parts = next(n for n in range(1, height * width + 1)
                 if height * width % n == 0 and height * width <= n * CHUNK_PIXELS)  # fmt: skip
    return ops.reshape(x, (-1, height * width // parts, *channels))
