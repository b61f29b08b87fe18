"""Noise as something to edit: one vector for an image, a class, a segment, a region or a pixel.

OASIS reads its noise at every pixel (ICLR 2021, sec. 3.3 and figs. 2, 7), so an image is edited by
replacing the noise of some pixels and leaving that of all others as it is, bit for bit. What then
changes elsewhere is the model's own leakage, which ``change`` measures.

A ``NoiseField`` holds distinct vectors and a map of their numbers. Every function makes a new one;
``OASIS.generate(label_map, noise=field)`` paints it, as exactly as from the dense tensor and much
faster where vectors repeat.

A seed is an int64. Its vector is the one that ``OASIS.generate(label_map, seed)`` uses; so a region
that covers the image gives that image. Where one seed has to give many vectors, one for every
class, segment or pixel, these are rows of ``noise.numbered_noise``. Class ids are model ids.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from oasis_tf import noise

# |sin| of the angle between opposite vectors below which rounding alone decides their plane.
_ANTIPODAL = 1e-6


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
        index, vectors = _reduced(index.astype(np.int32), vectors.astype(np.float32))
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
    _check_channels(vectors.shape[1])
    low, high = int(index.min()), int(index.max())
    if low < 0 or high >= len(vectors):
        raise ValueError(
            f"`index` must number the {len(vectors)} vectors from 0. "
            f"Received: values from {low} to {high}."
        )
    if not np.isfinite(vectors).all():
        raise ValueError("`vectors` must be finite. Received: NaN or infinity.")


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


# === Fields from seeds ===


def image_noise(height, width, seed, noise_channels):
    """One vector for the whole image: that of ``OASIS.generate(label_map, seed)``."""
    vector = _vectors_of([seed], noise_channels)
    if min(height, width) < 1:
        raise ValueError(f"An image must have pixels. Received: {height} x {width}.")
    return NoiseField(np.zeros((height, width), np.int32), vector)


def class_noise(label_map, seed, noise_channels, base=None):
    """One vector for every class.

    Args:
        label_map: int [H, W] in model ids.
        seed: int, of which class c gets vector c of its own; or dict from class to seed, where a
            class gets the vector of its seed. Classes that the map does not hold change nothing.
        noise_channels: int Z.
        base: ``NoiseField`` of the classes that a dict leaves out.

    Raises:
        ValueError: a dict that leaves out classes of the map where there is no base, a base where
            nothing is left out to it, and what does not fit.
    """
    label_map = _label_map(label_map)
    _check_channels(noise_channels)
    if isinstance(seed, dict):
        return _seeded_classes(label_map, seed, noise_channels, base)
    if base is not None:
        raise ValueError(
            "`base` is the noise of classes without a seed; one seed for all leaves none. "
            "Give `seed` as a dict from class to seed, or no base."
        )
    return NoiseField(
        label_map, _numbered(seed, noise.CLASSES, label_map.max() + 1, noise_channels)
    )


def _seeded_classes(label_map, seeds, noise_channels, base):
    classes = _classes(seeds)
    given = _vectors_of(list(seeds.values()), noise_channels)
    missing = np.setdiff1d(label_map, classes)
    if base is None:
        if missing.size:
            raise ValueError(
                f"Classes {missing.tolist()} of the label map have no seed. "
                "Give them one, or the noise they keep as `base`."
            )
        index, vectors = np.zeros(label_map.shape, np.int32), given[:0]
    else:
        _check_fits(base, label_map.shape, "label map")
        _check_same_channels(base.noise_channels, noise_channels)
        index, vectors = base.index, base.vectors
    for number, class_id in enumerate(classes):
        index = np.where(label_map == class_id, len(vectors) + number, index)
    return NoiseField(index, np.concatenate([vectors, given]))


def segments(label_map):
    """Connected segments: pixels of one class joined by their sides.

    Args:
        label_map: int [H, W].

    Returns:
        int32 [H, W], number of a pixel's segment, 0..S-1 in reading order of their first pixels.
    """
    from scipy import ndimage  # here: training has no use for it

    label_map = _label_map(label_map)
    found, count = np.zeros(label_map.shape, np.int64), 0
    for class_id in np.unique(label_map):
        parts, parts_count = ndimage.label(label_map == class_id)
        found += np.where(parts, parts + (count - 1), 0)
        count += parts_count
    # Numbers of first appearance: the same that a field gives its vectors.
    return NoiseField(found, np.arange(count, dtype=np.float32)[:, None]).index


def segment_noise(label_map, seed, noise_channels):
    """One vector for every connected segment: segment s of ``segments`` gets vector s of the seed.

    A label map with another number of segments before it moves a segment to another vector; to keep
    the rest, edit a field with ``resample``.
    """
    _check_channels(noise_channels)
    index = segments(label_map)
    vectors = _numbered(seed, noise.SEGMENTS, index.max() + 1, noise_channels)
    return NoiseField(index, vectors)


def pixel_noise(height, width, seed, noise_channels):
    """One vector for every pixel, numbered in reading order."""
    _check_channels(noise_channels)
    if min(height, width) < 1:
        raise ValueError(f"An image must have pixels. Received: {height} x {width}.")
    vectors = _numbered(seed, noise.PIXELS, height * width, noise_channels)
    return NoiseField(np.arange(height * width).reshape(height, width), vectors)


def _numbered(seed, stream, count, noise_channels):
    return noise.numbered_noise(_seed(seed), stream, int(count), noise_channels).numpy()


def _vectors_of(seeds, noise_channels):
    _check_channels(noise_channels)
    seeds = np.array([_seed(seed) for seed in seeds], np.int64)
    return noise.sample_noise(tf.constant(seeds), noise_channels).numpy()


# === Edits ===


def resample(field, region, seed):
    """The vector of a seed inside a region; all other noise stays as it is, bit for bit.

    Args:
        field: ``NoiseField``.
        region: bool [H, W]. One without pixels gives the same field, one of all pixels
            ``image_noise``.
        seed: int.

    Raises:
        ValueError: a region of another size or type.
    """
    region = _region(region, field.shape)
    vector = _vectors_of([seed], field.noise_channels)
    index = np.where(region, len(field.vectors), field.index)
    return NoiseField(index, np.concatenate([field.vectors, vector]))


def resample_classes(field, label_map, classes, seed):
    """``resample`` where the label map holds one of some classes, one vector for all of them.

    For a vector each, or for other seeds, see ``class_noise`` with ``field`` as its base. A class
    that the map does not hold changes nothing, so that one edit suits many maps.

    Args:
        field: ``NoiseField``.
        label_map: int [H, W] in model ids.
        classes: class ids, at least one.
        seed: int.

    Raises:
        ValueError: no classes, ids that are no class ids, a label map of another size.
    """
    label_map = _label_map(label_map)
    _check_fits(field, label_map.shape, "label map")
    return resample(field, np.isin(label_map, _classes(classes)), seed)


def interpolate(first, second, share, *, spherical=False, region=None):
    """Noise between two fields.

    Args:
        first, second: ``NoiseField`` of one shape.
        share: float in 0..1, of the second; 0 and 1 give the fields themselves, bit for bit.
        spherical: whether directions move along the great circle at even speed, and lengths
            linearly, instead of vectors along a line. Where that tells nothing: from or to a zero
            vector, the line is taken; between vectors of one direction, that direction; between
            opposite ones, the half circle through the axis in which they are least (Z = 1 has none,
            and takes the line).
        region: bool [H, W] outside which the first field stays as it is, bit for bit; default
            everywhere.

    Raises:
        ValueError: fields that do not fit each other, another share or region.
    """
    _check_fits(second, first.shape, "first field")
    _check_same_channels(second.noise_channels, first.noise_channels)
    if not 0 <= share <= 1:
        raise ValueError(f"`share` must be in 0..1. Received: {share}.")
    region = np.ones(first.shape, bool) if region is None else _region(region, first.shape)
    count = len(second.vectors)
    pairs, number = np.unique(
        first.index[region].astype(np.int64) * count + second.index[region], return_inverse=True
    )
    ends = first.vectors[pairs // count], second.vectors[pairs % count]
    index = first.index.copy()
    index[region] = len(first.vectors) + number
    between = _between(*ends, float(share), _spherical if spherical else _linear)
    return NoiseField(index, np.concatenate([first.vectors, between]))


def _between(first, second, share, way):
    """Vectors [P, Z] between two lists of them; the ends exactly."""
    if share in (0, 1):
        return second if share else first
    # In float64, what lies between equal vectors is rounded to these.
    return way(first.astype(np.float64), second.astype(np.float64), share).astype(np.float32)


def _linear(first, second, share):
    return (1 - share) * first + share * second


def _spherical(first, second, share):
    lengths = [np.linalg.norm(part, axis=1, keepdims=True) for part in (first, second)]
    directions = [
        np.divide(part, length, out=np.zeros_like(part), where=length > 0)
        for part, length in zip((first, second), lengths, strict=True)
    ]
    cosine = np.sum(directions[0] * directions[1], axis=1, keepdims=True)
    sideways = directions[1] - cosine * directions[0]
    sine = np.linalg.norm(sideways, axis=1, keepdims=True)
    opposite = (sine < _ANTIPODAL) & (cosine < 0)
    sideways = np.where(opposite, _across(directions[0]), sideways)
    length = np.linalg.norm(sideways, axis=1, keepdims=True)
    sideways = np.divide(sideways, length, out=np.zeros_like(sideways), where=length > 0)
    angle = share * np.where(opposite, np.pi, np.arctan2(sine, cosine))
    direction = np.cos(angle) * directions[0] + np.sin(angle) * sideways
    on_line = (lengths[0] * lengths[1] == 0) | (opposite & (length == 0))
    line = _linear(first, second, share)
    return np.where(on_line, line, _linear(*lengths, share) * direction)


def _across(directions):
    """Vectors at right angles to unit vectors [P, Z]; zero if Z = 1."""
    if directions.shape[1] == 1:
        return np.zeros_like(directions)
    rows, least = np.arange(len(directions)), np.argmin(np.abs(directions), axis=1)
    across = -directions[rows, least][:, None] * directions
    across[rows, least] += 1
    return across


# === Batches and measurement ===


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
        _check_fits(field, fields[0].shape, "first field")
        _check_same_channels(field.noise_channels, fields[0].noise_channels)
    most = max(len(field.vectors) for field in fields)
    vectors = np.zeros((len(fields), most, fields[0].noise_channels), np.float32)
    for row, field in zip(vectors, fields, strict=True):
        row[: len(field.vectors)] = field.vectors
    return np.stack([field.index for field in fields]), vectors


class Change(NamedTuple):
    """Mean absolute differences of two images of values 0..1; NaN where there is no pixel."""

    inside: float
    outside: float


def change(first, second, region):
    """How much of an edit happened where it was meant to, and how much leaked.

    Args:
        first, second: images [H, W, 3] or [B, H, W, 3]: floats in [-1, 1], or uint8.
        region: bool [H, W], or [B, H, W] for a batch.

    Returns:
        ``Change``: floats, or float64 [B] for a batch. Units are those of images in 0..1.

    Raises:
        ValueError: images or a region that do not fit.
    """
    first, second = _unit_image(first), _unit_image(second)
    if first.shape != second.shape or first.ndim not in (3, 4):
        raise ValueError(
            "Images to compare must be [H, W, 3] or [B, H, W, 3] and of one shape. "
            f"Received: {first.shape} and {second.shape}."
        )
    region = np.asarray(region)
    region = _region(region, first.shape[:-1] if region.ndim == 3 else first.shape[-3:-1])
    difference = np.abs(first - second).mean(axis=-1)
    means = (_mean_where(difference, part) for part in (region, ~region))
    return Change(*means)


def _mean_where(values, region):
    count = np.broadcast_to(region, values.shape).sum(axis=(-2, -1))
    total = np.where(region, values, 0).sum(axis=(-2, -1))
    mean = np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)
    return mean if mean.ndim else float(mean)


def _unit_image(image):
    image = np.asarray(image)
    if image.dtype == np.uint8:
        return image / 255.0
    if image.dtype.kind != "f":
        raise ValueError(f"Images must be floats in [-1, 1] or uint8. Received: {image.dtype}.")
    return (image.astype(np.float64) + 1) / 2


# === Checks ===


def _check_channels(noise_channels):
    if noise_channels < 1:
        raise ValueError(
            f"The model has no noise to edit: noise_channels={noise_channels}. "
            "Models trained with noise_channels above 0 have."
        )


def _check_same_channels(got, want):
    if got != want:
        raise ValueError(f"The vectors of noise must have one length. Received: {got} and {want}.")


def _check_fits(field, shape, what):
    if field.shape != tuple(shape):
        raise ValueError(
            f"The noise field must have the size of the {what}, {tuple(shape)}. "
            f"Received: {field.shape}."
        )


def _region(region, shape):
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


def _label_map(label_map):
    label_map = np.asarray(label_map)
    if label_map.ndim != 2 or label_map.dtype.kind not in "iu" or not label_map.size:
        raise ValueError(
            "The label map must be integers [H, W] with at least one pixel. Received: "
            f"dtype={label_map.dtype}, shape={label_map.shape}."
        )
    if label_map.min() < 0:
        raise ValueError(
            f"A label map must hold model ids from 0. Received: {int(label_map.min())}."
        )
    return label_map.astype(np.int64)


def _classes(classes):
    classes = list(classes)
    if not classes:
        raise ValueError("Name at least one class. Received: none.")
    for class_id in classes:
        if not _is_int(class_id) or class_id < 0:
            raise ValueError(
                f"A class must be a model id, an integer from 0. Received: {class_id!r}."
            )
    return [int(class_id) for class_id in classes]


def _seed(seed):
    limits = np.iinfo(np.int64)
    if not _is_int(seed) or not limits.min <= seed <= limits.max:
        raise ValueError(f"A seed must be an integer of 64 bits. Received: {seed!r}.")
    return int(seed)


def _is_int(value):
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
