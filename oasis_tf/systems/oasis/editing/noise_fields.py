"""The noise of an image as distinct vectors and a map of their numbers."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class NoiseField:
    """The noise of an image, in a form that equal noise has in common.

    Attributes:
        index: int32 [H, W], number of a pixel's vector, 0..K-1. Numbers are those of first
            appearance in reading order; any integers 0..K-1 may be given.
        vectors: float32 [K, Z], no two alike and each in use; what is given is reduced to that.

    Both are read-only copies.

    Raises:
        ValueError: other shapes or types, no pixel, Z = 0, numbers out of range, values that are
            not finite.
    """

    index: np.ndarray
    vectors: np.ndarray

    def __post_init__(self):
        index, vectors = np.asarray(self.index), np.asarray(self.vectors)
        _check_parts(index, vectors)
        vectors = vectors.astype(np.float32)
        if not np.isfinite(vectors).all():
            raise ValueError("`vectors` must be finite in float32. Received: NaN or infinity.")
        index, vectors = _reduced(index.astype(np.int32), vectors)
        for name, part in (("index", index), ("vectors", vectors)):
            part.flags.writeable = False
            object.__setattr__(self, name, part)

    @property
    def shape(self):
        """(H, W)."""
        return self.index.shape

    @property
    def noise_channels(self):
        """int Z."""
        return self.vectors.shape[1]

    def dense(self):
        """The noise of every pixel, float32 [H, W, Z]."""
        return self.vectors[self.index]

    def resized(self, height, width):
        """The field at another size: every f-th pixel, or every pixel f times, along each axis.

        Raises:
            ValueError: a side that is neither a whole multiple nor a whole part of the present one.
        """
        index = _resized(_resized(self.index, 0, height), 1, width)
        return NoiseField(index, self.vectors)


def _check_parts(index, vectors):
    if index.ndim != 2 or index.dtype.kind not in "iu" or not index.size:
        raise ValueError(
            "`index` must be integers [H, W] with at least one pixel. Received: "
            f"dtype={index.dtype}, shape={index.shape}."
        )
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise ValueError(
            "`vectors` must be floats [K, Z]. Received: "
            f"dtype={vectors.dtype}, shape={vectors.shape}."
        )
    check_channels(vectors.shape[1])
    low, high = int(index.min()), int(index.max())
    if low < 0 or high >= len(vectors):
        raise ValueError(
            f"`index` must number the {len(vectors)} vectors from 0. "
            f"Received: values from {low} to {high}."
        )


def _reduced(index, vectors):
    """Equal vectors merged, unused ones left out, all numbered by first appearance."""
    flat = index.ravel()
    first = np.full(len(vectors), flat.size)
    first[flat[::-1]] = np.arange(flat.size)[::-1]  # of several assignments the last one holds
    used = np.argsort(first, kind="stable")[: np.count_nonzero(first < flat.size)]
    numbers = {}
    merged = [numbers.setdefault(vectors[k].tobytes(), len(numbers)) for k in used]
    new_number = np.zeros(len(vectors), np.int32)
    new_number[used] = merged
    _, kept = np.unique(merged, return_index=True)
    return new_number[index], vectors[used[kept]]


def _resized(index, axis, size):
    old = index.shape[axis]
    if size > 0 and old % size == 0:
        return index[:: old // size] if axis == 0 else index[:, :: old // size]
    if size > 0 and size % old == 0:
        return index.repeat(size // old, axis)
    raise ValueError(
        f"The {('height', 'width')[axis]} of a noise field can become a whole multiple or a whole "
        f"part of what it is, {old}. Received: {size}."
    )


def stack(fields):
    """Fields as a batch for ``InferenceEngine.paint``.

    Args:
        fields: list of ``NoiseField`` of one shape, at least one.

    Returns:
        int32 [B, H, W] and float32 [B, K, Z], K the most vectors of a field; zeros fill the rest
        up, to which no pixel points.

    Raises:
        ValueError: no fields, or fields that do not fit each other.
    """
    fields = list(fields)
    if not fields:
        raise ValueError("Give at least one noise field. Received: none.")
    for field in fields[1:]:
        check_size(field, fields[0].shape, "first field")
        check_same_channels(field.noise_channels, fields[0].noise_channels)
    most = max(len(field.vectors) for field in fields)
    vectors = np.zeros((len(fields), most, fields[0].noise_channels), np.float32)
    for row, field in zip(vectors, fields, strict=True):
        row[: len(field.vectors)] = field.vectors
    return np.stack([field.index for field in fields]), vectors


def check_channels(noise_channels):
    """Raises ValueError if there is no noise, Z = 0."""
    if noise_channels < 1:
        raise ValueError(
            f"The model has no noise to edit: noise_channels={noise_channels}. "
            "Models trained with noise_channels above 0 have."
        )


def check_same_channels(got, want):
    """Raises ValueError if two numbers of noise channels differ."""
    if got != want:
        raise ValueError(f"The vectors of noise must have one length. Received: {got} and {want}.")


def check_size(field, shape, what):
    """Raises ValueError unless a field has the size (H, W) of something."""
    if field.shape != tuple(shape):
        raise ValueError(
            f"The noise field must have the size of the {what}, {tuple(shape)}. "
            f"Received: {field.shape}."
        )


def as_region(region, shape):
    """The array of a region; ValueError unless it is bool of a shape."""
    region = np.asarray(region)
    if region.dtype != bool:
        raise ValueError(
            f"A region must be of booleans. Received: dtype={region.dtype}. "
            "Of a grey mask, for example, take `mask > 127`."
        )
    if region.shape != tuple(shape):
        raise ValueError(
            f"A region must have the size of the image, {tuple(shape)}. Received: {region.shape}."
        )
    return region
