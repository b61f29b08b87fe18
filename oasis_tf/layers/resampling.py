"""Resampling by 2, alone and combined with a convolution.

Resampling next to a convolution repeats work. After nearest-neighbour upsampling, pixels that are
equal by construction are multiplied separately. Before average pooling, four products are computed
where only their mean is needed. Both combined forms are one 2x2 convolution at the low resolution,
with 16 taps per low-resolution pixel instead of 36:

* *Pooling.* ``pool(conv(x, K))`` averages four shifts of K: a convolution of stride 2 with a 4x4
  kernel ``K4``. Its windows start at odd rows and columns. After padding by 1 each consists of 2x2
  whole blocks of 2x2 pixels, so it is computed as space-to-depth and a 2x2 convolution.
* *Upsampling.* ``conv(up(x), K)`` is the transpose: between every four low-resolution pixels, a 2x2
  convolution with the taps of ``K4`` computes a block of 2x2 pixels; then depth-to-space, and the
  border of 1 is cut off. (Along one axis, let two pixels lie between neighbours L and R of the low
  resolution. The first is ``(K0 + K1) L + K2 R``, the second ``K0 L + (K1 + K2) R``. That is
  ``K4 = K0, K0 + K1, K1 + K2, K2``.)

Zero padding stays exact: for pooling, padding by 1 is the padding of the 3x3 convolution; for
upsampling, an upsampled padded map equals an upsampled map that is padded by 2.

*Strided* convolutions also become 2x2 convolutions of such blocks, because gradients of strided
ones have no fast bfloat16 kernel on CPU. A 3x3 kernel first gets a leading row and column of zeros.
"""

from keras import ops

from oasis_tf.layers.gradients import of_upstream

# Below this side (in high-resolution pixels), rearranging the kernel costs more than the saved
# multiplications: measured with the widths of the discriminator.
_SMALLEST_SIDE = 32


@ops.custom_gradient
def upsample(x):
    """Nearest-neighbour upsampling by 2: [B, H, W, C] -> [B, 2H, 2W, C]."""
    # The gradient is the sum over the four copies.
    return _repeat_2x2(x), of_upstream(lambda upstream: average_pool(upstream) * 4)


def _repeat_2x2(x):
    batch, height, width, channels = ops.shape(x)
    # Concatenation is fast in both passes, for static and dynamic sizes and under XLA. XLA has no
    # gradient of TensorFlow's resize; the gradient of `repeat` is several times slower.
    wide = ops.reshape(ops.concatenate([x, x], axis=3), (batch, height, 1, 2 * width, channels))
    return ops.reshape(
        ops.concatenate([wide, wide], axis=2), (batch, 2 * height, 2 * width, channels)
    )


def average_pool(x):
    """Mean over 2x2 windows: [B, H, W, C] -> [B, H/2, W/2, C]."""
    return ops.average_pool(x, 2, strides=2, data_format="channels_last")


def smooth_half(x):
    """Mean over 3x3 windows around every second pixel, starting with the first.

    [B, H, W, C] -> [B, H', W', C]; sides are halved and rounded up. Pixels outside the image do not
    count. Nearest-neighbour downsampling by 2 keeps the centres of these windows.
    """
    ones = ops.ones_like(x[:1, :, :, :1])
    return _mean_with_margin(x) / _mean_with_margin(ones)


def _mean_with_margin(x):
    """Mean over 3x3 windows around every second pixel, with zeros outside the image."""
    return ops.average_pool(_pad(x), 3, strides=2, padding="valid", data_format="channels_last")


