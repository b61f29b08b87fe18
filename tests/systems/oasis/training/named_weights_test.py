"""Names of OASIS' weights, on which checkpoints, conversion and export agree."""

from oasis_tf.systems.oasis.models import Discriminator, Generator
from oasis_tf.systems.oasis.models.multi_scale import MultiScale
from oasis_tf.training.named_weights import forward_state, named_weights


def test_every_weight_has_a_name_of_its_own():
    scales = MultiScale([Discriminator(3, 1, name="x"), Discriminator(3, 1, name="y")], name="c")
    for network in (Generator(3, 2, 1, 4, name="a"), Discriminator(3, 1, name="b"), scales):
        weights = named_weights(network)
        assert len(weights) == len(network.variables)
        assert {id(v) for v in weights.values()} == {id(v) for v in network.variables}


def test_names_start_with_the_scale():
    one = Discriminator(3, 1, name="x")
    scales = MultiScale([one, Discriminator(3, 1, name="y")])
    want = [f"scale_{scale}/{name}" for scale in (0, 1) for name in named_weights(one)]
    assert list(named_weights(scales)) == want


def test_names_do_not_depend_on_the_network_name():
    first, second = (named_weights(Generator(3, 2, 1, 4, name=name)) for name in ("x", "y"))
    assert list(first) == list(second)
    assert "block_0/conv_0/kernel" in first and "block_5/norm_s/shared/bias" in first


def test_forward_state_is_what_is_not_trained():
    network = Generator(3, 2, 1, 4)
    state = forward_state(network)
    assert {id(v) for v in state.values()} == {id(v) for v in network.non_trainable_variables}
    assert len(state) == 2 * 16 + 2 * 12  # u and v of 16 convolutions, 12 batch norms
