"""BigGAN's networks: sizes, initial values, spectral and batch norms, options, official weights."""

import math

import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.systems.few_shot import biggan, biggan_sizes
from oasis_tf.systems.few_shot.biggan import layers
from oasis_tf.systems.few_shot.biggan.discriminator import without_projection
from oasis_tf.systems.few_shot.official import biggan_weights as weights
from oasis_tf.training.named_weights import borrowed_state, named_weights


def normal(*shape, seed=0):
    return tf.random.stateless_normal(shape, (seed, 1))


def new_generator(**options):
    options = {"num_classes": 3, "dim_z": 9, "shared_dim": 4, "attention": (16,)} | options
    network = biggan.Generator(32, 2, **options)
    biggan.initialise(network, 1)
    network.attentions[1].gamma.assign(0.5)  # otherwise attention is not seen
    return network


@pytest.fixture(scope="module")
def generator():
    return new_generator()


@pytest.fixture(scope="module")
def discriminator():
    network = biggan.Discriminator(32, 2, num_classes=3, attention=(16,))
    biggan.initialise(network, 2)
    return network


def values(network):
    return {name: v.numpy() for name, v in named_weights(network).items()}


# === Sizes ===


@pytest.mark.slow
def test_published_parameter_counts():
    def count(network):
        return sum(math.prod(v.shape) for v in network.trainable_variables)

    counts = [count(biggan.Generator(256, 96, 1000, 140, 128, (side,))) for side in (64, 128)]
    assert counts == [82_235_844, 82_097_604]
    assert count(biggan.Discriminator(256, 96, 1000, (64,))) == 99_225_890


@pytest.mark.parametrize("resolution", biggan_sizes.RESOLUTIONS)
def test_sizes(resolution):
    blocks = biggan_sizes.generator_blocks(resolution, 3)
    assert [block.side for block in blocks] == [8 * 2**k for k in range(len(blocks))]
    assert blocks[-1].side == resolution
    assert biggan_sizes.used_dim_z(resolution, 143) % (len(blocks) + 1) == 0
    judges = biggan_sizes.discriminator_blocks(resolution, 3)
    assert judges[0].in_channels == 3 and judges[-1].out_channels == 3 * (
        4 if len(judges) == 4 else 16
    )
    halved = sum(block.halves for block in judges)
    assert resolution >> halved == (8 if resolution == 32 else 4)


def test_sizes_at_256():
    """Of section 4.4 and appendix B's tables."""
    blocks = biggan_sizes.discriminator_blocks(256, 1)
    assert [block.nominal_side for block in blocks] == [128, 64, 32, 16, 8, 4, 4]
    assert [block[:2] for block in biggan_sizes.generator_blocks(256, 1)] == [
        *((16, 16), (16, 8), (8, 8), (8, 4), (4, 2), (2, 1))
    ]
    with pytest.raises(ValueError, match="must be one of .* Received: 48"):
        biggan.Generator(48, 2, 3, 9)
    with pytest.raises(ValueError, match="at least 7 at 256x256"):
        biggan_sizes.latent_chunk(256, 6)


def test_what_networks_make(generator, discriminator):
    assert (generator.dim_z, generator.latent_dim) == (8, 12)  # four parts of two
    made = generator.synthesis(normal(2, 12))
    assert made.image.shape == (2, 32, 32, 3)
    assert [x.shape for x in made.features] == [(2, side, side, 8) for side in (8, 16, 32)]
    stopped = generator.synthesis(normal(2, 12), until=16)
    assert stopped.image is None and len(stopped.features) == 2
    np.testing.assert_array_equal(stopped.features[1], made.features[1])
    e = generator.embedding(np.array([0, 2]))
    np.testing.assert_allclose(e, generator.shared.table.numpy()[[0, 2]])
    both = tf.concat([normal(2, 8), e], 1)
    image = generator(normal(2, 8), e)
    np.testing.assert_allclose(image, generator.synthesis(both).image, atol=1e-6)
    judged = discriminator.judged(image, np.array([0, 2]))
    assert [x.shape for x in judged.blocks] == [(2, 16, 16, 8), (2, 8, 8, 8), (2, 8, 8, 8)]
    assert (judged.hidden.shape, judged.logits.shape) == ((2, 8), (2, 1))
    assert len([x for x in discriminator.attentions if x]) == 4  # as the published code does
    with pytest.raises(ValueError, match=r"one of the sides \[8, 16, 32\]. Received: 64"):
        generator.feature(both, 64)


