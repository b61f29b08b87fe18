"""Every choice of parts trains in the one loop: finite, with its own losses, each part moved."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.cli import flagfiles
from oasis_tf.data.datasets import published_label_space
from oasis_tf.settings import setting_flags
from oasis_tf.systems.oasis import run_settings
from oasis_tf.systems.oasis.batch_statistics import StatisticsEstimator
from oasis_tf.systems.oasis.build import build_model, networks, state_variables
from oasis_tf.systems.oasis.config import Config
from oasis_tf.systems.oasis.memory import step_bytes
from oasis_tf.systems.oasis.models.oasis import OASIS
from oasis_tf.systems.oasis.panels import Panels
from oasis_tf.systems.oasis.task import OASISTask
from oasis_tf.training import loop
from oasis_tf.training.named_weights import named_weights
from oasis_tf.training.optimizer import Adam

SIDE = 16
SPACE = published_label_space("shapes")
TINY = {
    "data_dir": "nowhere",
    "crop_height": SIDE,
    "crop_width": SIDE,
    "steps": 2,
    "batch_size": 2,
    "ema_decay": 0.5,
    "generator_channels": 2,
    "discriminator_channels": 2,
    "spade_channels": 4,
    "discriminator_widths": (1, 2),
}
SHALLOW = {"oasis": (2, 1, 1), "spade": (2, 2, 2, 1)}
ENCODER = {"encoder_channels": 2, "encoder_size": 8, "latent_channels": 3}
BASE = ("loss_g", "loss_d_fake", "loss_d_real", "loss_d", "accuracy_real", "accuracy_fake")
# Settings, and the metrics beside those that all have. Together they have every part.
VARIANTS = {
    "SPADE with its encoder": (
        {
            "generator": "spade",
            "noise": "none",
            "encoder": "stem",
            "discriminator": "ms_patch",
            "lambda_feature_matching": 10.0,
            "lambda_vgg": 10.0,
            "vgg19": "vgg19.pth",
            "ema_decay": 0.0,
            **ENCODER,
        },
        {"loss_feature_matching", "loss_vgg", "loss_kld"},
    ),
    "one PatchGAN, noise by region": (
        {"discriminator": "patch", "patch_layers": 3, "noise": "region", "noise_channels": 4},
        set(),
    ),
    "ResNet-PatchGAN, upsampling more": (
        {
            "generator": "spade",
            "upsampling": "more",
            "discriminator": "resnet_patch",
            "noise": "pixel",
            "noise_channels": 4,
        },
        set(),
    ),
    "concatenation, CutMix": (
        {"label_encoding": "concat", "consistency": "cutmix", "noise": "none"},
        {"loss_cutmix"},
    ),
    "projection, LabelMix by image, encoder for noise": (
        {
            "label_encoding": "projection",
            "consistency": "labelmix",
            "labelmix_bits": "image",
            "encoder": "noise",
            **ENCODER,
        },
        {"loss_labelmix", "loss_kld"},
    ),
    "two U-Nets, N + 1 classes, mixed noise, encoder beside it": (
        {
            "discriminator": "oasis_x2",
            "label_encoding": "n_plus_1",
            "noise": "mix",
            "noise_channels": 4,
            "encoder": "beside_noise",
            "lambda_feature_matching": 10.0,
            **ENCODER,
        },
        {"loss_labelmix", "loss_kld", "loss_feature_matching"},
    ),
}
WITH_ENCODER = [name for name, (settings, _) in VARIANTS.items() if "encoder" in settings]


def make_config(**settings):
    settings = {"generator_widths": SHALLOW[settings.get("generator", "oasis")]} | settings
    return run_settings.resolve(TINY | settings, label_space=SPACE, num_examples=8)


def perceptual_loss(fake, real):
    """Stands in for VGG-19: an image's own distance."""
    return tf.reduce_mean(tf.abs(fake - real))


def new_model(config):
    model = build_model(config, perceptual_loss=perceptual_loss)
    model.compile(
        *(Adam(1e-3, name=f"{name}_optimizer") for name in ("generator", "discriminator"))
    )
    return model


