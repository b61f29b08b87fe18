"""SIV-GAN (One-Shot GAN) and OSMIS as a system."""

from typing import ClassVar

from oasis_tf.systems.one_shot.config import Config
from oasis_tf.systems.system import System

_ROOM = "oasis_tf.systems.one_shot"


class OneShotSystem(System):
    """Images, or images with masks, from one picture or one short clip."""

    name = "one_shot"
    title = "images like one picture, also with masks: SIV-GAN (One-Shot GAN) and OSMIS"
    room = _ROOM
    config = Config
    task = "OneShotTask"
    abilities: ClassVar = {
        "synthesize": f"{_ROOM}.synthesis.command",
        "evaluate": f"{_ROOM}.evaluation",
        "augment_segmentation": f"{_ROOM}.segmentation.command",
        "convert": f"{_ROOM}.official.command",
        "savedmodel": f"{_ROOM}.serving.signatures",
        "demo": f"{_ROOM}.demo.application",
        "tflite": f"{_ROOM}.serving.litert_networks",
    }


SYSTEM = OneShotSystem()
