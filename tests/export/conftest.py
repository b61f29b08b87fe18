"""A small model whose weights, batch statistics and spectral vectors are all far from trivial."""

import numpy as np
import pytest

from oasis_tf import OASIS
from oasis_tf.data.datasets import folder_label_space
from oasis_tf.systems.oasis.config import Config, DataConfig, ModelConfig, TrainingConfig
from oasis_tf.systems.oasis.models import Discriminator, Generator

SHALLOW = {"generator_widths": (4, 4, 2, 1), "discriminator_widths": (2, 4, 4)}


def make_model(noise_channels=8, seed=0, has_discriminator=True, **widths):
    """An `OASIS` of 5 classes with random weights; `widths` as in `SHALLOW`, quick to trace."""
    space = folder_label_space(5, unknown_label=255)
    sizes = ModelConfig(
        num_classes=5,
        has_unknown=True,
        noise_channels=noise_channels,
        generator_channels=2,
        discriminator_channels=2,
        spade_channels=8,
        has_discriminator=has_discriminator,
        **widths,
    )
    model = OASIS(
        Generator(5, noise_channels, channels=2, spade_channels=8, widths=sizes.generator_widths),
        Discriminator(5, channels=2, widths=sizes.discriminator_widths)
        if has_discriminator
        else None,
        has_unknown=True,
    )
    rng = np.random.default_rng(seed)
    variables = list(model.generator_ema.variables)
    variables += model.discriminator.variables if has_discriminator else []
    for variable in variables:
        fan_in = np.prod(variable.shape[:-1]) if len(variable.shape) == 4 else 4
        value = rng.normal(0, fan_in**-0.5, variable.shape)
        if variable.name in ("moving_variance", "u", "v"):
            value = np.abs(value) + 0.5
        variable.assign(value)
    # Keep the output away from the ends of tanh, where differences would vanish.
    model.generator_ema.to_rgb.kernel.assign(model.generator_ema.to_rgb.kernel * 0.05)
    model.config = Config(
        model=sizes,
        data=DataConfig(data_dir="somewhere", crop_height=64, crop_width=64),
        training=TrainingConfig(steps=1),
        label_space=space,
    )
    model.label_space = space
    return model


@pytest.fixture(scope="session")
def model():
    """A model with 3D noise."""
    return make_model()


@pytest.fixture(scope="session")
def shallow_model():
    """A model of label maps with sides divisible by 4, and images by 8."""
    return make_model(**SHALLOW)


@pytest.fixture(scope="session")
def shallow_plain_model():
    """As `shallow_model`, without noise and discriminator."""
    return make_model(noise_channels=0, has_discriminator=False, **SHALLOW)


MAX_PIXELS = 64 * 96


@pytest.fixture(scope="session")
def exported(shallow_model, tmp_path_factory):
    """Folder of `shallow_model` as a SavedModel that takes 64 x 96 pixels at most."""
    from export import savedmodel

    path = savedmodel.version_path(tmp_path_factory.mktemp("exported") / "oasis")
    savedmodel.export(shallow_model, path, max_pixels=MAX_PIXELS)
    return path


@pytest.fixture(scope="session")
def session(exported):
    """`exported`, loaded."""
    from tests.export.loading import LoadedModel

    return LoadedModel(exported)


@pytest.fixture(scope="session")
def model_without_noise():
    """The variant without 3D noise."""
    return make_model(noise_channels=0)