def make_batch(side=SIDE, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (2, side, side, 3)).astype(np.uint8)
    return image, rng.integers(0, 12, (2, side // 4, side // 4)).repeat(4, 1).repeat(4, 2)


@pytest.fixture(scope="module", params=VARIANTS)
def trained(request):
    """(configuration, model after two steps, weights in front, losses, names of metrics)."""
    settings, metrics = VARIANTS[request.param]
    config = make_config(**settings)
    model = new_model(config)
    before = {name: v.numpy() for name, v in state_variables(model).items()}
    logs = [model.train_step(make_batch(seed=k)) for k in range(2)]
    return config, model, before, logs, metrics


def test_two_steps(trained):
    _, model, before, logs, metrics = trained
    for row in logs:
        assert set(row) == metrics | set(BASE)
        values = {name: float(value) for name, value in row.items()}
        assert np.isfinite(list(values.values())).all(), values
        consistency = values.get("loss_labelmix", 0) + values.get("loss_cutmix", 0)
        parts = values["loss_d_fake"] + values["loss_d_real"] + consistency
        assert values["loss_d"] == pytest.approx(parts, rel=1e-5)
    assert int(model.step.numpy()) == 2
    state = state_variables(model)
    # Only u of a kernel with one row or column stays what it is, and what has no gradient.
    still = {n for n, v in state.items() if v.shape != () and (v.numpy() == before[n]).all()}
    assert not {name for name in still if name.endswith(("kernel", "moving_variance"))}
    for name, variable in state.items():
        assert np.isfinite(variable.numpy()).all(), name


def test_state_has_a_name_for_every_variable(trained):
    _, model, before, *_ = trained
    state = state_variables(model)
    variables = [v for network in networks(model).values() for v in network.variables]
    variables += [*model.generator_optimizer.variables, *model.discriminator_optimizer.variables]
    assert {id(v) for v in state.values()} == {id(v) for v in [*variables, model.step]}
    assert set(before) == set(state)
    trained_by = {id(v) for v in model.generator_optimizer._trainable_variables}
    assert trained_by == {id(v) for v in model.generator_variables}


def test_average_follows_generator_and_encoder(trained):
    config, model, *_ = trained
    pairs = [(model.generator, model.generator_ema)]
    pairs += [(model.encoder, model.encoder_ema)] if model.encoder is not None else []
    assert len(pairs) == 1 + (config.model.encoder != "none")
    for network, average in pairs:
        weights = named_weights(network)
        different = [
            name for name, v in named_weights(average).items()
            if (v.numpy() != weights[name].numpy()).any()
        ]  # fmt: skip
        assert bool(different) == (config.training.ema_decay > 0)


def test_use(trained):
    config, model, *_ = trained
    image, label_map = make_batch(seed=5)
    painted = model.generate(label_map, seed=[1, 2])
    assert painted.shape == image.shape and np.isfinite(painted).all()
    assert model.generator.vector_channels == config.model.vector_channels
    assert model.generator.size_multiple == config.model.generator_stride
    assert model.discriminator.size_multiple == config.model.discriminator_stride
    assert model.segments == config.model.segments
    if model.segments:
        assert model.segment(image).shape == label_map.shape
    else:
        for use in (model.segment, model.recreate):
            with pytest.raises(ValueError, match="cannot segment: its discriminator tells real"):
                use(image)
    if model.encoder is None:
        with pytest.raises(ValueError, match="generate in the style of an image: .*no image e"):
            model.encode(image)
    assert step_bytes(config, (1000, 1000)) > step_bytes(config, (0, 0))


@pytest.mark.parametrize("trained", WITH_ENCODER, indirect=True)
def test_encoded_images_are_styles(trained):
    config, model, *_ = trained
    image, label_map = make_batch(seed=6)
    noise = model.encode(image, seed=[3, 2**40])
    assert noise.shape == (2, config.model.vector_channels) and noise.dtype == np.float32
    drawn = model.sample_noise([3, 2**40], 2).numpy()
    channels = config.model.vector_channels - config.model.latent_channels
    np.testing.assert_array_equal(noise[:, :channels], drawn[:, :channels])
    mean, log_variance = model.encoder_ema(image / np.float32(127.5) - 1)
    want = mean + np.exp(0.5 * log_variance) * drawn[:, channels:]
    np.testing.assert_allclose(noise[:, channels:], want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.encode(image[1], seed=2**40), noise[1], rtol=1e-5, atol=1e-6)
    assert model.generate(label_map, noise=noise).shape == image.shape


def test_pictures_show_the_parts_that_there_are(trained):
    config, model, *_ = trained
    pictures = Panels(model, SPACE, *make_batch()).draw()
    assert set(pictures) == ({"samples", "labelmix"} if model.segments else {"samples"})
    columns = 4 + model.segments + (model.encoder is not None)
    tile = 64 + 2  # small tiles are enlarged; captions and a legend are above and below
    height, width, _ = pictures["samples"].shape
    assert height > 2 * tile and width == columns * tile - 2


def test_statistics_are_of_the_averaged_generator_alone(trained):
    _, model, *_ = trained
    before = {name: v.numpy() for name, v in state_variables(model).items()}
    estimator = StatisticsEstimator(model, tf.distribute.get_strategy())
    found = estimator.estimate([make_batch(seed=k) for k in range(2)], step=2)
    for name, variable in state_variables(model).items():
        np.testing.assert_array_equal(variable.numpy(), before[name], err_msg=name)
    assert any((v != before[f"generator_ema/{name}"]).any() for name, v in found.items())


def test_keras_configuration_round_trip(trained):
    _, model, *_ = trained
    contents = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    again = keras.saving.deserialize_keras_object(contents)
    assert isinstance(again, OASIS) and again.get_config() == model.get_config()
    assert type(again.objective) is type(model.objective)
    again.set_weights(model.get_weights())
    states = [state_variables(each).items() for each in (again, model)]
    shapes = [{k: v.shape for k, v in state if "optimizer" not in k} for state in states]
    assert shapes[0] == shapes[1]


# === Every flagfile of the ablations ===


def parts_of(name):
    """Settings of a flagfile that choose parts, and no sizes."""
    values = flags_of(name)
    sizes = ("crop_", "resize_", "_channels", "batch_size", "epochs", "eval_", "ema_decay")
    return {k: v for k, v in values.items() if not any(part in k for part in sizes)}


def flags_of(name):
    arguments = flagfiles.expand_flagfiles([f"--flagfile={name}"])
    return setting_flags.flagfile_settings(Config, arguments)


_OF_DATA = ("lr_g", "lr_d", "lambda_labelmix", "beta_2", "chunk_logits")


def distinct():
    """A flagfile of the ablations for every combination of parts."""
    found, others = {}, tuple(f"ablations/{kind}" for kind in ("one_shot", "osmis", "few_shot"))
    for name in flagfiles.shipped_configs():
        if name.startswith("ablations/") and not name.startswith(others):
            settings = {k: v for k, v in parts_of(name).items() if k not in _OF_DATA}
            found.setdefault(tuple(sorted(settings.items())), name)
    return found.values()


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", distinct())
def test_ablations_take_two_steps(name):
    """At full depth and a sixtieth of the width, on the smallest images that the networks take."""
    side = 128 if "two_discriminators" in name else 64
    settings = parts_of(name) | {
        "data_dir": "nowhere",
        "crop_height": side,
        "crop_width": side,
        "steps": 2,
        "generator_channels": 1,
        "discriminator_channels": 1,
        "spade_channels": 4,
        "noise_channels": 4,
        "vgg19": "vgg19.pth",
    }
    config = run_settings.resolve(settings, label_space=SPACE, num_examples=8)
    model = new_model(config)
    for step in range(2):
        logs = model.train_step(make_batch(side, seed=step))
        assert set(logs) == set(model.metric_names)
        assert np.isfinite([float(value) for value in logs.values()]).all(), logs
    assert model.generate(make_batch(side)[1]).shape == (2, side, side, 3)


# === Runs ===


@pytest.mark.slow
def test_a_run_that_is_continued_ends_as_one_that_never_stopped(write_shapes, tmp_path):
    """Bit for bit, with every part that draws: mixed noise, latents, boxes of CutMix."""
    settings, _ = VARIANTS["two U-Nets, N + 1 classes, mixed noise, encoder beside it"]
    sides = {"crop_height": 32, "crop_width": 32, "strategy": "none", "statistics_batches": 2}
    given = {"data_dir": write_shapes(6, 2, size=32), "log_every": 1, "consistency": "cutmix"}
    given |= {"image_every": 100}  # panels are drawn in other tests

    def train(name, steps):
        settings_now = settings | sides | given | {"steps": steps}
        loop.train(make_config(**settings_now), str(tmp_path / name), OASISTask)

    train("whole", 4)
    train("parts", 2)
    train("parts", 4)
    for file in (
        "checkpoints/step_00000004/training.npz",
        "checkpoints/step_00000004/inference.npz",
    ):
        whole, parts = (np.load(tmp_path / name / file) for name in ("whole", "parts"))
        assert set(whole.files) == set(parts.files)
        for key in whole.files:
            np.testing.assert_array_equal(parts[key], whole[key], err_msg=key)
    lines = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "parts")]
    assert lines[0] == lines[1] and lines[0].count("loss_cutmix") == 4
    model = OASIS.load(str(tmp_path / "parts"))
    style = model.encode(np.zeros((50, 40, 3), np.uint8), seed=3)
    assert model.generate(np.zeros((32, 32), int), noise=style).shape == (32, 32, 3)


# === Replicas ===


@pytest.mark.exhaustive
def test_replicas_equal_one_device(run_module):
    """Losses, weights and statistics of two replicas to 1e-9; see `variants_main.py`."""
    done = run_module("tests.systems.oasis.training.variants_main", timeout=900)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" values\n") == 3
