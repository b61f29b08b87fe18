"""Every shipped flagfile resolves to the published settings."""

import pytest
from absl import flags

from oasis_tf.cli import flagfiles
from oasis_tf.data.datasets import published_label_space
from oasis_tf.settings import setting_flags
from oasis_tf.systems.oasis import run_settings
from oasis_tf.systems.oasis.config import Config

# dataset, classes, crop, resize, batch, epochs (None: steps), lr_g, lr_d, LabelMix, EMA
TABLE = {
    "ade": ("ade20k", 151, (256, 256), (286, 286), 32, 200, 1e-4, 4e-4, 10, 0.9999),
    "ade_paper": ("ade20k", 151, (256, 256), (286, 286), 32, 200, 1e-4, 4e-4, 5, 0.9999),
    "ade_outdoors": ("ade_outdoors", 151, (256, 256), (286, 286), 32, 200, 1e-4, 4e-4, 5, 0.9999),
    "coco_stuff": ("coco_stuff", 183, (256, 256), (286, 286), 32, 100, 1e-4, 4e-4, 10, 0.9999),
    "cityscapes": ("cityscapes", 35, (256, 512), (256, 512), 20, 200, 4e-4, 4e-4, 5, 0.999),
    "cityscapes_paper": ("cityscapes", 35, (256, 512), (256, 512), 20, 200, 1e-4, 4e-4, 5, 0.9999),
    "lvis": ("lvis", 1204, (128, 128), (143, 143), 32, 100, 1e-4, 4e-4, 10, 0.9999),
}
WIDTHS = ((16, 16, 16, 8, 4, 2, 1), (2, 2, 4, 4, 8, 8))


def resolve(*arguments, dataset="shapes", num_examples=1000):
    values = setting_flags.read_train_flags(Config, flagfiles.expand_flagfiles(arguments))
    return run_settings.resolve(
        {"data_dir": "data"} | setting_flags.given_flags(Config, values, arguments),
        label_space=published_label_space(dataset),
        num_examples=num_examples,
    )


# Every shipped ablation: its base in the table above, then its generator, encoder, noise,
# discriminator, label encoding, consistency, and weights of the VGG and feature matching losses.
SPADE = ("spade", "none", "none", "ms_patch", "concat", "none")
OASIS = ("oasis", "none", "image", "oasis", "balanced", "labelmix")
PLAIN = ("oasis", "none", "none", "oasis", "balanced", "none")
ABLATIONS = {
    **{
        f"spade_plus_{base}{vgg}": (base, *SPADE, weight, 0)
        for base in ("ade", "ade_outdoors", "cityscapes", "coco_stuff")
        for vgg, weight in (("", 0), ("_vgg", 10))
    },
    **{
        f"spade_{base}": (base, *SPADE, 10, 10)
        for base in ("ade", "ade_outdoors", "cityscapes", "coco_stuff")
    },
    "spade_plus_lvis": ("lvis", *SPADE, 0, 0),
    "spade_plus_encoder_ade_vgg": ("ade", "spade", "stem", *SPADE[2:], 10, 0),
    "spade_plus_noise_ade": ("ade", "spade", "none", "image", *SPADE[3:], 0, 0),
    "spade_plus_noise_ade_vgg": ("ade", "spade", "none", "image", *SPADE[3:], 10, 0),
    **{
        f"spade_plus_{base}{vgg}_fm": (base, *SPADE, weight, 10)
        for base in ("ade", "cityscapes")
        for vgg, weight in (("", 0), ("_vgg", 10))
    },
    "spade_plus_generator_ade": ("ade", "spade", *PLAIN[1:], 0, 0),
    "oasis_ade_vgg": ("ade", *OASIS, 10, 0),
    "oasis_plain_ade": ("ade", *PLAIN, 0, 0),
    "oasis_plain_ade_vgg": ("ade", *PLAIN, 10, 0),
    "oasis_labelmix_ade": ("ade", *PLAIN[:5], "labelmix", 0, 0),
    "oasis_noise_ade": ("ade", *OASIS[:5], "none", 0, 0),
    "oasis_plain_cityscapes": ("cityscapes", *PLAIN, 0, 0),
    "oasis_noise_cityscapes": ("cityscapes", *OASIS[:5], "none", 0, 0),
    "oasis_cityscapes_vgg": ("cityscapes", *OASIS, 10, 0),
    "oasis_cityscapes_fm": ("cityscapes", *OASIS, 0, 10),
    "oasis_cityscapes_vgg_fm": ("cityscapes", *OASIS, 10, 10),
    "cutmix_cityscapes": ("cityscapes", *OASIS[:5], "cutmix", 0, 0),
    "two_discriminators_cityscapes": (
        *("cityscapes", *OASIS[:3], "oasis_x2", *OASIS[4:]),
        *(0, 0),
    ),
    "oasis_labelmix_coco_stuff": ("coco_stuff", *PLAIN[:5], "labelmix", 0, 0),
    "oasis_labelmix_coco_stuff_vgg": ("coco_stuff", *PLAIN[:5], "labelmix", 10, 0),
    **{
        f"discriminator_{kind}_ade{vgg}": ("ade", *PLAIN[:3], kind, "concat", "none", weight, 0)
        for kind in ("ms_patch", "patch", "resnet_patch")
        for vgg, weight in (("", 0), ("_vgg", 10))
    },
    **{
        f"encoding_{kind}_ade{vgg}": ("ade", *PLAIN[:4], kind, "none", weight, 0)
        for kind in ("concat", "projection", "n_plus_1")
        for vgg, weight in (("", 0), ("_vgg", 10))
    },
    **{
        f"noise_{kind}_{base}": (base, *OASIS[:2], kind, *OASIS[3:], 0, 0)
        for kind in ("region", "pixel", "mix")
        for base in ("ade", "cityscapes")
    },
}
SYSTEMS = ("one_shot", "osmis", "few_shot", "stylegan2", "biggan")
# Those of other systems; their own tests resolve them.
OTHERS = {
    name.removesuffix(".flags")
    for name in flagfiles.shipped_configs()
    if name.removeprefix("ablations/").startswith(
        ("one_shot", "osmis", "few_shot", "stylegan2", "biggan")
    )
}
BASES = {"ade": "ade_paper", "cityscapes": "cityscapes_paper"}


