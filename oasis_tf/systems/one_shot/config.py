"""Configuration of `one_shot`: its sections, and the checks across them.

The defaults are what the authors' release does; where the papers differ, a setting has their way.
Nothing here needs TensorFlow.
"""

import dataclasses
from typing import ClassVar

from oasis_tf.settings.run_config import RunConfig
from oasis_tf.systems.one_shot.data_settings import DataConfig
from oasis_tf.systems.one_shot.model_settings import ModelConfig
from oasis_tf.systems.one_shot.source import Source
from oasis_tf.systems.one_shot.training_settings import TrainingConfig

__all__ = ["Config", "DataConfig", "ModelConfig", "TrainingConfig"]

DEFAULT_STEPS = 100_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """A training run of SIV-GAN or, with masks, of OSMIS."""

    SYSTEM: ClassVar = "one_shot"
    SECTIONS: ClassVar = {"model": ModelConfig, "data": DataConfig, "training": TrainingConfig}
    FACTS: ClassVar = {"source": Source}

    model: ModelConfig
    data: DataConfig
    training: TrainingConfig
    source: Source
