"""The discriminator as a segmenter, with folded weights.

Outside training, spectral norm divides by a constant: ``W / (u^T W v)`` is stored, u and v are not.
``logits`` is a pure function of such weights, for fixed and dynamic sizes. It gives what the
discriminator gives, to rounding. ``SegmentationEngine`` applies it to one image at a time or to a
whole batch (``engine``).
"""

import tensorflow as tf

from oasis_tf.layers import resampling
from oasis_tf.layers.activation import LEAKY_SLOPE
from oasis_tf.systems.oasis.inference.engine import Engine, per_image, whole_batches
from oasis_tf.systems.oasis.losses import FAKE


class SegmentationEngine(Engine):
    """Segments with a snapshot of a discriminator's weights.

    Args:
        discriminator: ``Discriminator``.
        has_unknown: bool, whether model id 0 is the unknown label, which is never given.
        dtype: str, type of the convolutions, default the discriminator's compute dtype.
        batching: as in ``Engine``.
    """

    def __init__(self, discriminator, has_unknown, dtype=None, batching=None):
        super().__init__(discriminator, folded_discriminator, dtype, batching)
        self._first = int(has_unknown)
        image = tf.TensorSpec([None, None, None, 3], discriminator.variable_dtype)
        if self.batching == "dense":
            self._segment = whole_batches(self._segment_all, [image])
            return
        results = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None, None], tf.float32)
        self._segment = per_image(self._segment_one, [image], results)

    def __call__(self, image):
        """Label maps and the probability of "fake", by the weights of the last ``refresh``.

        Args:
            image: float [B, H, W, 3] in [-1, 1], sides divisible by ``size_multiple``.

        Returns:
            int32 [B, H, W], the likeliest known class in model ids; and float32 [B, H, W], the
            probability of "fake" (softmax over all N + 1 channels, ICLR 2021, sec. 3.1).

        Raises:
            ValueError: sizes that do not divide, or no image.
        """
        image = tf.cast(image, self._network.variable_dtype)
        self._network.check_inputs(image)
        return self._segment(image)

    def _segment_one(self, image):
        return tuple(part[0] for part in self._segment_all(image[None]))

    def _segment_all(self, image):
        found = logits(self.weights, image)
        fake = tf.cast(tf.nn.softmax(found)[..., FAKE], tf.float32)
        return known_argmax(found, self._first), fake


def known_argmax(logits, first):
    """Likeliest class of a pixel among those from ``first``: [..., N + 1] to int32 [...]."""
    return tf.argmax(logits[..., first + 1 :], axis=-1, output_type=tf.int32) + first


def folded_discriminator(discriminator, dtype):
    """Weights by name, in ``dtype``: kernels ``W / sigma`` and biases.

    ``down_I`` and ``up_I`` have ``conv_0``, ``conv_1`` and, where the widths differ, ``conv_s``;
    ``to_logits`` follows, whose bias stays in the variable dtype.
    """
    weights = {}
    for block in (*discriminator.down_blocks, *discriminator.up_blocks):
        for conv in (block.conv_0, block.conv_1, block.conv_s):
            if conv is not None:
                name = f"{block.name}/{conv.name}"
                _, _, sigma = conv.stored_norm()
                weights[f"{name}/kernel"] = tf.cast(conv.kernel / sigma, dtype)
                weights[f"{name}/bias"] = tf.cast(conv.bias, dtype)
    last = discriminator.to_logits
    kernel, bias = (tf.convert_to_tensor(part.value) for part in (last.kernel, last.bias))
    return weights | {"to_logits/kernel": tf.cast(kernel, dtype), "to_logits/bias": bias}


def logits(weights, image):
    """What ``Discriminator`` gives outside training.

    Args:
        weights: dict of tensors or variables, as ``folded_discriminator`` gives them.
        image: float [B, H, W, 3] in [-1, 1]; H and W divisible by 2 to the number of down blocks.
            Sizes may be static or dynamic.

    Returns:
        [B, H, W, N + 1] in the dtype of ``to_logits/bias``.
    """
    depth = sum(name.startswith("down_") and name.endswith("conv_0/kernel") for name in weights)
    x, skips = tf.cast(image, weights["to_logits/kernel"].dtype), []
    for index in range(depth):
        x = _down_block(_Block(weights, f"down_{index}"), x, first=index == 0)
        skips.append(x)
    x = _up_block(_Block(weights, "up_0"), skips.pop())
    for index in range(1, depth):
        x = _up_block(_Block(weights, f"up_{index}"), tf.concat([skips.pop(), x], axis=-1))
    x = tf.nn.conv2d(x, weights["to_logits/kernel"], 1, "SAME")
    bias = tf.convert_to_tensor(weights["to_logits/bias"])
    return tf.nn.bias_add(tf.cast(x, bias.dtype), bias)


def _down_block(block, x, first):
    y = block.conv("conv_0", x if first else _activated(x))
    y = block.conv("conv_1", _activated(y), resampling.conv_average_pool)
    return y + block.shortcut(resampling.average_pool(x))


def _up_block(block, x):
    y = block.conv("conv_0", _activated(x), resampling.upsample_conv)
    y = block.conv("conv_1", _activated(y))
    return y + resampling.upsample(block.shortcut(x))


def _activated(x):
    return tf.nn.leaky_relu(x, LEAKY_SLOPE)


class _Block:
    """The convolutions of a block."""

    def __init__(self, weights, name):
        self._weights, self._name = weights, name

    def conv(self, name, x, convolve=resampling.conv):
        kernel, bias = (self._weights[f"{self._name}/{name}/{p}"] for p in ("kernel", "bias"))
        return tf.nn.bias_add(convolve(x, tf.convert_to_tensor(kernel)), bias)

    def shortcut(self, x):
        whole = f"{self._name}/conv_s/kernel" not in self._weights
        return x if whole else self.conv("conv_s", x)
