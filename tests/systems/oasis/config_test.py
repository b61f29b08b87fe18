"""Settings: round trips, limits, resolving, and what a restart may change."""

import dataclasses
import json
import math
import os

import pytest
from absl import flags
from hypothesis import given, settings
from hypothesis import strategies as st

from oasis_tf.data.datasets import folder_label_space, published_label_space
from oasis_tf.io import json_files
from oasis_tf.settings import setting_flags
from oasis_tf.settings.run_config import CONFIG_FILE
from oasis_tf.systems.oasis import run_settings
from oasis_tf.systems.oasis.config import (
    Config,
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    TrainingConfig,
)
from tests.flips import flips

SHAPES = published_label_space("shapes")


def make_config(label_space=SHAPES, num_examples=100, **given):
    given = {"data_dir": "data"} | given
    return run_settings.resolve(given, label_space=label_space, num_examples=num_examples)


def parse(*arguments):
    """Returns the result of `given_flags` for a command line."""
    values = setting_flags.read_train_flags(Config, arguments)
    return setting_flags.given_flags(Config, values, arguments)


# === Round trips ===


widths = st.lists(st.integers(1, 32), min_size=2, max_size=7).map(tuple)
positive = st.integers(1, 10**9)
fraction = st.floats(0, 1, exclude_max=True)
rate = st.floats(0, 1e3, exclude_min=True)
words = st.from_regex(r"[a-z_/.,]{1,20}", fullmatch=True)
SETTINGS = {
    "noise_channels": st.integers(1, 10**6),
    "noise": st.sampled_from(["image", "region", "pixel", "mix"]),
    "generator_channels": positive,
    "discriminator_channels": positive,
    "spade_channels": positive,
    "generator_widths": widths,
    "discriminator_widths": widths,
    "flip": st.booleans(),
    "skip_corrupt": st.booleans(),
    "batch_size": positive,
    "lr_g": rate,
    "lr_d": rate,
    "beta_1": fraction,
    "beta_2": fraction,
    "init_gain": rate,
    "lambda_labelmix": st.floats(0, 1e6, exclude_min=True),
    "lambda_feature_matching": st.floats(0, 1e6),
    "lambda_kld": st.floats(0, 1e6),
    "vgg19": words,
    "ema_decay": fraction,
    "ema_warmup": st.booleans(),
    "seed": st.integers(0, 2**63 - 1),
    "mixed_precision": st.sampled_from(["none", "bfloat16", "float16"]),
    "strategy": st.sampled_from(["auto", "none", "mirrored", "multi_worker"]),
    "remat": st.booleans(),
    "jit_compile": st.booleans(),
    "deterministic": st.booleans(),
    "log_every": positive,
    "image_every": positive,
    "checkpoint_every": positive,
    "keep_every": st.integers(0, 10**9),
    "max_to_keep": positive,
    "statistics_batches": positive,
    "eval_every": st.integers(0, 10**9),
    "eval_metrics": words,
    "eval_train_images": st.integers(0, 10**9),
    "best_metric": words,
    "log_to": st.sampled_from(["csv", "wandb,mlflow"]),
    "inception": words,
    "vgg16": words,
    "lpips_backbone": words,
    "lpips_heads": words,
    "segmenter": words,
    "segmenter_labels": words,
    "segmenter_steps": positive,
    "diversity_samples": st.integers(2, 10**9),
    "diversity_maps": positive,
    "lvis_annotations": words,
    "lvis_detections": words,
    "steps": positive,
    "resize_height": st.integers(256, 10**4),
    "resize_width": st.integers(256, 10**4),
}