def test_nothing_above_a_feature_takes_part(generator):
    before = values(generator)
    with borrowed_state(generator):
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(generator.feature(normal(2, 12), 16, training=True))
        after = values(generator)
    names = list(named_weights(generator))
    gradients = tape.gradient(value, [v.value for v in named_weights(generator).values()])
    reached = {n.split("/")[0] for n, g in zip(names, gradients, strict=True) if g is not None}
    assert reached == {"linear", "block_0", "block_1", "attention_1"}
    moved = {name for name in names if not np.array_equal(before[name], after[name])}
    assert {name.split("/")[0] for name in moved} == reached
    assert {name.rsplit("/")[-1] for name in moved} == {
        *("u", "sigma", "moving_mean", "moving_variance")
    }


# === Norms ===


def test_spectral_norm():
    """Against NumPy: every pass takes a step from the stored u, training alone stores it."""
    layer = layers.BigGANDense(5)
    layer.build((None, 4))
    layer.kernel.assign(normal(4, 5))
    x, kernel, u = normal(2, 4, seed=1), layer.kernel.numpy(), layer.u.numpy()
    v = kernel @ u / np.linalg.norm(kernel @ u)
    new = v @ kernel / np.linalg.norm(v @ kernel)
    sigma = v @ kernel @ new
    for training, stored in ((False, u), (True, new)):
        np.testing.assert_allclose(layer(x, training=training), x @ kernel / sigma, rtol=1e-5)
        np.testing.assert_allclose(layer.u, stored, rtol=1e-5)
    np.testing.assert_allclose(layer.sigma, [sigma], rtol=1e-5)
    again = layer(x)
    layer.fold()
    np.testing.assert_allclose(layer(x), again, rtol=1e-5)
    layer.kernel.assign(np.zeros((4, 5)))
    _, v, sigma = layer.stored_norm()
    assert not v.numpy().any() and sigma.numpy() == 0  # not NaN


def test_initial_values(generator):
    found = values(generator)
    for name, kernel in found.items():
        if name.endswith(("kernel", "table")):
            matrix = kernel.reshape(-1, kernel.shape[-1])
            matrix = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
            np.testing.assert_allclose(matrix.T @ matrix, np.eye(matrix.shape[1]), atol=1e-5)
    bias = found["block_0/conv_1/bias"]
    assert 0 < abs(bias).max() <= 1 / np.sqrt(9 * 8)
    drawn = [name for name in found if name.endswith(("kernel", "bias", "table"))]
    for name in drawn:
        named_weights(generator)[name].assign(np.zeros_like(found[name]))
    biggan.initialise(generator, 1)
    other = values(generator)
    for name in drawn:
        np.testing.assert_array_equal(found[name], other[name])


@pytest.mark.slow
def test_standing_statistics_of_equal_batches():
    """They are the moments of that batch: evaluation equals training."""
    generator, v = new_generator(mybn=True), normal(4, 12)
    for _ in range(5):  # u settles
        want = generator.synthesis(v, training=True).image
    before = values(generator)
    assert abs(generator.synthesis(v).image - want).numpy().max() > 0.1
    with borrowed_state(generator):
        layers.standing_statistics(generator, [v, v])
        assert generator.norm.accumulations.numpy() == [2]
        np.testing.assert_allclose(generator.synthesis(v).image, want, atol=0.02)
        generator.synthesis(v, training=True)  # an ordinary pass counts no more
        assert generator.norm.accumulations.numpy() == [2]
    for name, value in values(generator).items():
        np.testing.assert_array_equal(value, before[name])


def test_standing_statistics_are_refused(generator):
    before = values(generator)
    with pytest.raises(ValueError, match="without --standing_statistics"):
        layers.standing_statistics(generator, [normal(4, 12)])
    for name, value in values(generator).items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.slow
