"""OASIS against recorded numbers of the official release: outputs, gradients, three iterations."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from oasis_tf import OASIS, losses
from oasis_tf.convert import load_official, our_layout, our_name
from oasis_tf.layers import BatchNorm, SpectralConv2D
from oasis_tf.models import Discriminator, Generator
from oasis_tf.models.weights import named_weights
from oasis_tf.training.optimizer import Adam

CLASSES, NOISE, STEPS = 6, 8, 3
LR_G, LR_D, DECAY = 1e-4, 4e-4, 0.9
HISTORY = ("loss_g", "loss_d_fake", "loss_d_real", "loss_labelmix", "loss_d")
# Generator biases that only feed batch norms: their gradient is zero but for rounding, so that the
# sign of every Adam step of theirs is chance.
CHANCE = {
    "fc.bias",
    *(f"body.{k}.conv_0.bias" for k in range(6)),
    *(f"body.{k}.conv_1.bias" for k in range(5)),
    *(f"body.{k}.norm_s.mlp_beta.bias" for k in range(2, 5)),
}


def nhwc(array):
    return np.transpose(array, (0, 2, 3, 1))


@pytest.fixture(scope="module")
def new_model(state_dict):
    """function(make_optimizer=Adam) -> an `OASIS` with the recorded starting weights."""

    def make(make_optimizer=Adam):
        generator, discriminator = Generator(CLASSES, NOISE, 2), Discriminator(CLASSES, 4)
        load_official(generator, state_dict("G0"))
        load_official(discriminator, state_dict("D0"))
        model = OASIS(generator, discriminator, has_unknown=True, ema_decay=DECAY)
        model.compile(make_optimizer(LR_G), make_optimizer(LR_D))
        return model

    return make


@pytest.fixture(scope="module")
def model(new_model):
    """A model that no test changes."""
    return new_model()


@pytest.fixture(scope="module")
def draws(golden):
    """function(step) -> arguments of `OASIS.iteration`."""
    image = tf.constant(nhwc(golden["image"]))
    label_map = tf.constant(golden["label"], tf.int32)

    def of(step):
        noise = [tf.constant(golden["z"][2 * step + k]) for k in range(2)]
        return image, label_map, *noise, tf.constant(golden["labelmix_bits"][step], tf.int32)

    return of


# === Evaluation mode ===


def test_generator_output(model, golden):
    image = model.generator(golden["label"], golden["z"][0]).numpy()
    np.testing.assert_allclose(image, nhwc(golden["G_eval"]), rtol=0, atol=1e-5)


def test_generator_output_with_local_noise(model, golden):
    image = model.generator(golden["label"], nhwc(golden["z3d_local"])).numpy()
    np.testing.assert_allclose(image, nhwc(golden["G_eval_local"]), rtol=0, atol=1e-5)


def test_generator_blocks(model, golden, monkeypatch):
    seen = []
    for block in model.generator.blocks:

        def record(*inputs, _call=block.call, **options):
            seen.append(_call(*inputs, **options))
            return seen[-1]

        monkeypatch.setattr(block, "call", record)
    model.generator(golden["label"], golden["z"][0])
    for k, features in enumerate(seen):
        want = nhwc(golden[f"G_eval_block{k}"])
        np.testing.assert_allclose(features, want, rtol=0, atol=1e-5, err_msg=f"block {k}")
    assert len(seen) == 6


@pytest.mark.parametrize(("image", "logits"), [("image", "D_eval_real"), ("G_eval", "D_eval_fake")])
def test_discriminator_logits(model, golden, image, logits):
    got = model.discriminator(nhwc(golden[image])).numpy()
    np.testing.assert_allclose(got, nhwc(golden[logits]), rtol=0, atol=1e-4)


def test_class_weights_and_losses(golden):
    label_map = golden["label"].astype(np.int32)
    weights = losses.class_weights(label_map, CLASSES, has_unknown=True).numpy()
    want = golden["class_weight_map"].reshape(label_map.shape)
    np.testing.assert_allclose(weights[label_map], want, rtol=1e-6)
    for of in ("real", "fake"):
        logits = nhwc(golden[f"D_eval_{of}"])
        as_real = losses.real_loss(logits, label_map, weights)
        np.testing.assert_allclose(as_real, golden[f"loss_as_real_{of}"], rtol=1e-6)
        as_fake = losses.fake_loss(logits)
        np.testing.assert_allclose(as_fake, golden[f"loss_as_fake_{of}"], rtol=1e-6)


# === First gradients ===


def first_gradients(model, draws):
    """Gradients of the first iteration by our weight names: (generator's, discriminator's).

    The discriminator's are taken as `iteration` takes them, after the generator's update.
    """
    found = []

    def keep(tape, loss, variables, optimizer):
        gradients = tape.gradient(loss, [v.value for v in variables])
        names = [v.path.split("/", 1)[1] for v in variables]
        found.append(dict(zip(names, gradients, strict=True)))
        optimizer.apply(gradients, variables)

    model._apply = keep
    model.iteration(*draws(0))
    return found


def check_gradients(gradients, golden, which):
    """Norms of all gradients, and some in full, against the recorded ones."""
    count = 0
    for key, norm in golden.items():
        prefix, _, name = key.partition("/")
        if prefix == f"grad{which}_norm":
            got = np.linalg.norm(gradients[our_name(name)])
            if which == "G" and name in CHANCE:
                assert got <= 1e-5, name
            else:
                np.testing.assert_allclose(got, norm, rtol=1e-4, err_msg=name)
            count += 1
        elif prefix == f"grad{which}":
            got, want = gradients[our_name(name)], our_layout(name, norm, {})
            assert np.linalg.norm(got - want) <= 1e-4 * np.linalg.norm(want), name
    assert count == len(gradients)


@pytest.fixture(scope="module")
def gradients(new_model, draws):
    return first_gradients(new_model(), draws)


@pytest.mark.parametrize(("index", "which"), [(0, "G"), (1, "D")])
def test_first_gradients(gradients, golden, index, which):
    check_gradients(gradients[index], golden, which)


# === Three iterations ===


class Trained:
    """A model after three iterations, and their losses [3, 5]."""

    def __init__(self, model, iteration, draws):
        self.model, self.history = model, []
        for step in range(STEPS):
            logs = iteration(*draws(step))
            self.history.append([float(logs[name]) for name in HISTORY])


@pytest.fixture(scope="module")
def trained(new_model, draws):
    model = new_model()
    return Trained(model, tf.function(model.iteration), draws)


def check_history(trained, golden):
    want = golden["history_G_Dfake_Dreal_labelmix_D"]
    np.testing.assert_allclose(trained.history, want, rtol=1e-5)


def official_weights(network, state_dict):
    """(official name, our array, starting array) of every weight that has a meaning here."""
    start, weights = state_dict, named_weights(network)
    for name, array in start.items():
        if our_name(name):
            yield name, weights[our_name(name)].numpy(), our_layout(name, array, start)


def check_updates(network, start, golden, which):
    """Changes since the start, in full and by norm, against the recorded ones."""
    checked = 0
    for name, got, before in official_weights(network, start):
        full, norm = golden.get(f"{which}3/{name}"), golden[f"{which}3_norm/{name}"]
        chance = which != "D" and name in CHANCE
        if name.endswith("running_mean"):
            scale = max(np.linalg.norm(full), 1e-3)
            assert np.linalg.norm(got - full) <= 5e-3 * scale, name
        elif name.endswith("running_var"):
            np.testing.assert_allclose(got, full, rtol=1e-5, err_msg=name)
        elif chance:
            assert np.abs(got - before).max() <= STEPS * 2 * LR_G, name
        else:
            check_update(name, got, before, full, norm, start)
        checked += 1
    assert checked == sum(our_name(name) is not None for name in start)


def check_update(name, got, before, full, norm, start):
    moved = np.linalg.norm(got - before)
    # A norm moves by at most as much as its array.
    assert abs(np.linalg.norm(got) - norm) <= 1e-3 * moved + 1e-6 * norm, name
    if full is not None:
        want = our_layout(name, full, start | {name: full})
        assert np.linalg.norm(got - want) <= 1e-3 * np.linalg.norm(want - before), name


def test_losses(trained, golden):
    check_history(trained, golden)


@pytest.mark.parametrize("which", ["G", "D", "EMA"])
def test_weights(trained, golden, state_dict, which):
    networks = {"G": "generator", "D": "discriminator", "EMA": "generator_ema"}
    network = getattr(trained.model, networks[which])
    check_updates(network, state_dict("D0" if which == "D" else "G0"), golden, which)


# === The comparison tells near misses apart ===


def run_eagerly(new_model, draws, make_optimizer=Adam):
    model = new_model(make_optimizer)
    return Trained(model, model.iteration, draws)


def test_tells_keras_adam_apart(new_model, draws, golden, state_dict):
    def keras_adam(rate):
        return keras.optimizers.Adam(rate, beta_1=0.0, beta_2=0.999, epsilon=1e-8)

    trained = run_eagerly(new_model, draws, keras_adam)
    with pytest.raises(AssertionError):
        check_updates(trained.model.generator, state_dict("G0"), golden, "G")


def test_tells_missing_gradient_through_sigma_apart(new_model, draws, golden, monkeypatch):
    def blocked(layer):
        kernel = layer.kernel.value
        whole = normalised(layer)
        return kernel * tf.stop_gradient(whole / kernel)

    normalised = SpectralConv2D.normalised_kernel
    monkeypatch.setattr(SpectralConv2D, "normalised_kernel", blocked)
    for index, gradients in enumerate(first_gradients(new_model(), draws)):
        with pytest.raises(AssertionError):
            check_gradients(gradients, golden, "GD"[index])


def test_tells_missing_spectral_norm_apart(model, golden, monkeypatch):
    monkeypatch.setattr(SpectralConv2D, "normalised_kernel", lambda layer: layer.kernel)
    with pytest.raises(AssertionError):
        test_generator_output(model, golden)
    with pytest.raises(AssertionError):
        test_discriminator_logits(model, golden, "image", "D_eval_real")


def test_tells_biased_running_variance_apart(new_model, draws, golden, state_dict, monkeypatch):
    def biased(layer, moments, x):
        for average, value in zip((layer.moving_mean, layer.moving_variance), moments, strict=True):
            average.assign(0.9 * average + 0.1 * tf.stop_gradient(value))

    monkeypatch.setattr(BatchNorm, "update", biased)
    trained = run_eagerly(new_model, draws)
    check_history(trained, golden)  # the losses of training cannot see it
    with pytest.raises(AssertionError, match="running_var"):
        check_updates(trained.model.generator, state_dict("G0"), golden, "G")