# Settings that are valid only together.
PARTS = [
    {},
    {"generator": "spade", "upsampling": "more", "generator_widths": (4, 4, 4, 2)},
    {"encoder": "beside_noise", "latent_channels": 3, "encoder_channels": 2, "encoder_size": 64},
    {"discriminator": "patch", "patch_layers": 3},
    {"discriminator": "oasis_x2", "label_encoding": "projection", "consistency": "cutmix"},
    {"consistency": "labelmix", "labelmix_bits": "image"},
    {"lambda_vgg": 10.0, "vgg19": "vgg19.pth"},
    {"chunk_logits": True},
    {"init_from": "model", "init_classes": "none"},
    {"modulation": "dense"},
    {"augmentation": "basic", "prob_augm": 0.5},
    {"augmentation": "full", "adaptive_augm": True, "augm_target": -0.5, "augm_images": 9},
]


def as_argument(name, value):
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no{name}"
    if isinstance(value, tuple):
        return f"--{name}={','.join(map(str, value))}"
    return f"--{name}={value!r}".replace("'", "")


@settings(deadline=None, max_examples=60)
@given(st.fixed_dictionaries({}, optional=SETTINGS), st.sampled_from(PARTS))
def test_flags_to_config_to_json_and_back(wanted, parts):
    depth = {"discriminator_widths": (1, 2), "generator_widths": (1, 2, 2)} if parts else {}
    wanted = wanted | depth | parts
    given_flags = parse("--data_dir=/d", *(as_argument(k, v) for k, v in wanted.items()))
    assert given_flags == {"data_dir": "/d"} | wanted

    config = make_config(**given_flags)
    sections = {
        **dataclasses.asdict(config.model),
        **dataclasses.asdict(config.data),
        **dataclasses.asdict(config.training),
        **dataclasses.asdict(config.evaluation),
    }
    paths = {f.name for s in Config.SECTIONS.values() for f in dataclasses.fields(s)
             if f.metadata["path"]}  # fmt: skip
    wanted |= {name: os.path.abspath(wanted[name]) for name in paths & wanted.keys()}
    assert {name: sections[name] for name in wanted} == wanted

    text = json.dumps(config.to_json())
    assert Config.from_json(json.loads(text)) == config


def test_every_setting_has_a_flag_and_the_strategy_above_covers_it():
    names = {
        f.name
        for kind in (ModelConfig, DataConfig, TrainingConfig, EvaluationConfig)
        for f in dataclasses.fields(kind)
        if f.metadata["flag"]
    }
    values = flags.FlagValues()
    setting_flags.define_train_flags(Config, values)
    assert set(values) == names | {"epochs", "model_dir", "dry_run"}
    covered = set(SETTINGS).union({"data_dir", "crop_height", "crop_width"}, *PARTS)
    assert covered == names


def test_defaults_are_the_ade20k_column():
    config = make_config(published_label_space("ade20k"), num_examples=20210)
    assert config.model == ModelConfig(
        num_classes=151,
        has_unknown=True,
        noise_channels=64,
        generator_channels=64,
        discriminator_channels=64,
        spade_channels=128,
        generator_widths=(16, 16, 16, 8, 4, 2, 1),
        discriminator_widths=(2, 2, 4, 4, 8, 8),
        generator="oasis",
        noise="image",
        encoder="none",
        latent_channels=0,
        discriminator="oasis",
        label_encoding="balanced",
    )
    assert config.data == DataConfig(
        data_dir=os.path.abspath("data"),
        crop_height=256,
        crop_width=256,
        resize_height=286,
        resize_width=286,
        flip=True,
    )
    assert config.training == TrainingConfig(
        batch_size=32,
        steps=126313,  # 200 epochs of 20,210 images: 126,312.5
        lr_g=1e-4,
        lr_d=4e-4,
        beta_1=0.0,
        beta_2=0.999,
        consistency="labelmix",
        lambda_labelmix=10.0,
        labelmix_bits="batch",
        lambda_feature_matching=0.0,
        lambda_vgg=0.0,
        lambda_kld=0.05,
        ema_decay=0.9999,
        seed=0,
        mixed_precision="none",
        strategy="auto",
        jit_compile=False,
        log_every=100,
        image_every=1000,
        checkpoint_every=1000,
        keep_every=10000,
        max_to_keep=2,
        statistics_batches=51,
    )


