"""A model directory of a model, also of one that was made and trained in Python."""

import dataclasses

from oasis_tf.io import files, output_paths
from oasis_tf.systems.oasis import models, objectives, parts
from oasis_tf.systems.oasis.build import network_variables, networks
from oasis_tf.systems.oasis.config import Config, DataConfig, ModelConfig, TrainingConfig
from oasis_tf.training.named_weights import forward_state, named_weights
from oasis_tf.training.optimizer import Adam
from oasis_tf.training.store import CheckpointStore

_KINDS = {
    models.Discriminator: ("oasis", "oasis_x2"),
    models.PatchDiscriminator: ("patch", "ms_patch"),
    models.ResNetPatchDiscriminator: ("resnet_patch",),
}
# Arguments that change how networks are computed, not what.
_HOW = ("name", "dtype", "remat", "dense", "one_hot", "chunk_logits", "trainable", "label_space")


def save_model_dir(model, path, height=None, width=None):
    """See `OASIS.save_model_dir`."""
    output_paths.check_new_folder(path)
    config = config_of(model, height, width)
    fresh = _checked_parts(model, config)
    training = {name: variable.numpy() for name, variable in network_variables(model).items()}
    if model.discriminator is not None:
        training |= _optimizer_states(model, fresh, config.training)
    # Unlike `train`, `fit` does not estimate batch statistics again.
    inference = {name: v.numpy() for name, v in forward_state(model.generator_ema).items()}
    with files.folder_written_aside(path) as aside:
        CheckpointStore(aside).save(int(model.step.numpy()), training, inference)
        config.save(aside)


# === Configuration ===


def config_of(model, height=None, width=None):
    """The `Config` of a model: that of its model directory, or what its parts say.

    Args:
        model: `OASIS`.
        height, width: ints, size of the images that it is for; default: of those it was trained on,
            otherwise 256.

    Raises:
        ValueError: one side without the other, sides that do not divide, parts that contradict
            each other.
    """
    if (height is None) != (width is None):
        raise ValueError(
            f"Give both height and width, or neither. Received: height={height}, width={width}."
        )
    size = (height, width) if height is not None else _size(model)
    if model.config is not None:
        config = dataclasses.replace(model.config, label_space=model.known_label_space())
        if height is None:
            return config
        return dataclasses.replace(config, data=_data(size))
    return Config(
        model=ModelConfig(**_generator(model) | _encoder(model) | _discriminator(model)),
        data=_data(size),
        training=_training(model),
        label_space=model.known_label_space(),
    )


def _data(size):
    return DataConfig(crop_height=size[0], crop_width=size[1])


def _size(model):
    generator = model.generator
    if generator.latent_stem:
        return tuple(side * generator.size_multiple for side in generator.start_size)
    return model.trained_size or (256, 256)


def _generator(model):
    generator = model.generator
    settings = {
        "num_classes": model.num_classes,
        "has_unknown": model.has_unknown,
        "noise": model.noise_kind,
        "noise_channels": generator.noise_channels,
        "generator_channels": generator.channels,
        "spade_channels": generator.spade_channels,
        "generator_widths": generator.widths,
    }
    if not all(generator.upsamples[1:]):
        settings["generator"] = "spade"
    return settings


def _encoder(model):
    encoder, generator = model.encoder, model.generator
    if encoder is None:
        return {}
    settings = {
        "latent_channels": encoder.latent_channels,
        "encoder_channels": encoder.channels,
        "encoder_size": encoder.size,
    }
    if generator.latent_stem:
        return settings | {"encoder": "stem"}
    own = generator.noise_channels - encoder.latent_channels
    if not own:
        return settings | {"encoder": "noise"}
    return settings | {"encoder": "beside_noise", "noise_channels": own}


