"""Diversity of the images that are generated from one label map (ICLR 2021, table 2).

Several images are generated from a label map with different noise. All pairs of them are compared,
by MS-SSIM (the lower, the more diverse) and by LPIPS (the higher, the more diverse). The values are
means over the pairs of a map, then over the maps.

The images differ in the noise of all pixels, or in that of one class alone. A model without label
maps generates each group of images from seeds alone.
"""

import functools
import itertools

import numpy as np

from oasis_tf.metrics import evaluator
from oasis_tf.metrics.diversity import ms_ssim, perceptual
from oasis_tf.metrics.sampler import Capability

_MAPS = (
    "map number floor((2k+1)n / 2m) of the n maps of the split, for k = 0..m-1: the middle ones of "
    "m equal parts"
)
_SEEDS = (
    "sample j of a map has seed s + j * 2**32, where s is the seed of the one image that other "
    "metrics see: that is sample 0"
)


def chosen_maps(num_images, num_maps=None):
    """Which label maps are used: the middle ones of as many equal parts of the split.

    Args:
        num_images: maps in the split.
        num_maps: maps wanted; None, or more than there are, takes all.

    Returns:
        int64 [M], ascending: (2k + 1) * num_images // (2 * M) for k = 0..M-1.
    """
    count = num_images if num_maps is None else min(num_maps, num_images)
    part = np.arange(count, dtype=np.int64)
    return (2 * part + 1) * num_images // max(2 * count, 1)


def mean_change(samples, mask):
    """How much pixels differ between the samples of a map, on average over all pairs of samples.

    Args:
        samples: uint8 [S,H,W,3], S >= 2.
        mask: bool [H,W], the pixels that count.

    Returns:
        float in [0, 1], the mean absolute difference of colour values, 1 from black to white; NaN
        where no pixel counts.
    """
    count = len(samples)
    if not mask.any():
        return float("nan")
    # In ascending order, the k-th value is the larger one of k pairs and the smaller one of the
    # others: the sum over pairs is a weighted sum of samples, in exact integers.
    total = np.zeros(samples.shape[1:], np.int64)
    for k, values in enumerate(np.sort(samples, axis=0)):
        total += (2 * k - count + 1) * values.astype(np.int64)
    pairs = count * (count - 1) // 2
    return float(total[mask].sum() / (np.count_nonzero(mask) * 3 * 255 * pairs))


class _PairScores:
    """Means of MS-SSIM and LPIPS over all pairs of samples.

    Args:
        context: `EvaluationContext`.

    Attributes:
        names: `ms_ssim_NUMBERscales` and `lpips_NETWORK`.
        protocol: what they depend on.
    """

    def __init__(self, context):
        size, settings = (context.height, context.width), context.settings
        self._lpips = perceptual.lpips(settings.lpips_backbone, settings.lpips_heads)
        self.names = (ms_ssim.name(*size), self._lpips.name)
        samples = range(settings.diversity_samples)
        self._pairs = np.array(list(itertools.combinations(samples, 2)), np.int64)
        self.protocol = {
            "samples": len(samples),
            "pairs": len(self._pairs),
            "ms_ssim_scales": ms_ssim.num_scales(*size),
            "network": self._lpips.name,
            "network_digest": self._lpips.digest,
        }

    def __call__(self, samples):
        """Scores, two floats, of samples uint8 [S,H,W,3]."""
        similarity = ms_ssim.similarities(samples, self._pairs)
        distance = self._lpips.distances(samples, self._pairs)
        return float(np.mean(similarity)), float(np.mean(distance))

    def notes(self):
        """What a reader must know to compare the values with published ones."""
        notes, samples = [], self.protocol["samples"]
        scales = self.protocol["ms_ssim_scales"]
        if samples != 20:
            notes.append(f"{samples} images a map; published values have 20.")
        if scales != len(ms_ssim.WEIGHTS):
            notes.append(
                f"MS-SSIM has {scales} scales, because the images are too small for the five of "
                "the published definition: not comparable with published values."
            )
        if self._lpips.name not in ("lpips_alex", "lpips_vgg"):
            notes.append(
                f"{self._lpips.name} is LPIPS with other weights than the published ones: not "
                "comparable with published values."
            )
        return notes


class _Samples:
    """The images of one label map, generated `batch_size` at a time.

    Args:
        sampler: `Sampler`.
        label_map: int32 [H,W], or None for a model without label maps.
        seed: int, that of the first image.
        count: images S.
        batch_size: images generated at a time.
    """

    def __init__(self, sampler, label_map, seed, count, batch_size):
        self.label_map = label_map
        self._sampler = sampler
        self._seeds = seed + (np.arange(count, dtype=np.int64) << 32)
        self._batch_size = batch_size

    def first(self):
        """The image of the first seed, which other metrics see too: uint8 [1,H,W,3]."""
        return self._generated(self._sampler, self._seeds[:1])

    def others(self):
        """Images of the other seeds, noise drawn for the whole image: uint8 [S-1,H,W,3]."""
        return self._generated(self._sampler, self._seeds[1:])

    def others_inside(self, mask):
        """Images with the other seeds' noise where `mask` holds, elsewhere the first one's."""

        def generate(label_map, vectors):
            index = np.broadcast_to(mask.astype(np.int32), label_map.shape)
            return self._sampler.from_field(label_map, index, vectors)

        return self._generated(generate, self._vectors)

    @functools.cached_property
    def _vectors(self):
        """The first noise vector and each other one: float32 [S-1,2,Z]."""
        first, *others = self._sampler.noise(self._seeds)
        return np.array([(first, other) for other in others])

    def _generated(self, generate, noise):
        images = []
        for start in range(0, len(noise), self._batch_size):
            part = noise[start : start + self._batch_size]
            images.append(evaluator.finite_uint8(generate(self._repeated(len(part)), part)))
        return np.concatenate(images)

    def _repeated(self, count):
        if self.label_map is None:
            return None
        return np.broadcast_to(self.label_map, (count, *self.label_map.shape))


