"""Colour distances against SciPy's earth mover's distance, the CIE formulas and closed forms."""

import numpy as np
import pytest
import scipy.stats
import skimage.color

from oasis_tf.metrics.histograms import colour
from oasis_tf.metrics.histograms.colour import ColourStatistics

N = 4


def scenes(seed, count=3, classes=(1, 2, 3), shift=0):
    """Random images whose colours depend on class and seed."""
    rng = np.random.default_rng(seed)
    label_map = rng.choice(classes, (count, 9, 11))
    means = np.array([(90, 90, 90), (200, 60, 50), (40, 190, 80), (60, 70, 210)])[label_map]
    image = np.clip(means + rng.normal(shift, 40, means.shape), 0, 255).astype(np.uint8)
    return image, label_map


def statistics_of(image, label_map, ignored_class=None):
    statistics = ColourStatistics(N, ignored_class)
    statistics.update(image, label_map)
    return statistics


def of_bins(*bins, num_classes=1):
    """Statistics of one class whose channels L, a, b hold one pixel in each of some bins."""
    statistics = ColourStatistics(num_classes)
    for channel, places in enumerate(bins):
        np.add.at(statistics.counts[0, channel], places, 1)
    return statistics


def cie_lab(rgb):
    """LAB of one sRGB colour, from the formulas of IEC 61966-2-1 and CIE 15 (D65, 2°)."""
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in np.array(rgb) / 255
    ]
    xyz = (
        np.array(
            [
                [0.412453, 0.357580, 0.180423],
                [0.212671, 0.715160, 0.072169],
                [0.019334, 0.119193, 0.950227],
            ]
        )
        @ linear
        / [0.95047, 1, 1.08883]
    )
    f = [t ** (1 / 3) if t > (6 / 29) ** 3 else t / (3 * (6 / 29) ** 2) + 4 / 29 for t in xyz]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize(
    "rgb", [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), (12, 200, 99)]
)
def test_colours_fall_into_the_bin_of_their_lab_value(rgb):
    statistics = statistics_of(np.full((1, 1, 1, 3), rgb, np.uint8), np.full((1, 1, 1), 2))
    assert statistics.counts.sum() == 3
    channels, bins = np.nonzero(statistics.counts[2])
    assert channels.tolist() == [0, 1, 2]
    np.testing.assert_allclose(colour.BIN_CENTRES[bins], cie_lab(rgb), rtol=0, atol=0.125 + 0.01)


def test_every_grey_has_neutral_bins():
    image = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, -1)
    counts = statistics_of(image, np.zeros((1, 16, 16), int)).counts[0]
    zero = np.flatnonzero(colour.BIN_CENTRES == 0)
    assert counts[1, zero] == counts[2, zero] == 256


def test_the_axis_holds_all_of_srgb():
    corners = np.array([0, 51, 102, 153, 204, 255], np.uint8)
    image = np.stack(np.meshgrid(corners, corners, corners), -1).reshape(1, 6, 36, 3)
    statistics = statistics_of(image, np.zeros((1, 6, 36), int))
    np.testing.assert_array_equal(statistics.counts[0].sum(-1), 216)
    used = colour.BIN_CENTRES[np.flatnonzero(statistics.counts.sum((0, 1)))]
    assert -109 < used.min() < used.max() < 101


def test_equals_scipy_on_the_same_bins():
    real, generated = statistics_of(*scenes(0)), statistics_of(*scenes(1, shift=15))
    actual = colour.distances(real, generated)
    centres = colour.BIN_CENTRES
    for k in (1, 2, 3):
        expected = [
            scipy.stats.wasserstein_distance(centres, centres, p, q)
            for p, q in zip(real.counts[k], generated.counts[k], strict=True)
        ]
        np.testing.assert_allclose(actual[k], np.mean(expected), rtol=1e-12)


def test_bins_cost_less_than_their_width():
    (image, label_map), (other, other_map) = scenes(0), scenes(1, shift=15)
    actual = colour.distances(statistics_of(image, label_map), statistics_of(other, other_map))
    lab, other_lab = skimage.color.rgb2lab(image), skimage.color.rgb2lab(other)
    for k in (1, 2, 3):
        expected = [
            scipy.stats.wasserstein_distance(lab[label_map == k, c], other_lab[other_map == k, c])
            for c in range(3)
        ]
        assert abs(actual[k] - np.mean(expected)) < 0.05
        assert actual[k] > 2


@pytest.mark.parametrize("channel", [0, 1, 2])
@pytest.mark.parametrize("steps", [1, -8, 100])
def test_a_shift_of_one_channel_costs_a_third_of_it(channel, steps):
    bins = [[500, 500, 520, 700]] * 3
    shifted = [np.array(places) + steps * (c == channel) for c, places in enumerate(bins)]
    actual = colour.distances(of_bins(*bins), of_bins(*shifted))
    np.testing.assert_allclose(actual, abs(steps) * 0.25 / 3, rtol=1e-12)


def test_lighter_grey_is_its_difference_in_lightness():
    dark, light = (np.full((1, 4, 4, 3), value, np.uint8) for value in (60, 200))
    label_map = np.zeros((1, 4, 4), int)
    actual = colour.distances(statistics_of(dark, label_map), statistics_of(light, label_map))
    expected = (cie_lab((200,) * 3) - cie_lab((60,) * 3))[0] / 3
    np.testing.assert_allclose(actual[0], expected, rtol=0, atol=0.25 / 3)


def test_unequal_numbers_of_pixels_compare_by_shares():
    once, twice = of_bins([400, 440], [500], [600]), of_bins([400, 440] * 2, [500] * 3, [600])
    assert colour.distances(once, twice) == 0
    lopsided = of_bins([400, 440, 440, 440], [500], [600])
    np.testing.assert_allclose(colour.distances(once, lopsided), 0.25 * 40 * 0.25 / 3)


def test_identical_sets_have_distance_zero_in_any_order():
    image, label_map = scenes(0)
    real, same = statistics_of(image, label_map), statistics_of(image[::-1], label_map[::-1])
    np.testing.assert_array_equal(colour.distances(real, same), [np.nan, 0, 0, 0])


def test_classes_without_pixels_have_no_distance():
    real = statistics_of(*scenes(0, classes=(0, 1, 2)), ignored_class=0)
    generated = statistics_of(*scenes(1, classes=(0, 2, 3)), ignored_class=0)
    for actual in (colour.distances(real, generated), colour.distances(generated, real)):
        np.testing.assert_array_equal(np.isnan(actual), [True, True, False, True])


def test_statistics_of_other_classes_are_refused():
    with pytest.raises(ValueError, match="same classes.*num_classes=4.*num_classes=5"):
        colour.distances(ColourStatistics(4), ColourStatistics(5))
