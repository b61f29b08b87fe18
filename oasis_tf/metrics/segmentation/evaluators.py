"""Metrics made of segmentation scores: discriminator as segmenter, alignment with label maps.

ICLR 2021, section 4: mIoU of generated images under a segmentation network, and (appendix) of the
discriminator itself on real images.
"""

import numpy as np

from oasis_tf.metrics import evaluator
from oasis_tf.metrics.sampler import Capability
from oasis_tf.metrics.segmentation import compact_segmenter, external_segmenter
from oasis_tf.metrics.segmentation.confusion import ConfusionMatrix, frequency_groups
from oasis_tf.metrics.segmentation.segmenter_labels import read_usage

_CONVENTIONS = {
    "miou": "mean over the scored classes that occur in the truth or in a prediction",
    "scored_pixels": "pixels whose true class is scored; any other prediction there is an error",
    "groups": "scored classes by their share of the training pixels, the most frequent first",
}


class _LabelScores:
    """Scores of one set of images: counts while batches come, values from all workers' counts.

    Args:
        prefix: first part of the value names.
        dataset: `PreparedDataset`.
        classes: model ids that are scored.
    """

    def __init__(self, prefix, dataset, classes):
        self.prefix = prefix
        self._names = dataset.label_space.class_names
        self._ignored = tuple(sorted(set(range(len(self._names))) - set(classes)))
        self._frequency = np.array(dataset.class_frequency)
        self._groups = frequency_groups(self._frequency, classes)
        self._matrix = self._new_matrix()

    def _new_matrix(self):
        return ConfusionMatrix(len(self._names), self._ignored)

    def update(self, batch, prediction):
        self._matrix.update(batch.label_map[batch.valid], prediction[batch.valid])

    def state(self):
        return {self.prefix: self._matrix.counts.copy()}

    def merged(self, states):
        """Values, and arrays for plots, of the states of all workers."""
        matrix = self._new_matrix()
        matrix.counts = sum(state[self.prefix] for state in states)
        values = matrix.scores(self.prefix, self._names, self._groups)
        return values, {f"{self.prefix}/class_iou": matrix.class_iou()}

    def protocol(self):
        """Which classes are scored, and how they are grouped."""
        scored = [k for k in range(len(self._names)) if k not in self._ignored]
        total = self._frequency[scored].sum()
        groups = [
            {
                "ids": ids,
                "classes": [self._names[k] for k in ids],
                "training_share": float(self._frequency[ids].sum() / total) if total else 0.0,
            }
            for ids in self._groups
        ]
        return {
            "scored_classes": [self._names[k] for k in scored],
            "ignored_classes": [self._names[k] for k in self._ignored],
            "groups": groups,
            "conventions": _CONVENTIONS,
        }


def known_classes(label_space):
    """Model ids of all classes but the unknown one."""
    return list(range(int(label_space.has_unknown), label_space.num_classes))


class SegmentationEvaluator(evaluator.Evaluator):
    """The discriminator as a segmenter of the real validation images: `segmentation/…`."""

    needs = (Capability.SEGMENTATION,)
    of_training = True

    def __init__(self, context):
        self._segment = context.segment
        self._num_images = context.num_images
        classes = known_classes(context.dataset.label_space)
        self._scores = _LabelScores("segmentation", context.dataset, classes)

    def update(self, batch):
        self._scores.update(batch, self._segment(batch.image))

    def state(self):
        return self._scores.state()

    def result(self, states):
        values, arrays = self._scores.merged(states)
        protocol = {
            "segmenter": {"name": "the model's own discriminator"},
            "num_real": self._num_images,
        }
        return evaluator.Result(values, protocol | self._scores.protocol(), arrays)


class AlignmentEvaluator(evaluator.Evaluator):
    """Generated images under a segmenter of photographs: `alignment_SEGMENTER/…`.

    The segmenter's own scores on the real validation images, `segmenter_SEGMENTER/…`, say what a
    perfect generator could reach.
    """

    needs = (Capability.LABEL_MAPS,)
    of_training = True

    @classmethod
    def check(cls, settings, label_space):
        external_segmenter.check(settings, label_space)

    def __init__(self, context):
        self._num_images = context.num_images
        self._segmenter = _segmenter(context)
        name, classes = self._segmenter.name, self._segmenter.classes
        self._generated = _LabelScores(f"alignment_{name}", context.dataset, classes)
        self._real = _LabelScores(f"segmenter_{name}", context.dataset, classes)

    def update(self, batch):
        self._generated.update(batch, self._segmenter.segment(batch.generated))
        self._real.update(batch, self._segmenter.segment(batch.image))

    def state(self):
        return self._generated.state() | self._real.state()

    def result(self, states):
        values, arrays = self._generated.merged(states)
        real_values, real_arrays = self._real.merged(states)
        protocol = {
            "segmenter": self._segmenter.protocol,
            "images": "one generated image for each validation label map",
            "num_generated": self._num_images,
            "num_real": self._num_images,
            "notes": list(self._segmenter.notes),
        }
        return evaluator.Result(
            values | real_values, protocol | self._generated.protocol(), arrays | real_arrays
        )


def _segmenter(context):
    settings, label_space = context.settings, context.dataset.label_space
    external_segmenter.check(settings, label_space)
    if settings.segmenter == external_segmenter.AUTO:
        return _compact(context)
    usage = read_usage(settings.segmenter_labels, label_space)
    network = external_segmenter.ExternalSegmenter(settings.segmenter, usage, label_space)
    network.try_out(context.batch_size, context.height, context.width)
    return network


def _compact(context):
    steps = context.settings.segmenter_steps
    if steps is None:
        steps = compact_segmenter.default_steps(context.dataset.num_examples("train"))
    recipe = compact_segmenter.SegmenterRecipe(
        context.height, context.width, steps, skip_corrupt=context.skip_corrupt
    )
    return compact_segmenter.cached_segmenter(context.dataset, recipe, context.model_dir)
