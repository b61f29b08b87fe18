"""Adam against NumPy, in the form whose epsilon stands outside the bias correction."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.layers import fusion
from oasis_tf.training.optimizer import Adam


def numpy_adam(value, gradients, rate, beta_1, beta_2, epsilon=1e-8):
    """Algorithm 1 of Kingma & Ba 2015."""
    first, second = np.zeros_like(value), np.zeros_like(value)
    for step, gradient in enumerate(gradients, 1):
        first = beta_1 * first + (1 - beta_1) * gradient
        second = beta_2 * second + (1 - beta_2) * gradient**2
        corrected = np.sqrt(second / (1 - beta_2**step)) + epsilon
        value = value - rate * first / (1 - beta_1**step) / corrected
    return value


def run(optimizer, value, gradients, dtype="float64"):
    variable = keras.Variable(value, dtype=dtype)
    optimizer.build([variable])
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient, dtype)], [variable])
    return variable.numpy()


def problem(scale=1.0, steps=5):
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 4)), scale * rng.normal(size=(steps, 3, 4))


@pytest.mark.parametrize("smallest_size", [1, 1000], ids=["compiled", "not compiled"])
@pytest.mark.parametrize("beta_1", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("scale", [1.0, 1e-8])
def test_equals_numpy(monkeypatch, beta_1, scale, smallest_size):
    monkeypatch.setattr(fusion, "_SMALLEST_SIZE", smallest_size)
    value, gradients = problem(scale)
    got = run(Adam(1e-3, beta_1, 0.999), value, gradients)
    want = numpy_adam(value, gradients, np.float32(1e-3), beta_1, 0.999)
    np.testing.assert_allclose(got - value, want - value, rtol=1e-9)


def test_first_steps_keep_their_digits_in_float32():
    """1 - beta_2**t, computed plainly in float32, would be wrong in the fourth digit."""
    value, gradients = problem()
    got = run(Adam(1.0), 0 * value, gradients, "float32")
    want = numpy_adam(0 * value, gradients, 1.0, 0.0, 0.999)
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_differs_from_the_form_of_keras_where_gradients_are_small():
    value, gradients = problem(scale=1e-7)
    ours = run(Adam(1e-3), value, gradients) - value
    theirs = keras.optimizers.Adam(1e-3, beta_1=0.0, beta_2=0.999, epsilon=1e-8)
    theirs = run(theirs, value, gradients) - value
    assert np.linalg.norm(ours - theirs) > 0.1 * np.linalg.norm(ours)


def test_without_a_first_moment_there_is_no_memory_for_it():
    variable = keras.Variable(np.ones(3))
    plain, heavy = Adam(1e-3), Adam(1e-3, 0.5)
    for optimizer in (plain, heavy):
        optimizer.build([variable])
    names = [v.path for v in plain.variables]
    assert len(heavy.variables) == len(names) + 1
    assert not any("momentum" in name for name in names)
    assert sum("velocity" in name for name in names) == 1


def test_unused_weights_stay():
    first, second = keras.Variable(np.ones(2)), keras.Variable(np.ones(2))
    optimizer = Adam(0.1)
    optimizer.build([first, second])
    optimizer.apply([tf.ones(2), tf.zeros(2)], [first, second])
    np.testing.assert_allclose(first.numpy(), [0.9, 0.9], rtol=1e-5)
    np.testing.assert_array_equal(second.numpy(), [1, 1])


def test_config_round_trip():
    optimizer = Adam(3e-4, 0.5, 0.99, 1e-6, name="mine")
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(again, Adam) and again.get_config() == optimizer.get_config()
    assert (again.beta_1, again.beta_2, again.epsilon) == (0.5, 0.99, 1e-6)
