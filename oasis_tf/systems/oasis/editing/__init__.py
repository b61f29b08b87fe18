"""Noise as something to edit: one vector for an image, a class, a segment, a region or a pixel.

OASIS takes noise at every pixel (ICLR 2021, sec. 3.3). So an image is edited by replacing the noise
of some pixels; that of all others stays as it is, bit for bit. Changes elsewhere in the image are
leakage of the model, which ``change`` measures.

A ``NoiseField`` holds distinct vectors and a map of their numbers. Every function returns a new
one. ``OASIS.generate(label_map, noise=field)`` gives the same image as from the dense tensor, and
is much faster where vectors repeat.

A seed is an int64. Its vector is that of ``OASIS.generate(label_map, seed)``, so resampling the
whole image gives the image of the new seed. Where one seed gives many vectors, one for every class,
segment or pixel, they are rows of ``noise.numbered_noise``. Classes are model ids; or names, with
the label space that has them: ``label_space=model.label_space``.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from oasis_tf.data.classes import class_ids
from oasis_tf.systems.oasis import noise
from oasis_tf.systems.oasis.editing.noise_fields import NoiseField as NoiseField
from oasis_tf.systems.oasis.editing.noise_fields import (
    as_region,
    check_channels,
    check_same_channels,
    check_size,
)
from oasis_tf.systems.oasis.editing.noise_fields import stack as stack
from oasis_tf.systems.oasis.editing.vector_interpolation import interpolate_vectors

# === Fields from seeds ===


def image_noise(height, width, seed, noise_channels):
    """One vector for the whole image: that of ``OASIS.generate(label_map, seed)``."""
    (vector,) = _vectors_of([seed], noise_channels)
    if min(height, width) < 1:
        raise ValueError(f"An image must have pixels. Received: {height} x {width}.")
    return NoiseField.constant((height, width), vector)


def class_noise(label_map, seed, noise_channels, base=None, *, label_space=None):
    """One vector for every class.

    Args:
        label_map: int [H, W] in model ids.
        seed: int: class c gets vector c of this seed. Or a dict from class to seed: a class gets
            the vector of its own seed. Classes that the map does not contain change nothing.
        noise_channels: int Z.
        base: ``NoiseField`` for the classes that a dict leaves out.
        label_space: ``LabelSpace``, for a dict with class names.

    Raises:
        ValueError: a dict that leaves out classes of the map without a base, an int seed with a
            base, or arguments that do not fit.
    """
    label_map = _label_map(label_map)
    check_channels(noise_channels)
    if isinstance(seed, dict):
        return _seeded_classes(label_map, seed, noise_channels, base, label_space)
    if base is not None:
        raise ValueError(
            "`base` is the noise of classes without a seed, and one seed is for all classes. "
            "Give `seed` as a dict from class to seed, or no base."
        )
    return NoiseField(
        label_map, _numbered(seed, noise.CLASSES, label_map.max() + 1, noise_channels)
    )


def _seeded_classes(label_map, seeds, noise_channels, base, label_space):
    classes = _classes(seeds, label_space)
    given = _vectors_of(list(seeds.values()), noise_channels)
    missing = np.setdiff1d(label_map, classes)
    if base is None:
        if missing.size:
            raise ValueError(
                f"Classes {missing.tolist()} of the label map have no seed. "
                "Give them one, or give the noise that they keep as `base`."
            )
        index, vectors = np.zeros(label_map.shape, np.int32), given[:0]
    else:
        check_size(base, label_map.shape, "label map")
        check_same_channels(base.noise_channels, noise_channels)
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
    from scipy import ndimage  # here: training does not need it

    label_map = _label_map(label_map)
    found, count = np.zeros(label_map.shape, np.int64), 0
    for class_id in np.unique(label_map):
        parts, parts_count = ndimage.label(label_map == class_id)
        found += np.where(parts, parts + (count - 1), 0)
        count += parts_count
    # A field numbers its vectors by first appearance.
    return NoiseField(found, np.arange(count, dtype=np.float32)[:, None]).index


def segment_noise(label_map, seed, noise_channels):
    """One vector for every connected segment: segment s of ``segments`` gets vector s of the seed.

    Segments are numbered in reading order, so a new segment changes the vectors of all segments
    after it. To keep the others, edit a field with ``resample``.
    """
    check_channels(noise_channels)
    index = segments(label_map)
    vectors = _numbered(seed, noise.SEGMENTS, index.max() + 1, noise_channels)
    return NoiseField(index, vectors)


def pixel_noise(height, width, seed, noise_channels):
    """One vector for every pixel, numbered in reading order."""
    check_channels(noise_channels)
    if min(height, width) < 1:
        raise ValueError(f"An image must have pixels. Received: {height} x {width}.")
    vectors = _numbered(seed, noise.PIXELS, height * width, noise_channels)
    return NoiseField(np.arange(height * width).reshape(height, width), vectors)


def _numbered(seed, stream, count, noise_channels):
    return noise.numbered_noise(_seed(seed), stream, int(count), noise_channels).numpy()


def _vectors_of(seeds, noise_channels):
    check_channels(noise_channels)
    seeds = np.array([_seed(seed) for seed in seeds], np.int64)
    return noise.sample_noise(tf.constant(seeds), noise_channels).numpy()


# === Edits ===


def resample(field, region, seed):
    """The field with the vector of a seed inside a region, and its own noise elsewhere.

    Args:
        field: ``NoiseField``.
        region: bool [H, W]. An empty region gives the same field, a region of all pixels gives
            ``image_noise``.
        seed: int.

    Raises:
        ValueError: a region of another size or type.
    """
    region = as_region(region, field.shape)
    vector = _vectors_of([seed], field.noise_channels)
    index = np.where(region, len(field.vectors), field.index)
    return NoiseField(index, np.concatenate([field.vectors, vector]))


def resample_classes(field, label_map, classes, seed, *, label_space=None):
    """``resample`` in the region of some classes, with one vector for all of them.

    For one vector per class, or several seeds, use ``class_noise`` with ``field`` as its base. A
    class that the map does not contain changes nothing, so that one edit suits many maps.

    Args:
        field: ``NoiseField``.
        label_map: int [H, W] in model ids.
        classes: model ids or class names, at least one.
        seed: int.
        label_space: ``LabelSpace`` that has the names.

    Raises:
        ValueError: no classes, ids or names of no class, names without a label space, a label map
            of another size.
    """
    label_map = _label_map(label_map)
    check_size(field, label_map.shape, "label map")
    return resample(field, np.isin(label_map, _classes(classes, label_space)), seed)


def interpolate(first, second, share, *, spherical=False, region=None):
    """Noise between two fields.

    Args:
        first, second: ``NoiseField`` of one shape.
        share: float in 0..1, of the second field; 0 and 1 give the fields themselves, bit for bit.
        spherical: along great circles instead of lines, see ``interpolate_vectors``.
        region: bool [H, W]; outside it the first field stays as it is, bit for bit. Default:
            everywhere.

    Raises:
        ValueError: fields that do not fit each other, another share or region.
    """
    check_size(second, first.shape, "first field")
    check_same_channels(second.noise_channels, first.noise_channels)
    if not 0 <= share <= 1:
        raise ValueError(f"`share` must be in 0..1. Received: {share}.")
    region = np.ones(first.shape, bool) if region is None else as_region(region, first.shape)
    count = len(second.vectors)
    pairs, number = np.unique(
        first.index[region].astype(np.int64) * count + second.index[region], return_inverse=True
    )
    ends = first.vectors[pairs // count], second.vectors[pairs % count]
    index = first.index.copy()
    index[region] = len(first.vectors) + number
    vectors = interpolate_vectors(*ends, float(share), spherical=spherical)
    return NoiseField(index, np.concatenate([first.vectors, vectors]))


# === Measurement ===


class Change(NamedTuple):
    """Mean absolute differences of two images of values 0..1; NaN if there is no pixel."""

    inside: float
    outside: float


def change(first, second, region):
    """How much an edit changed inside its region, and how much leaked outside.

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
    region = as_region(region, first.shape[:-1] if region.ndim == 3 else first.shape[-3:-1])
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


def _classes(classes, label_space):
    classes = [classes] if isinstance(classes, str) else list(classes)
    if label_space is not None:
        return class_ids(classes, label_space)
    if not classes:
        raise ValueError("Name at least one class. Received: none.")
    for class_id in classes:
        if isinstance(class_id, str):
            raise ValueError(
                "Class names need the label space that has them: give "
                f"label_space=model.label_space, or model ids. Received: {class_id!r}."
            )
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
