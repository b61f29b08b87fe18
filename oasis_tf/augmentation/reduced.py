"""The reduced pipe: zoom, crop or rotation, flip, and mirrored shifts.

All but the rotation change rows and columns apart. So they are products of one matrix for the rows
and one for the columns, with the resizing of small scales to the full size and back: small matrices
at every scale, and no image of full size for the small ones.
"""

import math
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import ops

from oasis_tf import randomness
from oasis_tf.augmentation import sampling

_ZOOM = 2
_MOST_DEGREES = 8.0
_KEPT = 0.8  # of both sides, after a rotation
_LEAST_CROP = 0.75
_SHIFTS = (0.05, 0.3)


class ReducedDraws(NamedTuple):
    """What is drawn once for a batch: switches for all of it, places for every sample.

    Attributes:
        zoom, crop, rotate, flip, shift_down, shift_right: bool scalars, which transforms act;
            at most one of ``crop`` and ``rotate``.
        zoom_top, zoom_left: int [B], place of the zoomed crop, in pixels of twice the size.
        crop_height, crop_width: int scalars. crop_top, crop_left: int [B].
        angle: float [B], in degrees.
        down, right: float [B], shares of the sides, negative for up and left.
    """

    zoom: Any = False
    crop: Any = False
    rotate: Any = False
    flip: Any = False
    shift_down: Any = False
    shift_right: Any = False
    zoom_top: Any = 0
    zoom_left: Any = 0
    crop_height: Any = 0
    crop_width: Any = 0
    crop_top: Any = 0
    crop_left: Any = 0
    angle: Any = 0.0
    down: Any = 0.0
    right: Any = 0.0


def draw(key, batch, height, width, probability):
    """``ReducedDraws`` for images of a size.

    Args:
        key: key of ``oasis_tf.randomness``.
        batch: int, rows of the global batch.
        height, width: ints, the full size.
        probability: float, of each transform; half of it of the zoom.
    """
    coins = randomness.uniform(randomness.folded(key, 0), [7])
    shares = randomness.uniform(randomness.folded(key, 1), [9, batch])
    on = coins[:5] < probability * tf.constant([0.5, 1, 1, 1, 1])
    crop = coins[5] < 0.5
    share = _LEAST_CROP + (1 - _LEAST_CROP) * coins[6]
    crop_height, crop_width = (tf.cast(share * side, tf.int32) for side in (height, width))

    def place(row, most):
        return tf.cast(shares[row] * tf.cast(most + 1, tf.float32), tf.int32)

    def shift(row):
        low, high = _SHIFTS
        return (low + (high - low) * shares[row]) * tf.where(shares[row + 1] < 0.5, 1.0, -1.0)

    return ReducedDraws(
        zoom=on[0],
        crop=on[1] & crop,
        rotate=on[1] & ~crop,
        flip=on[2],
        shift_down=on[3],
        shift_right=on[4],
        zoom_top=place(0, height),
        zoom_left=place(1, width),
        crop_height=crop_height,
        crop_width=crop_width,
        crop_top=place(2, height - crop_height),
        crop_left=place(3, width - crop_width),
        angle=_MOST_DEGREES * (2 * shares[4] - 1),
        down=shift(5),
        right=shift(7),
    )


def apply(draws, images, mask=None, label_map=None, blur=True):
    """Images, a soft mask and a label map after the transforms.

    Args:
        draws: ``ReducedDraws`` of these samples.
        images: float [B, h, w, C] at all scales, smallest first; the last has the full size, of
            which the others are powers of two smaller.
        mask: float [B, H, W, N], which is treated as the image; or None.
        label_map: int [B, H, W], the nearest pixel is taken; or None. What comes from outside the
            image, after a rotation, is 0.
        blur: bool, whether small scales pass through the full size where nothing is drawn.

    Returns:
        (images, mask, label_map) of the same sizes.
    """
    full = images[-1]
    height, width = full.shape[1:3]
    dtype = keras.backend.standardize_dtype(full.dtype)
    rows, columns = _rows(draws, height, dtype), _columns(draws, width, dtype)
    stack = [*images, *(() if mask is None else (ops.cast(mask, dtype),))]

    def apart():
        return [_apart(x, rows, columns) for x in stack], _moved(label_map, rows, columns)

    def rotated():
        kept = [_rotated(x, rows, columns, draws.angle) for x in stack]
        return kept, _moved(label_map, rows, columns, draws.angle)

    if draws.rotate is False:
        changed, moved = apart()
    else:
        changed, moved = ops.cond(draws.rotate, rotated, apart)
    if not blur:
        any_on = draws.zoom | draws.crop | draws.rotate | draws.flip
        any_on = any_on | draws.shift_down | draws.shift_right
        changed = [ops.where(any_on, y, x) for x, y in zip(stack, changed, strict=True)]
    moved = None if label_map is None else moved
    return changed[: len(images)], None if mask is None else changed[-1], moved


# === Rows and columns ===


class _Axis(NamedTuple):
    """Coordinates along an axis, [B, size] each; a later one refers to the result of the earlier.

    Attributes:
        size: int.
        zoomed: of the zoom.
        cropped: of crop, flip and shift, counted from ``first``, int [B].
    """

    size: int
    zoomed: Any
    cropped: Any
    first: Any


