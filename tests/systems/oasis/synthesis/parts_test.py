"""Synthesis with other parts: styles by an encoder; what a discriminator or a latent cannot do."""

import os

import numpy as np
import pytest
from PIL import Image

from oasis_tf.data.datasets import folder_label_space
from oasis_tf.io import images
from oasis_tf.systems.oasis.config import (
    Config,
    DataConfig,
    ModelConfig,
    TrainingConfig,
)
from oasis_tf.systems.oasis.editing.noise_fields import NoiseField
from oasis_tf.systems.oasis.synthesis import generation, labelmix, segmentation
from oasis_tf.systems.oasis.synthesis.padded_model import PaddedModel

SPACE = folder_label_space(3)
STEM = {"encoder": "stem", "noise": "none", "latent_channels": 2}


def make_config(**settings):
    return Config(
        model=ModelConfig(num_classes=3, has_unknown=False, **settings),
        data=DataConfig(data_dir="somewhere", crop_height=64, crop_width=128),
        training=TrainingConfig(steps=1),
        label_space=SPACE,
    )


class ShowsStyles:
    """Red = model id, green = the style image's first red, blue = the seed of its draw."""

    label_space = SPACE
    discriminator = encoder_ema = None

    class generator_ema:
        vector_channels = 2
        variables = ()

    step = np.int64(3)

    def inference_engine(self):
        return self

    def encode(self, image, seed):
        return np.array([image[0, 0, 0], seed], np.float32)

    def __call__(self, label_map, noise):
        (vectors,) = noise.vectors.transpose(1, 0, 2)
        maps = [np.broadcast_to(v, (*label_map.shape[1:], 2)) for v in vectors]
        image = np.concatenate([label_map[..., None], np.stack(maps)], -1) / 127.5 - 1
        return image.astype(np.float32).view(WithNumpy)


class WithNumpy(np.ndarray):
    def numpy(self):
        return np.asarray(self)


@pytest.fixture(autouse=True)
def step(monkeypatch):
    monkeypatch.setattr(generation.outputs, "model_identity", lambda model: {"weights": "stand-in"})


@pytest.fixture
def folders(tmp_path):
    """Label files a, b and styles dusk, noon."""
    for name in ("labels", "styles"):
        (tmp_path / name).mkdir()
    rng = np.random.default_rng(0)
    for name in "ab":
        ids = rng.integers(0, 3, (64, 128)).astype(np.uint8)
        Image.fromarray(ids).save(tmp_path / "labels" / f"{name}.png")
    for name, red in (("dusk", 200), ("noon", 90)):
        Image.fromarray(np.full((5, 7, 3), red, np.uint8)).save(tmp_path / "styles" / f"{name}.png")
    return tmp_path


def plan_of(folder, config, **options):
    return generation.plan_synthesis(config, folder / "labels", folder / "out", **options)


@pytest.mark.parametrize("settings", [STEM, {"encoder": "noise"}, {"encoder": "beside_noise"}])
def test_every_label_map_in_every_style(folders, settings):
    plan = plan_of(folders, make_config(**settings), style=folders / "styles", num_samples=2)
    written = generation.synthesize(ShowsStyles(), plan)
    names = [
        f"{stem}_style-{style}_seed{seed}.png"
        for stem in "ab"
        for style in ("dusk", "noon")
        for seed in (0, 1)
    ]
    assert [os.path.basename(path) for path in written] == names
    image = np.asarray(Image.open(folders / "out" / "b_style-noon_seed1.png"))
    np.testing.assert_array_equal(image[..., 0], Image.open(folders / "labels" / "b.png"))
    assert (image[..., 1] == 90).all() and (image[..., 2] == 1).all()


def test_a_style_is_one_vector_for_the_image(folders):
    plan = plan_of(folders, make_config(**STEM))
    photograph = images.read_photograph(folders / "styles" / "dusk.png")
    field = PaddedModel(ShowsStyles(), plan.sizing).style(photograph, 4, (2, 3))
    assert isinstance(field, NoiseField)
    np.testing.assert_array_equal(field.vectors, [[200, 4]])
    np.testing.assert_array_equal(field.index, np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ({}, {"style": "styles"}, r"generate in the style of an image \(--style\): .*no image"),
        (
            STEM,
            {"style": "styles", "interpolate": 3},
            "--style sets the noise of a whole image",
        ),
        (STEM, {"style": "labels/none.png"}, "none.png"),
        ({"noise_channels": 0}, {"num_samples": 2}, "cannot vary an image .*: it has no noise"),
        (STEM, {"region": "labels", "num_samples": 2}, "one vector for the whole image .*=stem"),
        (STEM, {"size": "native"}, "images of one size, .*64x128. Received: size=native"),
        (STEM, {"height": 64, "width": 64}, "images of one size, .*height=64, width=64"),
    ],
)
def test_refusals(folders, settings, options, message):
    options = {k: folders / v if k in ("style", "region") else v for k, v in options.items()}
    with pytest.raises((ValueError, OSError), match=message):
        plan_of(folders, make_config(**settings), **options)


@pytest.mark.parametrize(
    "settings", [{"discriminator": "ms_patch"}, {"label_encoding": "concat"}], ids=str
)
def test_what_needs_a_discriminator_that_segments(folders, settings):
    config, photographs, out = make_config(**settings), folders / "styles", folders / "out"
    match = "its discriminator tells real from fake and does not segment"
    with pytest.raises(ValueError, match=f"cannot segment photographs: {match}"):
        generation.plan_synthesis(config, None, out, from_images=photographs)
    with pytest.raises(ValueError, match=f"cannot segment photographs: {match}"):
        segmentation.plan_segmentation(config, photographs, out)
    with pytest.raises(ValueError, match=f"cannot show LabelMix: {match}"):
        labelmix.plan_labelmix(config, out)
