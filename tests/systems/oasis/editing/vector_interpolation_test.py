"""Vectors between vectors, above all where a great circle is not decided."""

import numpy as np
import pytest

from oasis_tf.systems.oasis.editing.vector_interpolation import interpolate_vectors


def around(a, b, share=0.5):
    """Between two vectors along a circle."""
    ends = (np.array([x], np.float32) for x in (a, b))
    return interpolate_vectors(*ends, share, spherical=True)[0]


@pytest.mark.parametrize("gap", [0, 1e-38, 1e-9, 1e-7, 1e-5])
def test_nearly_parallel_vectors_keep_their_direction(gap):
    got = around([1, 2, 2], [3, 6, 6 + gap], 0.25)
    np.testing.assert_allclose(got, [1.5, 3, 3 + gap / 4], rtol=1e-5)


@pytest.mark.parametrize("gap", [0, 1e-7, 1e-5, 1e-3])
def test_opposite_vectors_go_around(gap):
    a, b = np.array([3, 0.5, 4]), -2 * np.array([3, 0.5 + gap, 4])
    path = np.array([around(a, b, share) for share in np.linspace(0, 1, 9)], np.float64)
    lengths = np.linalg.norm(path, axis=1)
    want = np.linspace(np.linalg.norm(a), np.linalg.norm(b), 9)
    np.testing.assert_allclose(lengths, want, rtol=1e-5)  # never through zero
    cosines = (path[1:] * path[:-1]).sum(1) / lengths[1:] / lengths[:-1]
    np.testing.assert_allclose(cosines, np.cos(np.pi / 8), atol=2e-3)  # at even speed
    reverse = [around(b, a, share) for share in np.linspace(1, 0, 9)]
    np.testing.assert_allclose(path, reverse, rtol=1e-4, atol=1e-5)


def test_the_way_between_opposite_vectors_is_the_axis_they_are_least_in():
    np.testing.assert_allclose(around([1, 0, 2], [-1, 0, -2]), [0, 5**0.5, 0], atol=1e-6)


def test_vectors_without_direction_go_along_the_line():
    for a, b in [([0, 0], [2, 4]), ([2, 4], [0, 0]), ([0, 0], [0, 0])]:
        np.testing.assert_allclose(around(a, b, 0.25), np.add(a, np.subtract(b, a) * 0.25))
    np.testing.assert_allclose(around([1], [-1], 0.25), [0.5])  # no other axis
    np.testing.assert_allclose(around([1], [3], 0.25), [1.5])


def test_lists_are_handled_row_by_row():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 6, 4)).astype(np.float32)
    second[1], second[2], second[3], first[4] = first[1], -first[2], 0, 0
    together = interpolate_vectors(first, second, 0.3, spherical=True)
    assert together.dtype == np.float32 and np.isfinite(together).all()
    for row, (a, b) in enumerate(zip(first, second, strict=True)):
        np.testing.assert_allclose(together[row], around(a, b, 0.3), rtol=1e-6)
    assert interpolate_vectors(first[:0], second[:0], 0.3, spherical=True).shape == (0, 4)
