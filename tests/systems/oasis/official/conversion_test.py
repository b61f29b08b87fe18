"""Official checkpoints are converted to model directories that can do what all others can."""

import dataclasses
import os

import numpy as np
import pytest

from export.savedmodel import export
from oasis_tf import OASIS
from oasis_tf.convert import to_official
from oasis_tf.data.datasets import published_label_space
from oasis_tf.data.examples import ShapesScene
from oasis_tf.data.preparation import prepare
from oasis_tf.io import pth_files
from oasis_tf.metrics import evaluation
from oasis_tf.systems.oasis import run_settings
from oasis_tf.systems.oasis.config import Config
from oasis_tf.systems.oasis.models import Discriminator, Generator
from oasis_tf.systems.oasis.official import conversion
from oasis_tf.systems.oasis.task import OASISTask
from oasis_tf.training import loop
from oasis_tf.training.named_weights import named_weights


def drawn(network, seed):
    """Returns random official weights of a network, with positive variances."""
    rng = np.random.default_rng(seed)
    for name, variable in named_weights(network).items():
        value = rng.normal(0, 0.3, variable.shape)
        variable.assign(np.abs(value) + 0.5 if name.endswith("variance") else value)
    return to_official(network)


def shaped(network):
    """Returns official weights of the right shapes that take no memory, for plans."""
    return {
        name: np.broadcast_to(np.float32(0), array.shape)
        for name, array in to_official(network).items()
    }


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Checkpoint files of small networks: path by letter. They are NumPy files, see `readable`."""
    folder = tmp_path_factory.mktemp("official")
    networks = {
        "EMA": Generator(12, 4, 1, 4, (2, 2, 1)),
        "G": Generator(12, 4, 1, 4, (2, 2, 1)),
        "D": Discriminator(12, 1, (2, 2)),
        "other_G": Generator(12, 4, 1, 4, (2, 1)),
        "other_D": Discriminator(7, 1, (2, 2)),
    }
    paths = {letter: str(folder / f"best_{letter}.npz") for letter in networks}
    for seed, (letter, network) in enumerate(networks.items()):
        np.savez(paths[letter], **drawn(network, seed))
    return paths


@pytest.fixture(autouse=True)
def readable(monkeypatch):
    """Reads NumPy's files instead of PyTorch's, so that these tests do not need PyTorch."""
    monkeypatch.setattr(pth_files, "read_state_dict", lambda path, *_: dict(np.load(path)))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("data") / "shapes")
    splits = {
        s: [ShapesScene(f"{s}_{k}", 0, k, 32, 32) for k in range(4)] for s in ("train", "val")
    }
    prepare(splits, published_label_space("shapes"), path, num_workers=1)
    return path


SETTINGS = {"noise_channels": 4, "crop_height": 32, "crop_width": 32, "batch_size": 2}


@pytest.fixture
def convert(checkpoints, tmp_path):
    """function(**options) -> model directory; --dataset=shapes unless told otherwise."""

    def run(checkpoint="EMA", generator=None, discriminator=None, settings=None, **options):
        model_dir = str(tmp_path / "model")
        plan = conversion.plan_conversion(
            model_dir,
            checkpoints[checkpoint],
            generator=generator and checkpoints[generator],
            discriminator=discriminator and checkpoints[discriminator],
            settings=SETTINGS | (settings or {}),
            **{"dataset": "shapes"} | options,
        )
        conversion.convert(plan)
        return model_dir

    return run


def test_every_network_is_converted(convert, checkpoints):
    model = OASIS.load(convert(generator="G", discriminator="D"))
    networks = (model.generator_ema, model.generator, model.discriminator)
    for letter, network in zip(("EMA", "G", "D"), networks, strict=True):
        wanted = np.load(checkpoints[letter])
        for name, array in to_official(network).items():
            np.testing.assert_array_equal(array, wanted[name], err_msg=f"{letter} {name}")
    assert model.config.model.generator_widths == (2, 2, 1)
    assert model.config.training.steps == model.step == 0
    label_map = np.zeros((1, 32, 32), np.int32)
    assert model.segment(model.generate(label_map)).shape == label_map.shape


def test_the_averaged_generator_replaces_a_missing_generator(convert):
    model = OASIS.load(convert(discriminator="D"))
    for a, b in zip(model.generator.weights, model.generator_ema.weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_can_be_trained_further(convert, data_dir):
    model_dir = convert(generator="G", discriminator="D")
    before = OASIS.load(model_dir)
    given = {"data_dir": data_dir, "steps": 1, "strategy": "none"}
    config = run_settings.resolve(
        given, label_space=before.label_space, num_examples=4, previous=Config.load(model_dir)
    )
    loop.train(config, model_dir, OASISTask)
    after = OASIS.load(model_dir)
    assert after.step == 1
    for name in ("generator", "discriminator"):
        rate = {"generator": config.training.lr_g, "discriminator": config.training.lr_d}[name]
        old, new = (getattr(model, name).trainable_variables for model in (before, after))
        moved = [np.abs(b.numpy() - a.numpy()).max() for a, b in zip(old, new, strict=True)]
        # The first step of Adam, from the weights that were converted.
        assert max(moved) <= 1.01 * rate and np.median(moved) > 0.5 * rate


def test_without_discriminator(convert, data_dir, tmp_path):
    model_dir = convert(settings={"data_dir": data_dir}, dataset=None)
    model = OASIS.load(model_dir)
    label_map = np.zeros((32, 32), np.int32)
    assert np.isfinite(model.generate(label_map)).all()
    export(model, str(tmp_path / "serving" / "1"))
    assert OASIS.from_config(model.get_config()).discriminator is None
    for refused, message in (
        (lambda: model.segment(np.zeros((32, 32, 3))), "cannot segment"),
        (lambda: model.compile(None, None), "cannot be trained"),
        (
            lambda: evaluation.evaluate_model(model_dir, None, ["alignment", "segmentation"]),
            "The metric segmentation .* cannot segment",
        ),
    ):
        with pytest.raises(ValueError, match=f"{message}: it has no discriminator"):
            refused()


def test_training_without_discriminator_is_refused(convert, run_module):
    done = run_module("oasis_tf.train", f"--model_dir={convert()}", "--data_dir=d", "--steps=5")
    assert done.returncode == 1
    assert "ERROR: This model cannot be trained: it has no discriminator." in done.stderr


def test_the_data_set_must_be_named_to_evaluate(convert):
    with pytest.raises(
        ValueError, match="names no data set that .* Give a prepared one: --data_dir"
    ):
        evaluation.evaluate_model(convert(discriminator="D"), None, ["segmentation"])


# === The configuration ===


@pytest.mark.parametrize(
    ("dataset", "size", "training"),
    [
        ("ade20k", (256, 256), {"lr_g": 1e-4, "lambda_labelmix": 10, "batch_size": 32}),
        ("coco_stuff", (256, 256), {"lr_g": 1e-4, "ema_decay": 0.9999}),
        ("cityscapes", (256, 512), {"lr_g": 4e-4, "lambda_labelmix": 5, "ema_decay": 0.999}),
    ],
)
def test_published_settings(dataset, size, training, monkeypatch, tmp_path):
    space = published_label_space(dataset)
    networks = {
        "EMA": Generator(space.num_classes, 64, 1),
        "D": Discriminator(space.num_classes, 1),
    }
    dicts = {letter: shaped(network) for letter, network in networks.items()}
    monkeypatch.setattr(pth_files, "read_state_dict", lambda p, _: dicts[os.path.basename(p)])
    for letter in dicts:
        (tmp_path / letter).touch()
    config = conversion.plan_conversion(
        tmp_path / "model",
        str(tmp_path / "EMA"),
        discriminator=str(tmp_path / "D"),
        dataset=dataset,
    ).config
    assert config.label_space == space
    assert (config.data.crop_height, config.data.crop_width) == size
    assert (config.model.generator_channels, config.model.noise_channels) == (1, 64)
    settings = dataclasses.asdict(config.training)
    assert {name: settings[name] for name in training} == training


def test_folder_infers_the_classes(convert):
    config = Config.load(convert(dataset="folder", unknown_label=255))
    assert (config.model.num_classes, config.model.has_unknown) == (12, True)
    assert config.label_space.raw_ids == (255, *range(11))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "ade20k"}, "16 input channels .* 151 classes, which leaves -135 .* not 4"),
        ({"dataset": None}, "give --dataset .*or --data_dir"),
        ({"discriminator": "other_D"}, "other_D.npz has 7 classes, the data set shapes 12"),
        ({"generator": "other_G"}, "other_G.npz must be of the same widths"),
        ({"checkpoint": "D"}, "is not a generator of OASIS"),
        ({"discriminator": "G"}, "is not a discriminator of OASIS"),
        ({"settings": {"generator_channels": 8}}, "--generator_channels 8 against 1"),
        ({"settings": {"noise_channels": 5}}, "leaves 4 for noise, not 5"),
        ({"dataset": "folder", "num_classes": 9}, "9 classes, which leaves 7 for noise, not 4"),
        ({"dataset": "folder", "settings": {"noise_channels": 16}}, "fewer than the 16 of noise"),
        ({"settings": {"crop_height": 31}}, "`crop_height` must be a multiple of 2"),
    ],
)
def test_contradictions_are_refused(convert, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        convert(**options)
    assert os.listdir(tmp_path) == []


def test_an_unusual_number_of_noise_channels_must_be_given(checkpoints, tmp_path):
    with pytest.raises(ValueError, match="published models have 64 or 0.*--noise_channels=4"):
        conversion.plan_conversion(tmp_path / "model", checkpoints["EMA"], dataset="shapes")


def test_nothing_is_half_written(convert, monkeypatch, tmp_path):
    def without_one_bias(path, _):
        contents = dict(np.load(path))
        del contents["conv_img.bias"]
        return contents

    monkeypatch.setattr(pth_files, "read_state_dict", without_one_bias)
    with pytest.raises(
        ValueError, match=r"best_EMA.npz: These weights do not fit.*\n.*to_rgb/bias"
    ):
        convert()
    assert os.listdir(tmp_path) == []
    monkeypatch.undo()
    monkeypatch.setattr(pth_files, "read_state_dict", lambda path, *_: dict(np.load(path)))
    monkeypatch.setattr(Config, "save", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        convert()
    assert os.listdir(tmp_path) == []


def test_a_model_directory_is_never_replaced(convert, tmp_path):
    convert()
    with pytest.raises(FileExistsError, match="must be new or empty"):
        convert()
    with pytest.raises(FileNotFoundError, match="no checkpoint file nowhere.pth"):
        conversion.plan_conversion(tmp_path / "new", "nowhere.pth", dataset="shapes")


# === Back ===


def test_back_to_official(convert, checkpoints, monkeypatch, tmp_path):
    def write(weights, path):
        with open(path, "wb") as file:
            np.savez(file, **weights)

    monkeypatch.setattr(pth_files, "check_torch", lambda: None)
    monkeypatch.setattr(pth_files, "write_state_dict", write)
    model_dir = convert(generator="G", discriminator="D")
    paths = conversion.plan_official(model_dir, str(tmp_path))
    conversion.write_official(model_dir, paths)
    for letter in ("G", "D", "EMA"):
        back, wanted = np.load(tmp_path / f"latest_{letter}.pth"), np.load(checkpoints[letter])
        assert set(back) == set(wanted)
        for name, array in wanted.items():
            np.testing.assert_array_equal(back[name], array, err_msg=f"{letter} {name}")


def test_official_files_are_never_replaced(convert, monkeypatch, tmp_path):
    monkeypatch.setattr(pth_files, "check_torch", lambda: None)
    model_dir = convert()
    assert set(conversion.plan_official(model_dir, "x")) == {"generator", "generator_ema"}
    (tmp_path / "latest_EMA.pth").touch()
    with pytest.raises(ValueError, match="latest_EMA.pth exists"):
        conversion.plan_official(model_dir, str(tmp_path))
