"""Segmentation scores against set arithmetic, closed forms and invariances."""

import hypothesis
import hypothesis.extra.numpy as npst
import hypothesis.strategies as st
import numpy as np
import pytest

from oasis_tf.metrics.segmentation.confusion import NO_CLASS, ConfusionMatrix, frequency_groups

N = 5
ids = npst.arrays(np.uint8, (3, 4, 6), elements=st.integers(0, N - 1))


predicted_ids = npst.arrays(np.int8, (3, 4, 6), elements=st.integers(NO_CLASS, N - 1))


def matrix_of(truth, prediction, ignored=()):
    matrix = ConfusionMatrix(N, ignored)
    matrix.update(truth, prediction)
    return matrix


def iou_by_sets(truth, prediction, ignored):
    """IoU per class from sets of pixel positions, not from counts of pairs."""
    pixels = [i for i, t in enumerate(truth.flat) if t not in ignored]
    values = []
    for k in range(N):
        true = {i for i in pixels if truth.flat[i] == k}
        predicted = {i for i in pixels if prediction.flat[i] == k}
        union = true | predicted
        exists = union and k not in ignored
        values.append(len(true & predicted) / len(union) if exists else np.nan)
    return np.array(values)


def mean_of_present(values):
    present = values[~np.isnan(values)]
    return present.mean() if present.size else np.nan


@hypothesis.given(ids, predicted_ids, st.sampled_from([(), (0,), (3,), (0, 2, 3)]))
def test_iou_equals_set_arithmetic(truth, prediction, ignored):
    matrix = matrix_of(truth, prediction, ignored)
    expected = iou_by_sets(truth, prediction, ignored)
    np.testing.assert_allclose(matrix.class_iou(), expected, rtol=1e-15)
    np.testing.assert_allclose(matrix.mean_iou(), mean_of_present(expected), rtol=1e-15)
    some = matrix.mean_iou([4, 1])
    np.testing.assert_allclose(some, mean_of_present(expected[[4, 1]]), rtol=1e-15)
    counted = ~np.isin(truth, ignored)
    accuracy = (truth == prediction)[counted].mean() if counted.any() else np.nan
    np.testing.assert_allclose(matrix.pixel_accuracy(), accuracy, rtol=1e-15)


@hypothesis.given(ids, ids, st.integers(0, 3))
def test_streaming_equals_one_shot(truth, prediction, split):
    streamed = ConfusionMatrix(N, (0,))
    streamed.update(truth[:split], prediction[:split])
    streamed.update(truth[split:], prediction[split:])
    np.testing.assert_array_equal(streamed.counts, matrix_of(truth, prediction, (0,)).counts)


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
    matrix = matrix_of(truth, prediction, ignored=(0,))
    # Class 1: 2 of 3; class 2: 2 of 4; class 3: predicted once, never true; class 4: nowhere.
    np.testing.assert_allclose(matrix.class_iou(), [np.nan, 2 / 3, 1 / 2, 0, np.nan])
    np.testing.assert_allclose(matrix.mean_iou(), (2 / 3 + 1 / 2 + 0) / 3)
    np.testing.assert_allclose(matrix.pixel_accuracy(), 4 / 6)


def test_predicting_unknown_for_a_known_pixel_is_an_error():
    matrix = matrix_of(np.array([1, 1]), np.array([1, 0]), ignored=(0,))
    assert matrix.class_iou()[1] == 0.5
    assert matrix.pixel_accuracy() == 0.5


def test_no_class_is_an_error_where_it_counts_and_nowhere_else():
    truth = np.array([1, 1, 4, 4, 0])
    matrix = matrix_of(truth, np.array([1, NO_CLASS, NO_CLASS, 4, NO_CLASS]), ignored=(0,))
    np.testing.assert_allclose(matrix.class_iou(), [np.nan, 0.5, np.nan, np.nan, 0.5])
    assert matrix.pixel_accuracy() == 0.5


def test_all_unknown_or_nothing_seen_has_no_score():
    for matrix in (ConfusionMatrix(N), matrix_of(np.zeros(4, int), np.ones(4, int), (0,))):
        assert np.isnan(matrix.mean_iou())
        assert np.isnan(matrix.pixel_accuracy())


def test_counts_do_not_wrap_for_small_integer_types():
    matrix = ConfusionMatrix(256)
    matrix.update(np.full(1000, 255, np.uint8), np.full(1000, 254, np.uint8))
    assert matrix.counts[255, 254] == 1000


def test_scores_are_named_and_leave_out_the_unknown_class():
    matrix = matrix_of(np.array([0, 1, 2]), np.array([1, 1, 1]), ignored=(0,))
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


def test_scores_of_groups_are_means_of_the_classes_that_exist():
    matrix = matrix_of(np.array([0, 1, 1, 2]), np.array([1, 1, 2, 2]), ignored=(0,))
    scores = matrix.scores("segmentation", "uabcd", groups=[[2, 3], [1, 2], [4]])
    names = [name for name in scores if "group" in name]
    assert names == [f"segmentation/miou_group_{k}" for k in (1, 2, 3)]
    assert [scores[name] for name in names[:2]] == [0.5, 0.5]
    assert np.isnan(scores[names[2]])


# === Groups of classes ===


@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        (150, [30, 30, 30, 30, 30]),  # ADE20K
        (172, [36, 34, 34, 34, 34]),  # COCO-Stuff
        (19, [3, 4, 4, 4, 4]),  # Cityscapes
        (5, [1, 1, 1, 1, 1]),
        (8, [4, 1, 1, 1, 1]),
        (4, [1, 1, 1, 1]),
        (1, [1]),
        (0, []),
    ],
)
def test_sizes_of_the_groups(count, sizes):
    groups = frequency_groups(np.ones(count), range(count))
    assert [len(group) for group in groups] == sizes


@hypothesis.given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.data())
def test_groups_go_from_frequent_to_rare_and_hold_every_class_once(pixels, data):
    classes = data.draw(st.sets(st.integers(0, len(pixels) - 1)))
    groups = frequency_groups(np.array(pixels) / 7, classes)
    assert all(groups)
    order = [k for group in groups for k in group]
    assert order == sorted(classes, key=lambda k: (-pixels[k], k))
    assert len(groups) == min(5, len(classes))


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), r"same shape.*\(2, 3\).*\(3, 2\)"),
        (np.array([0, 5]), np.array([0, 0]), "`truth` must hold model ids in 0..4.*0 to 5"),
        (
            np.array([0, 0]),
            np.array([-2, 0]),
            r"`prediction` must hold model ids in -1\.\.4.*-2 to 0",
        ),
        (np.array([0.0]), np.array([0]), "`truth` must hold integers.*float64"),
    ],
)
def test_bad_batches_are_refused(truth, prediction, message):
    with pytest.raises(ValueError, match=message):
        ConfusionMatrix(N).update(truth, prediction)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="num_classes=0"):
        ConfusionMatrix(0)
    with pytest.raises(ValueError, match=r"in 0..4.*ignored_classes=\(2, 5\)"):
        ConfusionMatrix(5, (2, 5))
