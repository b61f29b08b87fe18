"""OASIS, with SPADE and the ablations, as a system."""

from typing import ClassVar

from oasis_tf.systems.oasis.config import Config
from oasis_tf.systems.system import System

_ROOM = "oasis_tf.systems.oasis"


class OASISSystem(System):
    """Images from label maps: OASIS, the SPADE baselines and their ablations."""

    name = "oasis"
    title = "images from label maps: OASIS, SPADE and the ablations"
    room = _ROOM
    config = Config
    task = "OASISTask"
    abilities: ClassVar = {
        "evaluate": f"{_ROOM}.evaluation",
        "demo": f"{_ROOM}.demo.application",
        "prepare": "oasis_tf.data.prepare_command",
        "synthesize": f"{_ROOM}.synthesis.command",
        "convert": f"{_ROOM}.official.command",
        "ablate": f"{_ROOM}.experiments.ablate_command",
        "augment_segmentation": f"{_ROOM}.experiments.augment_command",
        "savedmodel": f"{_ROOM}.serving.signatures",
        "tflite": f"{_ROOM}.serving.litert_networks",
        "keras_file": f"{_ROOM}.serving.keras_networks",
        "page": f"{_ROOM}.demo.static",
        "pretrained": f"{_ROOM}.packing",
    }


SYSTEM = OASISSystem()
