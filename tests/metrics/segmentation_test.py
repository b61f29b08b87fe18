"""Segmentation scores against set arithmetic, closed forms and invariances."""

import hypothesis
import hypothesis.extra.numpy as npst
import hypothesis.strategies as st
import numpy as np
import pytest

from oasis_tf.metrics.segmentation import ConfusionMatrix

N = 5
ids = npst.arrays(np.uint8, (3, 4, 6), elements=st.integers(0, N - 1))


def matrix_of(truth, prediction, ignored_class=None):
    matrix = ConfusionMatrix(N, ignored_class)
    matrix.update(truth, prediction)
    return matrix


def iou_by_sets(truth, prediction, ignored_class):
    """IoU per class from sets of pixel positions, not from counts of pairs."""
    pixels = [i for i, t in enumerate(truth.flat) if t != ignored_class]
    values = []
    for k in range(N):
        true = {i for i in pixels if truth.flat[i] == k}
        predicted = {i for i in pixels if prediction.flat[i] == k}
        union = true | predicted
        values.append(len(true & predicted) / len(union) if union else np.nan)
    if ignored_class is not None:
        values[ignored_class] = np.nan
    return np.array(values)


@hypothesis.given(ids, ids, st.sampled_from([None, 0, 3]))
def test_iou_equals_set_arithmetic(truth, prediction, ignored_class):
    matrix = matrix_of(truth, prediction, ignored_class)
    expected = iou_by_sets(truth, prediction, ignored_class)
    np.testing.assert_allclose(matrix.class_iou(), expected, rtol=1e-15)
    present = expected[~np.isnan(expected)]
    mean = present.mean() if present.size else np.nan
    np.testing.assert_allclose(matrix.mean_iou(), mean, rtol=1e-15)
    counted = truth != ignored_class if ignored_class is not None else np.ones_like(truth, bool)
    accuracy = (truth == prediction)[counted].mean() if counted.any() else np.nan
    np.testing.assert_allclose(matrix.pixel_accuracy(), accuracy, rtol=1e-15)


@hypothesis.given(ids, ids, st.integers(0, 3))
def test_streaming_equals_one_shot(truth, prediction, split):
    streamed = ConfusionMatrix(N, 0)
    streamed.update(truth[:split], prediction[:split])
    streamed.update(truth[split:], prediction[split:])
    np.testing.assert_array_equal(streamed.counts, matrix_of(truth, prediction, 0).counts)


@hypothesis.given(ids, ids, st.permutations(range(72)), st.permutations(range(N)))
def test_pixel_order_and_class_names_do_not_matter(truth, prediction, order, rename):
    base = matrix_of(truth, prediction)
    shuffled = matrix_of(truth.ravel()[order], prediction.ravel()[order])
    np.testing.assert_array_equal(shuffled.counts, base.counts)
    rename = np.array(rename)
    renamed = matrix_of(rename[truth], rename[prediction])
    np.testing.assert_array_equal(renamed.class_iou()[rename], base.class_iou())
    np.testing.assert_allclose(renamed.mean_iou(), base.mean_iou(), rtol=1e-15)


@hypothesis.given(ids)
def test_perfect_prediction_scores_one(truth):
    matrix = matrix_of(truth, truth)
    assert matrix.mean_iou() == matrix.pixel_accuracy() == 1.0
    np.testing.assert_array_equal(np.isnan(matrix.class_iou()), ~np.isin(range(N), truth))


@hypothesis.given(ids)
def test_disjoint_prediction_scores_zero(truth):
    matrix = matrix_of(truth, (truth + 1) % N)
    assert matrix.mean_iou() == matrix.pixel_accuracy() == 0.0


def test_worked_example():
    truth = np.array([[1, 1, 1, 2], [2, 0, 0, 2]])
    prediction = np.array([[1, 1, 2, 2], [2, 1, 2, 3]])
    matrix = matrix_of(truth, prediction, ignored_class=0)
    # Class 1: 2 of 3; class 2: 2 of 4; class 3: predicted once, never true; class 4: nowhere.
    np.testing.assert_allclose(matrix.class_iou(), [np.nan, 2 / 3, 1 / 2, 0, np.nan])
    np.testing.assert_allclose(matrix.mean_iou(), (2 / 3 + 1 / 2 + 0) / 3)
    np.testing.assert_allclose(matrix.pixel_accuracy(), 4 / 6)


def test_predicting_unknown_for_a_known_pixel_is_an_error():
    matrix = matrix_of(np.array([1, 1]), np.array([1, 0]), ignored_class=0)
    assert matrix.class_iou()[1] == 0.5
    assert matrix.pixel_accuracy() == 0.5


def test_all_unknown_or_nothing_seen_has_no_score():
    for matrix in (ConfusionMatrix(N), matrix_of(np.zeros(4, int), np.ones(4, int), 0)):
        assert np.isnan(matrix.mean_iou())
        assert np.isnan(matrix.pixel_accuracy())


def test_counts_do_not_wrap_for_small_integer_types():
    matrix = ConfusionMatrix(256)
    matrix.update(np.full(1000, 255, np.uint8), np.full(1000, 254, np.uint8))
    assert matrix.counts[255, 254] == 1000


def test_scores_are_named_and_leave_out_the_unknown_class():
    matrix = matrix_of(np.array([0, 1, 2]), np.array([1, 1, 1]), ignored_class=0)
    scores = matrix.scores("alignment", ["unknown", "sky", "sea", "sand", "road"])
    assert list(scores) == [
        "alignment/miou",
        "alignment/pixel_accuracy",
        "alignment/iou/sky",
        "alignment/iou/sea",
        "alignment/iou/sand",
        "alignment/iou/road",
    ]
    assert scores["alignment/iou/sky"] == 0.5
    assert scores["alignment/miou"] == 0.25


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), r"same shape.*\(2, 3\).*\(3, 2\)"),
        (np.array([0, 5]), np.array([0, 0]), "`truth` must hold model ids in 0..4.*0 to 5"),
        (np.array([0, 0]), np.array([-1, 0]), "`prediction` must hold model ids.*-1 to 0"),
        (np.array([0.0]), np.array([0]), "`truth` must hold integers.*float64"),
    ],
)
def test_bad_batches_are_refused(truth, prediction, message):
    with pytest.raises(ValueError, match=message):
        ConfusionMatrix(N).update(truth, prediction)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="num_classes=0"):
        ConfusionMatrix(0)
    with pytest.raises(ValueError, match="ignored_class=5"):
        ConfusionMatrix(5, 5)
