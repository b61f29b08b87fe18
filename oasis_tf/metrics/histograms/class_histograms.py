"""Histograms of what the pixels of each class look like, counted over any number of images.

Colour and texture distances (`colour.py`, `texture.py`) compare such histograms of the real and of
the generated images (ICLR 2021, section 4: "aggregate histogram distances separately per class and
then take the mean"). Counts are exact integers: the order and size of batches never change them,
the states of several workers merge exactly, and memory does not grow with the number of images.
"""

import abc

import numpy as np


class ClassHistograms(abc.ABC):
    """Counts of pixels by class, channel and bin. Subclasses say which bin a pixel falls into.

    Args:
        num_classes: number of model ids N.
        ignored_class: model id of the unknown label, or None. Its pixels are not counted.

    Attributes:
        counts: int64 [N, CHANNELS, BINS].

    Raises:
        ValueError: bad numbers, or scikit-image is not installed.
    """

    CHANNELS: int
    BINS: int
    BORDER = 0  # pixels at each edge of an image that fall into no bin

    def __init__(self, num_classes, ignored_class=None):
        if num_classes < 1:
            raise ValueError(f"`num_classes` must be positive. Received: num_classes={num_classes}")
        if ignored_class is not None and not 0 <= ignored_class < num_classes:
            raise ValueError(
                f"`ignored_class` must be None or lie in 0..{num_classes - 1}. "
                f"Received: ignored_class={ignored_class}"
            )
        _require_scikit_image()
        self.num_classes = num_classes
        self.ignored_class = ignored_class
        self.counts = np.zeros((num_classes, self.CHANNELS, self.BINS), np.int64)

    @staticmethod
    @abc.abstractmethod
    def _bins(image):
        """Bins of the pixels of one image, uint8 [H,W,3] -> integers [CHANNELS,h,w].

        h, w are H, W less the border at both edges.
        """

    def update(self, image, label_map):
        """Counts the pixels of a batch, each by the class at its own place.

        Args:
            image: uint8 [B,H,W,3].
            label_map: integers [B,H,W], model ids in 0..N-1.

        Raises:
            ValueError: another type or shape, an id outside 0..N-1, or images that are all border.
        """
        image, label_map = np.asarray(image), np.asarray(label_map)
        self._check(image, label_map)
        for one_image, one_label_map in zip(image, label_map, strict=True):
            self._count(self._bins(one_image), self._inside(one_label_map))

    def _inside(self, label_map):
        height, width = label_map.shape
        return label_map[self.BORDER : height - self.BORDER, self.BORDER : width - self.BORDER]

    def _count(self, bins, label_map):
        known = label_map != (-1 if self.ignored_class is None else self.ignored_class)
        ids = label_map[known].astype(np.int64)
        for channel in range(self.CHANNELS):
            cells = ids * self.BINS + bins[channel][known]
            counts = np.bincount(cells, minlength=self.num_classes * self.BINS)
            self.counts[:, channel] += counts.reshape(self.num_classes, self.BINS)

    def _check(self, image, label_map):
        if image.dtype != np.uint8 or image.ndim != 4 or image.shape[-1] != 3:
            raise ValueError(
                "`image` must be uint8 [B,H,W,3]. "
                f"Received: dtype={image.dtype}, shape={image.shape}. Convert the images first."
            )
        if not np.issubdtype(label_map.dtype, np.integer) or label_map.shape != image.shape[:-1]:
            raise ValueError(
                "`label_map` must hold integers and have the shape of the images, "
                f"{image.shape[:-1]}. Received: dtype={label_map.dtype}, shape={label_map.shape}"
            )
        if label_map.size and (label_map.min() < 0 or label_map.max() >= self.num_classes):
            raise ValueError(
                f"`label_map` must hold model ids in 0..{self.num_classes - 1}. "
                f"Received: values from {label_map.min()} to {label_map.max()}"
            )
        if min(image.shape[1:3]) <= 2 * self.BORDER:
            raise ValueError(
                f"Images must have at least {2 * self.BORDER + 1} pixels a side. "
                f"Received: shape={image.shape}"
            )

    def histograms(self):
        """Share of each bin in the pixels of a class.

        Returns:
            float64 [N, CHANNELS, BINS], sum 1 over bins; NaN for classes without pixels, the
            ignored class among them.
        """
        totals = self.counts.sum(axis=-1, keepdims=True)
        absent = np.full(self.counts.shape, np.nan)
        return np.divide(self.counts, totals, out=absent, where=totals > 0)

    def state(self):
        """What was counted, dict of name -> array, for `merged`."""
        ignored = -1 if self.ignored_class is None else self.ignored_class
        return {"counts": self.counts.copy(), "ignored_class": np.array(ignored, np.int64)}

    @classmethod
    def merged(cls, states):
        """Statistics of all that the owners of several states have seen.

        Args:
            states: non-empty sequence of what `state` returned.

        Raises:
            ValueError: no states, or states of other classes, bins or ignored classes.
        """
        states = list(states)
        kinds = {(np.shape(s["counts"]), int(s["ignored_class"])) for s in states}
        if len(kinds) != 1 or next(iter(kinds))[0][1:] != (cls.CHANNELS, cls.BINS):
            raise ValueError(
                f"{cls.__name__} merges one or more states of the same classes and the same "
                f"ignored class, with {cls.CHANNELS} channels of {cls.BINS} bins. "
                f"Received: shapes and ignored classes {sorted(kinds)}"
            )
        [(shape, ignored)] = kinds
        statistics = cls(shape[0], None if ignored < 0 else ignored)
        for state in states:
            statistics.counts += state["counts"]
        return statistics


def check_comparable(real, generated):
    """Refuses to compare statistics of different classes.

    Raises:
        ValueError: other numbers of classes or other ignored classes.
    """
    ours, theirs = [(s.num_classes, s.ignored_class) for s in (real, generated)]
    if ours != theirs:
        raise ValueError(
            "Real and generated statistics must have the same classes and ignored class. Received: "
            f"num_classes={ours[0]}, ignored_class={ours[1]} and num_classes={theirs[0]}, "
            f"ignored_class={theirs[1]}. Count both with the classes of one data set."
        )


def mean_over_classes(distances):
    """Mean distance over the classes that have one.

    Args:
        distances: float [N], NaN for classes to be left out.

    Returns:
        (mean, count): float, NaN if no class has a distance; int, classes that have one.
    """
    distances = np.asarray(distances, np.float64)
    present = distances[~np.isnan(distances)]
    return (float(present.mean()) if present.size else float("nan")), int(present.size)


def _require_scikit_image():
    try:
        import skimage  # noqa: F401  here: only the metrics colour and texture need it
    except ImportError as error:
        raise ValueError(
            'Colour and texture distances need scikit-image: run `pip install "oasis-tf[eval]"`.'
        ) from error