def test_the_tables_cover_every_shipped_flagfile():
    names = {*TABLE, *OTHERS, "quickstart", *(f"ablations/{name}" for name in ABLATIONS)}
    assert {f"{name}.flags" for name in names} == set(flagfiles.shipped_configs())


@pytest.mark.parametrize("name", TABLE)
def test_published_settings(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dataset, classes, crop, resize, batch, epochs, lr_g, lr_d, labelmix, ema = TABLE[name]
    resolved = resolve(f"--flagfile={name}.flags", dataset=dataset, num_examples=batch * 100)
    model, data, training = resolved.model, resolved.data, resolved.training
    assert model.num_classes == classes
    assert model.has_unknown == (dataset != "lvis")
    assert (data.crop_height, data.crop_width) == crop
    assert (data.resize_height, data.resize_width) == resize
    assert data.flip
    assert (training.batch_size, training.steps) == (batch, epochs * 100)
    assert (training.lr_g, training.lr_d) == (lr_g, lr_d)
    assert (training.beta_1, training.beta_2) == (0.0, 0.999)
    assert (training.lambda_labelmix, training.ema_decay) == (labelmix, ema)
    assert (model.generator_channels, model.discriminator_channels) == (64, 64)
    assert (model.noise_channels, model.spade_channels) == (64, 128)
    assert (model.generator_widths, model.discriminator_widths) == WIDTHS
    assert training.mixed_precision == "none"
    assert training.eval_every == (2500 if dataset == "cityscapes" else 5000)
    assert training.eval_metrics == "fid"


def chosen(config):
    model, training = config.model, config.training
    return (
        *(model.generator, model.encoder, model.noise, model.discriminator, model.label_encoding),
        *(training.consistency, training.lambda_vgg, training.lambda_feature_matching),
    )


@pytest.mark.parametrize("name", ABLATIONS)
def test_ablations(name):
    base, *wanted = ABLATIONS[name]
    base = BASES.get(base, base)
    how = {"dataset": TABLE[base][0], "num_examples": 3200}
    arguments = [f"--flagfile=ablations/{name}.flags"]
    if wanted[-2]:
        with pytest.raises(ValueError, match=r"`lambda_vgg` needs the weights of VGG-19.*--vgg19"):
            resolve(*arguments, **how)
        arguments.append("--vgg19=vgg19.pth")
    config, plain = resolve(*arguments, **how), resolve(f"--flagfile={base}.flags", **how)
    assert chosen(config) == tuple(wanted)
    upsampling = "more" if wanted[0] == "spade" and "cityscapes" in base else "normal"
    assert config.model.upsampling == upsampling
    assert (config.model.generator_stride, config.model.vector_channels) == (
        64 if upsampling == "more" else 32,
        {"stem": 256}.get(wanted[1], 0 if wanted[2] == "none" else 64),
    )
    original = name.startswith("spade_") and "plus" not in name
    average, beta_2 = (0.0, 0.9) if original else (0.9999, 0.999)
    assert (config.training.ema_decay, config.training.beta_2) == (average, beta_2)
    assert (config.training.lr_g, config.training.lr_d) == (1e-4, 4e-4)
    assert config.data == plain.data
    for setting in ("batch_size", "steps", "lambda_labelmix"):
        assert getattr(config.training, setting) == getattr(plain.training, setting)


def test_a_run_of_an_ablation_continues_with_the_same_flags():
    for name in (
        "spade_plus_ade",
        "noise_mix_ade",
        "spade_plus_encoder_ade_vgg",
        "cutmix_cityscapes",
    ):
        arguments = [f"--flagfile={name}.flags", "--vgg19=vgg19.pth"]
        values = setting_flags.read_train_flags(Config, flagfiles.expand_flagfiles(arguments))
        given = {"data_dir": "data"} | setting_flags.given_flags(Config, values, arguments)
        space = published_label_space("cityscapes" if "cityscapes" in name else "ade20k")
        how = {"label_space": space, "num_examples": 100}
        first = run_settings.resolve(given, **how)
        assert run_settings.resolve(given, previous=first, **how) == first


def test_quickstart():
    resolved = resolve("--flagfile=quickstart.flags")
    model, data = resolved.model, resolved.data
    assert (data.crop_height, data.crop_width, data.resize_height, data.resize_width) == (64,) * 4
    assert model.num_classes == 12
    assert (model.generator_widths, model.discriminator_widths) == WIDTHS


def test_flags_after_a_flagfile_override_it():
    assert resolve("--flagfile=ade.flags", "--lr_g=0.5").training.lr_g == 0.5
    assert resolve("--flagfile=ade.flags", "--steps=7").training.steps == 7
    assert resolve("--flagfile=quickstart.flags", "--epochs=2").training.steps == 500


@pytest.mark.parametrize("name", flagfiles.shipped_configs())
def test_every_flagfile_starts_with_paper_command_hardware_and_score(name):
    lines = flagfiles.shipped_configs()[name].read_text().splitlines()
    heading = " ".join(line.lstrip("# ") for line in lines[: lines.index("")])
    assert all(line.startswith("# ") for line in lines[: lines.index("")])
    data = "" if name.removesuffix(".flags") in OTHERS else "python -m oasis_tf.prepare --dataset="
    for part in ("Paper: ", f"Data: {data}", "Hardware: ", "score: "):
        assert part in heading
    assert f"Command: python -m oasis_tf.train --flagfile={name} --data_dir=" in heading
    assert ("--vgg19=" in heading) == ("--lambda_vgg=10" in lines)


@pytest.mark.parametrize(
    ("broken", "error", "message"),
    [
        ("--lr_generator=1e-4", flags.UnrecognizedFlagError, "lr_generator"),
        ("--batch_size=32 # as in the paper", flags.IllegalFlagValueError, "batch_size"),
        ("--crop_height=250", ValueError, "Nearest valid: 192 or 256"),
        ("--steps=5", ValueError, "Only one of --steps and --epochs"),
        ("batch_size=32", ValueError, r"broken\.flags, line 2"),
    ],
)
def test_a_broken_flagfile_fails(tmp_path, broken, error, message):
    path = tmp_path / "broken.flags"
    path.write_text(f"--flagfile=ade.flags\n{broken}\n")
    with pytest.raises(error, match=message):
        resolve(f"--flagfile={path}", dataset="ade20k")