def _discriminator(model):
    if model.discriminator is None:
        return {"has_discriminator": False}
    scales = getattr(model.discriminator, "discriminators", [model.discriminator])
    one = scales[0]
    kinds = _KINDS.get(type(one), ())
    if len(scales) > len(kinds):
        raise _not_described("discriminator", model.discriminator.get_config())
    settings = {
        "discriminator": kinds[len(scales) - 1],
        "discriminator_channels": one.channels,
    }
    if isinstance(one, models.PatchDiscriminator):
        settings["patch_layers"] = one.num_layers
    else:
        settings["discriminator_widths"] = one.widths
    if isinstance(model.objective, objectives.SegmentationObjective):
        settings["label_encoding"] = "balanced" if model.objective.balanced else "n_plus_1"
    elif isinstance(one, models.Discriminator):
        settings["label_encoding"] = one.label_encoding
    return settings


def _training(model):
    settings = {
        "steps": int(model.step.numpy()),
        "seed": model.seed,
        "consistency": model.consistency,
        "lambda_labelmix": model.lambda_labelmix,
        "labelmix_bits": model.labelmix_bits,
        "lambda_feature_matching": model.lambda_feature_matching,
        "lambda_vgg": model.lambda_vgg,
        "lambda_kld": model.lambda_kld,
        "ema_decay": model.ema_decay,
        "ema_warmup": model.ema_warmup,
        **dataclasses.asdict(model.augmentation),
    }
    if model.lambda_vgg:  # the loss was made in Python: to train on, `train` is given --vgg19
        settings["vgg19"] = "unknown"
    for name, optimizer in (
        ("lr_g", model.generator_optimizer),
        ("lr_d", model.discriminator_optimizer),
    ):
        if optimizer is not None:
            settings[name] = float(optimizer.learning_rate)
    if isinstance(model.generator_optimizer, Adam):
        settings["beta_1"] = model.generator_optimizer.beta_1
        settings["beta_2"] = model.generator_optimizer.beta_2
    return TrainingConfig(**settings)


# === Parts ===


def _checked_parts(model, config):
    """Networks that the configuration describes, with freshly drawn weights.

    Raises:
        ValueError: they are others than those of the model.
    """
    fresh = {
        "generator": parts.make_generator(config, dtype="float32"),
        "discriminator": parts.make_discriminator(config, dtype="float32"),
        "encoder": parts.make_encoder(config, dtype="float32"),
    }
    for name, network in fresh.items():
        own = networks(model).get(name)
        if _description(network) != _description(own):
            raise _not_described(name, own and own.get_config())
    made = model.objective
    if model.discriminator is not None:
        made = parts.make_objective(config.model)
    if (type(made), made.get_config()) != (type(model.objective), model.objective.get_config()):
        raise _not_described("objective", model.objective.get_config())
    return fresh


def _description(network):
    if network is None:
        return None
    config = {k: v for k, v in network.get_config().items() if k not in _HOW}
    config.pop("discriminators", None)  # their weights are compared
    return config, {name: tuple(v.shape) for name, v in named_weights(network).items()}


def _not_described(part, config):
    return ValueError(
        "A model directory holds parts that the settings of `train` can choose. Received another "
        f'`{part}`: {config}. Save the model with model.save("FILE.keras") instead.'
    )


# === Optimizers ===


def _optimizer_states(model, fresh, settings):
    """The optimizers' state by the names of `train`; that of a new run for those of other kinds."""
    encoder = fresh["encoder"].trainable_variables if fresh["encoder"] else []
    variables = {
        "generator": [*fresh["generator"].trainable_variables, *encoder],
        "discriminator": fresh["discriminator"].trainable_variables,
    }
    state = {}
    for name, trained in variables.items():
        own = getattr(model, f"{name}_optimizer")
        rate = settings.lr_g if name == "generator" else settings.lr_d
        made = Adam(rate, settings.beta_1, settings.beta_2, name=f"{name}_optimizer")
        made.build(trained)
        same = isinstance(own, Adam) and [tuple(v.shape) for v in own.variables] == [
            tuple(v.shape) for v in made.variables
        ]
        values = own.variables if same else made.variables
        pairs = zip(made.variables, values, strict=True)
        state |= {variable.path: value.numpy() for variable, value in pairs}
    return state