def _rows(draws, height, dtype):
    shift = ops.where(draws.shift_down, draws.down, ops.zeros_like(draws.down))
    crop = (draws.crop_height, draws.crop_top)
    return _axis(height, draws, draws.zoom_top, crop, False, shift, dtype)


def _columns(draws, width, dtype):
    shift = ops.where(draws.shift_right, draws.right, ops.zeros_like(draws.right))
    crop = (draws.crop_width, draws.crop_left)
    return _axis(width, draws, draws.zoom_left, crop, draws.flip, shift, dtype)


def _axis(size, draws, zoom_first, crop, flip, shift, dtype):
    entries = ops.arange(size, dtype=dtype)[None]
    zoomed = (entries + _column(zoom_first, dtype) + 0.5) / _ZOOM - 0.5
    zoomed = ops.where(draws.zoom, sampling.clamped(zoomed, size), entries)
    # What is shown at an entry after the shift and the flip, which are exact.
    shown = _shifted(entries, size, shift, dtype)
    shown = ops.where(flip, size - 1 - shown, shown)
    kept = int(_KEPT * size)
    length = ops.where(draws.rotate, kept, ops.where(draws.crop, crop[0], size))
    first = ops.where(draws.rotate, (size - kept) // 2, ops.where(draws.crop, crop[1], 0))
    length = ops.cast(length, dtype)
    cropped = sampling.clamped((length / size) * (shown + 0.5) - 0.5, length)
    return _Axis(size, zoomed, cropped, ops.cast(first, "int32"))


def _column(values, dtype):
    return ops.reshape(ops.cast(values, dtype), (-1, 1))


def _shifted(entries, size, share, dtype):
    """Entries [B, size] that a mirrored shift by a share of the size shows."""
    share = _column(share, dtype)
    margin = ops.floor(ops.abs(share) * size)
    forward = ops.where(share < 0, size - 1 - entries, entries)
    source = ops.where(forward >= margin, forward - margin, margin - 1 - forward)
    return ops.where(share < 0, size - 1 - source, source)


def _matrix(axis, size):
    """The matrix [B, size, size] of an axis of a scale, through the full size."""
    dtype, full = axis.zoomed.dtype, axis.size
    change = ops.matmul(_after(axis), _before(axis))
    if size == full:
        return change
    down, up = (sampling.resize_matrix(*sizes, dtype) for sizes in ((full, size), (size, full)))
    return ops.matmul(down, ops.matmul(change, up))


def _before(axis):
    return sampling.interpolation(axis.zoomed, axis.size)


def _after(axis):
    return sampling.interpolation(axis.cropped, axis.size, axis.first)


def _apart(x, rows, columns):
    return sampling.resampled(x, _matrix(rows, x.shape[1]), _matrix(columns, x.shape[2]))


# === Rotation ===


def _rotated(x, rows, columns, angle):
    """Zoom at full size, rotation, then the rest, at the scale of ``x``."""
    dtype, sizes = x.dtype, x.shape[1:3]
    axes = (rows, columns)
    up = [sampling.resize_matrix(s, axis.size, dtype) for s, axis in zip(sizes, axes, strict=True)]
    down = [
        sampling.resize_matrix(axis.size, s, dtype) for s, axis in zip(sizes, axes, strict=True)
    ]
    before = [ops.matmul(_before(axis), m) for axis, m in zip(axes, up, strict=True)]
    after = [ops.matmul(m, _after(axis)) for axis, m in zip(axes, down, strict=True)]
    full = sampling.resampled(x, *before)
    places = _turned(rows.size, columns.size, angle, dtype)
    return sampling.resampled(sampling.sampled(full, *places), *after)


def _turned(height, width, angle, dtype):
    """(rows, columns), float [B, H, W], of what a rotation about the centre shows."""
    radians = ops.reshape(ops.cast(angle, dtype), (-1, 1, 1)) * (math.pi / 180)
    y = ops.reshape(ops.arange(height, dtype=dtype) - (height - 1) / 2, (1, -1, 1))
    x = ops.reshape(ops.arange(width, dtype=dtype) - (width - 1) / 2, (1, 1, -1))
    cosine, sine = ops.cos(radians), ops.sin(radians)
    return y * cosine + x * sine + (height - 1) / 2, x * cosine - y * sine + (width - 1) / 2


# === Label maps ===


def _moved(label_map, rows, columns, angle=None):
    """A label map at the nearest pixels, by the same steps."""
    if label_map is None:
        return ()
    x = _taken(label_map[..., None], rows.zoomed, columns.zoomed)
    if angle is not None:
        places = _turned(rows.size, columns.size, angle, rows.zoomed.dtype)
        x = sampling.gathered(x, *(ops.cast(ops.round(p), "int32") for p in places))
    after = (a.cropped + _column(a.first, a.cropped.dtype) for a in (rows, columns))
    return _taken(x, *after)[..., 0]


def _taken(x, rows, columns):
    batch = ops.shape(x)[0]
    rows, columns = (ops.cast(ops.round(c), "int32") for c in (rows, columns))
    shape = (batch, rows.shape[1], columns.shape[1])
    return sampling.gathered(
        x,
        ops.broadcast_to(rows[:, :, None], shape),
        ops.broadcast_to(columns[:, None, :], shape),
    )
