"""What `benchmarks.step` and `benchmarks.generate` measure of OASIS."""

import dataclasses
import functools
from typing import ClassVar

import numpy as np
from absl import flags

from benchmarks import inputs, settings
from oasis_tf.settings import path_flags

SWITCHES = {
    "jit_compile": "Compile our step with XLA.",
    "remat": "We compute activations again for gradients.",
    "chunk_logits": "We write out no map of logits.",
}
_STRIDES = {"step": 64, "generate": 32}  # sides must be multiples: of what D halves, G doubles


@dataclasses.dataclass(frozen=True)
class Settings(settings.Settings):
    """Of OASIS, the published network."""

    SYSTEM: ClassVar = "oasis"
    LEAST: ClassVar = {"noise_channels": 0, "threads": 0, "num_classes": 2}
    SCALES: ClassVar = {
        "size": ("height", "width"),
        "num_classes": ("num_classes",),
        "batch": ("batch_size",),
        "width": ("channels",),
    }

    num_classes: int = settings.setting("Classes N; the data's are spread over them.", 151)
    spade_channels: int = settings.setting("Hidden channels of every SPADE norm.", 128)

    def check_sides(self):
        stride = _STRIDES[self.task]
        if self.height % stride or self.width % stride:
            raise ValueError(
                f"`height` and `width` must be multiples of {stride}. Received: {self.height}, "
                f"{self.width}."
            )

    @property
    def text(self):
        return f"{self.num_classes} classes, {super().text}"


def define_flags(where):
    """Defines the flags of the data."""
    path_flags.define_path(
        "data_dir", None, "Prepared data set to take scenes from; default: drawn scenes.", **where
    )
    flags.DEFINE_string("split", "val", "Split of --data_dir.", **where)


def source(args):
    """Where scenes come from."""
    return {"data_dir": args.data_dir, "split": args.split if args.data_dir else None}


def scenes(args, variants):
    """`Scenes` for every one of the settings."""
    found = inputs.drawn
    if args.data_dir:
        found = functools.partial(inputs.prepared, args.data_dir, args.split)
    found = functools.cache(found)
    return [found(args.batches * s.batch_size, s.height, s.width) for s in variants]


def write_inputs(path, chosen, found):
    """Writes what contenders compute on; returns what else they must know."""
    sizes = (chosen.batch_size, chosen.num_classes, chosen.noise_channels)
    np.savez(path, **inputs.arrays(found, *sizes))
    return {"has_unknown": found.has_unknown}
