"""Builds the networks and the objective that a configuration describes."""

import keras

from oasis_tf.layers import by_device
from oasis_tf.layers.initializers import KERNEL_GAIN
from oasis_tf.systems.oasis.models import (
    Discriminator,
    Encoder,
    Generator,
    MultiScale,
    PatchDiscriminator,
    ResNetPatchDiscriminator,
)
from oasis_tf.systems.oasis.objectives import BinaryObjective, HingeObjective, SegmentationObjective
from oasis_tf.training.named_weights import named_weights

# Number of scales of the multi-scale discriminators.
_SCALES = {"oasis_x2": 2, "ms_patch": 2}


def make_networks(config, one_hot=None, **common):
    """(generator, discriminator, encoder) of a ``Config``; None for what it has not.

    Their weights are freshly drawn, by the seed and with the gain of the configuration.

    Args:
        config: ``Config``.
        one_hot: as in ``Generator``.
        **common: arguments that all networks share.
    """
    keras.utils.set_random_seed(config.training.seed % 2**32)
    networks = (
        make_generator(config, one_hot=one_hot, **common),
        make_discriminator(config, **common),
        make_encoder(config, **common),
    )
    for network in filter(None, networks):
        _scale_kernels(network, config.training.init_gain / KERNEL_GAIN)
    return networks


def _scale_kernels(network, factor):
    """Multiplies freshly drawn kernels: Xavier-normal with ``factor`` times the gain."""
    for name, variable in named_weights(network).items():
        if name.endswith("kernel"):
            variable.assign(variable * factor)


def make_generator(config, **common):
    """The ``Generator`` of a ``Config``. ``common``: arguments that all networks share."""
    settings = config.model
    channels = settings.vector_channels
    stem = {}
    if settings.encoder == "stem":
        sides = config.data.crop_height, config.data.crop_width
        start = [side // settings.generator_stride for side in sides]
        stem = {"latent_stem": True, "latent_channels": channels, "start_size": start}
        channels = 0
    return Generator(
        settings.num_classes,
        noise_channels=channels,
        channels=settings.generator_channels,
        spade_channels=settings.spade_channels,
        widths=settings.generator_widths,
        upsamples=settings.generator_upsamples,
        dense=by_device.dense_setting(config.training.modulation, config.training.jit_compile),
        remat=config.training.remat,
        name="generator",
        **stem,
        **common,
    )


def make_encoder(config, **common):
    """The ``Encoder`` of a ``Config``, or None if it has none."""
    settings = config.model
    if settings.encoder == "none":
        return None
    return Encoder(
        settings.latent_channels,
        channels=settings.encoder_channels,
        size=settings.encoder_size,
        name="encoder",
        **common,
    )


def make_discriminator(config, **common):
    """The discriminator of a ``Config``, or None if it has none."""
    settings = config.model
    if not settings.has_discriminator:
        return None
    scales = _SCALES.get(settings.discriminator)
    common |= {"remat": config.training.remat}
    if settings.segments:
        common |= {"chunk_logits": config.training.chunk_logits}
    if scales is None:
        return _of_one_scale(settings, name="discriminator", **common)
    # Different names, because optimizers and checkpoints identify weights by name.
    networks = [_of_one_scale(settings, name=f"scale_{k}", **common) for k in range(scales)]
    return MultiScale(networks, name="discriminator", dtype=common["dtype"])


def _of_one_scale(settings, **common):
    common |= {"channels": settings.discriminator_channels}
    if settings.discriminator in ("patch", "ms_patch"):
        return PatchDiscriminator(settings.num_classes, num_layers=settings.patch_layers, **common)
    common |= {"widths": settings.discriminator_widths}
    if settings.discriminator == "resnet_patch":
        return ResNetPatchDiscriminator(settings.num_classes, **common)
    encoding = "n_plus_1" if settings.segments else settings.label_encoding
    return Discriminator(settings.num_classes, label_encoding=encoding, **common)


def make_objective(settings):
    """The objective of the discriminator of a ``ModelConfig``."""
    if not settings.pixel_logits:
        return HingeObjective()
    if settings.label_encoding in ("concat", "projection"):
        return BinaryObjective()
    return SegmentationObjective(
        settings.num_classes,
        settings.has_unknown,
        balanced=settings.label_encoding == "balanced",
    )
