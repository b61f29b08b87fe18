"""Rendered scenes: a sky, a wavy ground and two balls, which stand elsewhere in every scene."""

import os

import numpy as np
from PIL import Image

from oasis_tf.io import images
from oasis_tf.systems.one_shot import palette

HEIGHT, WIDTH = 64, 96
_RADII = (0.09, 0.16)  # of a ball, as shares of the height
_NOISE = 4.0


def render(rng, height=HEIGHT, width=WIDTH):
    """A scene with its mask.

    Args:
        rng: `numpy.random.Generator`.
        height, width: ints.

    Returns:
        uint8 [H,W,3] and uint8 [H,W], 1 on the balls.
    """
    y, x = np.mgrid[:height, :width] / height
    sky = np.array([90, 150, 235]) + np.array([90, 60, 5]) * y[..., None]
    wave = rng.uniform(0.66, 0.74) + 0.02 * np.sin(7 * x + rng.uniform(0, 6))
    image = np.where((y > wave)[..., None], np.array([70, 125, 55]) - 25 * y[..., None], sky)
    mask = np.zeros((height, width), np.uint8)
    for _ in range(2):
        radius = rng.uniform(*_RADII)
        row = rng.uniform(radius, 1 - radius)
        column = rng.uniform(radius, width / height - radius)
        apart = np.hypot(y - row, x - column) / radius
        light = 1 - 0.45 * np.hypot(y - row + radius / 3, x - column + radius / 3) / radius
        ball = np.array([225, 45, 40]) * np.clip(light, 0.3, 1)[..., None]
        image = np.where((apart < 1)[..., None], ball, image)
        mask[apart < 1] = 1
    image = image + rng.normal(0, _NOISE, image.shape)
    return np.clip(np.round(image), 0, 255).astype(np.uint8), mask


def write(folder, count=20, seed=0):
    """Writes one pair to train on, `train/image` and `train/mask`, and `count` to test on, `test/`.

    Args:
        folder: str.
        count: int.
        seed: of all scenes; each has its own.
    """
    for number in range(count + 1):
        part = os.path.join(folder, "test" if number else "train")
        image, mask = render(np.random.default_rng([seed, number]))
        for kind, picture in (("image", Image.fromarray(image)), ("mask", palette.picture(mask))):
            os.makedirs(os.path.join(part, kind), exist_ok=True)
            images.save_png(os.path.join(part, kind, f"{number:05d}.png"), picture)
