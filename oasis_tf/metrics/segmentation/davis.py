"""Region similarity J and contour accuracy F of masks, as DAVIS counts them (Perazzi et al. 2016).

J is the intersection over union of an object. F is the F-measure of its contour: precision is the
share of the predicted contour that lies near the true one, recall the other way round.
"""

import math

import numpy as np
import scipy.ndimage

TOLERANCE = 0.008  # of the diagonal of the image, rounded up to pixels


def region_similarity(truth, prediction):
    """J of one object.

    Args:
        truth, prediction: bool [H,W].

    Returns:
        float in [0, 1]; 1 where both are empty.
    """
    union = np.count_nonzero(truth | prediction)
    return np.count_nonzero(truth & prediction) / union if union else 1.0


def contour(mask):
    """Pixels of an object's contour, bool [H,W].

    A pixel is of it where its value differs from that of the next one to the right, below, or
    both; beyond the image the last value goes on.
    """
    padded = np.pad(mask, ((0, 1), (0, 1)), "edge")
    right, below, both = padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    return (mask != right) | (mask != below) | (mask != both)


def contour_accuracy(truth, prediction, tolerance=TOLERANCE):
    """F of one object.

    Args:
        truth, prediction: bool [H,W].
        tolerance: how far a pixel may lie from the other contour, as a share of the diagonal.

    Returns:
        float in [0, 1]; 1 where neither has a contour, 0 where one has none.
    """
    radius = math.ceil(tolerance * math.hypot(*truth.shape))
    true, found = contour(truth), contour(prediction)
    if not true.any() or not found.any():
        return float(true.any() == found.any())
    precision = np.mean(scipy.ndimage.distance_transform_edt(~true)[found] <= radius)
    recall = np.mean(scipy.ndimage.distance_transform_edt(~found)[true] <= radius)
    total = precision + recall
    return float(2 * precision * recall / total) if total else 0.0


def scores(truths, predictions, num_classes):
    """J and F of each object of a video, means over its frames.

    Args:
        truths, predictions: lists of integers [H,W], ids of objects; 0 the background.
        num_classes: int, the background included.

    Returns:
        float64 [num_classes - 1, 2].
    """
    values = [
        [
            (region_similarity(a == k, b == k), contour_accuracy(a == k, b == k))
            for k in range(1, num_classes)
        ]
        for a, b in zip(truths, predictions, strict=True)
    ]
    return np.mean(values, axis=0)
