"""Weights of a new run from those of another model, class by class."""

import dataclasses

import numpy as np
import pytest

from oasis_tf import OASIS, pretrained
from oasis_tf.data.datasets import folder_label_space, published_label_space
from oasis_tf.layers.class_rows import class_rows
from oasis_tf.systems import of_model_dir
from oasis_tf.systems.oasis.build import build_for_training, build_model, network_variables
from oasis_tf.systems.oasis.carry_over import first_checkpoint
from oasis_tf.systems.oasis.config import Config
from oasis_tf.systems.oasis.models import (
    Discriminator,
    Generator,
    PatchDiscriminator,
    ResNetPatchDiscriminator,
)
from oasis_tf.systems.oasis.run_settings import resolve_run
from oasis_tf.training.named_weights import forward_state, named_weights
from oasis_tf.training.store import CheckpointStore

SHAPES = published_label_space("shapes").class_names
PLACES = np.random.default_rng(1).permutation(12)
OLD = folder_label_space(12, None, [SHAPES[place] for place in PLACES])
Z = 4  # noise channels


def of_classes(config, space, **model):
    """A configuration for other classes."""
    counts = {"num_classes": space.num_classes, "has_unknown": space.has_unknown}
    model = dataclasses.replace(config.model, **counts | model)
    return dataclasses.replace(config, model=model, label_space=space)


@pytest.fixture(scope="module")
def write_source(make_config, tmp_path_factory):
    """function(label space, without=(), **model settings) -> (directory, training arrays)."""

    def write(space, without=(), **model):
        path, rng = str(tmp_path_factory.mktemp("source")), np.random.default_rng(0)
        config = of_classes(make_config(), space, **model)
        config.save(path)
        made = build_model(config)
        arrays = {
            name: np.int64(7) if name == "step" else rng.random(v.shape, np.float32) - 0.25
            for name, v in network_variables(made).items()
            if not name.startswith(without or "-")
        }
        inference = {
            name: rng.random(v.shape, np.float32) + 0.5
            for name, v in forward_state(made.generator_ema).items()
        }
        CheckpointStore(path).save(7, arrays, inference)
        return path, arrays

    return write


@pytest.fixture(scope="module")
def permuted(write_source):
    """A model of the classes of `shapes` in another order."""
    return write_source(OLD)


def start(config, build=build_model):
    return first_checkpoint(config, build(config))


def test_other_order_same_picture(permuted, make_config, changed, tmp_path):
    path, arrays = permuted
    config = changed(make_config(), init_from=path)
    training, inference, report = start(config, build_for_training)
    assert "12 classes" in report and report.endswith("Drawn: nothing.")
    assert int(training["step"]) == 0
    optimizers = [name for name in training if "optimizer/" in name and "rate" not in name]
    assert optimizers and not any(np.any(training[name]) for name in optimizers)
    config.save(str(tmp_path))
    CheckpointStore(str(tmp_path)).save(0, training, inference)
    old, new = OASIS.load(path), OASIS.load(str(tmp_path))
    label_map = np.random.default_rng(0).integers(0, 12, (2, 32, 32))
    noise = old.sample_noise([5, 6], 2)
    got, want = new.generator_ema(PLACES[label_map], noise), old.generator_ema(label_map, noise)
    np.testing.assert_allclose(got, want, atol=1e-5)
    image = np.random.default_rng(0).uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32)
    logits = np.take(new.class_logits(image), [0, *(1 + PLACES)], -1)  # "fake" first
    np.testing.assert_allclose(logits, old.class_logits(image), rtol=1e-4, atol=1e-4)
    classes = ("step", "stem/kernel", "shared/kernel", "to_logits/kernel", "to_logits/bias")
    for name, array in arrays.items():
        same = np.array_equal(training[name], array)
        assert same != name.endswith(classes), name


