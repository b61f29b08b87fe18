"""Configuration of OASIS: its sections, and the checks across them.

The defaults are the paper's settings for ADE20K (ICLR 2021, appendix C). Where the authors' release
has other values, it has precedence. Nothing here needs TensorFlow.
"""

import dataclasses
import math
from typing import ClassVar

from oasis_tf.data.datasets import LabelSpace
from oasis_tf.data.settings import DataConfig
from oasis_tf.metrics.settings import EvaluationConfig
from oasis_tf.settings.run_config import RunConfig
from oasis_tf.systems.oasis.model_settings import ModelConfig, with_implied
from oasis_tf.systems.oasis.training_settings import TrainingConfig

__all__ = ["Config", "DataConfig", "EvaluationConfig", "ModelConfig", "TrainingConfig"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """A training run of OASIS.

    If ``training.consistency`` is None, the discriminator decides it.

    Raises:
        ValueError: sections contradict each other (crop sizes, losses that the discriminator does
            not have, label space).
    """

    SYSTEM: ClassVar = "oasis"
    SECTIONS: ClassVar = {
        "model": ModelConfig,
        "data": DataConfig,
        "training": TrainingConfig,
        "evaluation": EvaluationConfig,
    }
    FACTS: ClassVar = {"label_space": LabelSpace}
    OPTIONAL: ClassVar = frozenset({"evaluation"})
    DEFAULT_EPOCHS: ClassVar = 200

    model: ModelConfig
    data: DataConfig
    training: TrainingConfig
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)
    label_space: LabelSpace

    def __post_init__(self) -> None:
        _check_crop(self.model, self.data)
        training = dataclasses.replace(
            self.training, consistency=_consistency(self.model, self.training)
        )
        object.__setattr__(self, "training", training)
        _check_losses(self.model, training)
        _check_compiled(training)
        of_model = (self.model.num_classes, self.model.has_unknown)
        of_data = (self.label_space.num_classes, self.label_space.has_unknown)
        if of_model != of_data:
            raise ValueError(
                "`model` must have the classes of the label space. Received: (num_classes, "
                f"has_unknown) {of_model} for the model, {of_data} for the label space."
            )


def _check_crop(model: ModelConfig, data: DataConfig) -> None:
    """Checks crops: the generator doubles and the discriminator halves them several times."""
    reasons = [f"the generator doubles images {_log2(model.generator_stride)} times"]
    multiple = model.generator_stride
    if model.has_discriminator:
        multiple = math.lcm(multiple, model.discriminator_stride)
        halvings = _log2(model.discriminator_stride)
        reasons.append(f"the discriminator halves them {halvings} times")
    for side in ("height", "width"):
        size = getattr(data, f"crop_{side}")
        if size % multiple:
            lower = size - size % multiple
            nearest = [str(s) for s in (lower, lower + multiple) if s > 0]
            raise ValueError(
                f"`crop_{side}` must be a multiple of {multiple}, because {' and '.join(reasons)}. "
                f"Received: crop_{side}={size}. Nearest valid: {' or '.join(nearest)}."
            )


def _log2(stride: int) -> int:
    return stride.bit_length() - 1


def _consistency(model: ModelConfig, training: TrainingConfig) -> str:
    chosen = {"consistency": training.consistency, "lambda_labelmix": training.lambda_labelmix}
    return with_implied(chosen)["consistency"] or ("labelmix" if model.segments else "none")


def _check_losses(model: ModelConfig, training: TrainingConfig) -> None:
    """Checks that the discriminator and the given files suffice for the losses."""
    if training.consistency != "none" and not model.pixel_logits:
        raise ValueError(
            f"`consistency={training.consistency}` compares logits pixel by pixel, so the "
            "discriminator must have logits for every pixel. Received: "
            f"discriminator={model.discriminator}. Leave --consistency out, or choose a U-Net "
            "(--discriminator=oasis or oasis_x2)."
        )
    if training.labelmix_bits == "image" and training.consistency != "labelmix":
        raise ValueError(
            "`labelmix_bits=image` is a setting of LabelMix, which is off. Received: "
            f"consistency={training.consistency}. Leave --labelmix_bits out."
        )
    if training.chunk_logits and model.has_discriminator and not model.segments:
        raise ValueError(
            "`chunk_logits` needs a discriminator with logits for every class. Received: "
            f"discriminator={model.discriminator}, label_encoding={model.label_encoding}. Leave "
            "--chunk_logits out."
        )
    if training.lambda_vgg and training.vgg19 is None:
        raise ValueError(
            "`lambda_vgg` needs the weights of VGG-19, which are not part of this project. "
            f"Received: lambda_vgg={training.lambda_vgg}, vgg19=None. Give --vgg19=FILE, or "
            "--lambda_vgg=0."
        )


def _check_compiled(training: TrainingConfig) -> None:
    """Checks that XLA can know all sizes beforehand."""
    if training.jit_compile and training.modulation == "shared":
        raise ValueError(
            "`modulation=shared` needs tables whose size depends on the label maps, and XLA must "
            "know all sizes beforehand. Received: modulation=shared, jit_compile=true. Give "
            "--modulation=auto or dense, or --nojit_compile."
        )
