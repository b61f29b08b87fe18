"""Kernel distances against double loops, enumerated expectations and recorded numbers."""

import itertools

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from oasis_tf.metrics.features.kernel_distance import kernel_distance

settings = hypothesis.settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def features_of(seed, *shape, mean=0.0):
    return np.random.default_rng(seed).normal(mean, 1, shape)


def kernel(x, y):
    return (sum(a * b for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3


def distance_by_loops(real, generated):
    """Equation 4 of Bińkowski et al., one pair at a time, for sets of any two sizes."""
    total = 0.0
    for z in (real, generated):
        pairs = list(itertools.permutations(z.tolist(), 2))
        total += sum(kernel(x, y) for x, y in pairs) / len(pairs)
    pairs = list(itertools.product(real.tolist(), generated.tolist()))
    return total - 2 * sum(kernel(x, y) for x, y in pairs) / len(pairs)


@settings
@hypothesis.given(seeds, st.integers(2, 7), st.integers(1, 5))
def test_whole_sets_equal_double_loops(seed, images, dimension):
    real = features_of(seed, images, dimension)
    generated = features_of(seed + 1, images, dimension, mean=0.5)
    distance = kernel_distance(real, generated)
    expected = distance_by_loops(real, generated)
    np.testing.assert_allclose(distance.mean, expected, rtol=1e-12, atol=1e-12)
    assert distance.std == 0


def test_worked_example():
    # k(0, ·) = 1, k(2, 2) = 125, k(1, 3) = 64, k(2, 1) = 27, k(2, 3) = 343.
    distance = kernel_distance([[0.0], [2.0]], [[1.0], [3.0]])
    assert distance.mean == 1 + 64 - 2 * (1 + 1 + 27 + 343) / 4


def test_unbiased_over_all_samples():
    # The mean over every equally likely sample must be the discrepancy of the distributions.
    real = np.array([[0.0, 1.0], [2.0, -1.0], [0.5, 0.5]])
    generated = np.array([[1.0, 1.0], [-1.0, 0.0], [3.0, 1.0]])
    samples = [
        kernel_distance(real[list(i)], generated[list(j)]).mean
        for i in itertools.product(range(3), repeat=2)
        for j in itertools.product(range(3), repeat=2)
    ]
    mean = {
        (a, b): np.mean([kernel(x, y) for x in p for y in q])
        for (a, p), (b, q) in itertools.product(enumerate([real, generated]), repeat=2)
    }
    np.testing.assert_allclose(np.mean(samples), mean[0, 0] + mean[1, 1] - 2 * mean[0, 1])


@pytest.mark.parametrize(("images", "size"), [((4, 4), 2), ((4, 3), 1000), ((5, 4), 3)])
def test_subsets_are_drawn_evenly_and_without_replacement(images, size):
    real = features_of(1, images[0], 3)
    generated = features_of(2, images[1], 3, mean=1)
    m = min(size, *images)
    every = [
        distance_by_loops(real[list(i)], generated[list(j)])
        for i in itertools.combinations(range(images[0]), m)
        for j in itertools.combinations(range(images[1]), m)
    ]
    drawn = kernel_distance(real, generated, num_subsets=4000, subset_size=size)
    error = np.std(every) / np.sqrt(4000)
    assert abs(drawn.mean - np.mean(every)) < 4 * error
    assert drawn.std == pytest.approx(np.std(every), rel=0.1)


def test_std_is_that_of_the_subsets_themselves():
    real, generated = features_of(1, 6, 3), features_of(2, 6, 3)
    first = kernel_distance(real, generated, num_subsets=1, subset_size=3)
    both = kernel_distance(real, generated, num_subsets=2, subset_size=3)
    # Two values a, b: mean (a + b) / 2 and deviation |a - b| / 2.
    assert first.std == 0
    assert both.std > 0
    np.testing.assert_allclose(abs(both.mean - first.mean), both.std, rtol=1e-10)


def test_reproducible_by_seed():
    real, generated = features_of(1, 30, 4), features_of(2, 40, 4)
    first = kernel_distance(real, generated, num_subsets=5, subset_size=10, seed=3)
    again = kernel_distance(real, generated, num_subsets=5, subset_size=10, seed=3)
    other = kernel_distance(real, generated, num_subsets=5, subset_size=10, seed=4)
    assert first == again
    assert first.mean != other.mean
    assert first.std != other.std


def test_seed_means_the_same_numbers_for_ever():
    grid = np.arange(24.0).reshape(8, 3) / 10
    got = kernel_distance(grid, grid[::-1] ** 2, num_subsets=3, subset_size=4, seed=5)
    np.testing.assert_allclose(got, (-109.75006493699982, 159.53577835384155), rtol=1e-12)


def test_same_distribution_is_near_zero_and_far_ones_are_not():
    real, same = features_of(1, 400, 8), features_of(2, 400, 8)
    far = features_of(3, 400, 8, mean=1)
    options = {"num_subsets": 20, "subset_size": 100}
    assert abs(kernel_distance(real, same, **options).mean) < 0.02
    # Of N(0, 1) and N(1, 1) it is E[k] over the means alone, above (1 + 1)³ - 1.
    assert kernel_distance(real, far, **options).mean > 7


def test_float32_is_computed_in_float64():
    real = features_of(1, 50, 4, mean=10).astype(np.float32)
    generated = features_of(2, 50, 4, mean=10).astype(np.float32)
    expected = kernel_distance(real.astype(np.float64), generated.astype(np.float64))
    assert kernel_distance(real, generated) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"real": np.zeros((1, 2))}, "At least 2 real and 2 generated.*1 real, 3 generated"),
        ({"generated": np.zeros((3, 4))}, r"`generated` must have 2 dimensions.*\(3, 4\)"),
        ({"generated": np.full((3, 2), np.nan)}, "`generated` must be finite"),
        ({"num_subsets": 0}, "num_subsets=0"),
        ({"subset_size": 1}, "subset_size=1"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"real": np.zeros((3, 2)), "generated": np.ones((3, 2))}
    with pytest.raises(ValueError, match=message):
        kernel_distance(**arguments | change)
