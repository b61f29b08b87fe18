"""What feature sets must be, and what is said about those that are not."""

import numpy as np
import pytest

from oasis_tf.metrics.features.feature_sets import checked, checked_pair


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32, np.uint8])
def test_real_types_become_float64(dtype):
    features = np.arange(6).reshape(2, 3).astype(dtype)
    given = features.copy()
    result = checked(features)
    assert result.dtype == np.float64
    np.testing.assert_array_equal(result, [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(features, given)


def test_no_rows_are_a_feature_set():
    assert checked(np.zeros((0, 4), np.float32), dimension=4).shape == (0, 4)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros(3), r"`x` must be \[images, dimensions\].*x.shape=\(3,\)"),
        (np.zeros((2, 1, 3)), r"`x` must be \[images, dimensions\].*x.shape=\(2, 1, 3\)"),
        (np.zeros((2, 0)), r"`x` must be \[images, dimensions\].*x.shape=\(2, 0\)"),
        (np.zeros((2, 4)), r"`x` must have 3 dimensions.*x.shape=\(2, 4\)"),
        ([[0, 0, 0], [0, np.nan, 0], [np.inf, 0, 0]], "`x` must be finite.*2 of 3 rows.*in row 1"),
    ],
)
def test_bad_features_are_refused(features, message):
    with pytest.raises(ValueError, match=message):
        checked(features, "x", 3)


def test_bad_pairs_are_refused():
    real, generated = np.zeros((4, 3)), np.ones((5, 3))
    np.testing.assert_array_equal(checked_pair(real, generated, 4)[1], generated)
    with pytest.raises(ValueError, match="At least 5 real and 5 .*Received: 4 real, 5 generated"):
        checked_pair(real, generated, 5)
    with pytest.raises(ValueError, match="At least 5 real and 5 .*Received: 5 real, 4 generated"):
        checked_pair(generated, real, 5)
    with pytest.raises(ValueError, match=r"`generated` must have 3.*generated.shape=\(5, 2\)"):
        checked_pair(real, generated[:, :2], 2)
    with pytest.raises(ValueError, match="`real` must be finite"):
        checked_pair(real * np.nan, generated, 2)
