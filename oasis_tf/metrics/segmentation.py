"""Segmentation scores from a streaming confusion matrix: IoU per class, mean IoU, pixel accuracy.

Used for the discriminator as a segmenter and for the alignment of generated images with their label
maps (ICLR 2021, section 4). Counts are exact integers, scores float64, so the order and the size of
the batches never change a result.
"""

import numpy as np


class ConfusionMatrix:
    """Counts of (true class, predicted class) over all pixels seen so far.

    Args:
        num_classes: number of model ids N; true and predicted ids lie in 0..N-1.
        ignored_class: model id of the unknown label, or None. Pixels whose *true* class it is are
            not counted, and it has no IoU of its own. Predicting it for a pixel of a known class is
            an error of that class like any other.

    Attributes:
        counts: int64 [N, N], row = true class, column = predicted class.
    """

    def __init__(self, num_classes, ignored_class=None):
        if num_classes < 1:
            raise ValueError(f"`num_classes` must be positive. Received: num_classes={num_classes}")
        if ignored_class is not None and not 0 <= ignored_class < num_classes:
            raise ValueError(
                f"`ignored_class` must be None or lie in 0..{num_classes - 1}. "
                f"Received: ignored_class={ignored_class}"
            )
        self.num_classes = num_classes
        self.ignored_class = ignored_class
        self.counts = np.zeros((num_classes, num_classes), np.int64)

    def update(self, truth, prediction):
        """Counts one batch.

        Args:
            truth: integers of any shape, true model ids.
            prediction: integers of the same shape, predicted model ids.

        Raises:
            ValueError: shapes differ, or an id lies outside 0..N-1.
        """
        truth, prediction = np.asarray(truth), np.asarray(prediction)
        if truth.shape != prediction.shape:
            raise ValueError(
                "`truth` and `prediction` must have the same shape. "
                f"Received: truth.shape={truth.shape}, prediction.shape={prediction.shape}"
            )
        self._check_ids("truth", truth)
        self._check_ids("prediction", prediction)
        if self.ignored_class is not None:
            counted = truth != self.ignored_class
            truth, prediction = truth[counted], prediction[counted]
        pairs = truth.astype(np.int64) * self.num_classes + prediction.astype(np.int64)
        self.counts += np.bincount(pairs.ravel(), minlength=self.num_classes**2).reshape(
            self.counts.shape
        )

    def _check_ids(self, name, ids):
        if not np.issubdtype(ids.dtype, np.integer):
            raise ValueError(f"`{name}` must hold integers. Received: dtype={ids.dtype}")
        if ids.size and (ids.min() < 0 or ids.max() >= self.num_classes):
            raise ValueError(
                f"`{name}` must hold model ids in 0..{self.num_classes - 1}. "
                f"Received: values from {ids.min()} to {ids.max()}"
            )

    def class_iou(self):
        """Intersection over union of each class.

        Returns:
            float64 [N] in [0, 1]; NaN for the ignored class and for classes that occur neither in
            the truth nor in a prediction.
        """
        intersection = np.diagonal(self.counts).astype(np.float64)
        union = self.counts.sum(0) + self.counts.sum(1) - intersection
        iou = np.divide(
            intersection, union, out=np.full_like(intersection, np.nan), where=union > 0
        )
        if self.ignored_class is not None:
            iou[self.ignored_class] = np.nan
        return iou

    def mean_iou(self):
        """Mean of `class_iou` over the classes that have one; NaN if none has."""
        iou = self.class_iou()
        present = ~np.isnan(iou)
        return float(iou[present].mean()) if present.any() else float("nan")

    def pixel_accuracy(self):
        """Fraction of counted pixels predicted correctly; NaN if no pixel was counted."""
        total = self.counts.sum()
        return float(np.trace(self.counts) / total) if total else float("nan")

    def scores(self, prefix, class_names):
        """All scores by name: `PREFIX/miou`, `PREFIX/pixel_accuracy` and `PREFIX/iou/CLASS`.

        Args:
            prefix: first part of every name.
            class_names: N names in model-id order; the ignored class gets no entry.

        Returns:
            dict of name -> float, NaN where a score does not exist.
        """
        values = {
            f"{prefix}/miou": self.mean_iou(),
            f"{prefix}/pixel_accuracy": self.pixel_accuracy(),
        }
        for k, (name, iou) in enumerate(zip(class_names, self.class_iou(), strict=True)):
            if k != self.ignored_class:
                values[f"{prefix}/iou/{name}"] = float(iou)
        return values
