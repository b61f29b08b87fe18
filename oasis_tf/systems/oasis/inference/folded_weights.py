"""The weights of a generator, folded for its inference engine (see ``generator_engine``)."""

import tensorflow as tf


def folded_weights(generator, dtype):
    """All weights that inference needs, by name.

    Kernels of convolutions and their biases are in ``dtype``, all others in the variable dtype.
    Label kernels: ``stem`` and ``block_I/shared`` (of the block's norms 0, 1, s in this order).
    A generator with a latent stem has ``latent_stem`` with a kernel [L, h, w, C] instead of
    ``stem``. Convolutions: ``block_I/norm_J`` (scale and shift), ``block_I/conv_J``, ``to_rgb``.
    """
    # The mean that is subtracted from the input of each block; none from the last output.
    means = [*(_mean(block.batch_norm_0) for block in generator.blocks), 0]
    weights = _folded_stem(generator, means[0])
    for index, block in enumerate(generator.blocks):
        folded = _folded_block(block, means[index], means[index + 1], dtype)
        weights |= {f"block_{index}/{name}": value for name, value in folded.items()}
    kernel = tf.cast(generator.to_rgb.kernel, dtype)
    return weights | _named("to_rgb", kernel, generator.to_rgb.bias)


def _folded_stem(generator, mean):
    """Weights that give the first features minus ``mean``."""
    stem = generator.stem
    if not generator.latent_stem:
        return _named("stem", stem.kernel, stem.bias - mean)
    shape = [*generator.start_size, generator.blocks[0].in_channels]
    kernel = tf.reshape(stem.kernel, [generator.latent_channels, *shape])
    return _named("latent_stem", kernel, tf.reshape(stem.bias, shape) - mean)


def _folded_block(block, mean_before, mean_after, dtype):
    """Weights of a block that takes x - ``mean_before`` and gives its output - ``mean_after``."""
    norms = {"norm_0": block.batch_norm_0, "norm_1": block.batch_norm_1}
    norms |= {"norm_s": block.batch_norm_0} if block.learned_shortcut else {}
    shared = [getattr(block, name).shared for name in norms]
    kernel = tf.concat([tf.convert_to_tensor(conv.kernel) for conv in shared], axis=-1)
    weights = _named("shared", kernel, tf.concat([conv.bias + 0 for conv in shared], axis=0))
    for name, batch_norm in norms.items():
        kernel, bias = _folded_norm(getattr(block, name), batch_norm)
        weights |= _named(name, tf.cast(kernel, dtype), bias)
    bias_0 = block.conv_0.bias - _mean(block.batch_norm_1)
    weights |= _named("conv_0", _kernel(block.conv_0), bias_0, dtype)
    bias_1 = block.conv_1.bias - mean_after
    if block.learned_shortcut:
        weights |= _named("conv_s", _kernel(block.conv_s), None, dtype)
    else:
        bias_1 += mean_before
    return weights | _named("conv_1", _kernel(block.conv_1), bias_1, dtype)


def _folded_norm(norm, batch_norm):
    """Kernel [3, 3, hidden, 2C] and bias [2C] that give scale and shift of centred features."""
    rstd, _ = batch_norm.affine(None, training=False)
    factor = tf.concat([rstd, tf.ones_like(rstd)], axis=0)
    return tuple(part * factor for part in norm.kernel_and_bias())


def _mean(batch_norm):
    mean, _ = batch_norm.moments(None, training=False)
    return mean


def _kernel(conv):
    _, _, sigma = conv.stored_norm()
    return conv.kernel / sigma


def _named(name, kernel, bias, dtype=None):
    parts = {f"{name}/kernel": kernel} | ({} if bias is None else {f"{name}/bias": bias})
    return {key: tf.cast(part, dtype or part.dtype) for key, part in parts.items()}
