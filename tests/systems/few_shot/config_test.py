"""The configuration: defaults of both networks, flagfiles, the pictures, what is refused."""

import dataclasses
import re

import numpy as np
import pytest
from PIL import Image

from oasis_tf.cli import flagfiles
from oasis_tf.settings import setting_flags
from oasis_tf.systems.few_shot import run_settings, source
from oasis_tf.systems.few_shot.config import Config, DataConfig, ModelConfig
from tests.systems.few_shot.conftest import write_pictures

DATA = {"data_dir": "pictures"}
TEN = source.Pictures(10, (), "a")
STYLEGAN2 = ModelConfig(size=256)
BIGGAN = ModelConfig(network="biggan", num_classes=1000)


def resolve(*arguments, of_source=None, pictures=TEN, previous=None, **given):
    values = setting_flags.read_train_flags(Config, flagfiles.expand_flagfiles(arguments))
    found = setting_flags.given_flags(Config, values, arguments)
    extra = {"source": "SOURCE"} if of_source else {}
    return run_settings.resolve(
        DATA | extra | found | given, pictures=pictures, of_source=of_source, previous=previous
    )


def test_defaults_of_both_networks():
    stylegan2, adapted = resolve(), resolve(of_source=STYLEGAN2)
    classes = source.Pictures(10, ("a", "b"), "a")
    biggan = resolve("--network=biggan", pictures=classes)
    assert stylegan2.model.widths == {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128}
    assert (stylegan2.training.path_weight, adapted.training.path_weight) == (2.0, 0.0)
    generator, discriminator = (stylegan2.training.optimizer(which) for which in "gd")
    assert generator["learning_rate"] == pytest.approx(1.6e-3)
    assert generator["beta_2"] == pytest.approx(0.99**0.8)
    assert discriminator["learning_rate"] == pytest.approx(2e-3 * 16 / 17)
    assert stylegan2.training.ema_decay == pytest.approx(0.997784, abs=1e-6)
    assert (biggan.training.loss, biggan.training.batch_size) == ("hinge", 32)
    assert biggan.training.optimizer("d") == {
        "learning_rate": 4e-4,
        "beta_1": 0.0,
        "beta_2": 0.999,
        "epsilon": 1e-6,
    }
    assert (biggan.model.num_classes, biggan.model.projection) == (2, True)
    assert biggan.model.latent_dim == 140 + 128


def test_an_adapted_model_has_the_networks_of_its_source():
    of_source = dataclasses.replace(BIGGAN, ch=7)
    config = resolve("--flagfile=few_shot.flags", of_source=of_source)
    assert (config.model.ch, config.model.num_classes) == (7, 1000)
    assert not config.model.projection and config.adapted
    again = resolve("--steps=7", previous=config)
    assert again.model == config.model and again.training.steps == 7
    assert Config.from_json(config.to_json()) == config
    with pytest.raises(ValueError, match=r"has the networks of its source.*\n  --size=64 against"):
        resolve("--size=64", of_source=of_source)
    with pytest.raises(ValueError, match="--network=stylegan2 against biggan"):
        resolve("--network=stylegan2", of_source=of_source)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--size=100"], "must be a power of two.*Nearest valid: 64 or 128"),
        (["--network=biggan", "--size=16"], "must be one of 32, 64, 128, 256 with network=biggan"),
        (["--size=16", "--channels=4,4"], "`channels` must be 3 widths, of 4, 8, 16"),
        (["--batch_size=6"], "stddev_group=4. Received: batch_size=6. Nearest valid: 4 or 8"),
        (["--mixed_precision=float16"], "r1_gamma, path_weight above 0.*bfloat16"),
        (["--d_loss=all"], "`d_loss` needs a model to adapt"),
        (["--network=biggan", "--path_weight=2"], "`path_weight` needs network=stylegan2"),
        (["--mixing_prob=2"], "`mixing_prob` must be at most 1"),
    ],
)
def test_what_is_refused(flags, message):
    with pytest.raises(ValueError, match=message):
        resolve(*flags)


@pytest.mark.parametrize(
    ("flags", "of_source", "message"),
    [
        (["--lambda_ss=5", "--ss_resolution=24"], STYLEGAN2, "`ss_resolution` must be a side"),
        (["--lambda_ss=5", "--ss_resolution=4"], BIGGAN, "sides 8, 16, 32, 64, 128, 256"),
        (["--d_loss=patch"], BIGGAN, "`d_loss=patch` needs network=stylegan2"),
        (["--lambda_distance=1"], BIGGAN, "`lambda_distance` needs network=stylegan2"),
        (["--d_loss=patch"], ModelConfig(size=32), "needs images of 64x64 or more"),
        (["--probe_steps=5", "--train_last_d=3"], STYLEGAN2, "Leave one out"),
    ],
)
def test_what_is_refused_of_adaptations(flags, of_source, message):
    with pytest.raises(ValueError, match=message):
        resolve(*flags, of_source=of_source)


# === Flagfiles ===

