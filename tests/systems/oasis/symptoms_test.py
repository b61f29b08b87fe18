"""Which runs of OASIS are called ill, and what they are told."""

import math

import pytest

from oasis_tf.systems.oasis import symptoms
from oasis_tf.systems.oasis.objectives import BinaryObjective, HingeObjective, SegmentationObjective

GUESSING = SegmentationObjective(12, False).loss_of_guessing
WELL = {
    "loss_g": 2.5,
    "loss_d_fake": 0.3,
    "loss_d_real": 1.2,
    "loss_labelmix": 4.0,
    "loss_d": 5.5,
    "accuracy_real": 0.6,
    "accuracy_fake": 0.9,
}


def found(step=400, guessing=GUESSING, weight=10.0, **means):
    return symptoms.symptom(step, WELL | means, guessing, weight)


def test_what_guessing_costs():
    assert math.log(13) == GUESSING
    assert BinaryObjective().loss_of_guessing == math.log(2)
    assert HingeObjective().loss_of_guessing == 1


@pytest.mark.parametrize(
    "means",
    [
        {},
        {"accuracy_real": 0.0, "loss_d_real": 3.0, "loss_labelmix": 0.01},  # all fake, at first
        {"loss_labelmix": 90.0},
        {"accuracy_real": 0.9999, "accuracy_fake": 0.9999},
        {"loss_g": 20.0},
        {"accuracy_real": 1.0, "accuracy_fake": 1.0, "loss_g": 20.0, "loss_vgg": 17.0},
    ],
)
def test_sound_runs(means):
    assert found(**means) is None


@pytest.mark.parametrize(
    "means",
    [
        {"accuracy_real": 0.0, "loss_labelmix": 21439.0, "loss_d_real": 80.0},
        {"accuracy_real": 0.0, "loss_labelmix": 942.0, "loss_d_real": 2.0},
        {"accuracy_real": 0.004, "loss_labelmix": 0.0, "loss_d_real": 9.0},
        {"accuracy_real": 0.3, "loss_labelmix": 5000.0},
    ],
)
def test_a_discriminator_that_has_diverged(means):
    text = found(**means)
    assert text.startswith("the discriminator has diverged and will not recover (accuracy_real 0")
    assert f"loss_labelmix {means['loss_labelmix']:.5g}; guessing has loss_d_real 2.56" in text
    assert "another --model_dir with lower --lr_d" in text and "\n" not in text


def test_the_weight_of_the_consistency_loss_does_not_count():
    assert found(weight=100.0, loss_labelmix=5000.0) is None
    assert found(weight=0.0, loss_labelmix=0.0) is None


def test_a_discriminator_that_learns_nothing():
    stuck = {"accuracy_real": 0.0, "loss_d_real": 2.56, "loss_labelmix": 0.0}
    assert found(step=1000, **stuck) is None
    text = found(step=1100, **stuck)
    assert text.startswith("the discriminator has learnt nothing (accuracy_real 0, loss_d_real 2.5")
    assert "--init_gain=0.4" in text


@pytest.mark.parametrize("guessing", [GUESSING, 1.0, math.log(2)])
def test_a_discriminator_that_is_always_right(guessing):
    means = {"accuracy_real": 1.0, "accuracy_fake": 1.0, "loss_g": 5.1 * guessing, "loss_kld": 0.0}
    means = {name: value for name, value in (WELL | means).items() if name != "loss_labelmix"}
    text = symptoms.symptom(400, means, guessing, 10.0)
    assert text.startswith("the discriminator is always right") and "lower --lr_d" in text