def space_to_depth(x):
    """Blocks of 2x2 pixels as channels: [B, H, W, C] -> [B, H/2, W/2, 4C]."""
    batch, height, width, channels = ops.shape(x)
    x = ops.reshape(x, (batch, height // 2, 2, width // 2, 2, channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (batch, height // 2, width // 2, 4 * channels))


def depth_to_space(x):
    """The inverse of ``space_to_depth``: [B, H, W, 4C] -> [B, 2H, 2W, C]."""
    batch, height, width, channels = ops.shape(x)
    x = ops.reshape(x, (batch, height, width, 2, 2, channels // 4))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (batch, 2 * height, 2 * width, channels // 4))


def conv(x, kernel):
    """Convolution of stride 1, zero padding of k // 2 on every side; ``kernel`` [k, k, C, F].

    Odd kernels keep the size, even kernels add one row and one column.
    """
    if kernel.shape[0] % 2 == 0:
        return _conv_valid(_pad(x, kernel.shape[0] // 2), kernel)
    return ops.conv(x, kernel, strides=1, padding="same", data_format="channels_last")


def strided_conv(x, kernel):
    """Every second row and column of ``conv(x, kernel)``, starting with the first.

    Args:
        x: float [B, H, W, C]; kernel: float [k, k, C, F] with k 3 or 4.

    Returns:
        [B, H', W', F]. H' is ceil(H / 2) for 3x3 kernels and H // 2 + 1 for 4x4 kernels; likewise
        W'.
    """
    size, channels, filters = kernel.shape[0], *kernel.shape[2:]
    if size == 3:
        kernel = ops.pad(kernel, ((1, 0), (1, 0), (0, 0), (0, 0)))
    # Windows start two pixels before every second pixel. The last one must end with a whole block.
    after = [2 * strided_size(side, size) - side for side in ops.shape(x)[1:3]]
    x = ops.pad(x, ((0, 0), *((2, pixels) for pixels in after), (0, 0)))
    blocks = ops.reshape(_blocks_of_2(kernel), (2, 2, 4 * channels, filters))
    return _conv_valid(space_to_depth(x), blocks)


def strided_size(side, kernel_size):
    """Number of rows (columns) that ``strided_conv`` returns for ``side`` rows (columns)."""
    return (side + 2 * (kernel_size // 2) - kernel_size) // 2 + 1


def conv_average_pool(x, kernel):
    """``average_pool(conv(x, kernel))`` for a 3x3 kernel: [B, H, W, C] -> [B, H/2, W/2, F].

    Sides that are known only at run time must be even.
    """
    odd = any(side is not None and side % 2 for side in x.shape[1:3])  # no whole blocks
    if odd or not _worth_combining(x, scale=1):
        return average_pool(conv(x, kernel))
    channels, filters = kernel.shape[2:]
    blocks = _blocks_of_2(_summed_shifts(kernel) / 4)
    blocks = ops.reshape(blocks, (2, 2, 4 * channels, filters))
    return _conv_valid(space_to_depth(_pad(x)), blocks)


def upsample_conv(x, kernel):
    """``conv(upsample(x), kernel)`` for a 3x3 kernel: [B, H, W, C] -> [B, 2H, 2W, F]."""
    if not _worth_combining(x, scale=2):
        return conv(upsample(x), kernel)
    channels, filters = kernel.shape[2:]
    # The first row of a block is above its second, so it uses the later tap of each neighbour.
    blocks = ops.flip(_blocks_of_2(_summed_shifts(kernel)), (2, 3))
    blocks = ops.transpose(blocks, (0, 1, 4, 2, 3, 5))
    blocks = ops.reshape(blocks, (2, 2, channels, 4 * filters))
    y = depth_to_space(_conv_valid(_pad(x), blocks))
    # The gradient of `slice` is padding; that of `y[:, 1:-1, 1:-1]` is several times slower.
    batch, height, width, _ = ops.shape(y)
    return ops.slice(y, (0, 1, 1, 0), (batch, height - 2, width - 2, filters))


def _worth_combining(x, scale):
    sides = [side for side in x.shape[1:3] if side is not None]
    return all(side * scale >= _SMALLEST_SIDE for side in sides)


def _summed_shifts(kernel):
    """Sum of the four shifts of a 3x3 kernel in a 4x4 one."""
    rows = ops.pad(kernel, ((0, 1), (0, 0), (0, 0), (0, 0)))
    rows = rows + ops.pad(kernel, ((1, 0), (0, 0), (0, 0), (0, 0)))
    columns = ops.pad(rows, ((0, 0), (0, 1), (0, 0), (0, 0)))
    return columns + ops.pad(rows, ((0, 0), (1, 0), (0, 0), (0, 0)))


def _blocks_of_2(kernel):
    """[4, 4, C, F] -> [2, 2, 2, 2, C, F]: position of the block, then position in the block."""
    kernel = ops.reshape(kernel, (2, 2, 2, 2, *kernel.shape[2:]))
    return ops.transpose(kernel, (0, 2, 1, 3, 4, 5))


def _pad(x, margin=1):
    return ops.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))


def _conv_valid(x, kernel):
    return ops.conv(x, kernel, strides=1, padding="valid", data_format="channels_last")
