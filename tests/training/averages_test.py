"""Moving averages of networks, against NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.training.averages import average_of, update_averages, warmed_up


def make_network():
    layers = [keras.layers.Dense(300, name="dense"), keras.layers.BatchNormalization(name="norm")]
    return keras.Sequential([keras.Input([300]), *layers], name="network")


def test_a_copy_has_the_weights_and_no_gradients():
    network = make_network()
    average = average_of(network, "average")
    assert average.name == "average" and average.trainable_variables == []
    for ours, theirs in zip(average.variables, network.variables, strict=True):
        assert ours is not theirs
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_the_decay_grows_to_its_value():
    steps = np.array([0, 8, 80, 81, 10**9])
    want = [1 / 10, 9 / 18, 0.9, 0.9, 0.9]
    np.testing.assert_allclose([warmed_up(0.9, step) for step in steps], want, rtol=1e-12)
    assert warmed_up(0.9999, tf.constant(10**9, tf.int64)).numpy() == 0.9999


@pytest.mark.parametrize("decay", [0.0, 0.9, 0.9999, "tensor"])
def test_all_variables_move(decay):
    """Kernels large enough to be compiled, statistics too; in float32 to its last digits."""
    network, rng = make_network(), np.random.default_rng(0)
    average = average_of(network, "average")
    want = [v.numpy().astype(np.float64) for v in average.variables]
    given = tf.constant(0.9999, tf.float64) if decay == "tensor" else decay
    decay = 0.9999 if decay == "tensor" else decay
    update = tf.function(lambda: update_averages([(average, network)], given), autograph=False)
    for _ in range(3):
        for k, variable in enumerate(network.variables):
            variable.assign(rng.normal(size=variable.shape))
            want[k] = decay * want[k] + (1 - decay) * variable.numpy()
        update()
    for variable, value in zip(average.variables, want, strict=True):
        np.testing.assert_allclose(variable.numpy(), value, rtol=1e-5, atol=1e-7)