def test_sections_are_frozen_and_take_keywords_only():
    config = make_config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.training.seed = 1
    with pytest.raises(TypeError, match="positional"):
        ModelConfig(12, False)


# === Files ===


def test_save_and_load(tmp_path):
    config = make_config(folder_label_space(12, unknown_label=255), batch_size=3, beta_1=0.5)
    model_dir = tmp_path / "new" / "model"
    config.save(model_dir)
    config.save(model_dir)
    assert Config.load(model_dir) == config
    assert os.listdir(model_dir) == ["config.json"]
    contents = json.loads((model_dir / "config.json").read_text())
    sections = ["model", "data", "training", "evaluation"]
    assert list(contents) == ["digest", "format_version", "system", *sections, "label_space"]
    assert contents["format_version"] == 1
    assert contents["model"]["generator_widths"] == [16, 16, 16, 8, 4, 2, 1]


def test_a_file_without_the_section_of_evaluation_is_read():
    config = make_config(folder_label_space(12))
    contents = config.to_json()
    del contents["evaluation"]
    for name in ("eval_every", "eval_metrics", "best_metric"):
        del contents["training"][name]
    assert Config.from_json(contents) == config


def test_the_text_of_the_file_is_compact_and_the_same_json():
    odd = ["a [b]", "[\n", "] ,\n  {x}", "  spaces  "]
    label_space = folder_label_space(4, class_names=odd)
    config = make_config(label_space)
    assert json.loads(config.to_text()) == config.to_json()
    text = make_config(published_label_space("ade20k")).to_text()
    assert '"generator_widths": [16, 16, 16, 8, 4, 2, 1],\n' in text
    assert text.count("\n") < 260  # one line for each of the 151 colours


YOUNGER = ("generator", "upsampling", "noise", "encoder", "latent_channels", "encoder_channels")
YOUNGER += ("encoder_size", "discriminator", "label_encoding", "patch_layers", "modulation")
YOUNGER += ("ema_warmup", "augmentation", "prob_augm", "adaptive_augm", "augm_target")
YOUNGER += ("augm_images", "eval_train_images")
YOUNGER += ("consistency", "labelmix_bits", "lambda_feature_matching", "lambda_vgg", "lambda_kld")


@pytest.mark.parametrize("given", [{}, {"noise_channels": 0, "lambda_labelmix": 0.0}])
def test_a_file_older_than_the_choice_of_parts_is_oasis(given):
    config = make_config(**given)
    contents = config.to_json()
    for name in YOUNGER:
        (contents["model"] if name in contents["model"] else contents["training"]).pop(name)
    assert Config.from_json(contents) == config
    want = ("none", "none") if given else ("image", "labelmix")
    assert (config.model.noise, config.training.consistency) == want


def test_load_refuses_folders_that_are_not_model_directories(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(FileNotFoundError, match="is not a model directory: it has no config"):
            Config.load(path)


def test_a_setting_that_the_file_lacks_has_its_default(tmp_path):
    config = make_config(init_gain=0.02, seed=3)
    config.save(tmp_path)
    contents = json_files.read(tmp_path / CONFIG_FILE)
    del contents["training"]["init_gain"], contents["model"]["has_discriminator"]
    (tmp_path / CONFIG_FILE).write_text(json.dumps(contents))
    assert Config.load(tmp_path) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format_version=2), "format_version 1. Received: 2"),
        (lambda c: c.pop("data"), "Missing: data; unknown: none"),
        (lambda c: c["model"].update(depth=3), "unknown: depth"),
        (lambda c: c["model"].pop("num_classes"), "Missing: num_classes"),
        (lambda c: c["training"].update(lr_g=math.nan), "`lr_g` must be of type float and finite"),
        (lambda c: c["training"].update(seed="7"), "`seed` must be of type int"),
        (lambda c: c["data"].update(flip=1), "`flip` must be of type bool"),
        (lambda c: c["data"].update(data_dir=""), "`data_dir` must be a path"),
        (lambda c: c["model"].update(generator_widths=3), "`generator_widths` must be whole"),
        (lambda c: c["model"].update(num_classes=13), "must have the classes of the label space"),
        (lambda c: c.update(label_space={}), "A label space has the fields"),
    ],
)
def test_load_names_the_file_and_the_problem(tmp_path, change, message):
    contents = make_config().to_json()
    change(contents)
    (tmp_path / "config.json").write_text(json.dumps(contents))
    with pytest.raises(ValueError, match=message) as error:
        Config.load(tmp_path)
    assert str(tmp_path / "config.json") in str(error.value)


