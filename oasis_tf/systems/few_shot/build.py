"""Networks, model and optimizers from a configuration."""

import keras

from oasis_tf.systems.few_shot import biggan, stylegan2
from oasis_tf.systems.few_shot.adaptation.heads import Heads, block_heads, patch_heads
from oasis_tf.systems.few_shot.adaptation.modulation import Modulation
from oasis_tf.systems.few_shot.model import FewShot
from oasis_tf.training.averages import average_of
from oasis_tf.training.optimizer import Adam
from oasis_tf.training.precision import loss_scaling, policy


def make_generator(model, name="generator", dtype=None):
    """The generator of a ``ModelConfig``."""
    if model.network == "stylegan2":
        return stylegan2.Generator(
            model.size,
            model.widths,
            model.style_dim,
            model.num_mlp,
            model.clamp or None,
            name=name,
            dtype=dtype,
        )
    return biggan.Generator(
        model.size,
        model.ch,
        model.num_classes,
        model.dim_z,
        model.shared_dim,
        model.attention,
        model.bn_eps,
        model.sn_eps,
        model.standing_statistics,
        name=name,
        dtype=dtype,
    )


def make_discriminator(model, name="discriminator", dtype=None):
    """The discriminator of a ``ModelConfig``."""
    if model.network == "stylegan2":
        group, clamp = model.stddev_group, model.clamp or None
        return stylegan2.Discriminator(
            model.size, model.widths, group, clamp, name=name, dtype=dtype
        )
    classes = model.num_classes if model.projection else 0
    return biggan.Discriminator(
        model.size, model.ch, classes, model.attention_d, model.sn_eps, name=name, dtype=dtype
    )


def make_heads(config, name="heads", dtype=None):
    """The ``Heads`` of a ``Config``; None where the discriminator's end judges alone."""
    if config.adaptation.d_loss == "final":
        return None
    make = {"all": block_heads, "patch": patch_heads}[config.adaptation.d_loss]
    return Heads(*make(config, dtype), name=name)


def build_model(config, dtype=None, training=True):
    """A ``FewShot`` with freshly drawn weights; the seed of the configuration decides them.

    Args:
        config: ``Config``.
        dtype: policy of the networks; default: that of the configuration, for use float32.
        training: bool; for use, only the averaged generator is made, and that of the source.
    """
    dtype = dtype or (policy(config.training.mixed_precision) if training else "float32")
    # u of BigGAN is drawn by Keras, all else from seeds of their own.
    seed = config.training.seed % 2**31
    keras.utils.set_random_seed(seed)
    source = make_generator(config.model, "source", dtype) if config.adapted else None
    if not training:
        return FewShot(config, make_generator(config.model, "generator_ema", dtype), source)
    networks = {
        "generator": make_generator(config.model, dtype=dtype),
        "discriminator": make_discriminator(config.model, dtype=dtype),
        "heads": make_heads(config, dtype=dtype),
    }
    room = {"stylegan2": stylegan2, "biggan": biggan}[config.model.network]
    for k, network in enumerate(networks.values()):
        if network is not None:
            room.initialise(network, seed + k)
    average = average_of(networks["generator"], "generator_ema")
    if source is not None:
        source.trainable = False
    modulations = None
    if config.adaptation.probe_steps:
        modulations = {
            "g": Modulation(networks["generator"], seed),
            "d": Modulation(networks["discriminator"], seed + 1),
        }
    model = FewShot(config, average, source, **networks, modulations=modulations)
    model.compile(
        _optimizer(config, "g", "generator_optimizer"),
        _optimizer(config, "d", "discriminator_optimizer"),
        _optimizer(config, "d", "patch_optimizer") if model.patch_variables else None,
    )
    return model


def _optimizer(config, which, name):
    adam = Adam(**config.training.optimizer(which), name=name)
    return loss_scaling(adam, config.training.mixed_precision)
