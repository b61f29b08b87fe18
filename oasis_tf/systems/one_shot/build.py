"""Networks, model and optimizers from a configuration."""

import keras

from oasis_tf.systems.one_shot.model import OneShot
from oasis_tf.systems.one_shot.models.discriminator import Discriminator
from oasis_tf.systems.one_shot.models.generator import Generator
from oasis_tf.systems.one_shot.models.layers import initialise
from oasis_tf.training.averages import average_of
from oasis_tf.training.optimizer import Adam
from oasis_tf.training.precision import loss_scaling, policy


def make_generator(model, name="generator", **options):
    """The ``Generator`` of a ``ModelConfig``."""
    return Generator(
        (model.grid_height, model.grid_width),
        model.generator_widths,
        model.noise_dim,
        model.num_classes,
        model.latent,
        model.norm_g,
        detached_mask=model.mask_supervision == "discriminator",
        name=name,
        **options,
    )


def make_discriminator(model, **options):
    """The ``Discriminator`` of a ``ModelConfig``."""
    masks = model.mask_supervision if model.num_classes else "discriminator"
    return _discriminator(
        model, None if masks == "discriminator" else masks, "discriminator", **options
    )


def make_mask_discriminator(model, **options):
    """The second ``Discriminator``, which sees image and mask; None unless there is to be one."""
    if not model.num_classes or model.mask_supervision != "discriminator":
        return None
    return _discriminator(model, "concat", "mask_discriminator", **options)


def _discriminator(model, masks, name, **options):
    return Discriminator(
        model.discriminator_widths,
        model.blocks_d0,
        model.content_channels,
        num_classes=model.num_classes if masks else 0,
        masks=masks,
        content=model.content_branch,
        layout=model.layout_branch,
        squeeze=model.layout_squeeze,
        norm=model.norm_d,
        name=name,
        **options,
    )


def build_model(config, dtype=None, training=True):
    """A ``OneShot`` with freshly drawn weights; the seed of the configuration decides them.

    Args:
        config: ``Config``.
        dtype: policy of the networks; default: that of the configuration, for use float32.
        training: bool; for use, only the averaged generator is made.
    """
    if not training:
        generator = make_generator(config.model, "generator_ema", dtype=dtype or "float32")
        return OneShot(config, generator)
    options = {"dtype": dtype or policy(config.training.mixed_precision)}
    # u and v are drawn by Keras, all else from seeds of their own.
    seed = config.training.seed % 2**31
    keras.utils.set_random_seed(seed)
    generator = make_generator(config.model, **options)
    initialise(generator, seed)
    average = average_of(generator, "generator_ema")
    discriminator = make_discriminator(config.model, **options)
    initialise(discriminator, seed + 1)
    second = make_mask_discriminator(config.model, **options)
    if second is not None:
        initialise(second, seed + 2)
    model = OneShot(config, average, generator, discriminator, second)
    model.compile(_optimizer(config, "g"), _optimizer(config, "d"))
    return model


def _optimizer(config, which):
    training = config.training
    name = {"g": "generator_optimizer", "d": "discriminator_optimizer"}[which]
    rate = getattr(training, f"lr_{which}")
    adam = Adam(rate, training.beta_1, training.beta_2, name=name)
    return loss_scaling(adam, training.mixed_precision)
