"""What an adaptation keeps: smoothness similarity, heads, similarities, frozen and modulated."""

import dataclasses
import types

import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.systems.few_shot import (
    biggan,
    build,
    draws,
    evaluation,
    losses,
    stylegan2,
    training_settings,
)
from oasis_tf.systems.few_shot.adaptation import freezing, similarities, smoothness
from oasis_tf.systems.few_shot.adaptation.modulation import Modulation
from oasis_tf.systems.few_shot.config import (
    AdaptationConfig,
    Config,
    DataConfig,
    ModelConfig,
    TrainingConfig,
)
from oasis_tf.systems.few_shot.model import FewShot
from oasis_tf.systems.few_shot.schedule import Parts, parts_of
from oasis_tf.systems.few_shot.source import Pictures
from oasis_tf.training.named_weights import forward_state, named_weights
from oasis_tf.training.optimizer import Adam

CHANNELS = {4: 5, 8: 4, 16: 3}
LAYER = 8  # resolution of the features that are compared


@pytest.fixture(scope="module")
def generator():
    """A small generator in float64 whose noise counts."""
    found = stylegan2.Generator(16, CHANNELS, 6, 2, dtype="float64")
    stylegan2.initialise(found, 0)
    for layer in found.convs:
        layer.noise_strength.assign(0.3)
    return found


def drawn(*shape, seed=0):
    return tf.constant(np.random.default_rng(seed).standard_normal(shape))


def feature(generator):
    return lambda z: generator.feature(z, LAYER)


# === Smoothness similarity ===


def test_equal_generators_have_the_least_loss_and_finite_gradients(generator):
    z, y = drawn(2, 6), drawn(2, LAYER, LAYER, 4)
    values = [v.value for v in generator.trainable_variables]
    with tf.GradientTape() as tape:
        same = feature(generator)
        loss = smoothness.smoothness_similarity(same, same, z, y, eps=1e-8)
    np.testing.assert_allclose(loss, 1e-4, rtol=1e-12)
    gradients = tape.gradient(loss, values, unconnected_gradients="zero")
    assert all(np.isfinite(g).all() for g in gradients)


def test_rows_are_directional_derivatives(generator):
    """Against central differences; and pixel norm makes them orthogonal to the latents."""
    z, y = drawn(2, 6), drawn(2, LAYER, LAYER, 4)
    rows = smoothness.jacobian_product(feature(generator), z, y).numpy()
    step, found = 1e-5, np.zeros_like(rows)
    for k in range(6):
        away = step * np.eye(6)[k]
        change = (feature(generator)(z + away) - feature(generator)(z - away)) / (2 * step)
        found[:, k] = np.sum(change * y, axis=(1, 2, 3))
    np.testing.assert_allclose(rows, found, rtol=1e-5, atol=1e-7)
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(z, axis=1)
    assert (np.abs(np.sum(rows * z, axis=1)) < 1e-5 * lengths).all()


def test_nothing_above_the_features_takes_a_gradient(generator):
    source = stylegan2.Generator.from_config(generator.get_config())
    stylegan2.initialise(source, 1)
    z, y = drawn(2, 6), drawn(2, LAYER, LAYER, 4)
    weights = named_weights(generator)
    with tf.GradientTape(persistent=True) as tape:
        loss = smoothness.smoothness_similarity(feature(source), feature(generator), z, y, eps=1e-8)
    own = [v.value for v in generator.trainable_variables]
    paths = [v.path for v in generator.trainable_variables]
    found = dict(zip(paths, tape.gradient(loss, own), strict=True))
    for name, gradient in found.items():
        below = "mapping" in name or "constant" in name or any(f"conv_{k}/" in name for k in (0, 1))
        reached = gradient is not None and np.abs(gradient).max() > 0
        above = "to_rgb" in name or "conv_3" in name or "conv_4" in name
        assert not (above and reached), name
        if below and "noise_strength" not in name:
            assert reached, name
    assert not any(g is not None for g in tape.gradient(loss, [v.value for v in source.variables]))
    assert "conv_2/bias" in weights
    last = found["generator/conv_2/bias"]
    assert last is None or np.abs(last).max() == 0


# === Heads and similarities ===


def test_a_head_counts_once_however_many_logits_it_has():
    maps = [drawn(2, 4, 4, 1), drawn(2, 2, 2, 1, seed=1), drawn(2, 1, seed=2)]
    total, heads = losses.mean_of_logits(maps, "real", "bce")
    wanted = [np.mean(np.log1p(np.exp(-x))) for x in maps]
    np.testing.assert_allclose(heads, wanted)
    np.testing.assert_allclose(total, np.mean(wanted))


