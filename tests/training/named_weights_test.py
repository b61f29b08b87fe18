"""Names of weights, and the state of forward passes among them."""

import keras
import numpy as np
import pytest

from oasis_tf.training.named_weights import borrowed_state, forward_state, named_weights


def make_network(name="network"):
    layers = [keras.layers.Dense(2, name="dense"), keras.layers.BatchNormalization(name="norm")]
    network = keras.Sequential([keras.Input([3]), *layers], name=name)
    for variable in network.variables:
        variable.assign(np.arange(variable.shape.num_elements()).reshape(variable.shape) + 1.0)
    return network


class Pair(keras.Model):
    """A network of two."""

    def __init__(self):
        super().__init__()
        self.inner = [make_network("first"), make_network("second")]
        self.named_parts = dict(zip("ab", self.inner, strict=True))


def test_every_weight_has_its_name():
    network = make_network()
    names = [name.rpartition("/")[2] for name in named_weights(network)]
    assert names == ["kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"]
    assert {id(v) for v in named_weights(network).values()} == {id(v) for v in network.variables}
    assert list(named_weights(make_network("other"))) == list(named_weights(network))


def test_names_of_a_network_of_networks_start_with_the_part():
    pair = Pair()
    weights = named_weights(pair)
    assert len(weights) == 12 and {name.partition("/")[0] for name in weights} == {"a", "b"}
    for name, variable in named_weights(pair.inner[1]).items():
        assert weights[f"b/{name}"] is variable


def test_forward_state_is_what_a_forward_pass_moves():
    network = make_network()
    before = {name: v.numpy() for name, v in named_weights(network).items()}
    network(np.random.default_rng(0).normal(size=(4, 3)), training=True)
    moved = {n for n, v in named_weights(network).items() if (v.numpy() != before[n]).any()}
    assert set(forward_state(network)) == moved and len(moved) == 2


@pytest.mark.parametrize("fails", [False, True])
def test_a_borrowed_state_is_put_back(fails):
    network = make_network()
    state = forward_state(network)
    before = {name: v.numpy() for name, v in state.items()}
    mean = next(name for name in state if name.endswith("moving_mean"))
    try:
        with borrowed_state(network, {mean: np.array([7.0, 8.0])}):
            np.testing.assert_array_equal(state[mean].numpy(), [7, 8])
            network(np.ones((4, 3)), training=True)
            if fails:
                raise OSError("disk gone")
    except OSError:
        assert fails
    for name, variable in state.items():
        np.testing.assert_array_equal(variable.numpy(), before[name])
