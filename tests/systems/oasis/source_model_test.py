"""The model that a run starts from: what its configuration gives, and what is refused."""

import dataclasses
import os

import numpy as np
import pytest

from oasis_tf.data.datasets import folder_label_space, published_label_space
from oasis_tf.systems.oasis import run_settings
from oasis_tf.systems.oasis.config import Config, DataConfig, ModelConfig, TrainingConfig
from oasis_tf.systems.oasis.source_model import SourceModel
from oasis_tf.training.store import CheckpointStore

SPACE = folder_label_space(4, 255, ["tree", "car", "Sky"])
NARROW = {
    "noise_channels": 4,
    "generator_channels": 2,
    "spade_channels": 4,
    "generator_widths": (2, 2, 1),
    "discriminator_channels": 1,
    "discriminator_widths": (2, 2),
}


def source(**settings):
    model = ModelConfig(num_classes=4, has_unknown=True, **NARROW | settings)
    data = DataConfig(data_dir="there", crop_height=64, crop_width=64)
    config = Config(model=model, data=data, training=TrainingConfig(steps=9), label_space=SPACE)
    return SourceModel("MODEL", config, 9)


def started(other, **given):
    given = {"data_dir": "data", "init_from": "/MODEL"} | given
    space = published_label_space("shapes")
    return run_settings.resolve(given, label_space=space, num_examples=9, source=other)


def test_sizes_that_are_not_given_are_those_of_the_other_model():
    config = started(source(noise="region"), lr_g=1e-3)
    assert {name: getattr(config.model, name) for name in NARROW} == NARROW
    assert (config.model.num_classes, config.model.noise) == (12, "region")
    assert config.training.init_from == "/MODEL" and config.training.init_step == 9
    again = run_settings.resolve(
        {"init_from": "/MODEL"},
        label_space=config.label_space,
        num_examples=9,
        previous=config,
    )
    assert again == config
    assert Config.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("settings", "given"),
    [
        ({}, {"label_encoding": "n_plus_1", "noise": "mix"}),
        ({"has_discriminator": False}, {"discriminator": "patch", "discriminator_channels": 8}),
        ({}, {"encoder": "noise", "latent_channels": 4, "encoder_size": 64}),
        ({"encoder": "noise", "latent_channels": 4}, {"encoder": "none"}),
        ({"encoder": "noise", "encoder_size": 64}, {}),
        ({"noise": "none"}, {}),
        ({"generator": "spade", "generator_widths": (2, 2, 2, 1), "upsampling": "more"}, {}),
    ],
)
def test_what_weights_do_not_depend_on_is_free(settings, given):
    config = started(source(**settings), **given)
    assert given.items() <= dataclasses.asdict(config.model).items()


@pytest.mark.parametrize(
    ("settings", "given", "message"),
    [
        (
            {},
            {"generator_channels": 64, "discriminator_widths": (1, 2)},
            "from=MODEL.*generator_channels=64 against 2\n.*discriminator_widths=1,2 against 2,2",
        ),
        ({}, {"noise_channels": 8}, "noise and latent together=8 against 4"),
        ({}, {"noise": "none"}, "noise and latent together=0 against 4"),
        ({"noise": "none"}, {"noise_channels": 4}, "noise and latent together=4 against 0"),
        ({}, {"discriminator": "patch"}, "discriminator=patch against oasis"),
        ({}, {"label_encoding": "concat"}, "label_encoding=concat against n_plus_1"),
        ({}, {"encoder": "beside_noise"}, "noise and latent together=8 against 4"),
        (
            {"encoder": "stem", "noise": "none", "latent_channels": 4},
            {"crop_height": 128, "crop_width": 64},
            "start of the generator=a latent, for 128x64 against a latent, for 64x64",
        ),
        (
            {"encoder": "noise", "latent_channels": 4},
            {"encoder_size": 64},
            "encoder_size=64 against 256",
        ),
    ],
)
def test_other_sizes_are_refused_with_both_values(settings, given, message):
    with pytest.raises(ValueError, match=f"(?s){message}.*Leave these flags out"):
        started(source(**settings), **given)


def test_which_classes_need_a_model():
    with pytest.raises(ValueError, match="init_classes=none, init_from=None. Give --init_from"):
        run_settings.resolve(
            {"data_dir": "data", "init_classes": "none"}, label_space=SPACE, num_examples=9
        )


def test_what_is_carried_over_is_said():
    config = started(source(has_discriminator=False))
    assert source().sources(config) == [3, *[None] * 7, 1, *[None] * 3]
    assert source(has_discriminator=False).report(config) == (
        "Starting from step 9 of MODEL. Carried over by name: 2 classes (sky, tree) of 12. Drawn: "
        "the discriminator, what belongs to 10 classes (hill, grass, water, road, wall, roof, "
        "window, sun, boat, balloon)."
    )
    config = started(source(), init_classes="none", encoder="noise", latent_channels=4)
    assert source().sources(config) == [None] * 12
    assert "name: 0 classes of 12. Drawn: the encoder, what" in source().report(config)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    path = str(tmp_path / "MODEL")
    with pytest.raises(FileNotFoundError, match=f"--init_from={path}: .* not a model directory"):
        SourceModel.find(path)
    source().config.save(path)
    with pytest.raises(FileNotFoundError, match=f"--init_from={path}: .* has no checkpoint yet"):
        SourceModel.find(path)
    store = CheckpointStore(path)
    for step in (3, 5):
        store.save(step, {"step": np.int64(step)}, {})
    assert SourceModel.find(path) == SourceModel(path, source().config, 5)
    os.truncate(os.path.join(store.path(5), "training.npz"), 100)
    assert SourceModel.find(path).step == 3
    with pytest.raises(ValueError, match=f"--init_from={path}: .*step_00000005 is damaged"):
        SourceModel.find(path, 5)
    contents = {"format_version": 1, "system": "one_shot"}
    (tmp_path / "MODEL" / "config.json").write_text(str(contents).replace("'", '"'))
    with pytest.raises(ValueError, match="--init_from=.* the system oasis. Received: .*one_shot"):
        SourceModel.find(path)
