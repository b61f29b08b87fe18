"""Moments against `np.cov`, Fréchet distances against closed forms and SciPy."""

import warnings

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.linalg

from oasis_tf.metrics.features.frechet import RunningMoments, frechet_distance

settings = hypothesis.settings(max_examples=40, deadline=None)
D = 6


def moments_of(*batches):
    moments = RunningMoments(batches[0].shape[1])
    for batch in batches:
        moments.update(batch)
    return moments


def gaussian(seed, dimension, rank=None):
    """Mean and covariance of the given rank, and a matrix whose Gram matrix the covariance is."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(rank or 2 * dimension, dimension))
    return rng.normal(size=dimension), root.T @ root, root


def distance_by_sqrtm(mean1, cov1, mean2, cov2):
    """The formula as it is written, by SciPy's square root of a general matrix."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SciPy says that a singular product is singular
        root = np.trace(scipy.linalg.sqrtm(cov1 @ cov2)).real
    return np.sum((mean1 - mean2) ** 2) + np.trace(cov1) + np.trace(cov2) - 2 * root


def assert_moments(moments, features, shift=0.0, rtol=1e-12):
    """Mean and covariance are those of `features` + `shift`, relative to their spread."""
    expected = np.cov(features.T)
    spread = np.sqrt(np.diagonal(expected))
    scale = np.maximum(np.outer(spread, spread), 1e-300)
    assert moments.count == len(features)
    assert np.abs((moments.covariance() - expected) / scale).max() <= rtol
    mean = features.mean(0) + shift
    np.testing.assert_allclose(moments.mean, mean, rtol=1e-14, atol=1e-14 * spread.max())


feature_seeds = st.integers(0, 2**32 - 1)
cuts = st.lists(st.integers(0, 40), max_size=6).map(sorted)


@settings
@hypothesis.given(feature_seeds, cuts)
def test_moments_of_any_batches_equal_numpy(seed, cuts):
    rng = np.random.default_rng(seed)
    features = rng.normal(rng.normal(0, 3, D), rng.uniform(0.01, 100, D), (40, D))
    features[:, 1] += features[:, 0]
    moments = moments_of(*np.split(features, cuts))
    assert_moments(moments, features)
    np.testing.assert_array_equal(moments.covariance(), moments.covariance().T)


@settings
@hypothesis.given(feature_seeds, cuts, cuts)
def test_merged_states_equal_the_whole(seed, cuts, inner):
    features = np.random.default_rng(seed).normal(1, 2, (40, D))
    states = [moments_of(*np.split(part, inner)).state() for part in np.split(features, cuts)]
    merged = RunningMoments.merged(states)
    assert_moments(merged, features)
    again = RunningMoments.merged([merged.state()])
    np.testing.assert_array_equal(again.covariance(), merged.covariance())


@pytest.mark.parametrize("shift", [1e6, -(2.0**30)])
def test_features_far_from_zero_lose_no_digits(shift):
    # Multiples of 2⁻¹⁶ below 1: adding the shift is exact.
    features = np.random.default_rng(0).integers(-99, 99, (200, D)) * 2.0**-16
    batches = np.split(features + shift, [1, 3, 50, 128])
    assert_moments(moments_of(*batches), features, shift)
    states = [moments_of(batch).state() for batch in batches]
    assert_moments(RunningMoments.merged(states), features, shift)


def test_an_outlier_first_does_not_spoil_the_rest():
    features = np.random.default_rng(0).normal(size=(50, D))
    features[0] = 1e4
    assert_moments(moments_of(*np.split(features, 25)), features)


def test_small_types_are_added_up_in_float64():
    features = np.random.default_rng(0).normal(30, 10, (500, D)).astype(np.float16)
    assert_moments(moments_of(*np.split(features, 20)), features.astype(np.float64))


def test_constant_features_have_no_variance():
    moments = moments_of(np.full((3, D), 0.1), np.full((4, D), 0.1))
    np.testing.assert_array_equal(moments.covariance(), np.zeros((D, D)))
    np.testing.assert_array_equal(moments.mean, np.full(D, 0.1))


