"""What `benchmarks.step` and `benchmarks.generate` measure of SIV-GAN, on one drawn picture."""

import dataclasses
import warnings
from typing import ClassVar

import numpy as np

from benchmarks import inputs, settings
from oasis_tf.systems.one_shot.sizes import automatic_sizes

SWITCHES = {"jit_compile": "Compile our step with XLA."}


@dataclasses.dataclass(frozen=True)
class Settings(settings.Settings):
    """Of SIV-GAN, the published networks for pictures 330 pixels wide."""

    SYSTEM: ClassVar = "one_shot"
    SCALES: ClassVar = {
        "size": ("height", "width"),
        "batch": ("batch_size",),
        "width": ("channels",),
    }

    height: int = settings.setting("Height of images in pixels.", 192)
    width: int = settings.setting("Width of images in pixels.", 320)
    batch_size: int = settings.setting("Images in a batch.", 5)
    channels: int = settings.setting("Unit of the widths of both networks.", 32)
    noise_channels: int = settings.setting("Length of a latent.", 64)

    def check_sides(self):
        sizes = self.sizes
        if (sizes.height, sizes.width) != (self.height, self.width):
            raise ValueError(
                f"`height` and `width` must be sides that training has. Received: {self.height}, "
                f"{self.width}; nearest are {sizes.height}, {sizes.width}."
            )

    @property
    def sizes(self):
        """`Sizes` of the networks."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fewer blocks of D, on both sides
            return automatic_sizes(self.height, self.width, max(self.height, self.width))


define_flags, source = inputs.no_flags, inputs.no_source


def scenes(args, variants):
    """A picture uint8 [H, W, 3] for every one of the settings."""
    del args
    return [inputs.drawn(1, s.height, s.width).images[0] for s in variants]


def write_inputs(path, chosen, picture):
    """Writes the picture, and latents float32 [K, B, Z]; returns the depths of the networks."""
    latents = inputs.latents(chosen.batch_size, chosen.noise_channels)
    np.savez(path, image=picture, latents=latents)
    sizes = chosen.sizes
    grid = [sizes.grid_height, sizes.grid_width]
    depths = {"blocks_g": sizes.blocks_g, "blocks_d": sizes.blocks_d, "blocks_d0": sizes.blocks_d0}
    return {"grid": grid, **depths}
