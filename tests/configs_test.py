"""Every shipped flagfile resolves to its column of the published settings."""

import pytest
from absl import flags

from oasis_tf import commandline, resolving, setting_flags
from oasis_tf.data.datasets import published_label_space

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
    values = flags.FlagValues()
    setting_flags.define_flags(values)
    values(["train", *commandline.expand_flagfiles(arguments)])
    return resolving.resolve(
        {"data_dir": "data"} | setting_flags.given_flags(values, arguments),
        label_space=published_label_space(dataset),
        num_examples=num_examples,
    )


def test_the_table_covers_every_shipped_flagfile():
    assert {f"{name}.flags" for name in TABLE} | {"quickstart.flags"} == set(
        commandline.shipped_configs()
    )


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


def test_quickstart():
    resolved = resolve("--flagfile=quickstart.flags")
    model, data = resolved.model, resolved.data
    assert (data.crop_height, data.crop_width, data.resize_height, data.resize_width) == (64,) * 4
    assert model.num_classes == 12
    assert (model.generator_widths, model.discriminator_widths) == WIDTHS


def test_flags_behind_a_flagfile_overrule_it():
    assert resolve("--flagfile=ade.flags", "--lr_g=0.5").training.lr_g == 0.5
    assert resolve("--flagfile=ade.flags", "--steps=7").training.steps == 7
    assert resolve("--flagfile=quickstart.flags", "--epochs=2").training.steps == 500


@pytest.mark.parametrize("path", commandline.shipped_configs().values(), ids=lambda path: path.name)
def test_every_flagfile_opens_with_paper_command_hardware_and_score(path):
    lines = path.read_text().splitlines()
    heading = " ".join(line.lstrip("# ") for line in lines[: lines.index("")])
    assert all(line.startswith("# ") for line in lines[: lines.index("")])
    for part in ("Paper: ", "Data: python -m oasis_tf.prepare --dataset=", "Hardware: ", "score: "):
        assert part in heading
    assert f"Command: python -m oasis_tf.train --flagfile={path.name} --data_dir=" in heading


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