def test_state_survives_a_file_and_is_a_copy(tmp_path):
    features = np.random.default_rng(0).normal(size=(9, D))
    moments = moments_of(features[:5])
    np.savez(tmp_path / "state.npz", **moments.state())
    state = moments.state()
    moments.update(features[5:])
    with np.load(tmp_path / "state.npz") as loaded:
        merged = RunningMoments.merged([loaded])
        for name, array in state.items():
            np.testing.assert_array_equal(array, loaded[name])
    assert_moments(merged, features[:5])
    merged.update(features[5:])
    assert_moments(merged, features)
    assert_moments(moments_of(features[:5]), features[:5])
    assert_moments(RunningMoments.merged([state]), features[:5])
    for array in moments.state().values():
        array.fill(7)
    assert_moments(moments, features)


def test_batches_given_are_left_alone():
    features = np.random.default_rng(0).normal(size=(9, D))
    given = features.copy()
    moments_of(features, features)
    np.testing.assert_array_equal(features, given)


def test_bad_batches_change_nothing():
    features = np.random.default_rng(0).normal(size=(9, D))
    moments = moments_of(features)
    for bad, message in [
        (np.where(np.eye(9, D) > 0, np.nan, features), "`features` must be finite.*6 of 9 rows"),
        (np.where(np.eye(9, D) > 0, -np.inf, features), "`features` must be finite"),
        (features[:, :5], r"`features` must have 6 dimensions.*\(9, 5\)"),
        (features[0], r"`features` must be \[images, dimensions\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            moments.update(bad)
    assert_moments(moments, features)


def test_too_few_images_have_no_moments():
    with pytest.raises(ValueError, match="mean needs at least 1 images. Received: 0"):
        _ = RunningMoments(D).mean
    moments = moments_of(np.ones((1, D)))
    np.testing.assert_array_equal(moments.mean, np.ones(D))
    with pytest.raises(ValueError, match="covariance needs at least 2 images. Received: 1"):
        moments.covariance()


def test_bad_settings_and_states_are_refused():
    with pytest.raises(ValueError, match="dimension=0"):
        RunningMoments(0)
    with pytest.raises(ValueError, match="one or more.*Received: 0 states"):
        RunningMoments.merged([])
    states = [RunningMoments(3).state(), RunningMoments(4).state()]
    with pytest.raises(ValueError, match=r"one dimension.*2 states of dimensions \[3, 4\]"):
        RunningMoments.merged(states)


def test_worked_example():
    # In one dimension: (m1 - m2)² + (s1 - s2)².
    assert frechet_distance([1.0], [[4.0]], [4.0], [[25.0]]) == pytest.approx(18, rel=1e-15)


@settings
@hypothesis.given(feature_seeds)
def test_diagonal_covariances(seed):
    rng = np.random.default_rng(seed)
    means, deviations = rng.normal(0, 5, (2, D)), rng.uniform(0, 9, (2, D))
    got = frechet_distance(
        means[0], np.diag(deviations[0] ** 2), means[1], np.diag(deviations[1] ** 2)
    )
    expected = np.sum((means[0] - means[1]) ** 2) + np.sum((deviations[0] - deviations[1]) ** 2)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@settings
@hypothesis.given(feature_seeds, st.integers(1, D))
def test_commuting_covariances_of_any_rank(seed, rank):
    rng = np.random.default_rng(seed)
    basis = scipy.linalg.qr(rng.normal(size=(D, D)))[0]
    deviations = rng.uniform(0.1, 9, (2, D))
    deviations[0, rank:] = 0
    cov1, cov2 = ((basis * d**2) @ basis.T for d in deviations)
    got = frechet_distance(np.zeros(D), cov1, np.ones(D), cov2)
    expected = D + np.sum((deviations[0] - deviations[1]) ** 2)
    np.testing.assert_allclose(got, expected, rtol=1e-9)


@pytest.mark.parametrize("dimension", [1, 2, 7, 48])
def test_general_covariances_equal_scipy(dimension):
    mean1, cov1, _ = gaussian(1, dimension)
    mean2, cov2, _ = gaussian(2, dimension)
    expected = distance_by_sqrtm(mean1, cov1, mean2, cov2)
    np.testing.assert_allclose(frechet_distance(mean1, cov1, mean2, cov2), expected, rtol=1e-11)


@pytest.mark.parametrize(("rank1", "rank2"), [(12, 15), (1, 1), (12, 200), (200, 3)])
def test_fewer_images_than_dimensions(rank1, rank2):
    mean1, cov1, root1 = gaussian(3, 64, rank1)
    mean2, cov2, root2 = gaussian(4, 64, rank2)
    got = frechet_distance(mean1, cov1, mean2, cov2)
    # tr √(A'A B'B) is the sum of the singular values of A B', whatever the ranks.
    overlap = scipy.linalg.svdvals(root1 @ root2.T).sum()
    exact = np.sum((mean1 - mean2) ** 2) + np.trace(cov1) + np.trace(cov2) - 2 * overlap
    np.testing.assert_allclose(got, exact, rtol=1e-10)
    # SciPy's root of a singular product errs by about √2⁻⁵² of its norm for each lost dimension.
    scale = np.sqrt(np.linalg.norm(cov1 @ cov2, 2))
    expected = distance_by_sqrtm(mean1, cov1, mean2, cov2)
    np.testing.assert_allclose(got, expected, rtol=0, atol=64 * 1.5e-8 * scale)


@pytest.mark.parametrize("images", [2, 10, 100])
def test_identical_sets_have_no_distance(images):
    moments = moments_of(np.random.default_rng(0).normal(3, 2, (images, 24)))
    gaussian = moments.mean, moments.covariance()
    assert 0 <= frechet_distance(*gaussian, *gaussian) <= 1e-12 * np.trace(gaussian[1])


def test_sets_that_differ_in_the_mean_alone():
    features = np.random.default_rng(0).normal(size=(10, 24))
    near, far = moments_of(features), moments_of(features + 0.5)
    got = frechet_distance(near.mean, near.covariance(), far.mean, far.covariance())
    np.testing.assert_allclose(got, 24 * 0.25, rtol=1e-12)


@settings
@hypothesis.given(feature_seeds, st.sampled_from([2, D, 20]), st.floats(1e-3, 1e3))
def test_symmetric_scaled_and_rotated(seed, rank, factor):
    mean1, cov1, _ = gaussian(seed, D, rank)
    mean2, cov2, _ = gaussian(seed + 1, D)
    base = frechet_distance(mean1, cov1, mean2, cov2)
    assert base > 0
    np.testing.assert_allclose(frechet_distance(mean2, cov2, mean1, cov1), base, rtol=1e-9)
    turn = factor * scipy.linalg.qr(np.random.default_rng(seed).normal(size=(D, D)))[0]
    moved = frechet_distance(turn @ mean1, turn @ cov1 @ turn.T, turn @ mean2, turn @ cov2 @ turn.T)
    np.testing.assert_allclose(moved, factor**2 * base, rtol=1e-9)


def test_variance_below_rounding_counts_as_none():
    # √1e-30 would still show in a root: the distance of diag(1, 0) must come out.
    cov = np.diag([1.0, 1e-30])
    got = frechet_distance(np.zeros(2), cov, np.zeros(2), np.eye(2)[::-1][:, ::-1])
    assert got == pytest.approx(1.0, abs=1e-15)


def test_small_variance_counts():
    got = frechet_distance(np.zeros(2), np.diag([1, 1e-10]), np.zeros(2), np.eye(2))
    assert got == pytest.approx((1 - 1e-5) ** 2, rel=1e-12)


def test_no_variance_at_all():
    zero = np.zeros((3, 3))
    assert frechet_distance(np.zeros(3), zero, np.ones(3), zero) == 3
    assert frechet_distance(np.zeros(3), zero, np.ones(3), np.eye(3)) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean2": np.zeros(4), "cov2": np.eye(4)}, "same dimension.*Received: 3 and 4"),
        ({"cov1": np.eye(4)}, r"`cov1` \[D, D\].*mean1.shape=\(3,\), cov1.shape=\(4, 4\)"),
        ({"cov2": np.ones(3)}, r"cov2.shape=\(3,\)"),
        ({"mean2": np.zeros((3, 1))}, r"`mean2` must be \[D\].*mean2.shape=\(3, 1\)"),
        ({"mean1": [0, np.nan, 0]}, "`mean1` and `cov1` must be finite"),
        ({"cov2": np.diag([1, np.inf, 1])}, "`mean2` and `cov2` must be finite"),
        ({"cov1": np.triu(np.ones((3, 3)))}, "`cov1` must be symmetric.*differ by 1"),
        ({"cov2": np.diag([1, 2, -0.5])}, "`cov2` must have no negative eigenvalue.*-0.5"),
    ],
)
def test_what_is_no_gaussian_is_refused(change, message):
    gaussians = {"mean1": np.zeros(3), "cov1": np.eye(3), "mean2": np.zeros(3), "cov2": np.eye(3)}
    with pytest.raises(ValueError, match=message):
        frechet_distance(**gaussians | change)