@pytest.mark.parametrize("text", ["", '{"format_version": 1', "[]", "3"])
def test_load_refuses_damaged_files(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json (is damaged|must have format_version 1)"):
        Config.load(tmp_path)


def test_flipped_bits_are_refused_and_the_file_named(tmp_path):
    path = tmp_path / CONFIG_FILE
    config = make_config()
    config.save(tmp_path)
    for flipped in flips(path.read_bytes(), seed=0, count=300):
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match=f"^{path} is damaged: "):
            Config.load(tmp_path)


def test_flipped_bits_of_an_earlier_release_s_file_give_no_other_errors(tmp_path):
    """It has no digest: what keeps its form is read."""
    path = tmp_path / CONFIG_FILE
    for flipped in flips(make_config().to_text().encode(), seed=0, count=300):
        path.write_bytes(flipped)
        try:
            Config.load(tmp_path)
        except ValueError as error:
            assert str(path) in str(error)


def test_save_names_the_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Cannot write .*file/model/config.json.*another --model_dir"):
        make_config().save(tmp_path / "file" / "model")


def test_save_leaves_the_old_file_when_the_disk_is_full(tmp_path, monkeypatch):
    config = make_config()
    config.save(tmp_path)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device. Make room there, or use another"):
        make_config(seed=5).save(tmp_path)
    assert Config.load(tmp_path) == config
    assert os.listdir(tmp_path) == ["config.json"]


# === Limits ===


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be at least 1. Received: batch_size=0"),
        ({"steps": -1}, "`steps` must be at least 0. Received: steps=-1"),
        ({"noise_channels": -1}, "`noise_channels` must be at least 0"),
        ({"generator_channels": 0}, "`generator_channels` must be at least 1"),
        ({"discriminator_widths": (2, 0)}, "`discriminator_widths` must be at least 1. .*=2,0"),
        ({"discriminator_widths": ()}, "`discriminator_widths` must be whole numbers, at least"),
        ({"generator_widths": (2,)}, "`generator_widths` must have at least two entries"),
        ({"lr_g": 0.0}, "`lr_g` must be greater than 0. Received: lr_g=0.0"),
        ({"lr_d": math.inf}, "`lr_d` must be of type float and finite"),
        ({"beta_1": 1.0}, "`beta_1` must be less than 1. Received: beta_1=1.0"),
        ({"beta_2": -0.1}, "`beta_2` must be at least 0"),
        ({"ema_decay": 1.5}, "`ema_decay` must be less than 1"),
        ({"lambda_labelmix": -1}, "`lambda_labelmix` must be at least 0"),
        ({"seed": -1}, "`seed` must be at least 0"),
        ({"seed": 2**63}, f"`seed` must be less than {2**63}"),
        ({"keep_every": -1}, "`keep_every` must be at least 0"),
        ({"log_every": 0}, "`log_every` must be at least 1"),
        ({"max_to_keep": 0}, "`max_to_keep` must be at least 1"),
        ({"statistics_batches": 0}, "`statistics_batches` must be at least 1"),
        ({"mixed_precision": "fp8"}, "`mixed_precision` must be one of none, bfloat16, float16"),
        ({"strategy": "tpu"}, "`strategy` must be one of auto, none, mirrored, multi_worker"),
        ({"crop_height": 0}, "`crop_height` must be at least 1"),
        ({"epochs": 0}, "`epochs` must be at least 1"),
        ({"epochs": 1, "steps": 1}, "`epochs` .* given without `steps`"),
        ({"depth": 1}, "Unknown settings: depth. Known: adaptive_augm, .*epochs"),
        (
            {"resize_width": 200},
            "`resize_width` must be at least `crop_width`.*resize_width=200, crop_width=256",
        ),
    ],
)
def test_limits(wrong, message):
    with pytest.raises(ValueError, match=message):
        make_config(**wrong)


