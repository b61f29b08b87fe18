"""Rows of classes, against loops over them."""

import numpy as np
import pytest

from oasis_tf.layers.class_rows import ClassRows, carried_over

SOURCES = [2, None, 0, None, 1]  # five classes, of which three are among the other model's four
OTHER = 4


@pytest.mark.parametrize(("first", "after"), [(0, 0), (3, 0), (0, 3), (1, 2)])
@pytest.mark.parametrize("axis", [0, 2, 3])
def test_rows_of_classes_are_carried_over_and_those_of_no_class_too(rng, first, after, axis):
    def weight(classes):
        shape = [2, 3, 4, 5]
        shape[axis] = first + classes + after
        return rng.normal(size=shape).astype(np.float32)

    drawn, other = weight(len(SOURCES)), weight(OTHER)
    got = carried_over(drawn, other, ClassRows(axis, first), SOURCES)
    assert got.shape == drawn.shape and got.dtype == drawn.dtype
    row = lambda array, index: np.take(array, index, axis)  # noqa: E731
    for index, source in enumerate(SOURCES):
        want = row(drawn, first + index) if source is None else row(other, first + source)
        np.testing.assert_array_equal(row(got, first + index), want)
    for index in [*range(first), *range(-after, 0)]:
        np.testing.assert_array_equal(row(got, index), row(other, index))


def test_a_vector_of_the_kernel_s_rows_is_zero_for_new_classes(rng):
    """v of spectral norm: u^T W v is then what it was, if all rows have a place."""
    kernel = rng.normal(size=(3, 3, OTHER + 3, 2))
    v, u = rng.normal(size=9 * (OTHER + 3)), rng.normal(size=2)
    drawn = rng.normal(size=(3, 3, 6 + 3, 2))
    sources = [None, 3, 1, 0, None, 2]
    new = carried_over(drawn, kernel, ClassRows(2), sources)
    rows = ClassRows(2, shape=drawn.shape[:3], drawn=False)
    new_v = carried_over(rng.normal(size=9 * 9), v, rows, sources)
    norm = v @ kernel.reshape(-1, 2) @ u
    np.testing.assert_allclose(new_v @ new.reshape(-1, 2) @ u, norm, rtol=1e-12)
    assert not new_v.reshape(3, 3, 9)[:, :, [0, 4]].any()
