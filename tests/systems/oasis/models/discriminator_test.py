"""The discriminator: sizes, variants, invalid inputs."""

import numpy as np
import pytest

from oasis_tf.systems.oasis.models import Discriminator
from oasis_tf.systems.oasis.models.unet_blocks import DownBlock, UpBlock


def image(size, batch=2, channels=3):
    return np.random.default_rng(0).uniform(-1, 1, (batch, *size, channels)).astype(np.float32)


@pytest.fixture(scope="module")
def discriminator():
    return Discriminator(4, channels=1)


def test_number_of_parameters_at_full_width():
    variables = Discriminator(151).trainable_variables
    assert sum(int(np.prod(v.shape)) for v in variables) == 22_258_904


def test_widths_follow_the_paper():
    network = Discriminator(151, channels=1)
    down = [(block.in_channels, block.out_channels) for block in network.down_blocks]
    assert down == [(3, 2), (2, 2), (2, 4), (4, 4), (4, 8), (8, 8)]
    up = [(block.in_channels, block.out_channels) for block in network.up_blocks]
    assert up == [(8, 8), (16, 4), (8, 4), (8, 2), (4, 2), (4, 1)]


@pytest.mark.parametrize("size", [(64, 64), (64, 128)])
def test_logits_have_the_size_of_the_image(discriminator, size):
    logits = discriminator(image(size)).numpy()
    assert logits.shape == (2, *size, 5) and logits.dtype == np.float32
    assert np.isfinite(logits).all()


@pytest.mark.parametrize(("widths", "multiple"), [((2, 4), 4), ((1,), 2), ((2, 2, 2), 8)])
def test_other_depths(widths, multiple):
    network = Discriminator(3, channels=2, widths=widths)
    assert network.size_multiple == multiple
    size = (multiple, 3 * multiple)
    assert network(image(size)).shape == (2, *size, 4)


def test_training_updates_only_the_spectral_vectors():
    network = Discriminator(3, channels=2, widths=(2, 2))
    weights, vectors = network.trainable_variables, network.non_trainable_variables
    before = [v.numpy() for v in (*weights, *vectors)]
    network(image((8, 8)), training=True)
    for variable, value in zip((*weights, *vectors), before, strict=True):
        # channels=2 above: a v of size 1 could not change.
        moved = (variable.numpy() != value).any()
        assert moved == any(variable is v for v in vectors), variable.path


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((64, 96), "width of an image .* multiple of 64. Received: width=96. .*: 64 or 128."),
        ((32, 64), "height of an image .* Received: height=32. Nearest valid: 64."),
    ],
)
def test_refuses_sizes_that_do_not_divide(discriminator, size, message):
    with pytest.raises(ValueError, match=message):
        discriminator(image(size))


def test_refuses_single_images(discriminator):
    with pytest.raises(ValueError, match=r"must have 4 axes. Received: shape=\(64, 64, 3\)"):
        discriminator(image((64, 64))[0])


def test_keras_contract(keras_contract):
    keras_contract(lambda **options: Discriminator(3, 2, (1, 2), **options), image((8, 12)))


@pytest.mark.parametrize("block", [DownBlock, UpBlock])
@pytest.mark.parametrize("widths", [(2, 5), (3, 3)])
def test_blocks_keras_contract(keras_contract, block, widths):
    x = image((4, 6), channels=widths[0])
    keras_contract(lambda **options: block(*widths, **options), x)


def test_the_first_block_does_not_activate_the_image(keras_contract):
    def make(**options):
        return DownBlock(3, 4, first=True, **options)

    keras_contract(make, image((4, 6)))
    first, later = make(), DownBlock(3, 4)
    first.build()
    later.build()
    later.set_weights(first.get_weights())
    for x, same in ((abs(image((4, 6))), True), (image((4, 6)), False)):
        assert np.allclose(first(x), later(x), atol=1e-7) == same
