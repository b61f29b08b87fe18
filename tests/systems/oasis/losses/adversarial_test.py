"""Hinge and binary losses against NumPy in float64, gradients against closed forms."""

import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.systems.oasis import losses

LOGITS = np.random.default_rng(0).normal(0, 2, (2, 5, 6, 1))


def gradient(loss, logits):
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(logits)
    return tape.gradient(value, logits).numpy()


def test_hinge_losses_equal_numpy():
    close = {"rtol": 1e-12}
    want = np.where(LOGITS < 1, 1 - LOGITS, 0).mean()
    np.testing.assert_allclose(losses.hinge_real_loss(LOGITS), want, **close)
    want = np.where(LOGITS > -1, 1 + LOGITS, 0).mean()
    np.testing.assert_allclose(losses.hinge_fake_loss(LOGITS), want, **close)
    np.testing.assert_allclose(losses.hinge_generator_loss(LOGITS), -LOGITS.mean(), **close)


def test_hinge_gradients_have_the_right_sign_and_vanish_outside_the_margin():
    share = 1 / LOGITS.size
    real = gradient(losses.hinge_real_loss, LOGITS)
    np.testing.assert_allclose(real, np.where(LOGITS < 1, -share, 0), rtol=1e-12)
    fake = gradient(losses.hinge_fake_loss, LOGITS)
    np.testing.assert_allclose(fake, np.where(LOGITS > -1, share, 0), rtol=1e-12)
    generator = gradient(losses.hinge_generator_loss, LOGITS)
    np.testing.assert_allclose(generator, np.full(LOGITS.shape, -share), rtol=1e-12)


def test_hinge_losses_by_hand():
    logits = np.array([-3.0, -0.5, 0.5, 3.0])
    assert np.isclose(losses.hinge_real_loss(logits), (4 + 1.5 + 0.5 + 0) / 4)
    assert np.isclose(losses.hinge_fake_loss(logits), (0 + 0.5 + 1.5 + 4) / 4)


@pytest.mark.parametrize("target", [0, 1])
def test_binary_loss_and_gradient_equal_numpy(target):
    chance = 1 / (1 + np.exp(-LOGITS))
    want = -np.log(chance if target else 1 - chance).mean()
    np.testing.assert_allclose(losses.binary_loss(LOGITS, target), want, rtol=1e-12)
    slope = gradient(lambda logits: losses.binary_loss(logits, target), LOGITS)
    np.testing.assert_allclose(slope, (chance - target) / LOGITS.size, rtol=1e-10)


def test_binary_takes_a_target_for_every_pixel():
    target = np.random.default_rng(1).integers(0, 2, LOGITS.shape)
    chance = 1 / (1 + np.exp(-LOGITS))
    want = -np.log(np.where(target == 1, chance, 1 - chance)).mean()
    np.testing.assert_allclose(losses.binary_loss(LOGITS, target), want, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_binary_loss_is_exact_for_large_logits(dtype):
    far = np.array([1e4], dtype)
    assert losses.binary_loss(far, 0) == 1e4 and losses.binary_loss(far, 1) == 0
    assert losses.binary_loss(-far, 1) == 1e4 and losses.binary_loss(-far, 0) == 0
    some = np.array([20.0], dtype)  # a difference from 20 would lose log1p(exp(-20))
    np.testing.assert_allclose(losses.binary_loss(some, 1), np.log1p(np.exp(-20.0)), rtol=1e-6)
    assert np.isfinite(gradient(lambda x: losses.binary_loss(x, 0), far)).all()
