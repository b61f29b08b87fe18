"""Colour and texture of generated images against the real ones (ICLR 2021, section 4, figure 6).

The real and the generated images of the whole split are compared class by class, both by the same
label maps. What is computed, and what the paper leaves open, say `colour.py` and `texture.py`.
"""

from oasis_tf.metrics import evaluator
from oasis_tf.metrics.histograms import class_histograms, colour, texture
from oasis_tf.metrics.sampler import Capability

_SIDES = ("real", "generated")


class _HistogramEvaluator(evaluator.Evaluator):
    """Counts histograms of real and of generated images; subclasses say which.

    Values: `PREFIX/mean`, over the classes that have a distance, and `PREFIX/CLASS`, NaN for a
    class without pixels. Arrays: `real` and `generated`, float64 [N,CHANNELS,BINS], the share of
    each bin in a class; NaN for classes without pixels.
    """

    needs = (Capability.LABEL_MAPS,)
    prefix: str
    statistics: type  # a `ClassHistograms`
    distances: staticmethod
    conventions: str

    def __init__(self, context):
        num_classes = context.dataset.label_space.num_classes
        self._num_images = context.num_images
        self._ignored_class = context.ignored_class
        self._class_names = context.dataset.label_space.class_names
        self._counted = {side: self.statistics(num_classes, self._ignored_class) for side in _SIDES}

    @classmethod
    def check(cls, settings, label_space):
        cls.statistics(label_space.num_classes)  # refuses where scikit-image is missing

    def update(self, batch):
        label_map = batch.label_map[batch.valid]
        self._counted["real"].update(batch.image[batch.valid], label_map)
        self._counted["generated"].update(batch.generated[batch.valid], label_map)

    def state(self):
        states = {side: counted.state() for side, counted in self._counted.items()}
        return {f"{side}/{key}": v for side, state in states.items() for key, v in state.items()}

    def result(self, states):
        merged = {side: self.statistics.merged(_of(side, states)) for side in _SIDES}
        distances = self.distances(merged["real"], merged["generated"])
        mean, count = class_histograms.mean_over_classes(distances)
        values = {f"{self.prefix}/mean": mean}
        for k, name in enumerate(self._class_names):
            if k != self._ignored_class:
                values[f"{self.prefix}/{name}"] = float(distances[k])
        protocol = {
            "conventions": self.conventions,
            "num_real": self._num_images,
            "num_generated": self._num_images,
            "num_classes": count,
            "notes": ["The paper does not define the histograms: its values compare loosely."],
        }
        arrays = {side: counted.histograms() for side, counted in merged.items()}
        return evaluator.Result(values, protocol, arrays)


def _of(side, states):
    """The states of one side, by their own keys."""
    start = f"{side}/"
    return [{k[len(start) :]: v for k, v in s.items() if k.startswith(start)} for s in states]


class ColourEvaluator(_HistogramEvaluator):
    """Earth mover's distance of LAB histograms, in LAB units: `colour_emd/…`."""

    prefix = "colour_emd"
    statistics = colour.ColourStatistics
    distances = staticmethod(colour.distances)
    conventions = (
        f"CIE LAB (D65), bins of {colour.BIN_WIDTH}; one-dimensional earth mover's distance, mean "
        "of L, a and b; histograms over all images, by class"
    )


class TextureEvaluator(_HistogramEvaluator):
    """χ² distance of histograms of local binary patterns, 0 to 1: `texture_chi2/…`."""

    prefix = "texture_chi2"
    statistics = texture.TextureStatistics
    distances = staticmethod(texture.distances)
    conventions = (
        f"uniform local binary patterns of grey, {texture.NEIGHBOURS} neighbours at radius 1; half "
        "the sum of (p - q)² / (p + q); histograms over all images, by class"
    )
