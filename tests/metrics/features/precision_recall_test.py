"""Precision and recall against the definition, one pair of vectors at a time."""

import hypothesis
import hypothesis.extra.numpy as npst
import hypothesis.strategies as st
import numpy as np
import pytest

from oasis_tf.metrics.features.precision_recall import precision_recall

settings = hypothesis.settings(max_examples=80, deadline=None)
# Integers: distances are exact in the reference, and ties and equal vectors are common.
small_sets = st.integers(3, 12).flatmap(
    lambda n: npst.arrays(np.float64, (n, 2), elements=st.integers(-3, 3))
)


def share_on_manifold(queries, support, neighbours):
    """Share of `queries` in the union of closed k-nearest-neighbour balls of `support`."""

    def squared(x, y):
        return sum((a - b) ** 2 for a, b in zip(x, y, strict=True))

    inside = 0
    radii = [
        sorted(squared(x, y) for j, y in enumerate(support) if j != i)[neighbours - 1]
        for i, x in enumerate(support)
    ]
    for query in queries:
        inside += any(squared(query, x) <= r for x, r in zip(support, radii, strict=True))
    return inside / len(queries)


def assert_by_definition(real, generated, neighbours, **options):
    got = precision_recall(real, generated, neighbours=neighbours, **options)
    assert got.precision == share_on_manifold(generated.tolist(), real.tolist(), neighbours)
    assert got.recall == share_on_manifold(real.tolist(), generated.tolist(), neighbours)


@settings
@hypothesis.given(small_sets, small_sets, st.integers(1, 2), st.integers(1, 13))
def test_definition_with_ties(real, generated, neighbours, block_size):
    assert_by_definition(real, generated, neighbours, block_size=block_size)


@settings
@hypothesis.given(small_sets, small_sets, st.sampled_from([1e-3, 0.1, 1 / 3]))
def test_ties_survive_rounding(real, generated, unit):
    # In other units and far from zero the same vectors tie, but for rounding.
    expected = precision_recall(real, generated, neighbours=2)
    assert precision_recall(real * unit, generated * unit, neighbours=2) == expected
    assert precision_recall(real + 2.0**30, generated + 2.0**30, neighbours=2) == expected


@pytest.mark.parametrize("neighbours", [1, 3, 5])
@pytest.mark.parametrize(("n", "m", "dimension"), [(40, 40, 3), (60, 25, 16), (9, 70, 1)])
def test_definition_on_clouds(n, m, dimension, neighbours):
    rng = np.random.default_rng(0)
    real = rng.normal(0, 1, (n, dimension))
    generated = rng.normal(0.5, 0.8, (m, dimension))
    assert_by_definition(real, generated, neighbours, block_size=16)


def test_blocks_do_not_matter():
    rng = np.random.default_rng(1)
    real, generated = rng.normal(0, 1, (50, 8)), rng.normal(0.3, 1, (43, 8))
    expected = precision_recall(real, generated)
    assert 0 < min(expected) <= max(expected) < 1
    for block_size in (1, 7, 43, 50, 1000):
        assert precision_recall(real, generated, block_size=block_size) == expected


def test_swapped_sets_swap_the_scores():
    rng = np.random.default_rng(2)
    real, generated = rng.normal(0, 1, (30, 4)), rng.normal(0.5, 0.5, (40, 4))
    precision, recall = precision_recall(real, generated)
    assert precision != recall
    assert precision_recall(generated, real) == (recall, precision)


@pytest.mark.parametrize("copies", [1, 5])
def test_identical_sets_score_one(copies):
    # Five copies of each: radii are zero, and balls contain their centre.
    features = np.repeat(np.random.default_rng(0).normal(5, 1, (20, 64)), copies, axis=0)
    shuffled = features[np.random.default_rng(1).permutation(len(features))]
    assert precision_recall(features, shuffled) == (1, 1)


def test_disjoint_sets_score_zero():
    rng = np.random.default_rng(0)
    real, generated = rng.normal(0, 1, (20, 3)), rng.normal(100, 1, (20, 3))
    assert precision_recall(real, generated) == (0, 0)


def test_collapse_is_precise_and_forgetful_and_noise_the_reverse():
    rng = np.random.default_rng(0)
    real = rng.normal(0, 1, (100, 2))
    collapsed = precision_recall(real, rng.normal(0, 0.05, (100, 2)))
    assert collapsed.precision == 1
    assert collapsed.recall < 0.1
    noisy = precision_recall(real, rng.normal(0, 6, (100, 2)))
    assert noisy.precision < 0.3
    assert noisy.recall > 0.9


def test_surface_belongs_to_a_ball():
    # Radii of 0, 1, 3 are 1, 1, 2: the real manifold is [-1, 5], closed.
    real = np.array([[0.0], [1.0], [3.0]])
    for place, inside in [(5.0, 1), (-1.0, 1), (5.001, 0), (-1.001, 0)]:
        generated = np.full((4, 1), place)
        assert precision_recall(real, generated, neighbours=1).precision == inside


def test_a_vector_is_not_its_own_neighbour():
    real = np.array([[0.0], [10.0]])
    generated = np.array([[4.0], [-20.0]])
    # Both real radii are 10, both generated ones 24.
    assert precision_recall(real, generated, neighbours=1) == (0.5, 1)


def test_features_given_are_left_alone():
    real = np.random.default_rng(0).normal(size=(9, 2))
    given = real.copy()
    precision_recall(real, real)
    np.testing.assert_array_equal(real, given)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"neighbours": 5}, "At least 6 real and 6 generated.*5 real, 7 generated"),
        ({"real": np.zeros((9, 2)), "neighbours": 7}, "At least 8 .*9 real, 7 generated"),
        ({"neighbours": 0}, "must be positive.*neighbours=0"),
        ({"block_size": 0}, "must be positive.*block_size=0"),
        ({"generated": np.zeros((7, 3))}, r"`generated` must have 2 dimensions.*\(7, 3\)"),
        ({"real": np.full((5, 2), np.nan)}, "`real` must be finite"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"real": np.zeros((5, 2)), "generated": np.ones((7, 2))}
    with pytest.raises(ValueError, match=message):
        precision_recall(**arguments | change)


def test_as_many_neighbours_as_there_are_others():
    points = np.arange(4.0)[:, None]
    assert precision_recall(points, points, neighbours=3) == (1, 1)