def test_half_precision():
    plain, half = new_generator(), new_generator(dtype="mixed_bfloat16")
    for name, variable in named_weights(half).items():
        variable.assign(named_weights(plain)[name])
    v = normal(2, 12)
    image = half.synthesis(v).image
    assert image.dtype == "float32"
    np.testing.assert_allclose(image, plain.synthesis(v).image, atol=0.1)
    judge = biggan.Discriminator(32, 2, 3, (16,), dtype="mixed_bfloat16")
    assert judge(image, np.array([0, 1])).dtype == "float32"


# === Projection ===


@pytest.mark.slow
def test_without_projection(discriminator):
    image, label = normal(2, 32, 32, 3), np.array([0, 2])
    plain = discriminator(image)
    assert abs(discriminator(image, label) - plain).numpy().max() > 1e-3
    removed = without_projection(discriminator)
    np.testing.assert_array_equal(removed(image), plain)
    assert {name for name in named_weights(discriminator) if name.startswith("embed/")} == (
        set(named_weights(discriminator)) - set(named_weights(removed))
    )
    with pytest.raises(ValueError, match="no projection"):
        removed(image, label)


# === Official weights ===


@pytest.mark.slow
def test_official_weights():
    generator = new_generator(mybn=True)
    state = weights.to_official(generator)
    assert "output_layer.0.bn.accumulation_counter" in state
    other = biggan.Generator(**weights.generator_settings(state, "FILE"))
    assert other.get_config() | {"name": ""} == generator.get_config() | {"name": ""}
    weights.load_official(other, state)
    for name, value in values(generator).items():
        np.testing.assert_array_equal(values(other)[name], value)


def test_names_of_official_weights(generator, discriminator):
    for network in (generator, discriminator):
        for name in named_weights(network):
            assert weights.our_name(weights.official_name(name)) == name
    assert weights.official_name("block_2/norm_1/gain/u") == "blocks.2.0.bn2.gain.u0"
    assert weights.official_name("norm/moving_variance", True) == "output_layer.0.bn.stored_var"


@pytest.mark.slow
def test_official_weights_of_a_discriminator(discriminator):
    state = weights.to_official(discriminator)
    other = biggan.Discriminator(**weights.discriminator_settings(state, "FILE"))
    weights.load_official(other, state)
    image, label = normal(2, 32, 32, 3), np.array([0, 2])
    np.testing.assert_array_equal(other(image, label), discriminator(image, label))


@pytest.mark.slow
def test_other_forms_of_official_weights(generator):
    """Those of TF-Hub have no `sv0`; several GPUs' batch norm has other names."""
    state = weights.to_official(generator)
    renamed = {}
    for name, array in state.items():
        name = name.replace("stored_mean", "bn.running_mean")
        renamed[name.replace("stored_var", "bn.running_var")] = array
    renamed["output_layer.0.bn.num_batches_tracked"] = np.array(3)
    renamed = {name: x for name, x in renamed.items() if not name.endswith("sv0")}
    settings = weights.generator_settings(renamed, "FILE")
    assert settings["bn_eps"] == 1e-4 and not settings["mybn"]
    other = biggan.Generator(**settings | {"bn_eps": 1e-5})
    weights.load_official(other, renamed)
    v = normal(2, 12)
    np.testing.assert_array_equal(other.synthesis(v).image, generator.synthesis(v).image)


def test_official_weights_are_checked(generator, discriminator):
    state = weights.to_official(generator)
    with pytest.raises(ValueError, match="FILE is not a discriminator of BigGAN: it must have 4"):
        weights.discriminator_settings(state, "FILE")
    with pytest.raises(ValueError, match=r"shared.weight must be .* Received: nothing"):
        weights.generator_settings(weights.to_official(discriminator), "FILE")
    wrong = state | {"surprise.weight": np.zeros(3), "linear.bias": np.zeros(3)}
    del wrong["output_layer.2.weight"]
    with pytest.raises(ValueError) as error:
        weights.load_official(generator, wrong)
    for part in (
        "'surprise.weight'",
        r"linear.bias must become (128,)",
        "to_rgb/kernel is missing",
    ):
        assert part in str(error.value)