def test_the_limit_of_the_batch_holds_with_steps_too():
    with pytest.raises(ValueError, match="`batch_size` must be at least 1"):
        make_config(batch_size=-3, steps=7)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"crop_height": 100}, "`crop_height` .* multiple of 64.*=100. Nearest valid: 64 or 128"),
        ({"crop_width": 257}, "`crop_width` .* multiple of 64.*=257. Nearest valid: 256 or 320"),
        ({"crop_height": 32}, "Nearest valid: 64"),
        ({"crop_height": 16, "discriminator_widths": (1, 2)}, "multiple of 32.*Nearest valid: 32"),
        ({"crop_width": 33, "generator_widths": (2, 1)}, "multiple of 64.*Nearest valid: 64"),
    ],
)
def test_crops_must_be_multiples(given, message):
    with pytest.raises(ValueError, match=message):
        make_config(**given)


PATCH = {"discriminator": "patch"}
STEM = {"encoder": "stem"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"upsampling": "more"}, "`upsampling` .* of OASIS always has it.*generator=oasis"),
        (
            {"generator": "spade", "generator_widths": (2, 2, 1)},
            "`generator_widths` must have at least four entries.*=2,2,1",
        ),
        ({"noise": "region", "noise_channels": 0}, "`noise=region` needs `noise_channels` of at"),
        ({"latent_channels": 8}, "`latent_channels` is a setting of the encoder, and there is no "),
        ({"encoder_size": 64}, "`encoder_size` is a setting of the encoder, .*encoder_size=64"),
        ({"encoder": "noise", "latent_channels": 0}, "`latent_channels` must be at least 1"),
        ({"encoder": "noise", "noise": "none"}, "`latent_channels` must be at least 1 .* Give --l"),
        ({"encoder": "noise", "encoder_size": 96}, "`encoder_size` must be a power of 2.*=96"),
        (STEM, "`encoder=stem` has no 3D noise.*noise=image, noise_channels=64.*--noise=none"),
        (
            {"encoder": "noise", "noise": "pixel"},
            "`encoder=noise` replaces the 3D noise with one latent .*noise=pixel",
        ),
        (
            {"encoder": "beside_noise", "noise": "none", "latent_channels": 8},
            "`encoder=beside_noise` needs 3D noise. Received: noise=none",
        ),
        (PATCH | {"label_encoding": "balanced"}, "`label_encoding` is a choice .*oasis_x2.*patch"),
        ({"patch_layers": 3}, r"`patch_layers` is a setting of a PatchGAN .*discriminator=oasis"),
        (PATCH | {"patch_layers": 1}, "`patch_layers` must be at least 2"),
        (PATCH | {"consistency": "labelmix"}, "`consistency=labelmix` compares logits pixel by p"),
        (
            {"discriminator": "resnet_patch", "consistency": "cutmix"},
            "`consistency=cutmix` .*discriminator=resnet_patch",
        ),
        (
            {"modulation": "shared", "jit_compile": True},
            "`modulation=shared` needs tables .* Give --modulation=auto or dense, or --nojit",
        ),
        (
            {"consistency": "cutmix", "labelmix_bits": "image"},
            "`labelmix_bits=image` is a setting of LabelMix",
        ),
        ({"prob_augm": 1.5}, "`prob_augm` must be at most 1. Received: prob_augm=1.5"),
        ({"adaptive_augm": True}, "`adaptive_augm` adapts .* Give --augmentation=basic or full"),
        ({"lambda_vgg": 10.0}, "`lambda_vgg` needs the weights of VGG-19.*vgg19=None"),
        (
            {"discriminator": "oasis_x2", "crop_width": 192, "crop_height": 128},
            "`crop_width` must be a multiple of 128, .* halves them 7 times.*128 or 256",
        ),
        (
            {"generator": "spade", "upsampling": "more", "crop_width": 96, **PATCH},
            "`crop_width` must be a multiple of 64, because the generator doubles images 6 times",
        ),
    ],
)
def test_contradictory_parts(given, message):
    with pytest.raises(ValueError, match=message):
        make_config(**given)


