"""Masks of LVIS annotations and detections: checked, brought to another size, compared.

Everything that reaches pycocotools is checked here first: its C code never returns from runs
that do not fill their image, and takes four numbers for a box.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from oasis_tf.data.examples import pycocotools_mask


@dataclasses.dataclass(frozen=True, slots=True)
class Mask:
    """A binary mask in COCO style.

    Attributes:
        size: (height, width) of the image that the mask belongs to.
        outline: polygons, float64 [2n] each (x, y, x, y, … in pixels of `size`, of which the first
            spans 0 to 1), or the compressed run-length encoding.
    """

    size: tuple[int, int]
    outline: tuple[np.ndarray, ...] | bytes

    @classmethod
    def read(cls, segmentation, image_size: tuple[int, int]) -> "Mask":
        """Checks a `segmentation` as JSON has it.

        Args:
            segmentation: list of polygons, which lie in an image of `image_size`, or a dict with
                `size` and `counts` (compressed, or a list of run lengths), which has its own size.
            image_size: (height, width).

        Raises:
            ValueError: it is neither, or damaged; pycocotools is not installed.
        """
        if isinstance(segmentation, list):
            return cls(image_size, _polygons(segmentation, image_size))
        size = run_length_size(segmentation)
        return cls(size, _compressed(segmentation["counts"], size))

    def encoded(self, size: tuple[int, int]) -> dict:
        """The mask as a run-length encoding of pycocotools at `size` (height, width).

        Polygons are scaled before their pixels are found. A run-length encoding of another size
        gives each new pixel the old one below its centre. An instance can lose all of its pixels.
        """
        if isinstance(self.outline, bytes):
            return _resized({"size": list(self.size), "counts": self.outline}, size)
        scale = np.array([size[1] / self.size[1], size[0] / self.size[0]])
        scaled = [(points.reshape(-1, 2) * scale).ravel().tolist() for points in self.outline]
        coco_mask = pycocotools_mask()
        return coco_mask.merge(coco_mask.frPyObjects(scaled, *size))


def mask_iou(detections: Sequence[Mask], truth: Sequence[Mask]) -> np.ndarray:
    """Intersection over union of every detection with every true instance of one image.

    Args:
        detections: D ≥ 1 masks of one size.
        truth: G masks; they are brought to that size.

    Returns:
        float64 [D, G] in [0, 1]; 0 where both masks are empty.
    """
    if not truth:
        return np.zeros((len(detections), 0))
    size = detections[0].size
    found = [mask.encoded(size) for mask in detections]
    true = [mask.encoded(size) for mask in truth]
    return np.asarray(pycocotools_mask().iou(found, true, [0] * len(true)))


def run_length_size(segmentation) -> tuple[int, int]:
    """(height, width) of a run-length encoding as JSON has it; ValueError if it has none."""
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= segmentation.keys():
        raise ValueError("`segmentation` must be polygons or a dict with `size` and `counts`")
    size = segmentation["size"]
    if not (
        isinstance(size, list) and len(size) == 2 and all(type(n) is int and n > 0 for n in size)
    ):
        raise ValueError(f"`size` must be [height, width]. Received: {size!r}")
    return tuple(size)


def _polygons(polygons: list, image_size: tuple[int, int]) -> tuple[np.ndarray, ...]:
    try:
        arrays = tuple(np.asarray(polygon, np.float64) for polygon in polygons)
    except (TypeError, ValueError) as error:
        raise ValueError(f"polygons must be lists of numbers ({error})") from error
    if not arrays or any(a.ndim != 1 or a.size < 6 or a.size % 2 for a in arrays):
        raise ValueError("every mask needs a polygon, and every polygon x, y of three points")
    limit = 2 * max(image_size)
    if not all((np.abs(a) <= limit).all() for a in arrays):  # so that NaN is refused as well
        raise ValueError(
            f"polygons must lie near their image of {image_size[1]}×{image_size[0]} pixels; there "
            f"are coordinates beyond ±{limit}"
        )
    return arrays


def _compressed(counts, size: tuple[int, int]) -> bytes:
    if isinstance(counts, list):
        if not all(type(n) is int for n in counts):
            raise ValueError("`counts` must hold integers")
        _check_runs(np.array(counts, np.float64), size)  # no integer is too large for a float
        encoded = pycocotools_mask().frPyObjects({"size": list(size), "counts": counts}, *size)
        return encoded["counts"]
    if not isinstance(counts, str) or not counts.isascii():
        raise ValueError("`counts` must be a compressed encoding or a list of run lengths")
    code = counts.encode("ascii")
    _check_runs(_run_lengths(code), size)
    return code


def _check_runs(lengths: np.ndarray, size: tuple[int, int]) -> None:
    total = size[0] * size[1]
    if not lengths.size or lengths.min() < 0 or lengths.sum() != total:
        raise ValueError(
            f"the runs must fill {size[1]}×{size[0]} = {total} pixels; they cover "
            f"{lengths.sum():.0f}, or one is negative"
        )


def _run_lengths(code: bytes) -> np.ndarray:
    """Lengths int64 [runs] in a compressed encoding.

    A character holds five bits of a number above "0", the lowest first, and in the sixth whether
    more follow; the highest bit of the last is the sign. From the fourth number on, each is the
    difference from the one two before.
    """
    values = np.frombuffer(code, np.uint8).astype(np.int64) - ord("0")
    if not values.size or values.min() < 0 or values.max() > 63 or values[-1] & 32:
        raise ValueError("`counts` is no compressed run-length encoding, or one that was cut")
    last = np.flatnonzero((values & 32) == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    shift = 5 * (np.arange(values.size) - np.repeat(first, last - first + 1))
    if shift.max() > 30:
        raise ValueError("`counts` holds a run longer than any image")
    numbers = np.add.reduceat((values & 31) << shift, first)
    numbers -= np.where(values[last] & 16, 32 << shift[last], 0)
    numbers[1::2] = numbers[1::2].cumsum()
    numbers[2::2] = numbers[2::2].cumsum()
    return numbers


def _resized(code: dict, size: tuple[int, int]) -> dict:
    if tuple(code["size"]) == tuple(size):
        return code
    coco_mask = pycocotools_mask()
    pixels = coco_mask.decode(code)
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.int64)
        for new, old in zip(size, pixels.shape, strict=True)
    )
    return coco_mask.encode(np.asfortranarray(pixels[np.ix_(rows, columns)]))
