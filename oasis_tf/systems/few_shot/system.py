"""Few-shot adaptation of StyleGAN2 and BigGAN as a system."""

from typing import ClassVar

from oasis_tf.systems.few_shot.config import Config
from oasis_tf.systems.system import System

_ROOM = "oasis_tf.systems.few_shot"


class FewShotSystem(System):
    """Images like a few pictures, by a generator that learned from many others."""

    name = "few_shot"
    title = "images like a few pictures: StyleGAN2 and BigGAN, trained and adapted"
    room = _ROOM
    config = Config
    task = "FewShotTask"
    abilities: ClassVar = {
        "synthesize": f"{_ROOM}.synthesis.command",
        "evaluate": f"{_ROOM}.evaluation",
        "convert": f"{_ROOM}.official.command",
        "ablate": f"{_ROOM}.experiments.ablate_command",
        "savedmodel": f"{_ROOM}.serving.signatures",
        "demo": f"{_ROOM}.demo.application",
        "tflite": f"{_ROOM}.serving.litert_networks",
    }


SYSTEM = FewShotSystem()
