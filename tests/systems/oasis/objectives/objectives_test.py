"""Losses and accuracies of objectives at one and two scales, against NumPy."""

import keras
import numpy as np
import pytest

from oasis_tf.systems.oasis import losses
from oasis_tf.systems.oasis.objectives import BinaryObjective, HingeObjective, SegmentationObjective

CLASSES = 3


def logits_of(channels, seed=0):
    """Logits of fake and real images at two scales."""
    rng = np.random.default_rng(seed)
    return [
        [rng.normal(size=(2, side, side, channels)).astype(np.float32) for side in (8, 4)]
        for _ in range(2)
    ]


def mean(function, scales):
    return np.mean([function(x.astype(np.float64)).mean() for x in scales])


def softplus(x):
    return np.log1p(np.exp(x))


EXPECTED = {
    HingeObjective: (lambda x: -x, lambda x: np.maximum(0, 1 + x), lambda x: np.maximum(0, 1 - x)),
    BinaryObjective: (lambda x: softplus(-x), softplus, lambda x: softplus(-x)),
}


@pytest.mark.parametrize("kind", EXPECTED)
@pytest.mark.parametrize("scales", [1, 2])
def test_objectives_with_one_logit(kind, scales):
    objective, (fake, real) = kind(), logits_of(1)
    fake, real = fake[:scales], real[:scales]
    arguments = (fake, real) if scales > 1 else (fake[0], real[0])
    assert objective.targets(None, scales, "float32") is None and not objective.segments
    of_generator, of_fake, of_real = EXPECTED[kind]
    got = objective.generator_loss(arguments[0], None)
    np.testing.assert_allclose(got, mean(of_generator, fake), rtol=1e-5)
    got = objective.discriminator_losses(*arguments, None)
    np.testing.assert_allclose(got, [mean(of_fake, fake), mean(of_real, real)], rtol=1e-5)
    got = objective.accuracies(*arguments, None)
    wanted = [mean(lambda x: x < 0, fake), mean(lambda x: x > 0, real)]
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    np.testing.assert_allclose(objective.called_real(arguments[1]), wanted[1], rtol=1e-6)


def test_only_patch_gans_get_fake_and_real_images_in_one_batch():
    kinds = (HingeObjective(), BinaryObjective(), SegmentationObjective(CLASSES, True))
    assert [objective.joint for objective in kinds] == [True, False, False]


@pytest.mark.parametrize("balanced", [True, False])
def test_segmentation_objective(balanced):
    objective, (fake, real) = SegmentationObjective(CLASSES, True, balanced), logits_of(CLASSES + 1)
    label_map = np.random.default_rng(1).integers(0, CLASSES, (2, 8, 8)).astype(np.int32)
    maps = [label_map, label_map[:, ::2, ::2]]
    targets = objective.targets(label_map, 2, "float32")
    for (got, weights), want in zip(targets, maps, strict=True):
        np.testing.assert_array_equal(got, want)
        wanted = losses.class_weights(want, CLASSES, True, balanced=balanced)
        np.testing.assert_array_equal(weights, wanted)
        assert weights[0] == 0 and (balanced or (weights.numpy()[1:] == 1).all())

    def as_real(logits):
        return [losses.real_loss(x, *target) for x, target in zip(logits, targets, strict=True)]

    np.testing.assert_allclose(objective.generator_loss(fake, targets), np.mean(as_real(fake)))
    got = objective.discriminator_losses(fake, real, targets)
    want = [np.mean([losses.fake_loss(x) for x in fake]), np.mean(as_real(real))]
    np.testing.assert_allclose(got, want, rtol=1e-6)
    hits = [(x.argmax(-1) == m + 1).mean() for x, m in zip(real, maps, strict=True)]
    want = [mean(lambda x: x.argmax(-1) == 0, fake), np.mean(hits)]
    np.testing.assert_allclose(objective.accuracies(fake, real, targets), want, rtol=1e-6)
    want = mean(lambda x: x[..., 1:].max(-1) > x[..., 0], real)
    np.testing.assert_allclose(objective.called_real(real), want, rtol=1e-6)


@pytest.mark.parametrize(
    "objective",
    [HingeObjective(), BinaryObjective(), SegmentationObjective(CLASSES, False, balanced=False)],
)
def test_configuration_round_trip(objective):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(objective))
    assert type(again) is type(objective) and vars(again) == vars(objective)
