"""Changes of resolution by 2, alone and joined with a convolution.

A convolution beside a change of resolution repeats work: behind nearest upsampling, pixels that are
equal by construction are multiplied apart; before average pooling, four products are computed where
their mean is wanted. Both joined forms are one 2x2 convolution at the low resolution, with 16 taps
per low-resolution pixel instead of 36:

* *Pooled.* ``pool(conv(x, K))`` averages four shifts of K: a 4x4 kernel ``K4`` of stride 2. Its
  windows start at odd rows and columns, so after padding by 1 they are made of 2x2 whole blocks of
  2x2 pixels: space to depth, then a 2x2 convolution.
* *Upsampled.* ``conv(up(x), K)`` is the transpose of that: a 2x2 convolution that paints, between
  every four low-resolution pixels, a block of 2x2 pixels with the taps of ``K4``; depth to space,
  then the border of 1 is cut off. (Along one axis, the pixel behind the middle sees its left
  neighbour through K0 and its right one, twice, through K1 + K2; the one before it through K0 + K1
  and K2. That is ``K4 = K0, K0 + K1, K1 + K2, K2``.)

Zero padding agrees: padding by 1 stands where the 3x3 convolution pads, and upsampling a padded map
is padding (by 2) an upsampled one.

*Strided* convolutions become such 2x2 convolutions of blocks too, 3x3 kernels with a row and a
column of zeros in front: gradients of strided ones have no fast bfloat16 kernel on CPU.
"""

from keras import ops

from oasis_tf.layers.gradients import of_upstream

# Below this side (in high-resolution pixels), summing and sorting the kernel costs more than fewer
# multiplications save: measured with the widths of the discriminator.
_SMALLEST_SIDE = 32


@ops.custom_gradient
def upsample(x):
    """Nearest-neighbour upsampling by 2: [B, H, W, C] -> [B, 2H, 2W, C]."""
    # The gradient is the sum over the four copies.
    return _copies_of_4(x), of_upstream(lambda upstream: average_pool(upstream) * 4)


def _copies_of_4(x):
    batch, height, width, channels = ops.shape(x)
    # Copies beside and below: quick in both directions, for static and dynamic sizes, and under XLA
    # (which has no gradient of TensorFlow's resize; that of `repeat` is several times slower).
    wide = ops.reshape(ops.concatenate([x, x], axis=3), (batch, height, 1, 2 * width, channels))
    return ops.reshape(
        ops.concatenate([wide, wide], axis=2), (batch, 2 * height, 2 * width, channels)
    )


def average_pool(x):
    """Mean over 2x2 windows: [B, H, W, C] -> [B, H/2, W/2, C]."""
    return ops.average_pool(x, 2, strides=2, data_format="channels_last")


