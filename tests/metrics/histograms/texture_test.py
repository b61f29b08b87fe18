"""Texture distances against patterns computed by hand, scikit-image's and closed forms."""

import math

import numpy as np
import pytest
import skimage.color
import skimage.feature

from oasis_tf.metrics.histograms import texture
from oasis_tf.metrics.histograms.texture import TextureStatistics

N = 4


def noise(seed, height=12, width=14, count=2):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def labels(seed, classes=(0, 1, 2, 3), height=12, width=14, count=2):
    return np.random.default_rng(seed).choice(classes, (count, height, width))


def statistics_of(image, label_map, ignored_class=None):
    statistics = TextureStatistics(N, ignored_class)
    statistics.update(image, label_map)
    return statistics


def of_counts(*counts):
    """Statistics whose class k has the histogram counts[k]."""
    statistics = TextureStatistics(len(counts))
    for k, bins in enumerate(counts):
        statistics.counts[k, 0, : len(bins)] = bins
    return statistics


def grey_of(image):
    """Grey by exact decimal arithmetic, one pixel after the other."""
    grey = np.zeros(image.shape[:2], int)
    for i, j in np.ndindex(grey.shape):
        r, g, b = map(int, image[i, j])
        grey[i, j] = math.floor((2125 * r + 7154 * g + 721 * b) / 10000 + 0.5)
    return grey


def pattern_at(grey, i, j):
    """Uniform pattern with eight neighbours on a circle of radius one, from the definition."""
    signs = []
    for k in range(8):
        y, x = i - math.sin(2 * math.pi * k / 8), j + math.cos(2 * math.pi * k / 8)
        top, left = math.floor(y + 1e-9), math.floor(x + 1e-9)
        fy, fx = max(y - top, 0), max(x - left, 0)
        value = 0.0
        for dy, dx in [(0, 0), (0, 1), (1, 0), (1, 1)]:
            weight = (fy if dy else 1 - fy) * (fx if dx else 1 - fx)
            if weight > 1e-9:
                value += weight * grey[top + dy, left + dx]
        signs.append(int(value >= grey[i, j] - 1e-3))
    changes = sum(a != b for a, b in zip(signs, signs[1:] + signs[:1], strict=True))
    return sum(signs) if changes <= 2 else 9


def test_equals_the_definition():
    image, label_map = noise(0), labels(1)
    expected = np.zeros((N, 1, 10), int)
    for one, one_map in zip(image, label_map, strict=True):
        grey = grey_of(one)
        for i in range(1, 11):
            for j in range(1, 13):
                expected[one_map[i, j], 0, pattern_at(grey, i, j)] += 1
    assert np.count_nonzero(expected) > 30
    np.testing.assert_array_equal(statistics_of(image, label_map).counts, expected)


def test_equals_scikit_image():
    image, label_map = noise(2, 40, 50), labels(3, height=40, width=50)
    actual = statistics_of(image, label_map).counts[:, 0]
    expected = np.zeros_like(actual)
    for one, one_map in zip(image, label_map, strict=True):
        grey = np.rint(skimage.color.rgb2gray(one) * 255).astype(np.uint8)
        pattern = skimage.feature.local_binary_pattern(grey, 8, 1, "uniform")[1:-1, 1:-1]
        for k in range(N):
            bins = pattern[one_map[1:-1, 1:-1] == k].astype(int)
            expected[k] += np.bincount(bins, minlength=10)
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize(
    ("ring", "bin"),
    [
        ([9, 9, 9, 9, 9, 9, 9, 9], 8),
        ([5, 5, 5, 5, 5, 5, 5, 5], 8),  # as dark as the centre is not darker
        ([1, 1, 1, 1, 1, 1, 1, 1], 0),
        ([9, 9, 9, 9, 1, 1, 1, 1], 4),
        ([1, 9, 9, 1, 1, 1, 1, 1], 2),
        ([9, 1, 9, 1, 9, 1, 9, 1], 9),
    ],
)
def test_patterns_of_one_pixel(ring, bin):
    grey = np.full((3, 3), 5)
    for value, place in zip(
        ring, [(1, 2), (0, 2), (0, 1), (0, 0), (1, 0), (2, 0), (2, 1), (2, 2)], strict=True
    ):
        # Corners lie beyond the circle: far values there decide the interpolated ones.
        grey[place] = value if 1 in place or value == 5 else 5 + 10 * (value - 5)
    image = np.clip(grey[None, ..., None] + 100, 0, 255).astype(np.uint8).repeat(3, -1)
    statistics = statistics_of(image, np.full((1, 3, 3), 2))
    assert statistics.counts.sum() == 1
    assert statistics.counts[2, 0, bin] == 1


