"""LVIS mean average precision of instance masks that a detector found in generated images.

The rules are those of LVIS (Gupta et al., CVPR 2019): not every class is annotated in every image,
so that a detection counts only where the annotations can tell whether it is right.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from oasis_tf.data.examples import pycocotools_mask
from oasis_tf.metrics.lvis.files import LvisTruth, json_reader, read_detections, read_truth
from oasis_tf.metrics.lvis.masks import Mask, mask_iou

# As in the public COCO evaluation, so that numbers can be compared with published ones.
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)


@dataclasses.dataclass(frozen=True)
class LvisResult:
    """Average precision of masks, as fractions in 0..1 (papers print percent).

    Attributes:
        map: mean of `class_ap`.
        classes_ap_above_0: number of classes with an average precision above 0.
        classes_with_truth: number of classes with an instance in the images, as in `class_ap`.
        class_ap: average precision by class name, in the order of category ids.
        num_images: number of images evaluated.
        num_images_with_detections: how many of them have any entry in the detections. Far fewer
            than `num_images` mean that the detector was run on a part of the images only, whose
            ids should then be given.
    """

    map: float
    classes_ap_above_0: int
    classes_with_truth: int
    class_ap: dict[str, float]
    num_images: int
    num_images_with_detections: int

    def scores(self) -> dict[str, float]:
        """`lvis/map` (a fraction) and `lvis/classes_ap_above_0`."""
        return {
            "lvis/map": self.map,
            "lvis/classes_ap_above_0": float(self.classes_ap_above_0),
        }


def lvis_average_precision(
    annotations_path: str, detections_path: str, images: Collection[int] | None = None
) -> LvisResult:
    """Compares a detector's result file with LVIS annotations.

    Of each image the 300 detections with the highest scores are taken. Those of classes that are
    annotated neither as present nor as absent in the image are dropped, and so are unmatched ones
    of classes that are not annotated exhaustively there. A class's average precision is the mean
    over mask IoU thresholds 0.50, 0.55, …, 0.95 and recalls 0, 0.01, …, 1 of the highest precision
    at that recall or above. The mean is taken over classes with an annotated instance; one that
    the detector never finds counts as 0. Detections of equal scores are ranked by image id, within
    an image by their order in the file.

    Detections may be at the size of the annotated images or all at one other size, such as that of
    the generated images. Then the annotated masks are scaled to that size (polygons before they
    become pixels), and each axis by a factor of its own, as when images are resized and not cut.
    Instances left without a pixel still count as truth that no detection can match.

    Args:
        annotations_path: a file in the layout of `lvis_v1_val.json`.
        detections_path: a JSON list of COCO results, each with `image_id`, `category_id`,
            `score` and `segmentation` (run-length encoding, or polygons in pixels of the annotated
            image).
        images: ids of the images to evaluate, if not all.

    Raises:
        OSError: a file cannot be read.
        ValueError: pycocotools or ijson (extra `lvis`) is not installed, or a file is not as
            described; see `files.read_truth` and `files.read_detections`.
    """
    _ = pycocotools_mask(), json_reader()  # a missing one is reported before minutes of reading
    truth = read_truth(annotations_path, images)
    detections, num_images_with_detections = read_detections(detections_path, truth)
    class_ap = {
        name: _class_ap(truth, category, detections.pop(category, {}))
        for category, name in truth.class_names.items()
        if category in truth.instances
    }
    return LvisResult(
        map=float(np.mean(list(class_ap.values()))),
        classes_ap_above_0=sum(ap > 0 for ap in class_ap.values()),
        classes_with_truth=len(class_ap),
        class_ap=class_ap,
        num_images=len(truth.sizes),
        num_images_with_detections=num_images_with_detections,
    )


def match(iou: np.ndarray) -> np.ndarray:
    """Which detections of one class in one image are right.

    In turn, each takes the true instance of highest IoU among those that are still free (the last
    among equal ones, as the public COCO evaluation has it), if that reaches the threshold.

    Args:
        iou: float64 [D, G], detections by falling score.

    Returns:
        bool [T, D] for the T `IOU_THRESHOLDS`.
    """
    num_detections, num_truth = iou.shape
    thresholds = np.arange(len(IOU_THRESHOLDS))
    matched = np.zeros((len(thresholds), num_detections), bool)
    if num_truth == 0:
        return matched
    taken = np.zeros((len(thresholds), num_truth), bool)
    for k in range(num_detections):
        free = np.where(taken, -1.0, iou[k])
        best = num_truth - 1 - np.argmax(free[:, ::-1], axis=1)
        matched[:, k] = free[thresholds, best] >= IOU_THRESHOLDS
        taken[thresholds, best] |= matched[:, k]
    return matched


def average_precision(
    scores: np.ndarray, matched: np.ndarray, exhaustive: np.ndarray, num_truth: int
) -> float:
    """Average precision of one class.

    Args:
        scores: float64 [D], of all images.
        matched: bool [T, D], see `match`.
        exhaustive: bool [D], False where an unmatched detection may well be right.
        num_truth: number of true instances, at least 1.

    Returns:
        the mean over T thresholds and 101 `RECALLS`.
    """
    order = np.argsort(-scores, kind="stable")
    counted = matched | exhaustive
    curves = [
        _precision_at_recalls(right[order][counts[order]], num_truth)
        for right, counts in zip(matched, counted, strict=True)
    ]
    return float(np.mean(curves))


def _precision_at_recalls(right: np.ndarray, num_truth: int) -> np.ndarray:
    """Highest precision at each of `RECALLS` or above; 0 at those never reached."""
    true_positives = np.cumsum(right)
    precision = true_positives / np.arange(1, len(right) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    reached = np.searchsorted(true_positives / num_truth, RECALLS)
    return np.append(envelope, 0.0)[reached]


def _class_ap(
    truth: LvisTruth, category: int, found: Mapping[int, Sequence[tuple[float, Mask]]]
) -> float:
    instances = truth.instances[category]
    scores, matched, exhaustive = [], [], []
    for image in sorted(found):
        image_scores, masks = zip(*found[image], strict=True)
        scores.extend(image_scores)
        matched.append(match(mask_iou(masks, instances.get(image, ()))))
        exhaustive.extend([category not in truth.not_exhaustive[image]] * len(masks))
    if not scores:
        return 0.0
    num_truth = sum(map(len, instances.values()))
    return average_precision(
        np.array(scores), np.concatenate(matched, axis=1), np.array(exhaustive), num_truth
    )
