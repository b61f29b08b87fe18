"""Ways between latents, against closed forms."""

import numpy as np
import pytest

from oasis_tf.latents import between, closed_walk, moved


def test_between_two():
    first, second = np.array([[3.0, 0, 0]], np.float32), np.array([[0, 0, 1.0]], np.float32)
    np.testing.assert_array_equal(between(first, second, 0.0), first)
    np.testing.assert_array_equal(between(first, second, 1.0), second)
    middle = between(first, second, 0.5).numpy()
    assert np.linalg.norm(middle) == pytest.approx(2)
    assert middle[0, 0] == pytest.approx(3 * middle[0, 2])
    assert np.isfinite(between(first, -first, 0.5)).all()


def test_moved_along_directions():
    latent = np.array([[3.0, 0, 0], [0, 4.0, 0]], np.float32)
    directions = np.array([[0, 3.0, 0], [0, 0, 3.0]], np.float32)
    amounts = np.array([[1, 0], [0, 0]], np.float32)
    found = moved(latent, directions, amounts).numpy()
    np.testing.assert_allclose(found, [[3 / 2**0.5, 3 / 2**0.5, 0], [0, 4, 0]], rtol=1e-6)


def test_closed_walk():
    latents = np.array([[1.0, 0], [0, 1.0], [-1.0, 0]], np.float32)
    walk = closed_walk(latents, 2).numpy()
    np.testing.assert_array_equal(walk[::2], latents)
    np.testing.assert_allclose(walk[1], [0.5**0.5, 0.5**0.5], rtol=1e-6)
    np.testing.assert_array_equal(walk[5], [0, 0])  # half way to the opposite one
