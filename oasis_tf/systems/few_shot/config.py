"""Configuration of `few_shot`: its sections and facts. Nothing here needs TensorFlow."""

import dataclasses
import os
from typing import ClassVar

from oasis_tf.settings.run_config import RunConfig
from oasis_tf.systems.few_shot import checks, source
from oasis_tf.systems.few_shot.adaptation_settings import AdaptationConfig
from oasis_tf.systems.few_shot.data_settings import DataConfig
from oasis_tf.systems.few_shot.model_settings import ModelConfig
from oasis_tf.systems.few_shot.training_settings import TrainingConfig

__all__ = ["AdaptationConfig", "Config", "DataConfig", "ModelConfig", "TrainingConfig"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """A StyleGAN2 or BigGAN, trained from a folder of pictures or adapted to a few."""

    SYSTEM: ClassVar = "few_shot"
    SECTIONS: ClassVar = {
        "model": ModelConfig,
        "data": DataConfig,
        "training": TrainingConfig,
        "adaptation": AdaptationConfig,
    }
    FACTS: ClassVar = {"pictures": source.Pictures}

    model: ModelConfig
    data: DataConfig
    training: TrainingConfig
    adaptation: AdaptationConfig
    pictures: source.Pictures

    def __post_init__(self) -> None:
        """Raises ValueError if settings of different sections contradict each other."""
        checks.check(self.model, self.training, self.adaptation)

    @property
    def adapted(self) -> bool:
        """Returns whether the model was adapted from another one, which its directory holds."""
        return self.adaptation.source is not None

    def check_adapted(self, name: str) -> None:
        """Raises ValueError, which names what was asked for, unless the model was adapted."""
        if not self.adapted:
            raise ValueError(
                f"`{name}` needs a model that was adapted from another one. Received: one that was "
                "trained from its own pictures. Leave it out."
            )

    def save(self, model_dir: str | os.PathLike[str]) -> None:
        """Writes config.json, and beside it the names and digests of the training pictures.

        Raises:
            OSError: the directory cannot be written.
        """
        super().save(model_dir)
        self.pictures.save_list(model_dir)