class _SampledMaps(evaluator.Evaluator):
    """Measures label maps, each for itself; memory is that of one map's samples."""

    needs = (Capability.NOISE,)
    noise: str
    averaged: str
    num_scores: int

    def __init__(self, context):
        self._context = context
        self._chosen = chosen_maps(context.num_images, context.settings.diversity_maps)
        self._compare = _PairScores(context)
        self._rows = []

    @classmethod
    def check(cls, settings, label_space):
        if settings.lpips_backbone or settings.lpips_heads:
            perceptual.lpips(settings.lpips_backbone, settings.lpips_heads)

    def update(self, batch):
        count, batch_size = self._context.settings.diversity_samples, self._context.batch_size
        for row in np.flatnonzero(batch.valid & np.isin(batch.index, self._chosen)):
            label_map = None if batch.label_map is None else batch.label_map[row]
            samples = _Samples(batch.sampler, label_map, batch.seed[row], count, batch_size)
            self._rows += [(batch.index[row], *part) for part in self._measure(samples)]

    def _measure(self, samples):
        """Yields (class, *scores) of `_Samples`; class -1 is the whole image."""
        raise NotImplementedError

    def state(self):
        rows = np.array(self._rows, np.float64).reshape(-1, 2 + self.num_scores)
        return {"place": rows[:, :2].astype(np.int64), "scores": rows[:, 2:]}

    @staticmethod
    def _gathered(states):
        """Classes [R] and scores [R,K] in the order of the maps, however workers shared them."""
        place, scores = (np.concatenate([s[key] for s in states]) for key in ("place", "scores"))
        order = np.lexsort((place[:, 1], place[:, 0]))
        return place[order, 1], scores[order]

    def _protocol(self):
        maps, num_images = len(self._chosen), self._context.num_images
        some = maps < num_images
        notes = [f"{maps} of {num_images} label maps."] if some else []
        return self._compare.protocol | {
            "num_maps": maps,
            "maps": _MAPS if some else "all",
            "seeds": _SEEDS,
            "noise": self.noise,
            "averaged": self.averaged,
            "notes": notes + self._compare.notes(),
        }


class DiversityEvaluator(_SampledMaps):
    """Diversity of images that differ in all of their noise: `diversity/ms_ssim_…`, `…/lpips_…`."""

    noise = "one vector for all pixels of an image, as in training"
    averaged = "over all pairs of a map's samples, then over maps"
    num_scores = 2

    def _measure(self, samples):
        yield -1, *self._compare(np.concatenate([samples.first(), samples.others()]))

    def result(self, states):
        _, scores = self._gathered(states)
        values = zip(self._compare.names, _mean(scores), strict=True)
        return evaluator.Result({f"diversity/{k}": v for k, v in values}, self._protocol())


class ClassDiversityEvaluator(_SampledMaps):
    """Diversity of images that differ in the noise of one class alone.

    For every class that a label map holds, the unknown one aside, images are generated that have
    the noise of the first one everywhere else. Names: `class_diversity/SCORE/CLASS`, the mean over
    the maps that hold the class (NaN if none does), and `class_diversity/SCORE/mean`, the mean over
    classes. Scores: `ms_ssim_…` and `lpips_…`, of the whole image, so that large classes weigh
    more; `change_inside` and `change_outside`: the mean absolute change of pixels of the class and
    of all others, in [0, 1], which tells how local an edit stays.
    """

    needs = (Capability.LABEL_MAPS, Capability.NOISE, Capability.LOCAL_NOISE)
    noise = "the first sample's vector, but for the pixels of one class: there each sample's own"
    averaged = (
        "over all pairs of a map's samples, whole images in MS-SSIM and LPIPS; then over the maps "
        "that hold the class; mean: then over classes"
    )
    num_scores = 4

    def __init__(self, context):
        super().__init__(context)
        names = enumerate(context.dataset.label_space.class_names)
        self._classes = {k: name for k, name in names if k != context.ignored_class}

    def _measure(self, samples):
        first = samples.first()
        for k in np.intersect1d(samples.label_map, list(self._classes)):
            mask = samples.label_map == k
            images = np.concatenate([first, samples.others_inside(mask)])
            changes = mean_change(images, mask), mean_change(images, ~mask)
            yield k, *self._compare(images), *changes

    def result(self, states):
        classes, scores = self._gathered(states)
        by_class = {name: _mean(scores[classes == k]) for k, name in self._classes.items()}
        by_class = {"mean": _mean(np.array(list(by_class.values())))} | by_class
        names = (*self._compare.names, "change_inside", "change_outside")
        values = {
            f"class_diversity/{score}/{name}": value[column]
            for column, score in enumerate(names)
            for name, value in by_class.items()
        }
        return evaluator.Result(values, self._protocol())


def _mean(scores):
    """Means over rows without the NaN: float64 [R,K] -> list of K floats, NaN where none is."""
    columns = [column[~np.isnan(column)] for column in scores.T]
    return [float(column.mean()) if len(column) else float("nan") for column in columns]
