"""Checks across the sections of a configuration. Nothing here needs TensorFlow."""

from oasis_tf.systems.few_shot.adaptation_settings import AdaptationConfig
from oasis_tf.systems.few_shot.model_settings import ModelConfig
from oasis_tf.systems.few_shot.training_settings import TrainingConfig

PATCHES_FROM = 64  # least side of images whose discriminator has all maps of patches
# Settings that only StyleGAN2 has, by section, with the value that asks for nothing.
_OF_STYLEGAN2 = {
    "training": {"path_weight": 0.0, "mixing_prob": 0.0},
    "adaptation": {"lambda_distance": 0.0, "lambda_mixdl": 0.0, "probe_steps": 0},
}


def check(model: ModelConfig, training: TrainingConfig, adaptation: AdaptationConfig) -> None:
    """Checks settings of different sections against each other.

    Raises:
        ValueError: the network does not have what is asked for, or numbers do not fit.
    """
    if model.network == "biggan":
        _check_biggan(training, adaptation)
    else:
        _check_groups(model, training)
    _check_precision(training, adaptation)
    if adaptation.lambda_ss:
        _check_features(model, adaptation)
    if adaptation.d_loss == "patch" and model.size < PATCHES_FROM:
        raise ValueError(
            f"`d_loss=patch` needs images of {PATCHES_FROM}x{PATCHES_FROM} or more. Received: "
            f"size={model.size}."
        )


def _check_biggan(training: TrainingConfig, adaptation: AdaptationConfig) -> None:
    for section, names in (
        (training, _OF_STYLEGAN2["training"]),
        (adaptation, _OF_STYLEGAN2["adaptation"]),
    ):
        for name, nothing in names.items():
            if getattr(section, name) != nothing:
                raise ValueError(
                    f"`{name}` needs network=stylegan2. Received: {name}={getattr(section, name)} "
                    "with network=biggan. Leave it out."
                )
    if adaptation.d_loss == "patch":
        raise ValueError(
            "`d_loss=patch` needs network=stylegan2. Received: network=biggan. Give --d_loss=final "
            "or --d_loss=all."
        )


def _check_groups(model: ModelConfig, training: TrainingConfig) -> None:
    group = min(training.batch_size, model.stddev_group)
    if training.batch_size % group:
        below = training.batch_size // group * group
        raise ValueError(
            "`batch_size` must divide by the number of images whose deviation is taken, "
            f"stddev_group={model.stddev_group}. Received: batch_size={training.batch_size}. "
            f"Nearest valid: {below} or {below + group}."
        )


def _check_precision(training: TrainingConfig, adaptation: AdaptationConfig) -> None:
    penalties = {
        "r1_gamma": training.r1_gamma,
        "path_weight": training.path_weight,
        "lambda_ss": adaptation.lambda_ss,
    }
    asked = [name for name, weight in penalties.items() if weight]
    if training.mixed_precision == "float16" and asked:
        raise ValueError(
            "`mixed_precision=float16` works without gradients of gradients, because the inner "
            f"ones are not scaled and underflow. Received: {', '.join(asked)} above 0. Give "
            "--mixed_precision=bfloat16."
        )


def _check_features(model: ModelConfig, adaptation: AdaptationConfig) -> None:
    try:
        model.feature_channels(adaptation.ss_resolution)
    except ValueError as error:
        raise ValueError(f"`ss_resolution` must be a side of features. {error}") from error