def smooth_half(x):
    """Mean over 3x3 windows around every second pixel, from the first on.

    [B, H, W, C] -> [B, H', W', C]; sides are halved, rounded up. What lies outside the image does
    not count. Nearest downsampling by 2 keeps the pixels that the windows are centred on.
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
    """The way back: [B, H, W, 4C] -> [B, 2H, 2W, C]."""
    batch, height, width, channels = ops.shape(x)
    x = ops.reshape(x, (batch, height, width, 2, 2, channels // 4))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (batch, 2 * height, 2 * width, channels // 4))


def conv(x, kernel):
    """Convolution, stride 1, zero padding of k // 2 on every side; ``kernel`` [k, k, C, F].

    Odd kernels keep the size, even ones add one row and one column.
    """
    if kernel.shape[0] % 2 == 0:
        return _conv_valid(_pad(x, kernel.shape[0] // 2), kernel)
    return ops.conv(x, kernel, strides=1, padding="same", data_format="channels_last")


def strided_conv(x, kernel):
    """Every second row and column of ``conv(x, kernel)`` from the first on.

    Args:
        x: float [B, H, W, C]; kernel: float [k, k, C, F] with k 3 or 4.

    Returns:
        [B, H', W', F]: sides are halved, rounded up, by 3x3 kernels, and half a side, rounded down,
        plus 1 by 4x4 kernels.
    """
    size, channels, filters = kernel.shape[0], *kernel.shape[2:]
    if size == 3:
        kernel = ops.pad(kernel, ((1, 0), (1, 0), (0, 0), (0, 0)))
    # Windows start two pixels in front of every second one, and end with a block of two.
    behind = [2 * strided_size(side, size) - side for side in ops.shape(x)[1:3]]
    x = ops.pad(x, ((0, 0), *((2, pixels) for pixels in behind), (0, 0)))
    blocks = ops.reshape(_blocks_of_2(kernel), (2, 2, 4 * channels, filters))
    return _conv_valid(space_to_depth(x), blocks)


def strided_size(side, kernel_size):
    """Rows or columns that ``strided_conv`` makes of ``side`` ones."""
    return (side + 2 * (kernel_size // 2) - kernel_size) // 2 + 1


def conv_average_pool(x, kernel):
    """``average_pool(conv(x, kernel))`` for a 3x3 kernel: [B, H, W, C] -> [B, H/2, W/2, F].

    Sides that are known only at run time must be even.
    """
    odd = any(side is not None and side % 2 for side in x.shape[1:3])  # no whole blocks
    if odd or not _worth_joining(x, scale=1):
        return average_pool(conv(x, kernel))
    channels, filters = kernel.shape[2:]
    blocks = _blocks_of_2(_summed_shifts(kernel) / 4)
    blocks = ops.reshape(blocks, (2, 2, 4 * channels, filters))
    return _conv_valid(space_to_depth(_pad(x)), blocks)


def upsample_conv(x, kernel):
    """``conv(upsample(x), kernel)`` for a 3x3 kernel: [B, H, W, C] -> [B, 2H, 2W, F]."""
    if not _worth_joining(x, scale=2):
        return conv(upsample(x), kernel)
    channels, filters = kernel.shape[2:]
    # A block's first row lies above its second, so it takes the later tap of either neighbour.
    blocks = ops.flip(_blocks_of_2(_summed_shifts(kernel)), (2, 3))
    blocks = ops.transpose(blocks, (0, 1, 4, 2, 3, 5))
    blocks = ops.reshape(blocks, (2, 2, channels, 4 * filters))
    y = depth_to_space(_conv_valid(_pad(x), blocks))
    # `slice`, whose gradient is padding: that of `y[:, 1:-1, 1:-1]` is several times slower.
    batch, height, width, _ = ops.shape(y)
    return ops.slice(y, (0, 1, 1, 0), (batch, height - 2, width - 2, filters))


def _worth_joining(x, scale):
    sides = [side for side in x.shape[1:3] if side is not None]
    return all(side * scale >= _SMALLEST_SIDE for side in sides)


def _summed_shifts(kernel):
    """Sum of the four placements of a 3x3 kernel in a 4x4 one."""
    rows = ops.pad(kernel, ((0, 1), (0, 0), (0, 0), (0, 0)))
    rows = rows + ops.pad(kernel, ((1, 0), (0, 0), (0, 0), (0, 0)))
    columns = ops.pad(rows, ((0, 0), (0, 1), (0, 0), (0, 0)))
    return columns + ops.pad(rows, ((0, 0), (1, 0), (0, 0), (0, 0)))


def _blocks_of_2(kernel):
    """[4, 4, C, F] -> [2, 2, 2, 2, C, F]: the block's place, then the place in the block."""
    kernel = ops.reshape(kernel, (2, 2, 2, 2, *kernel.shape[2:]))
    return ops.transpose(kernel, (0, 2, 1, 3, 4, 5))


def _pad(x, margin=1):
    return ops.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))


def _conv_valid(x, kernel):
    return ops.conv(x, kernel, strides=1, padding="valid", data_format="channels_last")
