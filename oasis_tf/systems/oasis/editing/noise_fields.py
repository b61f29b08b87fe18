"""The noise of an image as distinct vectors and a map of their numbers."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

# Most that a number of noise may be, of either sign. What is sampled is below 10; images of noise
# of 1e38 would be NaN.
MOST_NOISE = 1e4


class IndexedNoise(NamedTuple):
    """The noise of a batch: ``noise[b, i, j] = vectors[b, index[b, i, j]]``.

    Attributes:
        index: int [B, H, W], values 0..K-1.
        vectors: float [B, K, Z] with Z > 0.
    """

    index: Any
    vectors: Any


@dataclass(frozen=True, eq=False)
class NoiseField:
    """The noise of an image. Equal noise has equal attributes, however it was given.

    Attributes:
        index: int32 [H, W], number of a pixel's vector, 0..K-1, in the order of first appearance.
            Any integers 0..K-1 may be given.
        vectors: float32 [K, Z]. Equal ones that are given are merged, unused ones are dropped.

    Both are read-only copies.

    Raises:
        ValueError: other shapes or types, no pixel, Z = 0, numbers out of range, values as
            `check_values` refuses.
    """

    index: np.ndarray
    vectors: np.ndarray

    def __post_init__(self):
        index, vectors = np.asarray(self.index), np.asarray(self.vectors)
        _check_parts(index, vectors)
        vectors = vectors.astype(np.float32)
        check_values("vectors", vectors)
        index, vectors = _reduced(index.astype(np.int32), vectors)
        for name, part in (("index", index), ("vectors", vectors)):
            part.flags.writeable = False
            object.__setattr__(self, name, part)

    @classmethod
    def constant(cls, shape, vector):
        """The field of a size (H, W) with one vector, float [Z], everywhere."""
        return cls(np.zeros(shape, np.int32), np.asarray(vector)[None])

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
    """Equal vectors merged, unused ones dropped, all numbered by first appearance."""
    flat = index.ravel()
    first = np.full(len(vectors), flat.size)
    # Of several assignments to one place the last one remains: here, the first appearance.
    first[flat[::-1]] = np.arange(flat.size)[::-1]
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
        f"part of its present {old} pixels. Received: {size}."
    )


def stack(fields):
    """Fields as the noise of a batch.

    Args:
        fields: list of ``NoiseField`` of one shape, at least one.

    Returns:
        ``IndexedNoise`` of int32 and float32 arrays. K is the largest number of vectors in a field;
        fields with fewer are padded with zero vectors that no pixel uses.

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
    return IndexedNoise(np.stack([field.index for field in fields]), vectors)


def as_fields(noise):
    """Noise fields as a list of them, other noise as None.

    Raises:
        ValueError: a list in which only some are noise fields.
    """
    if isinstance(noise, NoiseField):
        return [noise]
    if not isinstance(noise, list | tuple):
        return None
    fields = [part for part in noise if isinstance(part, NoiseField)]
    if fields and len(fields) < len(noise):
        raise ValueError(
            "A list of noise must hold only noise fields, or only numbers. "
            f"Received: {len(fields)} noise fields among {len(noise)}."
        )
    return fields or None


def batch_noise(noise, shape, noise_channels):
    """Noise fields as ``IndexedNoise`` of a batch, other noise as it is.

    Args:
        noise: ``NoiseField`` for all images, a list of one per image, or other noise.
        shape: (B, H, W) of the label maps.
        noise_channels: int Z of the model.

    Raises:
        ValueError: fields that do not fit the label maps or the model, or values as `check_values`
            refuses.
    """
    fields = as_fields(noise)
    if fields is None:
        if noise is not None:
            check_values("noise", noise)
        return noise
    check_channels(noise_channels)
    if not isinstance(noise, NoiseField) and len(fields) != shape[0]:
        raise ValueError(
            "`noise` must be one noise field, or a list of one per label map. "
            f"Received: {len(fields)} fields for {shape[0]} label maps."
        )
    for field in fields:
        check_size(field, shape[1:], "label map")
        check_same_channels(field.noise_channels, noise_channels)
    index, vectors = stack(fields)
    copies = shape[0] if isinstance(noise, NoiseField) else 1
    return IndexedNoise(index.repeat(copies, axis=0), vectors.repeat(copies, axis=0))


def check_values(name, noise):
    """Raises ValueError unless all numbers of noise are finite and at most `MOST_NOISE`."""
    most = np.abs(np.asarray(noise)).max(initial=0)
    if not most <= MOST_NOISE:  # neither is NaN
        raise ValueError(
            f"`{name}` must be finite, and in [-{MOST_NOISE:g}, {MOST_NOISE:g}]. "
            f"Received: values up to {most}."
        )


def check_channels(noise_channels):
    """Raises ValueError if there is no noise, Z = 0."""
    if noise_channels < 1:
        raise ValueError(
            f"The model has no noise to edit: noise_channels={noise_channels}. "
            "Use a model that was trained with noise_channels above 0."
        )


def check_same_channels(got, want):
    """Raises ValueError if two numbers of noise channels differ."""
    if got != want:
        raise ValueError(f"Noise vectors must have one length. Received: {got} and {want}.")


def check_size(field, shape, what):
    """Raises ValueError unless a field has the size (H, W) of something."""
    if field.shape != tuple(shape):
        raise ValueError(
            f"The noise field must have the size of the {what}, {tuple(shape)}. "
            f"Received: {field.shape}."
        )


def as_region(region, shape):
    """A region as an array; ValueError unless it is bool and has the given shape."""
    region = np.asarray(region)
    if region.dtype != bool:
        raise ValueError(
            f"A region must hold booleans. Received: dtype={region.dtype}. "
            "Give `mask > 127`, for example, in place of a grey mask."
        )
    if region.shape != tuple(shape):
        raise ValueError(
            f"A region must have the size of the image, {tuple(shape)}. Received: {region.shape}."
        )
    return region