def test_consequences_of_parts():
    model = make_config(generator="spade", noise="none", **PATCH).model
    assert model.generator_widths == (16, 16, 16, 16, 8, 4, 2, 1)
    assert model.generator_upsamples == (False, True, False, True, True, True, True)
    assert (model.generator_stride, model.discriminator_stride) == (32, 1)
    assert (model.noise_channels, model.vector_channels, model.local_noise) == (0, 0, False)
    assert (model.label_encoding, model.segments, model.pixel_logits) == ("concat", False, False)
    more = make_config(generator="spade", upsampling="more").model
    assert (more.generator_stride, more.local_noise) == (64, True)
    assert more.generator_upsamples == (False, *[True] * 6)


@pytest.mark.parametrize(
    ("given", "latent", "vector", "local"),
    [
        ({"encoder": "stem", "noise": "none"}, 256, 256, False),
        ({"encoder": "noise"}, 64, 64, True),
        ({"encoder": "noise", "noise": "none", "latent_channels": 8}, 8, 8, True),
        ({"encoder": "beside_noise", "noise": "mix"}, 64, 128, True),
        ({"encoder": "beside_noise", "latent_channels": 8}, 8, 72, True),
    ],
)
def test_consequences_of_an_encoder(given, latent, vector, local):
    model = make_config(**given).model
    assert model.latent_channels == latent
    assert (model.vector_channels, model.local_noise) == (vector, local)


@pytest.mark.parametrize(
    ("given", "segments", "consistency"),
    [
        ({}, True, "labelmix"),
        ({"label_encoding": "n_plus_1"}, True, "labelmix"),
        ({"discriminator": "oasis_x2"}, True, "labelmix"),
        ({"label_encoding": "concat"}, False, "none"),
        ({"label_encoding": "projection", "consistency": "labelmix"}, False, "labelmix"),
        ({"consistency": "none"}, True, "none"),
        ({"consistency": "cutmix", "lambda_labelmix": 0.0}, True, "none"),
        (PATCH, False, "none"),
    ],
)
def test_consequences_of_a_discriminator(given, segments, consistency):
    config = make_config(**given)
    assert config.model.segments == segments
    assert config.training.consistency == consistency
    if segments:
        config.model.check_segments("segment")
    else:
        with pytest.raises(ValueError, match="cannot segment: .* does not segment.*--label_encod"):
            config.model.check_segments("segment")


def test_settings_that_imply_others_may_be_repeated_on_a_restart():
    given = {"noise": "none", "noise_channels": 64, "lambda_labelmix": 0.0, "consistency": "cutmix"}
    previous = make_config(**given)
    assert resume(previous, **given) == previous
    with pytest.raises(ValueError, match="--noise_channels=64 against 0"):
        resume(previous, noise_channels=64)


def test_crops_that_are_multiples():
    for size in (64, 128, 192, 512):
        assert make_config(crop_width=size).data.crop_width == size
    small = make_config(
        crop_height=4, crop_width=8, generator_widths=(2, 2, 1), discriminator_widths=(1, 2)
    )
    assert (small.model.generator_stride, small.model.discriminator_stride) == (2, 4)


# === Resolving ===


