"""SIV-GAN (One-Shot GAN) and OSMIS as a system."""

from collections.abc import Mapping
from typing import Any, ClassVar

from oasis_tf.systems.one_shot import run_settings
from oasis_tf.systems.one_shot.config import Config
from oasis_tf.systems.system import System

_ROOM = "oasis_tf.systems.one_shot"


class OneShotSystem(System):
    """Images, or images with masks, from one picture or one short clip."""

    name = "one_shot"
    title = "images like one picture, also with masks: SIV-GAN (One-Shot GAN) and OSMIS"
    config = Config
    abilities: ClassVar = {
        "synthesize": f"{_ROOM}.synthesis.command",
        "evaluate": f"{_ROOM}.evaluation",
        "augment_segmentation": f"{_ROOM}.segmentation.command",
        "convert": f"{_ROOM}.official.command",
        "savedmodel": f"{_ROOM}.serving.signatures",
        "demo": f"{_ROOM}.demo.application",
        "tflite": f"{_ROOM}.serving.litert_networks",
    }

    def resolve(self, given: Mapping[str, Any], previous: Config | None) -> Config:
        return run_settings.resolve_run(given, previous)

    def describe(self, config: Config) -> str:
        from oasis_tf.systems.one_shot.task import describe

        return describe(config)

    def make_task(self, config: Config, strategy: Any) -> Any:
        from oasis_tf.systems.one_shot.task import OneShotTask

        return OneShotTask(config, strategy)

    def load(self, model_dir: Any, checkpoint: int | str | None = None) -> Any:
        from oasis_tf.systems.one_shot.loading import load_model

        return load_model(model_dir, checkpoint)


SYSTEM = OneShotSystem()