@pytest.mark.parametrize("value", range(0, 256, 5))
def test_flat_images_have_one_pattern(value):
    image = np.full((1, 5, 5, 3), value, np.uint8)
    counts = statistics_of(image, np.zeros((1, 5, 5), int)).counts
    assert counts[0, 0, 8] == counts.sum() == 9


def test_a_pixel_counts_for_the_class_of_its_centre():
    image, label_map = noise(4, count=1), np.full((1, 12, 14), 3)
    label_map[0, 5, 6] = 1
    alone = statistics_of(image, label_map)
    surrounded = statistics_of(image[:, 4:7, 5:8], label_map[:, 4:7, 5:8])
    assert alone.counts[1].sum() == 1
    np.testing.assert_array_equal(alone.counts[1], surrounded.counts[1])


def test_unknown_pixels_are_ignored_as_centres_alone():
    image, label_map = noise(5), labels(6)
    everything, known = statistics_of(image, label_map), statistics_of(image, label_map, 0)
    assert everything.counts[0].any()
    assert not known.counts[0].any()
    np.testing.assert_array_equal(known.counts[1:], everything.counts[1:])


def test_chi_square_has_its_closed_form():
    real = of_counts([3, 1], [1, 1], [1], [2, 2, 4])
    generated = of_counts([1, 3], [10, 10], [0, 7], [1, 0, 0, 1])
    # Class 0: ½ (½² + ½²) / 1. Class 1: equal shares. Class 2: disjoint.
    # Class 3: shares (¼, ¼, ½, 0) and (½, 0, 0, ½).
    third = ((1 / 4) ** 2 / (3 / 4) + 1 / 4 + 1 / 2 + 1 / 2) / 2
    np.testing.assert_allclose(texture.distances(real, generated), [1 / 4, 0, 1, third], rtol=1e-14)
    np.testing.assert_allclose(texture.distances(generated, real), [1 / 4, 0, 1, third], rtol=1e-14)


def test_agrees_with_a_sum_over_bins():
    rng = np.random.default_rng(7)
    counts = rng.integers(1, 100, (2, N, 10))
    p, q = counts / counts.sum(-1, keepdims=True)
    expected = [
        sum((a - b) ** 2 / (a + b) for a, b in zip(x, y, strict=True)) / 2
        for x, y in zip(p, q, strict=True)
    ]
    actual = texture.distances(of_counts(*counts[0]), of_counts(*counts[1]))
    np.testing.assert_allclose(actual, expected, rtol=1e-13)


def test_texture_is_seen_and_brightness_is_not():
    rough = noise(8, 40, 40) // 2
    smooth = np.sort(rough, axis=1)
    label_map = np.ones((2, 40, 40), int)
    real = statistics_of(rough, label_map)
    assert texture.distances(real, statistics_of(rough + 100, label_map))[1] < 1e-3
    assert texture.distances(real, statistics_of(smooth, label_map))[1] > 0.1


def test_identical_sets_have_distance_zero():
    image, label_map = noise(9), labels(10, classes=(1, 2))
    real, same = statistics_of(image, label_map), statistics_of(image[::-1], label_map[::-1])
    np.testing.assert_array_equal(texture.distances(real, same), [np.nan, 0, 0, np.nan])


def test_classes_without_pixels_have_no_distance():
    real = statistics_of(noise(11), labels(12, classes=(0, 1, 2)), ignored_class=0)
    generated = statistics_of(noise(13), labels(14, classes=(0, 2, 3)), ignored_class=0)
    for actual in (texture.distances(real, generated), texture.distances(generated, real)):
        np.testing.assert_array_equal(np.isnan(actual), [True, True, False, True])


def test_statistics_of_other_classes_are_refused():
    with pytest.raises(ValueError, match="same classes.*ignored_class=None.*ignored_class=0"):
        texture.distances(TextureStatistics(N), TextureStatistics(N, 0))


def test_images_without_an_inside_are_refused():
    with pytest.raises(ValueError, match=r"at least 3 pixels a side.*\(1, 2, 9, 3\)"):
        statistics_of(np.zeros((1, 2, 9, 3), np.uint8), np.zeros((1, 2, 9), int))
