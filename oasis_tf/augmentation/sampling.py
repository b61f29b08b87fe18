"""Resampling by coordinates: rows and columns by matrices, anything else by gathering."""

from keras import ops


def interpolation(coordinates, size, first=0):
    """Matrices [B, n, size] that interpolate linearly between the entries of an axis.

    Args:
        coordinates: float [B, n] or [n], positions counted from entry ``first``.
        size: int, length of the axis.
        first: int or [B], the entry that has coordinate 0.
    """
    entries = ops.arange(size, dtype=coordinates.dtype)
    first = ops.cast(ops.reshape(first, (-1, 1, 1)), coordinates.dtype)
    coordinates = ops.reshape(coordinates, (-1, coordinates.shape[-1], 1))
    return ops.maximum(1 - ops.abs(coordinates - (entries - first)), 0)


def resized_coordinates(size, new_size, dtype):
    """Where the ``new_size`` entries of a resized axis lie, half-pixel centres, inside its ends.

    Args:
        size: int or scalar tensor, length of the axis.
        new_size: int.
        dtype: of the coordinates.
    """
    size = ops.cast(size, dtype)
    return clamped((size / new_size) * (ops.arange(new_size, dtype=dtype) + 0.5) - 0.5, size)


def clamped(coordinates, size):
    """Coordinates inside an axis."""
    return ops.clip(coordinates, 0, ops.cast(size, coordinates.dtype) - 1)


def resize_matrix(size, new_size, dtype):
    """The matrix [1, new_size, size] of bilinear resizing without antialiasing."""
    return interpolation(resized_coordinates(size, new_size, dtype), size)


def resampled(x, rows, columns):
    """``rows @ x @ columns^T`` of every channel.

    Args:
        x: float [B, H, W, C].
        rows: [B or 1, h, H]. columns: [B or 1, w, W].

    Returns:
        float [B, h, w, C].
    """
    _, height, width, channels = x.shape
    new_height, new_width = rows.shape[1], columns.shape[1]
    x = ops.matmul(rows, ops.reshape(x, (-1, height, width * channels)))
    # One product of large matrices: a product for every row, of three columns, is several times
    # slower than the two transpositions.
    x = ops.transpose(ops.reshape(x, (-1, new_height, width, channels)), (0, 2, 1, 3))
    x = ops.matmul(columns, ops.reshape(x, (-1, width, new_height * channels)))
    return ops.transpose(ops.reshape(x, (-1, new_width, new_height, channels)), (0, 2, 1, 3))


def gathered(x, rows, columns):
    """Pixels at integer places; those outside are 0.

    Args:
        x: [B, H, W, C], any type.
        rows, columns: int [B, h, w].

    Returns:
        [B, h, w, C].
    """
    _, height, width, channels = x.shape
    batch = ops.shape(x)[0]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    rows, columns = ops.clip(rows, 0, height - 1), ops.clip(columns, 0, width - 1)
    image = ops.reshape(ops.arange(batch, dtype="int32"), (-1, 1, 1))
    places = (image * height + ops.cast(rows, "int32")) * width + ops.cast(columns, "int32")
    values = ops.take(ops.reshape(x, (-1, channels)), places, axis=0)
    return values * ops.cast(inside[..., None], values.dtype)


def sampled(x, rows, columns):
    """Bilinear values at places; what lies outside counts as 0.

    Args:
        x: float [B, H, W, C].
        rows, columns: float [B, h, w].

    Returns:
        float [B, h, w, C].
    """
    top, left = ops.floor(rows), ops.floor(columns)
    below, right = (rows - top)[..., None], (columns - left)[..., None]
    top, left = ops.cast(top, "int32"), ops.cast(left, "int32")
    upper = (1 - right) * gathered(x, top, left) + right * gathered(x, top, left + 1)
    lower = (1 - right) * gathered(x, top + 1, left) + right * gathered(x, top + 1, left + 1)
    return (1 - below) * upper + below * lower