@pytest.mark.parametrize(
    ("dataset", "crop", "resize"),
    [
        ("ade20k", 256, 286),
        ("ade_outdoors", 256, 286),
        ("coco_stuff", 256, 286),
        ("lvis", 128, 143),
        ("ade20k", 128, 128),
        ("lvis", 256, 256),
        ("cityscapes", 256, 256),
        ("shapes", 256, 256),
    ],
)
def test_resize_without_flags(dataset, crop, resize):
    label_space = published_label_space(dataset)
    data = make_config(label_space, crop_height=crop, crop_width=crop).data
    assert (data.resize_height, data.resize_width) == (resize, resize)


def test_resize_with_flags_and_of_a_folder():
    data = make_config(published_label_space("ade20k"), resize_height=300, resize_width=320).data
    assert (data.resize_height, data.resize_width) == (300, 320)
    data = make_config(folder_label_space(5), crop_height=64, crop_width=128).data
    assert (data.resize_height, data.resize_width) == (64, 128)


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 10**5), st.integers(1, 64))
def test_epochs_become_steps(epochs, num_examples, batch_size):
    config = make_config(num_examples=num_examples, epochs=epochs, batch_size=batch_size)
    steps = config.training.steps
    assert (steps - 1) * batch_size < epochs * num_examples <= steps * batch_size


def test_steps_override_the_default_epochs():
    assert make_config(steps=7).training.steps == 7


def test_no_training_images():
    with pytest.raises(ValueError, match="must have at least 1 training image"):
        make_config(num_examples=0)


def test_data_dir_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert make_config(data_dir="x/../y").data.data_dir == str(tmp_path / "y")
    assert make_config(data_dir="~/y").data.data_dir == "/home/someone/y"
    with pytest.raises(ValueError, match="`data_dir` must be given"):
        run_settings.resolve({}, label_space=SHAPES, num_examples=1)


def test_steps_and_epochs_exclude_each_other():
    with pytest.raises(ValueError, match="Only one of --steps and --epochs.*--steps=3 --epochs=2"):
        parse("--steps=3", "--epochs=2")
    values = flags.FlagValues()
    setting_flags.define_train_flags(Config, values)
    values(["train", "--epochs=2", "--steps=3"])  # expanded from the command lines below
    assert setting_flags.given_flags(Config, values, ["--flagfile=x", "--steps=3"]) == {"steps": 3}
    assert setting_flags.given_flags(Config, values, ["--flagfile", "x", "--epochs", "2"]) == {
        "epochs": 2
    }
    with pytest.raises(ValueError, match="Only one of"):
        setting_flags.given_flags(Config, values, ["--flagfile=x"])


def test_widths_flag_refuses_words():
    with pytest.raises(flags.IllegalFlagValueError, match="generator_widths=1,a.*2,2,4"):
        parse("--generator_widths=1,a")


# === Restart ===


def resume(previous, label_space=SHAPES, **given):
    return run_settings.resolve(given, label_space=label_space, num_examples=100, previous=previous)


PREVIOUS = make_config(batch_size=4, crop_height=64, crop_width=128, steps=50, seed=9)


def test_restart_without_flags_keeps_all_settings():
    assert resume(PREVIOUS) == PREVIOUS


def test_restart_may_repeat_flags():
    assert resume(PREVIOUS, batch_size=4, seed=9, steps=60).training.steps == 60


@pytest.mark.parametrize(
    "free",
    [
        {"steps": 60},
        {"log_every": 7},
        {"image_every": 7},
        {"checkpoint_every": 7},
        {"keep_every": 0},
        {"max_to_keep": 7},
        {"strategy": "mirrored"},
        {"jit_compile": True},
        {"modulation": "dense"},
        {"deterministic": True},
    ],
)
def test_restart_may_change(free):
    resumed = resume(PREVIOUS, **free)
    assert resumed.training == dataclasses.replace(PREVIOUS.training, **free)
    assert (resumed.model, resumed.data) == (PREVIOUS.model, PREVIOUS.data)


