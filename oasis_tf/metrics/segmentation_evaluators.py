"""Metrics made of segmentation scores: discriminator as segmenter, alignment with label maps.

ICLR 2021, section 4: mIoU of generated images under a segmentation network, and (appendix) of the
discriminator itself on real images.
"""

from oasis_tf.metrics import evaluator, segmentation, segmenter


class _LabelScores:
    """A confusion matrix that knows class names and padding."""

    def __init__(self, label_space):
        self._label_space = label_space
        self._matrix = segmentation.ConfusionMatrix(
            label_space.num_classes, ignored_class=0 if label_space.has_unknown else None
        )

    def update(self, batch, prediction):
        self._matrix.update(batch.label_map[batch.valid], prediction[batch.valid])

    def scores(self, prefix):
        return self._matrix.scores(prefix, self._label_space.class_names)


class SegmentationEvaluator(evaluator.Evaluator):
    """The discriminator as a segmenter of the real validation images: `segmentation/…`."""

    needs_discriminator = True

    def __init__(self, context):
        self._model = context.model
        self._scores = _LabelScores(context.dataset.label_space)

    def update(self, batch):
        self._scores.update(batch, self._model.segment(batch.image))

    def result(self):
        return self._scores.scores("segmentation")


class AlignmentEvaluator(evaluator.Evaluator):
    """Generated images under a segmenter trained on real ones: `alignment/…`.

    The segmenter's own scores on the real validation images, `segmenter/…`, say how high a perfect
    generator could come.
    """

    def __init__(self, context):
        steps = context.segmenter_steps
        if steps is None:
            steps = segmenter.default_steps(context.dataset.num_examples("train"))
        recipe = segmenter.SegmenterRecipe(
            context.height, context.width, steps, skip_corrupt=context.skip_corrupt
        )
        self._segmenter = segmenter.cached_segmenter(context.dataset, recipe, context.model_dir)
        self._generated = _LabelScores(context.dataset.label_space)
        self._real = _LabelScores(context.dataset.label_space)

    def update(self, batch):
        self._generated.update(batch, self._segmenter.segment(batch.generated))
        self._real.update(batch, self._segmenter.segment(batch.image))

    def result(self):
        return self._generated.scores("alignment") | self._real.scores("segmenter")
