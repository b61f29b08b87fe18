"""Counting by class: against loops over pixels, and what states, batches and bad input must do."""

import sys

import hypothesis
import hypothesis.extra.numpy as npst
import hypothesis.strategies as st
import numpy as np
import pytest

from oasis_tf.metrics.histograms.class_histograms import (
    ClassHistograms,
    check_comparable,
    mean_over_classes,
)

N = 4


class Channels(ClassHistograms):
    """Bins are the image's own values in 0..5; channels are R and B."""

    CHANNELS = 2
    BINS = 6

    @staticmethod
    def _bins(image):
        return np.moveaxis(image[..., [0, 2]], -1, 0)


class Inner(Channels):
    BORDER = 2

    @staticmethod
    def _bins(image):
        return Channels._bins(image)[:, 2:-2, 2:-2]


images = npst.arrays(np.uint8, (3, 5, 6, 3), elements=st.integers(0, 5))
label_maps = npst.arrays(np.int32, (3, 5, 6), elements=st.integers(0, N - 1))


def counted(kind, image, label_map, ignored_class=None):
    statistics = kind(N, ignored_class)
    statistics.update(image, label_map)
    return statistics


@hypothesis.given(images, label_maps, st.sampled_from([None, 0, 2]))
def test_pixels_are_counted_by_their_own_class(image, label_map, ignored_class):
    for kind, border in [(Channels, 0), (Inner, 2)]:
        expected = np.zeros((N, 2, 6), int)
        for b, i, j in np.ndindex(label_map.shape):
            inside = border <= i < 5 - border and border <= j < 6 - border
            if inside and label_map[b, i, j] != ignored_class:
                expected[label_map[b, i, j], 0, image[b, i, j, 0]] += 1
                expected[label_map[b, i, j], 1, image[b, i, j, 2]] += 1
        statistics = counted(kind, image, label_map, ignored_class)
        np.testing.assert_array_equal(statistics.counts, expected)


@hypothesis.given(images, label_maps, st.integers(0, 3), st.sampled_from([None, 0]))
def test_batches_and_workers_do_not_matter(image, label_map, split, ignored_class):
    expected = counted(Channels, image, label_map, ignored_class)
    first = counted(Channels, image[:split], label_map[:split], ignored_class)
    second = counted(Channels, image[split:], label_map[split:], ignored_class)
    merged = Channels.merged([second.state(), first.state()])
    assert (merged.num_classes, merged.ignored_class) == (N, ignored_class)
    np.testing.assert_array_equal(merged.counts, expected.counts)
    first.update(image[split:], label_map[split:])
    np.testing.assert_array_equal(first.counts, expected.counts)


def test_counts_beyond_floating_point_merge_exactly():
    states = [Channels(1).state() for _ in range(2)]
    states[0]["counts"][:] = 2**53 + 1
    states[1]["counts"][:] = 1
    assert (Channels.merged(states).counts == 2**53 + 2).all()


def test_a_state_is_a_copy():
    statistics = Channels(N)
    state = statistics.state()
    statistics.update(np.zeros((1, 2, 2, 3), np.uint8), np.zeros((1, 2, 2), int))
    assert state["counts"].sum() == 0
    assert Channels.merged([state]).counts is not state["counts"]


def test_memory_does_not_grow_with_images():
    statistics = Channels(N)
    for _ in range(3):
        statistics.update(np.ones((2, 8, 8, 3), np.uint8), np.ones((2, 8, 8), np.uint8))
    assert sum(array.nbytes for array in statistics.state().values()) == N * 2 * 6 * 8 + 8
    assert set(vars(statistics)) == {"num_classes", "ignored_class", "counts"}


def test_histograms_are_shares_and_absent_classes_have_none():
    image = np.zeros((1, 2, 2, 3), np.uint8)
    image[0, 0, 0] = [3, 0, 5]
    histograms = counted(Channels, image, np.array([[[1, 1], [1, 2]]])).histograms()
    np.testing.assert_allclose(histograms[1, 0], [2 / 3, 0, 0, 1 / 3, 0, 0])
    np.testing.assert_allclose(histograms[1, 1], [2 / 3, 0, 0, 0, 0, 1 / 3])
    np.testing.assert_array_equal(histograms[2], [[1, 0, 0, 0, 0, 0]] * 2)
    assert np.isnan(histograms[[0, 3]]).all()


def test_mean_is_over_classes_that_have_a_distance():
    assert mean_over_classes([np.nan, 1.0, np.nan, 4.0]) == (2.5, 2)
    assert mean_over_classes([0.0, 3.0]) == (1.5, 2)
    mean, count = mean_over_classes([np.nan, np.nan])
    assert np.isnan(mean)
    assert count == 0


@pytest.mark.parametrize(
    ("image", "label_map", "message"),
    [
        (np.zeros((1, 5, 5, 3)), np.zeros((1, 5, 5), int), r"uint8 \[B,H,W,3\].*float64"),
        (np.zeros((5, 5, 3), np.uint8), np.zeros((5, 5), int), r"\[B,H,W,3\].*\(5, 5, 3\)"),
        (np.zeros((1, 5, 5, 3), np.uint8), np.zeros((1, 5, 6), int), r"shape.*\(1, 5, 6\)"),
        (np.zeros((1, 5, 5, 3), np.uint8), np.zeros((1, 5, 5)), "hold integers.*float64"),
        (np.zeros((1, 5, 5, 3), np.uint8), np.full((1, 5, 5), N), r"ids in 0..3.*4 to 4"),
        (np.zeros((1, 5, 5, 3), np.uint8), np.full((1, 5, 5), -1), r"ids in 0..3.*-1 to -1"),
        (np.zeros((1, 4, 9, 3), np.uint8), np.zeros((1, 4, 9), int), r"at least 5 pixels.*\(1, 4"),
    ],
)
def test_bad_batches_are_refused(image, label_map, message):
    statistics = Inner(N)
    with pytest.raises(ValueError, match=message):
        statistics.update(image, label_map)
    assert statistics.counts.sum() == 0


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="num_classes=0"):
        Channels(0)
    with pytest.raises(ValueError, match="0..3.*ignored_class=4"):
        Channels(N, 4)


@pytest.mark.parametrize(
    "states",
    [
        [],
        [Channels(N).state(), Channels(N + 1).state()],
        [Channels(N).state(), Channels(N, 0).state()],
        [{"counts": np.zeros((N, 2, 7), int), "ignored_class": np.array(-1)}],
    ],
    ids=["none", "classes", "ignored", "bins"],
)
def test_states_that_do_not_belong_together_are_refused(states):
    with pytest.raises(ValueError, match="Channels merges.*2 channels of 6 bins. Received"):
        Channels.merged(states)


def test_statistics_of_other_classes_do_not_compare():
    check_comparable(Channels(N, 0), Channels(N, 0))
    with pytest.raises(ValueError, match="num_classes=4, ignored_class=None and num_classes=5"):
        check_comparable(Channels(N), Channels(N + 1))
    with pytest.raises(ValueError, match="ignored_class=0 and num_classes=4, ignored_class=None"):
        check_comparable(Channels(N, 0), Channels(N))


def test_without_scikit_image_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(ValueError, match=r'scikit-image.*pip install "oasis-tf\[eval\]"'):
        Channels(N)