_CDC = {"d_loss": "patch", "lambda_distance": 1000.0, "lambda_ss": 0.0, "path_weight": 2.0}
_CDC |= {"steps": 5002}
_TGAN = {"d_loss": "final", "lambda_ss": 0.0, "path_weight": 2.0}
_ADAM = {"d_loss": "patch", "lambda_ss": 0.0, "path_weight": 2.0, "steps": 3000}
# Rows of the dissertation's chapter 7, and what differs from few_shot.flags.
ABLATIONS = {
    "tgan": _TGAN,
    "freezed": _TGAN | {"train_last_d": 3},
    "cdc": _CDC,
    "adam": _ADAM | {"anchor_std": 0.05, "probe_steps": 500},
    "final": {"d_loss": "final", "lambda_ss": 0.0},
    "final_ss": {"d_loss": "final"},
    "patch": {"d_loss": "patch", "lambda_ss": 0.0},
    "patch_ss": {"d_loss": "patch"},
    "all": {"lambda_ss": 0.0},
    "all_ppl": {"lambda_ss": 0.0, "path_weight": 2.0},
    "all_mixdl": {"lambda_ss": 0.0, "lambda_mixdl": 1000.0},
    **{f"lambda_{x}".replace(".", "_"): {"lambda_ss": x} for x in (0.2, 1, 25, 125)},
    **{f"resolution_{side}": {"ss_resolution": side} for side in (8, 16, 64, 128)},
    "biggan": {},
    "biggan_final": {"d_loss": "final", "lambda_ss": 0.0},
    "biggan_final_ss": {"d_loss": "final"},
    "biggan_all": {"lambda_ss": 0.0},
    **{f"ours_{n}": {"num_pictures": n} for n in (1, 5)},
    **{f"cdc_{n}": _CDC | {"num_pictures": n} for n in (1, 5)},
}


def test_every_ablation_is_listed():
    start = "ablations/few_shot_"
    own = {name for name in flagfiles.shipped_configs() if name.startswith(start)}
    assert own == {f"{start}{name}.flags" for name in ABLATIONS}


@pytest.mark.parametrize("name", ABLATIONS)
def test_ablations_differ_in_their_own_settings_alone(name):
    of_source = BIGGAN if name.startswith("biggan") else STYLEGAN2
    found = resolve(f"--flagfile=ablations/few_shot_{name}.flags", of_source=of_source)
    plain = resolve("--flagfile=few_shot.flags", of_source=of_source).settings()
    different = {key: x for key, x in found.settings().items() if plain[key] != x}
    assert different == ABLATIONS[name]


def test_flagfiles_of_training():
    stylegan2 = resolve("--flagfile=stylegan2.flags")
    assert (stylegan2.model.network, stylegan2.model.size) == ("stylegan2", 256)
    biggan = resolve("--flagfile=biggan.flags", pictures=source.Pictures(9, ("a", "b"), "a"))
    assert (biggan.model.network, biggan.model.latent_dim) == ("biggan", 120 + 128)
    assert biggan.training.ema_start == 20000
    ours = resolve("--flagfile=few_shot.flags", of_source=STYLEGAN2)
    assert (ours.training.steps, ours.training.batch_size) == (30_000, 4)
    adaptation = ours.adaptation
    assert (adaptation.lambda_ss, adaptation.ss_resolution, adaptation.d_loss) == (5.0, 32, "all")


# === Pictures ===


def test_pictures_are_listed_with_their_digests(tmp_path):
    write_pictures(tmp_path / "a", 3)
    facts = source.inspect(DataConfig(data_dir=str(tmp_path / "a")), with_classes=False)
    assert facts.number == 3 and not facts.classes
    assert source.Pictures.from_json(facts.to_json()) == facts
    facts.save_list(tmp_path)
    names = source.listed(tmp_path)
    assert sorted(names.values()) == ["0_0.png", "0_1.png", "0_2.png"]
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in names)
    fewer = source.inspect(DataConfig(data_dir=str(tmp_path / "a"), num_pictures=2), False)
    assert fewer.number == 2 and fewer.digest != facts.digest
    with pytest.raises(ValueError, match="`num_pictures` must be at most 3"):
        source.chosen(DataConfig(data_dir=str(tmp_path / "a"), num_pictures=4))


def test_bad_folders_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="must be a folder of pictures"):
        source.find(tmp_path / "absent")
    with pytest.raises(ValueError, match="at least one picture"):
        source.find(tmp_path)
    (tmp_path / "bad.png").write_bytes(b"none")
    with pytest.raises(ValueError, match="Cannot be read as an image.*bad.png"):
        source.inspect(DataConfig(data_dir=str(tmp_path)), with_classes=False)
    with pytest.raises(ValueError, match="must lie in the folder of its class.*bad.png"):
        source.inspect(DataConfig(data_dir=str(tmp_path)), with_classes=True)


def test_classes_are_folders(tmp_path):
    for k, name in enumerate(("dogs", "cats")):
        write_pictures(tmp_path / name, 1 + k, seed=k)
    data = DataConfig(data_dir=str(tmp_path))
    facts = source.inspect(data, with_classes=True)
    assert facts.classes == ("cats", "dogs")
    assert source.Reader(data, facts, 8).labels.tolist() == [0, 0, 1]


def test_pictures_are_resized_by_their_short_side_and_cropped(tmp_path):
    """A wide picture of three stripes keeps the middle one, a constant one its colour."""
    image = np.zeros((20, 60, 3), np.uint8)
    image[:, 20:40] = (10, 200, 30)
    Image.fromarray(image).save(tmp_path / "wide.png")
    found = source.resized(tmp_path / "wide.png", 40)
    assert found.shape == (40, 40, 3)
    assert (found[:, 6:-6] == (10, 200, 30)).all()
    assert source.resized(tmp_path / "wide.png", 20).tolist() == image[:, 20:40].tolist()
