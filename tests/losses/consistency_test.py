"""Mixing masks and the consistency loss against NumPy."""

import numpy as np
import tensorflow as tf

from oasis_tf import losses

CLASSES = 5


def test_labelmix():
    rng, label_shape = np.random.default_rng(0), (2, 3, 4)
    label_map = rng.integers(0, CLASSES, label_shape).astype(np.int32)
    bits = np.array([1, 0, 0, 1, 1], np.int32)
    mask = losses.labelmix_mask(label_map, bits, "float64").numpy()
    assert mask.shape == (*label_shape, 1)
    np.testing.assert_array_equal(mask[..., 0], bits[label_map])
    real, fake = rng.normal(size=(2, *label_shape, 3))
    np.testing.assert_array_equal(losses.mix(mask, real, fake), np.where(mask == 1, real, fake))


def test_labelmix_with_bits_for_every_image():
    rng = np.random.default_rng(0)
    label_map = rng.integers(0, CLASSES, (3, 4, 5)).astype(np.uint8)
    bits = rng.integers(0, 2, (3, CLASSES)).astype(np.int32)
    mask = losses.labelmix_mask(label_map, bits).numpy()
    assert mask.shape == (3, 4, 5, 1) and mask.dtype == np.float32
    for image, labels in enumerate(label_map):
        np.testing.assert_array_equal(mask[image, ..., 0], bits[image][labels])
    batch = losses.labelmix_mask(label_map, bits[0]).numpy()
    same = losses.labelmix_mask(label_map, np.repeat(bits[:1], 3, axis=0)).numpy()
    np.testing.assert_array_equal(same, batch)
    assert (mask != batch).any()


def test_labelmix_loss():
    rng = np.random.default_rng(0)
    shape = (2, 3, 4, CLASSES + 1)
    of_mix, real, fake = rng.normal(size=(3, *shape))
    mask = rng.integers(0, 2, (*shape[:3], 1)).astype(np.float64)
    difference = of_mix - np.where(mask == 1, real, fake)
    got = losses.labelmix_loss(of_mix, mask, real, fake)
    np.testing.assert_allclose(got, (difference**2).mean(), rtol=1e-12)
    consistent = losses.mix(mask, real, fake)
    assert losses.labelmix_loss(consistent, mask, real, fake) == 0


def test_labelmix_gradient_flows_through_both_terms():
    rng = np.random.default_rng(0)
    logits = [tf.Variable(rng.normal(size=(1, 2, 2, 3))) for _ in range(3)]
    mask = np.array([[[[1.0], [0.0]], [[0.0], [1.0]]]])
    with tf.GradientTape() as tape:
        loss = losses.labelmix_loss(logits[0], mask, *logits[1:])
    values = [v.numpy() for v in logits]
    difference = values[0] - np.where(mask == 1, values[1], values[2])
    slope = 2 * difference / difference.size
    wanted = [slope, -mask * slope, -(1 - mask) * slope]
    for got, want in zip(tape.gradient(loss, logits), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12)