def test_without_projection_the_unconditional_logit_remains():
    network = biggan.Discriminator(32, 1, num_classes=3, name="d")
    image = tf.cast(drawn(2, 32, 32, 3), tf.float32)
    conditional = network(image, tf.constant([0, 2]))
    found = network.judged(image)
    plain = found.hidden @ network.linear.normalised_kernel() + network.linear.bias
    np.testing.assert_allclose(found.logits, plain, atol=1e-5)
    assert np.abs(conditional - found.logits).max() > 1e-4
    assert len(found.blocks) == len(network.blocks) - 1


def test_spectral_norms_stay_in_r1_and_diagnostics():
    """Those of BigGAN's blocks and of its heads; an ordinary judgement moves them all."""
    sizes = {"size": 32, "ch": 1, "num_classes": 2, "projection": False}
    defaults = training_settings.defaults("biggan", adapted=True)
    settings = dataclasses.replace(
        config(d_loss="all"),
        model=ModelConfig(network="biggan", **sizes),
        training=TrainingConfig(**defaults | {"steps": 1, "r1_gamma": 10.0}),
    )
    judging = build.make_discriminator(settings.model), build.make_heads(settings)
    of_images = types.SimpleNamespace(variable_dtype="float32")  # nothing is generated
    model = FewShot(settings, of_images, None, None, *judging)
    model.discriminator_variables = [v for part in judging for v in part.trainable_variables]
    model.discriminator_optimizer = Adam(1e-3)
    model.generator_variables, model.generator_optimizer = [], None
    state = forward_state(model.discriminator)
    state |= {f"heads/{name}": v for name, v in forward_state(model.heads).items()}
    kernel = model.heads.heads[0].kernel

    def moved(action, *arguments, **options):
        before = {name: v.numpy() for name, v in state.items()}
        action(*arguments, **options)
        return {name for name, v in state.items() if not np.array_equal(v, before[name])}

    image, before = tf.cast(drawn(2, 32, 32, 3), tf.float32), kernel.numpy()
    assert not moved(model._r1_step, image, None, draws.Draws(None, None), Parts(r1=True))
    assert np.abs(kernel - before).max() > 0
    pictures = np.zeros((2, 32, 32, 3), np.uint8)
    assert not moved(evaluation.head_losses, model, pictures, pictures)
    sigmas = {name for name in state if name.endswith("sigma")}
    assert {"heads/head_0/sigma", "linear/sigma"} <= sigmas
    assert sigmas <= moved(model.judge, image)


def test_similarities_between_samples():
    features = [drawn(3, 2, 2, 5, seed=k) for k in range(3)]
    layers = np.array([2, 0, 1])
    found = similarities.between_samples(features, tf.constant(layers)).numpy()
    for i, layer in enumerate(layers):
        rows = features[layer].numpy().reshape(3, -1)
        wanted = [
            rows[i] @ rows[j] / np.linalg.norm(rows[i]) / np.linalg.norm(rows[j])
            for j in range(3)
            if j != i
        ]
        np.testing.assert_allclose(found[i], wanted)
    p, q = (np.exp(x) / np.exp(x).sum(1, keepdims=True) for x in (found, found[::-1]))
    loss = similarities.divergence(tf.constant(found), tf.constant(found[::-1].copy()))
    np.testing.assert_allclose(loss, np.mean(p * np.log(p / q)))


# === What is trained ===


def test_freezing_keeps_the_first_stages():
    network = stylegan2.Discriminator(16, CHANNELS)
    stages = lambda variables: {v.path.split("/")[1] for v in variables}  # noqa: E731
    end = {"final_conv", "hidden", "logit"}
    assert stages(freezing.trained_variables(network, 1)) == end
    assert stages(freezing.trained_variables(network, 2)) == end | {"block_2"}
    assert stages(freezing.trained_variables(network, 3)) == end | {"block_1", "block_2"}
    assert len(freezing.trained_variables(network, 0)) == len(network.trainable_variables)


