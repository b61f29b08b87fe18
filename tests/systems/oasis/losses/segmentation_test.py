"""Losses of a segmenting D against NumPy in float64, and their invariants."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from oasis_tf.systems.oasis import losses

CLASSES = 5


def log_softmax(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def expected_weights(label_map, num_classes, has_unknown):
    """alpha_k = pixels / (present * c_k), class by class."""
    counts = [int((label_map == k).sum()) for k in range(num_classes)]
    if has_unknown:
        counts[0] = 0
    present = sum(c > 0 for c in counts)
    return np.array([label_map.size / (present * c) if c else 0.0 for c in counts])


def expected_real_loss(logits, label_map, weights):
    picked = np.take_along_axis(log_softmax(logits), label_map[..., None] + 1, -1)[..., 0]
    return (weights[label_map] * -picked).mean()


@st.composite
def label_maps(draw):
    """Label maps with absent and rare classes."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)))
    classes = draw(st.sets(st.integers(0, CLASSES - 1), min_size=1))
    return rng.choice(sorted(classes), shape).astype(np.int32)


@settings(max_examples=40, deadline=None)
@given(label_map=label_maps(), has_unknown=st.booleans())
def test_class_weights_equal_numpy(label_map, has_unknown):
    got = losses.class_weights(label_map, CLASSES, has_unknown, "float64").numpy()
    np.testing.assert_allclose(got, expected_weights(label_map, CLASSES, has_unknown), rtol=1e-12)
    known = (label_map > 0) if has_unknown else np.ones(label_map.shape, bool)
    # The total weight of every present class is the same, and the mean over all pixels is 1.
    assert abs(got[label_map].mean() - known.any()) < 1e-12
    sums = [got[k] * (label_map == k).sum() for k in np.unique(label_map[known])]
    np.testing.assert_allclose(sums, sums[:1] * len(sums), rtol=1e-12)


@settings(max_examples=20, deadline=None)
@given(label_map=label_maps(), seed=st.integers(0, 100))
def test_class_weights_follow_a_permutation_of_the_classes(label_map, seed):
    order = np.random.default_rng(seed).permutation(CLASSES).astype(np.int32)
    before = losses.class_weights(label_map, CLASSES, False, "float64").numpy()
    after = losses.class_weights(order[label_map], CLASSES, False, "float64").numpy()
    np.testing.assert_allclose(after[order], before, rtol=1e-12)


def test_class_weights_by_hand():
    label_map = np.array([[[0, 1, 1, 1], [2, 2, 2, 2]]], np.int32)
    with_unknown = losses.class_weights(label_map, 4, True).numpy()
    np.testing.assert_allclose(with_unknown, [0, 8 / (2 * 3), 8 / (2 * 4), 0], rtol=1e-6)
    without = losses.class_weights(label_map, 4, False).numpy()
    np.testing.assert_allclose(without, [8 / 3, 8 / 9, 8 / 12, 0], rtol=1e-6)


@pytest.mark.parametrize("has_unknown", [True, False])
def test_without_balancing_every_known_class_has_weight_1(has_unknown):
    label_map = np.array([[[0, 1, 1, 1], [2, 2, 2, 2]]], np.int32)
    weights = losses.class_weights(label_map, 4, has_unknown, "float64", balanced=False)
    np.testing.assert_array_equal(weights, [not has_unknown, 1, 1, 1])
    assert weights.dtype == "float64"
    logits = np.random.default_rng(0).normal(size=(*label_map.shape, 5))
    known = label_map > 0 if has_unknown else np.ones(label_map.shape, bool)
    picked = np.take_along_axis(log_softmax(logits), label_map[..., None] + 1, -1)[..., 0]
    want = -picked[known].sum() / label_map.size  # a mean over all pixels
    np.testing.assert_allclose(losses.real_loss(logits, label_map, weights), want, rtol=1e-9)


def test_a_batch_of_unknown_pixels_has_no_loss_and_no_gradient():
    label_map = np.zeros((2, 4, 4), np.int32)
    weights = losses.class_weights(label_map, CLASSES, has_unknown=True)
    np.testing.assert_array_equal(weights, np.zeros(CLASSES))
    logits = tf.Variable(np.random.default_rng(0).normal(size=(2, 4, 4, CLASSES + 1)))
    with tf.GradientTape() as tape:
        loss = losses.real_loss(logits, label_map, tf.cast(weights, tf.float64))
    assert loss == 0
    np.testing.assert_array_equal(tape.gradient(loss, logits), np.zeros(logits.shape))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_class_counts_equal_numpy(dtype):
    label_map = np.random.default_rng(0).integers(0, 4, (2, 8, 8)).astype(dtype)
    counts = losses.class_counts(label_map, CLASSES)
    np.testing.assert_array_equal(counts, np.bincount(label_map.ravel(), minlength=CLASSES))


@settings(max_examples=20, deadline=None)
@given(label_map=label_maps(), scale=st.sampled_from([1.0, 100.0]), seed=st.integers(0, 100))
def test_losses_equal_numpy(label_map, scale, seed):
    logits = scale * np.random.default_rng(seed).normal(size=(*label_map.shape, CLASSES + 1))
    weights = expected_weights(label_map, CLASSES, has_unknown=False)
    got = losses.real_loss(logits, label_map, tf.constant(weights))
    np.testing.assert_allclose(got, expected_real_loss(logits, label_map, weights), rtol=1e-9)
    want = -log_softmax(logits)[..., 0].mean()
    np.testing.assert_allclose(losses.fake_loss(logits), want, rtol=1e-9)


def test_losses_by_hand():
    logits = np.zeros((1, 2, 2, CLASSES + 1))
    label_map = np.zeros((1, 2, 2), np.int32)
    assert np.isclose(losses.fake_loss(logits), np.log(CLASSES + 1))
    weights = tf.constant([2.0, 0, 0, 0, 0], tf.float64)
    assert np.isclose(losses.real_loss(logits, label_map, weights), 2 * np.log(CLASSES + 1))
    logits[..., 1] = 50  # certain of class 0
    assert losses.real_loss(logits, label_map, weights) < 1e-12
    assert np.isclose(losses.fake_loss(logits), 50)


def test_losses_stay_finite_for_huge_logits():
    logits = np.zeros((1, 1, 2, 3), np.float32)
    logits[..., 2] = 1e4
    label_map = np.zeros((1, 1, 2), np.int32)
    assert np.isclose(losses.real_loss(logits, label_map, tf.ones(2)), 1e4)
    assert np.isclose(losses.fake_loss(logits), 1e4)
