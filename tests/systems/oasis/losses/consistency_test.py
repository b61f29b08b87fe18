"""Mixing masks and the consistency loss against NumPy."""

import numpy as np
import tensorflow as tf
from scipy import integrate

from oasis_tf.systems.oasis import losses, noise

CLASSES = 5


def test_labelmix_mask_and_mix():
    rng, label_shape = np.random.default_rng(0), (2, 3, 4)
    label_map = rng.integers(0, CLASSES, label_shape).astype(np.int32)
    bits = np.array([1, 0, 0, 1, 1], np.int32)
    mask = losses.labelmix_mask(label_map, bits, "float64").numpy()
    assert mask.shape == (*label_shape, 1)
    np.testing.assert_array_equal(mask[..., 0], bits[label_map])
    real, fake = rng.normal(size=(2, *label_shape, 3))
    np.testing.assert_array_equal(losses.mix(mask, real, fake), np.where(mask == 1, real, fake))


def test_labelmix_mask_with_bits_per_image():
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


def box_of(mask):
    """(rows, columns) of the ones as bool arrays; checks that they form a rectangle."""
    rows, columns = mask.any(1), mask.any(0)
    np.testing.assert_array_equal(mask, rows[:, None] & columns[None])
    for inside in (rows, columns):  # no gaps
        assert np.diff(np.flatnonzero(inside)).max(initial=1) == 1
    return rows, columns


def test_cutmix_by_hand():
    # Half the sides, centred; beyond the lower left corner; the whole image; nothing.
    draws = [[0.75, 0.5, 0.5], [0.75, 1 - 1e-6, 0], [0, 0.5, 0.5], [1 - 1e-9, 0.5, 0.5]]
    draws = np.array([[*row, coin] for coin in (0.9, 0.1) for row in draws])
    mask = losses.cutmix_mask(draws, 8, 16, "float64").numpy()
    assert mask.shape == (8, 8, 16, 1) and mask.dtype == np.float64
    want = np.zeros((4, 8, 16, 1))
    want[0, 2:6, 4:12] = want[1, 6:, :4] = want[2] = 1
    np.testing.assert_array_equal(mask[:4], want)
    np.testing.assert_array_equal(mask[4:], 1 - want)


def test_cutmix_boxes_are_rectangles_and_differ_between_images():
    draws = noise.cutmix_draws(0, 0, 64)
    mask = losses.cutmix_mask(draws, 20, 24).numpy()[..., 0]
    assert set(np.unique(mask)) == {0, 1} and mask.dtype == np.float32
    assert len({one.tobytes() for one in mask}) > 60
    inverted = draws.numpy()[:, 3] < 0.5
    for one, flip in zip(mask == 1, inverted, strict=True):
        rows, columns = box_of(one != flip)
        uncut = np.flatnonzero(rows).min(initial=20) > 0 and not rows[-1]
        if uncut and np.flatnonzero(columns).min(initial=24) > 0 and not columns[-1]:
            # The box has the aspect ratio of the image.
            assert abs(rows.mean() - columns.mean()) < 1 / 20 + 1 / 24


def test_cutmix_area():
    """Mean area of the box from integration; mean area of ones and inversion rate of 1/2."""

    def covered(side):  # mean covered fraction of an axis over all centres
        inside = lambda c: min(1, c + side / 2) - max(0, c - side / 2)  # noqa: E731
        return integrate.quad(inside, 0, 1, points=[side / 2, 1 - side / 2])[0]

    expected = integrate.quad(lambda x: covered(np.sqrt(1 - x)) ** 2, 0, 1)[0]
    np.testing.assert_allclose(expected, 77 / 240, rtol=1e-8)
    count = 4096
    draws = noise.cutmix_draws(0, 0, count).numpy()
    mask = losses.cutmix_mask(draws, 64, 64).numpy()
    inverted = draws[:, 3] < 0.5
    assert abs(inverted.mean() - 0.5) < 5 * 0.5 / np.sqrt(count)
    area = mask.mean((1, 2, 3))
    box = np.where(inverted, 1 - area, area)
    assert abs(box.mean() - expected) < 5 * box.std() / np.sqrt(count)
    assert abs(area.mean() - 0.5) < 5 * area.std() / np.sqrt(count)


def test_labelmix_loss_equals_numpy():
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