def test_a_modulated_kernel_is_differentiated_by_its_factors():
    """Gradients of W * (1 + u v), with filters of both kinds, against those of the formula."""
    network = stylegan2.Discriminator(8, {4: 3, 8: 2}, dtype="float64")
    modulation = Modulation(network, seed=0)
    modulation.start()
    state = modulation.variables()
    name = "block_1/conv2/kernel"
    u, v, on = (state[f"{name}/{part}"] for part in ("u", "v", "modulated"))
    u.assign(drawn(*u.shape, seed=3)), v.assign(drawn(*v.shape, seed=4)), on.assign([1, 0, 1])
    kernel = named_weights(network)[name]
    kernel.assign(kernel + tf.constant([0.0, 0.5, 0.0], tf.float64))
    upstream = drawn(*kernel.shape, seed=5)
    others = [x for x in network.trainable_variables if x is not kernel]
    gradients, of_factors = modulation.of_gradients(
        [upstream, *(tf.ones(x.shape, x.dtype) for x in others)], [kernel, *others], False, True
    )
    with tf.GradientTape() as tape:
        matrix = tf.reshape(state[f"{name}/base"].value, (-1, 3))
        product = tf.reshape(matrix * (1 + u.value[:, None] * v.value), kernel.shape)
        scalar = tf.reduce_sum(tf.where(on.value > 0, product, 0) * upstream)
    wanted = tape.gradient(scalar, [u.value, v.value])
    place = [id(x) for x in modulation.factors].index(id(u))
    for one, other in zip(of_factors[place : place + 2], wanted, strict=True):
        np.testing.assert_allclose(one, other)
    np.testing.assert_array_equal(gradients[0], upstream * [0, 1, 0])
    squares = np.square(upstream).reshape(-1, 3).mean(0)
    np.testing.assert_allclose(state[f"{name}/fisher"], squares)
    free = kernel.numpy()[..., 1]
    modulation.apply()
    np.testing.assert_array_equal(kernel.numpy()[..., 1], free)
    np.testing.assert_allclose(kernel.numpy()[..., ::2], product.numpy()[..., ::2])
    modulation.choose(50)
    assert on.numpy().sum() >= 1
    np.testing.assert_array_equal(kernel, state[f"{name}/base"])


# === When and in which order ===


def config(**adaptation):
    return Config(
        model=ModelConfig(size=64, channels=(2, 2, 2, 2, 2), style_dim=4),
        data=DataConfig(),
        training=TrainingConfig(steps=1, path_weight=2.0),
        adaptation=AdaptationConfig(source="SOURCE", **adaptation),
        pictures=Pictures(10),
    )


def test_what_a_step_does():
    cdc = config(d_loss="patch", lambda_distance=1.0)
    found = [parts_of(cdc, step) for step in range(17)]
    assert [k for k, parts in enumerate(found) if parts.r1] == [0, 16]
    assert [k for k, parts in enumerate(found) if parts.path] == [0, 4, 8, 12, 16]
    assert all(parts.whole == parts.anchored == (k % 4 == 0) for k, parts in enumerate(found))
    ours = config(d_loss="all", lambda_ss=5.0, ss_every=2)
    assert [parts_of(ours, k).smooth for k in range(3)] == [True, False, True]
    probing = config(probe_steps=5, fisher_batches=2)
    assert [parts_of(probing, k).probing for k in (4, 5)] == [True, False]
    assert [parts_of(probing, k).counted for k in (2, 3, 4, 5)] == [False, True, True, False]


def test_latents_near_anchors():
    cdc = config(d_loss="patch", anchor_std=0.01)
    found = draws.draw(cdc, 4, parts_of(cdc, 4))
    fixed = draws.anchors(cdc).numpy()
    assert fixed.shape == (10, 4) and found.d.other is None
    distances = np.linalg.norm(found.d.z.numpy()[:, None] - fixed, axis=-1).min(1)
    assert (distances < 0.1).all() and (distances > 0).all()
    plain = draws.draw(cdc, 5, parts_of(cdc, 5))
    assert plain.patches.numpy().tolist() == [0, 0, 0] and plain.d.index is not None


def test_every_pass_takes_all_pictures():
    """Ten pictures in batches of four: two of them are left out of a pass, others of the next."""
    passes = [[draws.order(1, 2 * p + k, 4, 10).numpy() for k in (0, 1)] for p in range(20)]
    for batches in passes:
        assert len(set(np.concatenate(batches))) == 8
    assert {x for batches in passes for x in np.concatenate(batches)} == set(range(10))
    few = draws.order(1, 3, 7, 3).numpy()
    assert sorted(np.bincount(few)) == [2, 2, 3]


def test_styles_are_mixed_as_often_as_asked():
    model = config()

    @tf.function(autograph=False)  # leaves out what is not asked for
    def index(step):
        return draws.draw(model, step, parts_of(model, 1)).g.index

    found = [index(tf.constant(k)).numpy() for k in range(200)]
    rows = 2 * len(model.model.resolutions)
    assert set(np.unique(found)) <= set(range(rows))
    assert 0.8 < np.mean(np.array(found) > 0) < 0.97
