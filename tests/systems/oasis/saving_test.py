"""A model directory of a model that was made and trained in Python."""

import numpy as np
import pytest

import oasis_tf
from oasis_tf import OASIS
from oasis_tf.data.datasets import folder_label_space
from oasis_tf.systems.oasis.build import build_for_training, state_variables
from oasis_tf.systems.oasis.config import Config
from oasis_tf.systems.oasis.models import (
    Discriminator,
    Encoder,
    Generator,
    MultiScale,
    PatchDiscriminator,
)
from oasis_tf.systems.oasis.objectives import HingeObjective, SegmentationObjective
from oasis_tf.systems.oasis.saving import config_of
from oasis_tf.training.optimizer import Adam
from oasis_tf.training.store import CheckpointStore, assign_all

SPACE = folder_label_space(4, 255, ["sky", "tree", "road"])


def generator(noise_channels=3, **options):
    return Generator(4, noise_channels, 1, 4, **{"widths": (2, 2, 1)} | options)


def unet(name=None, **options):
    return Discriminator(4, 1, widths=(2, 2), name=name, **options)


def make_model(**options):
    model = OASIS(
        generator(), unet(), has_unknown=True, ema_decay=0.5, label_space=SPACE, **options
    )
    model.compile(Adam(1e-3), Adam(2e-3), run_eagerly=True)
    return model


def test_a_fitted_model_becomes_a_model_directory(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (2, 16, 24, 3)).astype(np.uint8)
    label_map = rng.integers(0, 4, (2, 16, 24)).astype(np.int32)
    model = make_model()
    model.fit(image, label_map, verbose=0)
    path = tmp_path / "deep" / "MODEL"
    model.save_model_dir(path)
    again = oasis_tf.load(path)
    np.testing.assert_array_equal(again(label_map), model(label_map))
    np.testing.assert_array_equal(again.class_logits(image), model.class_logits(image))
    assert again.label_space == SPACE and int(again.step.numpy()) == 1
    config = Config.load(path)
    assert (config.data.crop_height, config.data.crop_width) == (16, 24)
    assert (config.training.lr_d, config.training.ema_decay) == (pytest.approx(2e-3), 0.5)

    # `train` finds all that it continues from, the state of the optimizers too.
    _, arrays = CheckpointStore(path).load()
    trained = build_for_training(config)
    assign_all(state_variables(trained), arrays, path)
    pairs = zip(
        trained.discriminator_optimizer.variables,
        model.discriminator_optimizer.variables,
        strict=True,
    )
    for mine, its in pairs:
        np.testing.assert_array_equal(mine.numpy(), its.numpy())

    with pytest.raises(FileExistsError, match="must be new or empty"):
        model.save_model_dir(path)
    again.save_model_dir(tmp_path / "again")
    assert Config.load(tmp_path / "again") == config


def test_without_a_label_space_raw_ids_are_model_ids(tmp_path):
    model = OASIS(generator(0), None, has_unknown=True)
    model.save_model_dir(tmp_path / "MODEL", height=32, width=64)
    again = oasis_tf.load(tmp_path / "MODEL")
    assert again.label_space.raw_ids == (0, 1, 2, 3) and again.discriminator is None
    assert again.config.data.crop_width == 64


def patches(name=None):
    return PatchDiscriminator(4, 2, 2, name=name)


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (
            lambda: OASIS(
                generator(widths=(2, 2, 2, 2, 1), upsamples=(False, True, False, True)),
                MultiScale([unet("scale_0"), unet("scale_1")]),
                has_unknown=True,
                objective=SegmentationObjective(4, True, balanced=False),
                noise="mix",
            ),
            {
                "generator": "spade",
                "discriminator": "oasis_x2",
                "label_encoding": "n_plus_1",
                "noise": "mix",
            },
        ),
        (
            lambda: OASIS(
                generator(5),
                MultiScale([patches("scale_0"), patches("scale_1")]),
                has_unknown=False,
                objective=HingeObjective(),
                consistency="none",
                encoder=Encoder(2, 2, 8),
                lambda_feature_matching=10.0,
            ),
            {
                "discriminator": "ms_patch",
                "encoder": "beside_noise",
                "noise_channels": 3,
                "latent_channels": 2,
                "patch_layers": 2,
            },
        ),
        (
            lambda: OASIS(
                Generator(
                    4,
                    0,
                    1,
                    4,
                    widths=(2, 2, 1),
                    latent_stem=True,
                    latent_channels=2,
                    start_size=(8, 16),
                ),
                unet(),
                has_unknown=False,
                encoder=Encoder(2, 2, 8),
            ),
            {"encoder": "stem", "noise_channels": 0},
        ),
    ],
)
def test_parts_of_other_models(make, settings, tmp_path):
    model = make()
    model.save_model_dir(tmp_path / "MODEL")
    again = oasis_tf.load(tmp_path / "MODEL")
    for name, value in settings.items():
        assert getattr(again.config.model, name) == value
    size = (16, 32) if settings.get("encoder") == "stem" else (32, 32)
    label_map = np.random.default_rng(0).integers(0, 4, (1, *size))
    np.testing.assert_array_equal(again(label_map), model(label_map))


def test_parts_that_no_setting_chooses_are_refused(tmp_path):
    model = OASIS(
        generator(widths=(2, 2, 2, 1), upsamples=(True, True, True)), unet(), has_unknown=False
    )
    with pytest.raises(ValueError, match="another `generator`.*model.save"):
        model.save_model_dir(tmp_path / "MODEL")
    with pytest.raises(ValueError, match="both height and width"):
        make_model().save_model_dir(tmp_path / "MODEL", height=64)
    with pytest.raises(ValueError, match="crop_height=30"):
        config_of(make_model(), 30, 32)
    assert not any(tmp_path.iterdir())
