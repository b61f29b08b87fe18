"""A model from its configuration."""

from oasis_tf.systems.oasis import parts
from oasis_tf.systems.oasis.losses import PerceptualLoss
from oasis_tf.systems.oasis.models.augmentation import Augmentation
from oasis_tf.systems.oasis.models.oasis import OASIS
from oasis_tf.training.named_weights import named_weights
from oasis_tf.training.optimizer import Adam
from oasis_tf.training.precision import loss_scaling, policy


def build_model(config, mixed_precision="none", perceptual_loss=None):
    """An ``OASIS`` with freshly drawn weights; the seed of the configuration decides them.

    Args:
        config: ``Config``.
        mixed_precision: ``none``, ``bfloat16`` or ``float16``; for use, float32 arithmetic.
        perceptual_loss: ``PerceptualLoss``, needed for training where ``lambda_vgg`` is above 0.
    """
    settings, training = config.model, config.training
    common = {"dtype": policy(mixed_precision)}
    generator, discriminator, encoder = parts.make_networks(config, **common)
    model = OASIS(
        generator,
        discriminator,
        has_unknown=settings.has_unknown,
        lambda_labelmix=training.lambda_labelmix,
        ema_decay=training.ema_decay,
        ema_warmup=training.ema_warmup,
        augmentation=Augmentation.of(training),
        seed=training.seed,
        objective=parts.make_objective(settings),
        encoder=encoder,
        noise=settings.noise,
        consistency=training.consistency,
        labelmix_bits=training.labelmix_bits,
        lambda_feature_matching=training.lambda_feature_matching,
        lambda_vgg=training.lambda_vgg,
        lambda_kld=training.lambda_kld,
        perceptual_loss=perceptual_loss,
        name="oasis",
        **common,
    )
    model.config, model.label_space = config, config.label_space
    return model


def build_for_training(config):
    """The model in the precision of the configuration, compiled with its two optimizers.

    Raises:
        ValueError: the weights of VGG-19 are needed, and missing or something else.
    """
    training = config.training
    perceptual_loss = PerceptualLoss(training.vgg19) if training.lambda_vgg else None
    model = build_model(config, training.mixed_precision, perceptual_loss)

    def optimizer(rate, name):
        adam = Adam(rate, training.beta_1, training.beta_2, name=name)
        return loss_scaling(adam, training.mixed_precision)

    model.compile(
        optimizer(training.lr_g, "generator_optimizer"),
        optimizer(training.lr_d, "discriminator_optimizer"),
        auto_scale_loss=False,
    )
    return model


def state_variables(model):
    """Every variable that makes up the state of an ``OASIS``, by a stable name.

    The step, all networks and the averages; of a compiled model both optimizers too.
    """
    state = network_variables(model)
    for optimizer in (model.generator_optimizer, model.discriminator_optimizer):
        state |= {variable.path: variable for variable in optimizer.variables} if optimizer else {}
    return state


def network_variables(model):
    """Counters and every variable of the networks and averages, by the names of checkpoints."""
    state = {"step": model.step}
    if model.augmentation_p is not None:
        state["augmentation_p"] = model.augmentation_p
    for name, network in networks(model).items():
        state |= {f"{name}/{key}": variable for key, variable in named_weights(network).items()}
    return state


def networks(model):
    """The networks of an ``OASIS`` by name; discriminator and encoder only if there is one."""
    names = ("generator", "generator_ema", "discriminator", "encoder", "encoder_ema")
    return {name: getattr(model, name) for name in names if getattr(model, name) is not None}