def test_new_classes_are_drawn_by_the_seed_and_fake_stays_fake(write_source, make_config, changed):
    """An unknown label more, one class carried over, two new ones; nine dropped."""
    space = folder_label_space(4, 255, ["car", "TREE", "bus"])
    old = published_label_space("shapes")
    path, arrays = write_source(old)
    config = of_classes(changed(make_config(), init_from=path, seed=3), space)
    training, _, _ = start(config)
    fresh = {name: v.numpy() for name, v in network_variables(build_model(config)).items()}
    tree = SHAPES.index("tree")
    for network in ("generator", "generator_ema"):
        for layer in ("stem", "block_0/norm_0/shared", "block_1/norm_s/shared"):
            name = f"{network}/{layer}/kernel"
            got, other = training[name], arrays[name]
            np.testing.assert_array_equal(got[:, :, :Z], other[:, :, :Z])
            np.testing.assert_array_equal(got[:, :, Z + 2], other[:, :, Z + tree])
            for new in (0, 1, 3):
                np.testing.assert_array_equal(got[:, :, Z + new], fresh[name][:, :, Z + new])
    for name in ("discriminator/to_logits/kernel", "discriminator/to_logits/bias"):
        got, other = training[name], arrays[name]
        np.testing.assert_array_equal(got[..., 0], other[..., 0])
        np.testing.assert_array_equal(got[..., 3], other[..., 1 + tree])
        np.testing.assert_array_equal(got[..., [1, 2, 4]], fresh[name][..., [1, 2, 4]])
    none, _, _ = start(changed(config, init_classes="none"))
    name = "generator/stem/kernel"
    np.testing.assert_array_equal(none[name][:, :, Z:], fresh[name][:, :, Z:])
    np.testing.assert_array_equal(none[name][:, :, :Z], arrays[name][:, :, :Z])


@pytest.mark.slow
def test_networks_that_the_other_model_lacks_are_drawn(write_source, make_config, changed):
    """A converted model without a discriminator, of averages alone as a shipped one has them."""
    path, arrays = write_source(OLD, without=("generator/",), has_discriminator=False)
    config = changed(make_config(), init_from=path)
    encoder = {"encoder": "noise", "latent_channels": Z, "encoder_channels": 1, "encoder_size": 8}
    config = of_classes(config, config.label_space, **encoder)
    training, _, report = start(config)
    assert report.endswith("Drawn: the discriminator, the encoder.")
    name = "to_rgb/kernel"
    np.testing.assert_array_equal(training[f"generator/{name}"], arrays[f"generator_ema/{name}"])
    fresh = network_variables(build_model(config))
    for name in ("discriminator/to_logits/kernel", "encoder/to_mean/kernel"):
        np.testing.assert_array_equal(training[name], fresh[name].numpy())


def test_a_shipped_model_is_taken_by_its_name(data_dir):
    """Before anything is made: sizes that differ are refused, a restart may repeat the name."""
    name = next(n for n in pretrained.names() if of_model_dir(n).name == "oasis")
    shipped = Config.load(pretrained.find(name))
    crop = {"crop_height": shipped.data.crop_height, "crop_width": shipped.data.crop_width}
    given = {"data_dir": data_dir, "init_from": name, **crop}
    config = resolve_run(given, None)
    assert config.training.init_from == pretrained.find(name)
    assert config.model == shipped.model
    assert config.training.init_step == CheckpointStore(pretrained.find(name)).steps()[-1]
    assert resolve_run({"init_from": name}, config) == resolve_run({}, config) == config
    width = shipped.model.generator_channels
    with pytest.raises(ValueError, match=f"generator_channels={2 * width} against {width}"):
        resolve_run(given | {"generator_channels": 2 * width}, None)


@pytest.mark.slow
def test_a_checkpoint_of_other_forms_is_refused(write_source, make_config, changed):
    path, _ = write_source(OLD, without=("discriminator/to_logits/bias",))
    with pytest.raises(ValueError, match="not fit its config.json: discriminator/to_logits/bias"):
        start(changed(make_config(), init_from=path))


@pytest.mark.parametrize(
    "make",
    [
        lambda n: Generator(n, 2, 1, 4, widths=(2, 2, 1)),
        lambda n: Discriminator(n, 1, (2, 2)),
        lambda n: Discriminator(n, 1, (2, 2), label_encoding="concat"),
        lambda n: Discriminator(n, 1, (2, 2), label_encoding="projection"),
        lambda n: PatchDiscriminator(n, 1, 2),
        lambda n: ResNetPatchDiscriminator(n, 1, (2, 2)),
    ],
)
def test_every_weight_that_depends_on_the_classes_says_where(make):
    three, five = (named_weights(make(count)) for count in (3, 5))
    depend = {name for name, v in three.items() if v.shape != five[name].shape}
    assert depend == {name for name, v in three.items() if class_rows(v)} != set()
