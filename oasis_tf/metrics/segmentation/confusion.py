"""Segmentation scores from a streaming confusion matrix: IoU per class, mean IoU, pixel accuracy.

Used for the discriminator as a segmenter and for the alignment of generated images with their label
maps (ICLR 2021, section 4), also by groups of classes of similar frequency (tables B to D there).
Counts are exact integers, scores float64, so the order and the size of the batches never change a
result.
"""

import numpy as np

NO_CLASS = -1
NUM_GROUPS = 5


class ConfusionMatrix:
    """Counts of (true class, predicted class) over all pixels seen so far.

    Args:
        num_classes: number of model ids N; true ids lie in 0..N-1, predicted ones too, or are
            `NO_CLASS`, which is an error wherever it counts.
        ignored_classes: model ids, such as that of the unknown label. Pixels whose *true* class is
            one of them are not counted, and they have no IoU of their own. Predicting one for a
            pixel of another class is an error of that class like any other.

    Attributes:
        counts: int64 [N, N + 1], row = true class, column = predicted class, the last one for
            `NO_CLASS`.
    """

    def __init__(self, num_classes, ignored_classes=()):
        if num_classes < 1:
            raise ValueError(f"`num_classes` must be positive. Received: num_classes={num_classes}")
        if any(not 0 <= k < num_classes for k in ignored_classes):
            raise ValueError(
                f"`ignored_classes` must lie in 0..{num_classes - 1}. "
                f"Received: ignored_classes={tuple(ignored_classes)}"
            )
        self.num_classes = num_classes
        self.ignored_classes = tuple(ignored_classes)
        self.counts = np.zeros((num_classes, num_classes + 1), np.int64)

    @property
    def scored_classes(self):
        """Model ids that are not ignored, ascending, int64."""
        return np.setdiff1d(np.arange(self.num_classes), self.ignored_classes)

    def update(self, truth, prediction):
        """Counts one batch.

        Args:
            truth: integers of any shape, true model ids.
            prediction: integers of the same shape, predicted model ids or `NO_CLASS`.

        Raises:
            ValueError: shapes differ, or an id lies outside 0..N-1.
        """
        truth, prediction = np.asarray(truth), np.asarray(prediction)
        if truth.shape != prediction.shape:
            raise ValueError(
                "`truth` and `prediction` must have the same shape. "
                f"Received: truth.shape={truth.shape}, prediction.shape={prediction.shape}"
            )
        self._check_ids("truth", truth, 0)
        self._check_ids("prediction", prediction, NO_CLASS)
        truth, prediction = truth.astype(np.int64).ravel(), prediction.astype(np.int64).ravel()
        counted = np.isin(truth, self.scored_classes)
        columns = np.where(prediction == NO_CLASS, self.num_classes, prediction)
        pairs = (truth * (self.num_classes + 1) + columns)[counted]
        self.counts += np.bincount(pairs, minlength=self.counts.size).reshape(self.counts.shape)

    def _check_ids(self, name, ids, lowest):
        if not np.issubdtype(ids.dtype, np.integer):
            raise ValueError(f"`{name}` must hold integers. Received: dtype={ids.dtype}")
        if ids.size and (ids.min() < lowest or ids.max() >= self.num_classes):
            raise ValueError(
                f"`{name}` must hold model ids in {lowest}..{self.num_classes - 1}. "
                f"Received: values from {ids.min()} to {ids.max()}"
            )

    def class_iou(self):
        """Intersection over union of each class.

        Returns:
            float64 [N] in [0, 1]; NaN for ignored classes and for classes that occur neither in the
            truth nor in a prediction.
        """
        predicted = self.counts[:, : self.num_classes]
        intersection = np.diagonal(predicted).astype(np.float64)
        union = predicted.sum(0) + self.counts.sum(1) - intersection
        iou = np.divide(
            intersection, union, out=np.full_like(intersection, np.nan), where=union > 0
        )
        iou[list(self.ignored_classes)] = np.nan
        return iou

    def mean_iou(self, classes=slice(None)):
        """Mean of `class_iou` over those classes (default: all) that have one; NaN if none has."""
        iou = self.class_iou()[classes]
        present = ~np.isnan(iou)
        return float(iou[present].mean()) if present.any() else float("nan")

    def pixel_accuracy(self):
        """Fraction of counted pixels predicted correctly; NaN if no pixel was counted."""
        total = self.counts.sum()
        return float(np.trace(self.counts) / total) if total else float("nan")

    def scores(self, prefix, class_names, groups=()):
        """All scores by name.

        Args:
            prefix: first part of every name.
            class_names: N names in model-id order; ignored classes get no entry.
            groups: lists of model ids (`frequency_groups`).

        Returns:
            dict of `PREFIX/miou`, `PREFIX/pixel_accuracy`, `PREFIX/miou_group_1` … and
            `PREFIX/iou/CLASS` -> float, NaN where a score does not exist.
        """
        values = {
            f"{prefix}/miou": self.mean_iou(),
            f"{prefix}/pixel_accuracy": self.pixel_accuracy(),
        }
        for number, group in enumerate(groups, start=1):
            values[f"{prefix}/miou_group_{number}"] = self.mean_iou(group)
        iou = self.class_iou()
        for k in self.scored_classes:
            values[f"{prefix}/iou/{class_names[k]}"] = float(iou[k])
        return values


def frequency_groups(frequency, classes):
    """Five groups of classes, from the most frequent to the rarest (ICLR 2021, tables B to D).

    Of n classes, groups 2 to 5 have round(n / 5) each and the first has the rest: 30 five times for
    the 150 of ADE20K, 36 and four times 34 for the 172 of COCO-Stuff, 3 and four times 4 for the 19
    of Cityscapes. Eight classes would leave none for the first, so there the others have 1 each.
    With fewer than five classes every class is a group of its own. Among classes of the same
    frequency the lower id comes first.

    Args:
        frequency: float [N], how often each class occurs in the training images.
        classes: model ids to be grouped.

    Returns:
        list of lists of model ids.
    """
    classes = np.array(sorted(classes), np.int64)
    order = classes[np.argsort(-np.asarray(frequency)[classes], kind="stable")].tolist()
    if len(order) < NUM_GROUPS:
        return [[k] for k in order]
    size = min(round(len(order) / NUM_GROUPS), (len(order) - 1) // (NUM_GROUPS - 1))
    first = len(order) - (NUM_GROUPS - 1) * size
    return [order[:first]] + [order[i : i + size] for i in range(first, len(order), size)]
