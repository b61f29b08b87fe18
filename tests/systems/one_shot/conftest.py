"""Pictures with masks, and small configurations."""

import numpy as np
import pytest
from PIL import Image

SMALL = {"ch_g": 1, "ch_d": 4, "noise_dim": 4, "batch_size": 4, "strategy": "none"}
SMALL |= {"num_blocks_g": 3, "num_blocks_d": 3, "num_blocks_d0": 2}


def scene(height=48, width=64, shift=0):
    """A sky, a ground and two balls: uint8 [H, W, 3], and ids uint8 [H, W]."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([90 + y, 140 + y, 250 - 2 * y], axis=-1).astype(np.uint8)
    image[y > 0.7 * height + 2 * np.sin(x / 4)] = (60, 130, 50)
    ids = np.zeros((height, width), np.uint8)
    for number, (row, column, radius) in enumerate(((14, 12 + shift, 6), (22, 44, 5)), start=1):
        ball = (y - row) ** 2 + (x - column) ** 2 < radius**2
        image[ball], ids[ball] = (200, 40, 30 * number), number
    return image, ids


@pytest.fixture(scope="session")
def picture(tmp_path_factory):
    """Path of one picture."""
    path = tmp_path_factory.mktemp("picture") / "picture.png"
    Image.fromarray(scene()[0]).save(path)
    return str(path)


@pytest.fixture(scope="session")
def masked_frames(tmp_path_factory):
    """Path of a folder with three frames and their masks."""
    folder = tmp_path_factory.mktemp("frames")
    for name in ("image", "mask"):
        (folder / name).mkdir()
    for k in range(3):
        for name, array in zip(("image", "mask"), scene(shift=3 * k), strict=True):
            Image.fromarray(array).save(folder / name / f"{k}.png")
    return str(folder)
