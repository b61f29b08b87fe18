"""SPADE scale and shift from label map and noise: per pixel, or per distinct neighbourhood."""

import keras
from keras import ops

from oasis_tf.layers.compiled_parts import part
from oasis_tf.layers.label_conv import shared_label_conv, split_channels
from oasis_tf.layers.lookup import scale_and_shift
from oasis_tf.layers.patterns import find_patterns, hidden_table, modulation_table
from oasis_tf.layers.resampling import conv


def modulations(norms, label_map, noise, dense=False):
    """Modulation functions of several SPADE norms, from one pass over the label map.

    Args:
        norms: built ``SPADEModulation`` layers with equal ``num_classes`` and ``noise_channels``.
        label_map: int [B, H, W]; noise: float [B, Z] or [B, H, W, Z] or None.
        dense: bool. True computes every pixel separately, even where neighbourhoods repeat.

    Returns:
        list of functions ``modulate(x, affine=None)``, one per norm, that return
        ``x_normalised * (1 + gamma) + beta``. ``affine`` is the result of ``BatchNorm.affine``;
        without it, ``x`` must be normalised already.
    """
    spatial = noise is not None and len(noise.shape) == 4
    if dense or spatial or keras.backend.backend() != "tensorflow":
        return _dense_modulations(norms, label_map, noise)
    return _shared_modulations(norms, label_map, noise)


class _DenseModulation:
    """Scale and shift [B, H, W, C] of every pixel."""

    def __init__(self, norm, hidden):
        self._norm, self._hidden = norm, hidden

    def __call__(self, x, affine=None):
        norm = self._norm
        kernel, bias = (ops.cast(part, norm.compute_dtype) for part in norm.kernel_and_bias())
        scale, shift = ops.split(conv(ops.relu(self._hidden), kernel) + bias, 2, axis=-1)
        if affine is not None:
            x = ops.cast(x, norm.variable_dtype) * affine[0] + affine[1]
        return ops.cast(x, norm.compute_dtype) * scale + shift


def _dense_modulations(norms, label_map, noise):
    convs = [norm.shared for norm in norms]
    hidden = part(lambda: shared_label_conv(convs, label_map, noise), *convs)
    return [_DenseModulation(norm, part) for norm, part in zip(norms, hidden, strict=True)]


class _SharedModulation:
    """Scale and shift [P, C] of every distinct neighbourhood, looked up by every pixel.

    The normalisation is folded into them: one multiplication and one addition per pixel.
    """

    def __init__(self, norm, hidden, patterns):
        self._norm, self._index = norm, patterns.index
        kernel, bias = norm.kernel_and_bias()
        table = modulation_table(hidden, patterns, ops.cast(kernel, norm.compute_dtype))
        self._scale, self._shift = ops.split(ops.cast(table, bias.dtype) + bias, 2, axis=-1)

    def __call__(self, x, affine=None):
        scale, shift = self._scale, self._shift
        if affine is not None:
            scale, shift = scale * affine[0], scale * affine[1] + shift
        scale, shift = (ops.cast(part, self._norm.compute_dtype) for part in (scale, shift))
        return scale_and_shift(ops.cast(x, scale.dtype), scale, shift, self._index)


def _shared_modulations(norms, label_map, noise):
    # Without noise, neighbourhoods are shared between images too.
    images = ops.shape(label_map)[0] if noise is not None else 1
    noise_index = ops.reshape(ops.arange(images, dtype="int32"), (-1, 1, 1))
    patterns = find_patterns(label_map, noise_index)
    convs = [norm.shared for norm in norms]
    kernels, biases = [conv.kernel for conv in convs], [conv.bias for conv in convs]
    hidden = hidden_table(kernels, biases, convs[0].noise_channels, patterns, noise)
    parts = split_channels(hidden, [norm.hidden_channels for norm in norms])
    return [
        _SharedModulation(norm, part, patterns) for norm, part in zip(norms, parts, strict=True)
    ]
