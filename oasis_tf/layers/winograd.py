"""3x3 convolutions with fewer multiplications (Winograd; Lavin & Gray, CVPR 2016, section 4.1).

F(2x2, 3x3): blocks of 2x2 outputs come from tiles of 4x4 inputs. Tiles and kernels are transformed
by additions, multiplied entry by entry – 16 products of matrices, instead of 36 for four outputs –
and transformed back. Results equal those of the convolution up to rounding.

Gradients of any order are such products again: that by the input is a convolution with the
transposed kernel, that by the kernel a sum of products of tiles. So none is left to TensorFlow's
own gradients of convolutions, which on CPU take up to three times as long as the convolution.
"""

import contextlib
import threading

import keras
from keras import ops

from oasis_tf.layers import resampling
from oasis_tf.layers.by_device import on_gpu
from oasis_tf.layers.fusion import fused
from oasis_tf.layers.gradients import of_upstream

# Below, the transformations cost more than the saved multiplications.
_SMALLEST_SIDE, _FEWEST_CHANNELS = 32, 64

_OF_TILES = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
_OF_KERNELS = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))
_OF_OUTPUTS = ((1, 1, 1, 0), (0, 1, -1, -1))
# A flipped kernel, transformed, is the transformed kernel in this order of rows and columns.
_FLIPPED = (3, 1, 2, 0)

_thread = threading.local()  # every replica has its own


@contextlib.contextmanager
def fewer_products():
    """Within it, and on its thread, ``conv`` multiplies less where that is faster.

    For training: graphs that are exported have the plain convolution.
    """
    before, _thread.used = getattr(_thread, "used", False), True
    try:
        yield
    finally:
        _thread.used = before


def conv(x, kernel):
    """``resampling.conv``, within ``fewer_products`` as ``conv3x3`` where that is faster.

    The batch does not decide.
    """
    return (conv3x3 if _is_faster(x, kernel) else resampling.conv)(x, kernel)


def _is_faster(x, kernel):
    if not getattr(_thread, "used", False) or keras.backend.backend() != "tensorflow" or on_gpu():
        return False
    sides = x.shape[1:3]
    return (
        tuple(kernel.shape[:2]) == (3, 3)
        and None not in x.shape
        and min(sides) >= _SMALLEST_SIDE
        and not any(side % 2 for side in sides)
        and min(kernel.shape[2:]) >= _FEWEST_CHANNELS
        and keras.backend.standardize_dtype(x.dtype) in ("float32", "float64")
    )


def conv3x3(x, kernel):
    """Convolution of stride 1 with zero padding of 1.

    Args:
        x: float [B, H, W, C] of static shape; H and W are even.
        kernel: float [3, 3, C, F].

    Returns:
        [B, H, W, F].
    """

    @ops.custom_gradient
    def convolved(x, kernel):
        def gradient(upstream):
            return _transposed_conv(upstream, kernel), _kernel_gradient(x, upstream)

        return _product(x, kernel), of_upstream(gradient)

    return convolved(x, kernel)


def _transposed_conv(y, kernel):
    """The gradient of ``conv3x3`` by its input, from that by its output."""

    @ops.custom_gradient
    def convolved(y, kernel):
        def gradient(upstream):
            return conv3x3(upstream, kernel), _kernel_gradient(upstream, y)

        return _product(y, kernel, transposed=True), of_upstream(gradient)

    return convolved(y, kernel)


def _kernel_gradient(x, y):
    """The gradient of ``conv3x3`` by its kernel, from its input and the gradient by its output."""

    @ops.custom_gradient
    def summed(x, y):
        def gradient(upstream):
            return _transposed_conv(y, upstream), conv3x3(x, upstream)

        pairs = _pairs(_tiles(x), _spread(y))
        sums = [ops.matmul(ops.transpose(tile), part) for tile, part in pairs]
        return _gathered(*sums), of_upstream(gradient)

    return summed(x, y)


def _product(x, kernel, transposed=False):
    """Convolution of ``x`` with the kernel, or with the transposed one."""
    kernels = _kernels(kernel)
    if transposed:
        kernels = [[ops.transpose(kernels[a][b]) for b in _FLIPPED] for a in _FLIPPED]
    products = [ops.matmul(tile, part) for tile, part in _pairs(_tiles(x), kernels)]
    batch, height, width, _ = x.shape
    shape = batch, height // 2, width // 2, products[0].shape[-1]
    return _outputs(*(ops.reshape(part, shape) for part in products))


# === Transformations ===


def _transformed(grid, matrix):
    """``matrix @ grid @ matrix^T`` of a grid of tensors, a list of rows."""
    rows = [[_sum(factors, column) for column in zip(*grid, strict=True)] for factors in matrix]
    return [[_sum(factors, row) for factors in matrix] for row in rows]


def _sum(factors, tensors):
    total = None
    for factor, tensor in zip(factors, tensors, strict=True):
        if factor:
            term = tensor if factor == 1 else -tensor if factor == -1 else factor * tensor
            total = term if total is None else total + term
    return total


def _pairs(first, second):
    """(tensor, tensor) of two grids, row by row."""
    return [pair for rows in zip(first, second, strict=True) for pair in zip(*rows, strict=True)]


def _grid(parts, side):
    return [parts[k : k + side] for k in range(0, len(parts), side)]


def _blocks(x):
    """The pixels of 2x2 blocks: [B, H, W, C] -> 2x2 grid of [B, H/2, W/2, C]."""
    batch, height, width, channels = x.shape
    x = ops.reshape(x, (batch, height // 2, 2, width // 2, 2, channels))
    return [[x[:, :, a, :, b] for b in (0, 1)] for a in (0, 1)]


@fused
def _tiles(x):
    """Tiles of 4x4 inputs, transformed: 4x4 grid of [B H/2 W/2, C]."""
    blocks = _blocks(ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))))
    height, width = x.shape[1] // 2, x.shape[2] // 2

    def pixels(a, b):
        top, left = a // 2, b // 2
        return blocks[a % 2][b % 2][:, top : top + height, left : left + width]

    grid = _transformed([[pixels(a, b) for b in range(4)] for a in range(4)], _OF_TILES)
    return [[ops.reshape(part, (-1, x.shape[-1])) for part in row] for row in grid]


@fused
def _kernels(kernel):
    """Kernels, transformed: 4x4 grid of [C, F]."""
    return _transformed([[kernel[a, b] for b in range(3)] for a in range(3)], _OF_KERNELS)


@fused
def _outputs(*products):
    """Outputs [B, H, W, F] of 4x4 products [B, H/2, W/2, F]."""
    grid = _transformed(_grid(products, 4), _OF_OUTPUTS)
    x = ops.stack([ops.stack(row, axis=3) for row in grid], axis=2)
    batch, height, _, width, _, filters = x.shape
    return ops.reshape(x, (batch, 2 * height, 2 * width, filters))


@fused
def _spread(y):
    """The transpose of ``_outputs``: [B, H, W, F] -> 4x4 grid of [B H/2 W/2, F]."""
    grid = _transformed(_blocks(y), tuple(zip(*_OF_OUTPUTS, strict=True)))
    return [[ops.reshape(part, (-1, y.shape[-1])) for part in row] for row in grid]


@fused
def _gathered(*sums):
    """The transpose of ``_kernels``: 4x4 of [C, F] -> [3, 3, C, F]."""
    grid = _transformed(_grid(sums, 4), tuple(zip(*_OF_KERNELS, strict=True)))
    return ops.stack([ops.stack(row) for row in grid])