def test_restart_may_move_the_data_and_count_in_epochs():
    assert resume(PREVIOUS, data_dir="/moved").data.data_dir == "/moved"
    assert resume(PREVIOUS, epochs=3).training.steps == 75


def test_restart_may_switch_skipping_of_corrupt_records():
    assert not PREVIOUS.data.skip_corrupt
    skipping = resume(PREVIOUS, skip_corrupt=True)
    assert skipping.data == dataclasses.replace(PREVIOUS.data, skip_corrupt=True)
    assert resume(skipping, skip_corrupt=False) == PREVIOUS


FIXED = {
    "noise_channels": 8,
    "generator": "spade",
    "upsampling": "more",
    "noise": "mix",
    "encoder": "noise",
    "latent_channels": 8,
    "encoder_channels": 8,
    "encoder_size": 64,
    "discriminator": "patch",
    "label_encoding": "concat",
    "patch_layers": 3,
    "consistency": "cutmix",
    "labelmix_bits": "image",
    "lambda_feature_matching": 10.0,
    "lambda_vgg": 10.0,
    "lambda_kld": 1.0,
    "generator_channels": 8,
    "discriminator_channels": 8,
    "spade_channels": 8,
    "generator_widths": (2, 2, 1),
    "discriminator_widths": (2, 2),
    "crop_height": 128,
    "crop_width": 64,
    "resize_height": 100,
    "resize_width": 200,
    "flip": False,
    "batch_size": 8,
    "lr_g": 1e-3,
    "lr_d": 1e-3,
    "beta_1": 0.5,
    "beta_2": 0.9,
    "init_gain": 0.4,
    "lambda_labelmix": 5.0,
    "ema_decay": 0.9,
    "ema_warmup": True,
    "augmentation": "basic",
    "prob_augm": 0.5,
    "adaptive_augm": True,
    "augm_target": 0.5,
    "augm_images": 1000,
    "seed": 1,
    "mixed_precision": "bfloat16",
    "statistics_batches": 5,
    "init_from": "/elsewhere",
    "init_classes": "none",
}


@pytest.mark.parametrize("name", FIXED)
def test_restart_may_not_change(name):
    with pytest.raises(ValueError, match=f"--{name}=.* against .*") as error:
        resume(PREVIOUS, **{name: FIXED[name]})
    assert "use another --model_dir" in str(error.value)
    assert str(error.value).count(" against ") == 2  # the heading and this setting


def test_restart_lists_all_contradictions_with_both_values():
    with pytest.raises(ValueError) as error:
        resume(PREVIOUS, **FIXED)
    message = str(error.value)
    assert all(f"--{name}=" in message for name in FIXED)
    assert "--batch_size=8 against 4" in message
    assert "--flip=false against true" in message
    assert "--generator_widths=2,2,1 against 16,16,16,8,4,2,1" in message


def test_every_setting_is_either_free_or_fixed():
    free = {"data_dir", "steps", "log_every", "image_every", "checkpoint_every", "keep_every"}
    free |= {"max_to_keep", "strategy", "jit_compile", "epochs", "model_dir", "dry_run"}
    free |= {"skip_corrupt", "modulation", "remat", "chunk_logits", "vgg19"}
    free |= {"deterministic"}
    free |= {"eval_every", "eval_metrics", "eval_train_images", "best_metric", "log_to"}
    free |= {field.name for field in dataclasses.fields(EvaluationConfig)}
    values = flags.FlagValues()
    setting_flags.define_train_flags(Config, values)
    assert set(FIXED) | free == set(values)


def test_restart_with_other_data_is_refused():
    with pytest.raises(ValueError, match='`dataset` of the data set, "folder" against "shapes"'):
        resume(PREVIOUS, folder_label_space(12))
    other = dataclasses.replace(SHAPES, class_names=("x", *SHAPES.class_names[1:]))
    with pytest.raises(ValueError, match="`class_names` of the data set") as error:
        resume(PREVIOUS, other)
    assert "use its data set" in str(error.value)
