"""StyleGAN2's networks: parameter counts, initial values, filters, options, dtypes."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from oasis_tf.systems.few_shot import stylegan2
from oasis_tf.systems.few_shot.model_settings import ModelConfig
from oasis_tf.systems.few_shot.stylegan2 import operators
from oasis_tf.systems.few_shot.stylegan2.discriminator import minibatch_deviation
from oasis_tf.training.named_weights import named_weights

CHANNELS = {4: 6, 8: 5, 16: 4, 32: 3}


def normal(*shape, seed=0):
    return tf.random.stateless_normal(shape, (seed, 1))


@pytest.fixture(scope="module")
def generator():
    network = stylegan2.Generator(32, CHANNELS, style_dim=8, num_mlp=2)
    stylegan2.initialise(network, 1)
    for layer in network.convs:  # otherwise noise is not seen
        layer.noise_strength.assign(0.3)
    return network


@pytest.fixture(scope="module")
def discriminator():
    network = stylegan2.Discriminator(32, CHANNELS)
    stylegan2.initialise(network, 2)
    return network


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "multiplier", "of_generator", "of_discriminator"),
    [
        (256, 2, 30_034_338, 28_864_129),
        (256, 1, 24_767_458, 24_001_089),
        (1024, 2, 30_370_060, 29_012_513),
    ],
)
def test_published_parameter_counts(size, multiplier, of_generator, of_discriminator):
    widths = ModelConfig(size=size, channel_multiplier=multiplier).widths
    for make, count in (("Generator", of_generator), ("Discriminator", of_discriminator)):
        network = getattr(stylegan2, make)(size, widths)
        assert sum(np.prod(v.shape) for v in network.trainable_variables) == count


def test_initial_values(generator):
    values = {name: v.numpy() for name, v in named_weights(generator).items()}
    assert values["mapping_1/kernel"].std() == pytest.approx(100, rel=0.2)
    for name in ("constant", "noise_6", "conv_1/kernel", "conv_2/modulation/kernel"):
        assert values[name].std() == pytest.approx(1, rel=0.2)
    for name, value in values.items():
        if name.endswith("bias"):
            assert np.all(value == ("modulation" in name)), name
    other = stylegan2.Generator(32, CHANNELS, style_dim=8, num_mlp=2)
    stylegan2.initialise(other, 1)
    np.testing.assert_array_equal(named_weights(other)["noise_6"], values["noise_6"])


@pytest.mark.parametrize(
    ("forward", "shape"),
    [
        pytest.param(lambda x: operators.blur(x, 1), (1, 7, 6, 2), id="blur 1"),
        pytest.param(lambda x: operators.blur(x, 2), (1, 5, 4, 2), id="blur 2"),
        pytest.param(operators.upsample, (1, 3, 4, 2), id="upsample"),
        pytest.param(operators.downsample, (1, 6, 4, 2), id="downsample"),
    ],
)
def test_gradients_of_filters_are_their_transposes(forward, shape):
    """<f(x), y> = <x, f'(y)>, and the same of f' itself."""
    x = normal(*shape)
    y = normal(*forward(x).shape, seed=2)
    with tf.GradientTape() as outer:
        outer.watch(y)
        with tf.GradientTape() as inner:
            inner.watch(x)
            product = tf.reduce_sum(forward(x) * y)
        gradient = inner.gradient(product, x)
        again = tf.reduce_sum(gradient * x)
    np.testing.assert_allclose(again, product, rtol=1e-4)
    np.testing.assert_allclose(outer.gradient(again, y), forward(x), atol=1e-5)


@pytest.mark.parametrize("width", [3, 48])
def test_convolutions_beside_filters(width):
    """Against zero insertion and dense filters, as sections 2 and B of the paper have them."""
    x, kernel = normal(2, 6, 4, width), normal(3, 3, width, 5, seed=1)
    zeros = np.zeros((2, 13, 9, width), np.float32)
    zeros[:, 2:13:2, 2:9:2] = x  # an edge of two, for the whole correlation
    padded = np.pad(zeros, ((0, 0), (0, 2), (0, 2), (0, 0)))
    wide = ops.conv(padded, kernel[::-1, ::-1], padding="valid")
    np.testing.assert_allclose(operators.up_conv(x, kernel), 4 * operators.blur(wide, 1), atol=1e-4)
    want = ops.conv(operators.blur(x, 2), kernel, padding="valid")[:, ::2, ::2]
    np.testing.assert_allclose(operators.down_conv(x, kernel), want, atol=1e-4)


def test_rows_and_mixing(generator):
    a, b = (generator.mapping(normal(3, 8, seed=k)) for k in (1, 2))
    assert generator.num_rows == 8 and generator.noise_shapes == [4, 8, 8, 16, 16, 32, 32]
    rows = generator.mixed(a, b, tf.constant(3))
    for row in range(8):
        np.testing.assert_array_equal(rows[:, row], a if row < 3 else b)
    np.testing.assert_array_equal(generator.mixed(a, b, 0), generator.rows(a))
    each = generator.mixed(a, b, tf.constant([0, 1, 7]))
    np.testing.assert_array_equal(each[:, 6], tf.stack([a[0], b[1], a[2]]))


def test_what_a_synthesis_makes(generator):
    rows = generator.rows(generator.mapping(normal(2, 8)))
    made = generator.synthesis(rows)
    assert made.image.shape == (2, 32, 32, 3)
    assert [x.shape[1:] for x in made.features] == [
        (side, side, CHANNELS[side]) for side in generator.noise_shapes
    ]
    stopped = generator.synthesis(rows, until=16)
    assert stopped.image is None and len(stopped.features) == 5
    np.testing.assert_array_equal(stopped.features[-1], made.features[4])
    noise = [normal(2, side, side, 1, seed=side) for side in generator.noise_shapes]
    assert abs(generator.synthesis(rows, noise).image - made.image).numpy().max() > 0.01


def test_nothing_above_a_feature_has_a_gradient(generator):
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(generator.feature(normal(2, 8), 16))
    variables = {v.path: v.value for v in generator.trainable_variables}
    gradients = dict(zip(variables, tape.gradient(value, [*variables.values()]), strict=True))
    reached = {name.split("/")[1] for name, g in gradients.items() if g is not None}
    assert reached == {"constant", "mapping_0", "mapping_1", *(f"conv_{k}" for k in range(5))}


def test_truncation(generator):
    z, mean = normal(2, 8), normal(1, 8, seed=3)
    w = generator.mapping(z)
    np.testing.assert_allclose(
        generator.truncated(w, 0.7, mean), mean + 0.7 * (w - mean), rtol=1e-5
    )
    images = generator(z, truncation=0.0, w_mean=mean)
    np.testing.assert_allclose(images[0], images[1], atol=1e-5)
    assert abs(generator(z)[0] - generator(z)[1]).numpy().max() > 0.01
    with pytest.raises(ValueError, match="needs the mean style"):
        generator(z, truncation=0.5)


def test_clamp():
    network = stylegan2.Generator(8, {4: 4, 8: 4}, style_dim=4, num_mlp=1, clamp=0.5)
    stylegan2.initialise(network, 1)
    made = network.synthesis(network.rows(normal(2, 4)))
    assert [abs(x).numpy().max() for x in made.features] == [0.5] * 3
    assert abs(made.image).numpy().max() <= 1  # of two, one of them resampled
    judge = stylegan2.Discriminator(8, {4: 4, 8: 4}, clamp=0.5)
    for conv in (judge.blocks[0].conv1, judge.blocks[0].conv2):
        conv.bias.assign(np.full(4, 9.0))
    judged = judge.judged(normal(2, 8, 8, 3), convs=[(1, "conv1"), (1, "conv2")])
    assert all(abs(x).numpy().max() == pytest.approx(0.5) for x in judged.convs.values())


def test_what_is_judged(discriminator):
    image = normal(4, 32, 32, 3)
    keys = [(1, "conv1"), (2, "conv2")]
    judged = discriminator.judged(image, convs=keys)
    assert [x.shape for x in judged.blocks] == [(4, 16, 16, 4), (4, 8, 8, 5), (4, 4, 4, 6)]
    assert (judged.hidden.shape, judged.logits.shape) == ((4, 6), (4, 1))
    assert {key: x.shape for key, x in judged.convs.items()} == {
        keys[0]: (4, 32, 32, 3),
        keys[1]: (4, 8, 8, 5),
    }
    second = discriminator.blocks[1]
    want = (judged.convs[keys[1]] + np.sqrt(2) * second.skip(judged.blocks[0])) / np.sqrt(2)
    np.testing.assert_allclose(judged.blocks[1], want, atol=1e-5)
    part = discriminator.judged(image, until=2)
    assert len(part.blocks) == 2 and part.logits is None


def test_deviation_of_groups():
    x = normal(6, 4, 4, 2)
    found = minibatch_deviation(x, 3).numpy()
    for k in range(2):  # sub-batch k: images k, k + 2, k + 4
        np.testing.assert_allclose(found[k::2], np.std(x[k::2], axis=0).mean(), rtol=1e-5)
    assert minibatch_deviation(x[:1], 4).numpy() == pytest.approx(1e-4, rel=1e-3)
    with pytest.raises(ValueError, match="a batch of 6, groups of 4"):
        minibatch_deviation(x, 4)


def test_half_precision():
    """Features are of half precision, styles and logits are not."""
    made = stylegan2.Generator(8, {4: 4, 8: 4}, 4, 2, dtype="mixed_float16")
    stylegan2.initialise(made, 1)
    plain = stylegan2.Generator(8, {4: 4, 8: 4}, 4, 2)
    stylegan2.initialise(plain, 1)
    z = normal(2, 4)
    assert made.mapping(z).dtype == "float32"
    image = made(z)
    assert image.dtype == "float16"
    np.testing.assert_allclose(tf.cast(image, "float32"), plain(z), atol=0.02)
    judge = stylegan2.Discriminator(8, {4: 4, 8: 4}, dtype="mixed_float16")
    assert judge(image).dtype == "float32"


def test_sizes_and_configurations(generator, discriminator):
    with pytest.raises(ValueError, match="a power of 2 from 8 on. Received: 24"):
        stylegan2.Generator(24, CHANNELS)
    for network in (generator, discriminator):
        other = type(network).from_config(network.get_config())
        assert [v.shape for v in other.variables] == [v.shape for v in network.variables]
        assert other.channels == CHANNELS
