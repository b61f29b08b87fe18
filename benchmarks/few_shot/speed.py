"""What `benchmarks.step` and `benchmarks.generate` measure of StyleGAN2 and of its adaptation."""

import dataclasses
from typing import ClassVar

import numpy as np

from benchmarks import inputs, settings

SWITCHES = {"jit_compile": "Compile our step with XLA."}


@dataclasses.dataclass(frozen=True)
class Settings(settings.Settings):
    """Of StyleGAN2; 64 channels make the published widths (config F)."""

    SYSTEM: ClassVar = "few_shot"
    LEAST: ClassVar = {"threads": 0, "smoothness": 0, "all_blocks": 0, "path_every": 0}
    SCALES: ClassVar = {
        "size": ("height", "width"),
        "batch": ("batch_size",),
        "width": ("channels",),
    }

    noise_channels: int = settings.setting("Length of a latent and of a style.", 512)
    layers: int = settings.setting("Layers of the mapping network.", 8)
    smoothness: int = settings.setting(
        "Side of the features of smoothness similarity, of an adaptation; 0: none.", 0
    )
    all_blocks: int = settings.setting("1: an adaptation with the loss of all blocks; 0: not.", 0)
    path_every: int = settings.setting("Steps between path lengths; 0: none.", 4)

    def check_sides(self):
        side = self.height
        if self.width != side or side < 8 or side & (side - 1):
            raise ValueError(
                "`height` and `width` must be the same power of two from 8 on. Received: "
                f"{self.height}, {self.width}."
            )
        if self.smoothness and (
            self.smoothness & (self.smoothness - 1) or not 4 <= self.smoothness <= side
        ):
            raise ValueError(
                f"`smoothness` must be a power of two from 4 to {side}, or 0. Received: "
                f"{self.smoothness}."
            )

    @property
    def text(self):
        parts = [super().text]
        parts += [f"L_SS at {self.smoothness}×{self.smoothness}"] * bool(self.smoothness)
        parts += ["L_all"] * bool(self.all_blocks)
        parts += ["no path lengths"] * (not self.path_every)
        return ", ".join(parts)

    @property
    def widths(self):
        """list of int, channels at 4x4, 8x8, … up to the images."""
        sides = [2**k for k in range(2, self.height.bit_length())]
        return [min(8 * self.channels, 512 * self.channels // side) for side in sides]


define_flags, source = inputs.no_flags, inputs.no_source


def scenes(args, variants):
    """Pictures uint8 [B, H, W, 3] for every one of the settings."""
    del args
    return [inputs.drawn(s.batch_size, s.height, s.width).images for s in variants]


def write_inputs(path, chosen, pictures):
    """Writes the pictures, and latents float32 [K, B, Z]; returns the widths of the networks."""
    latents = inputs.latents(chosen.batch_size, chosen.noise_channels)
    np.savez(path, images=pictures, latents=latents)
    return {"widths": chosen.widths}
