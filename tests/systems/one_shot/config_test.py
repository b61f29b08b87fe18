"""The configuration: flags, what the pictures decide, restarts, flagfiles."""

import pytest

from oasis_tf.cli import flagfiles
from oasis_tf.settings import setting_flags
from oasis_tf.systems.one_shot import run_settings
from oasis_tf.systems.one_shot.config import Config
from oasis_tf.systems.one_shot.source import Source

DATA = {"data_dir": "picture.png"}


def resolve(*arguments, source=None, previous=None, **given):
    values = setting_flags.read_train_flags(Config, flagfiles.expand_flagfiles(arguments))
    found = setting_flags.given_flags(Config, values, arguments)
    return run_settings.resolve(
        DATA | found | given, source=source or Source(1, 480, 854, digest="a"), previous=previous
    )


def test_the_releases_defaults():
    config = resolve()
    model, training = config.model, config.training
    assert (model.height, model.width, model.num_classes) == (512, 896, 0)
    assert (model.ch_g, model.ch_d, model.noise_dim) == (32, 32, 64)
    assert (training.steps, training.batch_size, training.seed) == (100_000, 5, 22)
    assert (training.lr_g, training.lr_d, training.ema_decay) == (2e-4, 2e-4, 0.9999)
    assert (training.beta_1, training.beta_2) == (0.5, 0.999)
    assert (training.lambda_dr, training.prob_fa_con, training.prob_fa_lay) == (0.15, 0.4, 0.4)
    assert (training.augmentation, training.prob_augm) == ("reduced", 0.7)
    assert training.bernoulli_warmup == 15000


def test_widths():
    config = resolve("--max_size=330")
    assert config.model.generator_widths == (256, 256, 256, 256, 256, 128, 64, 32)
    assert config.model.discriminator_widths == (32, 64, 128, 256, 256, 256, 256, 256)
    assert config.model.content_channels == (256, 256, 256, 256, 256)
    masked = resolve("--max_size=640", "--num_blocks_d0=4", source=Source(1, 384, 640, 2))
    assert (masked.model.blocks_g, masked.model.blocks_d, masked.model.blocks_d0) == (8, 7, 4)
    assert masked.model.content_channels == (256, 512, 512, 256)


def test_a_restart_keeps_what_the_pictures_decided():
    first = resolve("--max_size=330")
    again = resolve("--steps=7", previous=first)
    assert again.model == first.model and again.training.steps == 7
    assert Config.from_json(first.to_json()) == first
    with pytest.raises(ValueError, match="--ch_g=16 against 32"):
        resolve("--ch_g=16", previous=first)
    with pytest.raises(ValueError, match="`height` of the data set, 100 against 480"):
        resolve(source=Source(1, 100, 150, digest="b"), previous=first)


def test_flagfiles():
    picture = resolve("--flagfile=one_shot.flags")
    assert (picture.model.height, picture.model.width) == (192, 320)
    assert picture.training.steps == 100_000
    video = resolve("--flagfile=one_shot_video.flags", source=Source(60, 480, 854))
    assert (video.model.width, video.training.steps) == (320, 300_000)
    osmis = resolve("--flagfile=osmis.flags", source=Source(1, 480, 854, 2))
    assert (osmis.model.height, osmis.model.width) == (384, 640)
    assert (osmis.model.blocks_d, osmis.model.blocks_d0) == (7, 4)
    assert (osmis.training.augmentation, osmis.training.prob_augm) == ("full", 0.3)
    paper = resolve("--flagfile=one_shot_paper.flags")
    assert (paper.model.latent, paper.model.layout_squeeze) == ("broadcast", "conv")
    assert (paper.training.loss_weights, paper.training.dr_norm) == ("paper", "paper")
    quick = resolve("--flagfile=one_shot_quick.flags", source=Source(1, 400, 600))
    assert max(quick.model.height, quick.model.width) <= 112


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--prob_augm=1.5"], "`prob_augm` must be at most 1"),
        (["--batch_size=1"], "`batch_size` must be at least 2"),
        (["--num_blocks_g=10"], "`num_blocks_g` must be less than 10"),
        (["--nocontent_branch"], "`mask_supervision=attention` works in the content branch"),
    ],
)
def test_what_is_refused(flags, message):
    with pytest.raises(ValueError, match=message):
        resolve(*flags, source=Source(1, 480, 854, 3))


def test_data_dir_must_be_given():
    with pytest.raises(ValueError, match="--data_dir=PICTURE"):
        run_settings.resolve_run({}, None)


NO_BRANCHES = {"content_branch": False, "layout_branch": False}
PARTS = {
    "no_layout": {"layout_branch": False},
    "no_content": {"content_branch": False},
    "no_branches": NO_BRANCHES,
    "no_dr": {"diversity": "none"},
    "no_fa": {"prob_fa_con": 0.0, "prob_fa_lay": 0.0},
    "no_low_level": {"low_level_loss": False},
    **{f"low_{k}": {"num_blocks_d": 7, "num_blocks_d0": k} for k in (1, 2, 4, 5, 6)},
}
# Rows of the dissertation's tables 5.3 to 5.6, 6.3 and 6.4: base, and what differs from it.
ABLATIONS = {
    **{f"one_shot_{name}": ("one_shot", changes) for name, changes in PARTS.items()},
    **{f"one_shot_video_{name}": ("one_shot_video", changes) for name, changes in PARTS.items()},
    "one_shot_zcr": ("one_shot", {"diversity": "zcr"}),
    "one_shot_ds": ("one_shot", {"diversity": "ds"}),
    "one_shot_dr_images": ("one_shot", {"diversity": "images"}),
    "one_shot_lambda_0_05": ("one_shot", {"lambda_dr": 0.05}),
    "one_shot_lambda_0_5": ("one_shot", {"lambda_dr": 0.5}),
    **{f"one_shot_pictures_{n}": ("one_shot", {"num_pictures": n}) for n in (1, 5)},
    "osmis_none": ("osmis", {"masks": False}),
    **{
        f"osmis_{kind}": ("osmis", {"mask_supervision": kind})
        for kind in ("projection", "concat", "discriminator")
    },
    **{f"osmis_low_{k}": ("osmis", {"num_blocks_d0": k}) for k in (1, 2, 3, 5)},
}


def test_every_ablation_is_listed():
    shipped = (name.removesuffix(".flags") for name in flagfiles.shipped_configs())
    own = {name for name in shipped if name.startswith(("ablations/one_shot", "ablations/osmis"))}
    assert own == {f"ablations/{name}" for name in ABLATIONS}


@pytest.mark.parametrize("name", ABLATIONS)
def test_ablations_differ_in_their_own_settings_alone(name):
    base, changes = ABLATIONS[name]
    classes = 2 if base == "osmis" and changes.get("masks", True) else 0
    source = Source(1, 384, 640, classes, digest="a")
    found = resolve(f"--flagfile=ablations/{name}.flags", source=source)
    plain = resolve(f"--flagfile={base}.flags", source=source)
    # What follows from the number of blocks.
    derived = {"blocks_d", "blocks_d0"} if "num_blocks_d0" in changes else set()
    for section in ("model", "data", "training"):
        values, others = (vars(getattr(config, section)) for config in (found, plain))
        different = {key for key in values if values[key] != others[key]}
        assert different <= set(changes) | derived
        assert all(values[key] == value for key, value in changes.items() if key in values)
