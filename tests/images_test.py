"""8-bit values, PNG files and contact sheets."""

import numpy as np
from PIL import Image

from oasis_tf import images


def test_every_8_bit_value_survives_the_round_trip():
    values = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(images.to_uint8(values / np.float32(127.5) - 1), values)


def test_values_are_rounded_and_clipped():
    values = np.array([-1.5, -1.0, -1 + 0.4 / 127.5, -1 + 0.6 / 127.5, 1.0, 1.5])
    np.testing.assert_array_equal(images.to_uint8(values), [0, 0, 0, 1, 255, 255])


def test_png_holds_the_pixels(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    images.write_png(tmp_path / "deep" / "a.png", image)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "deep" / "a.png")), image)


def test_contact_sheet_places_every_tile():
    tiles = np.random.default_rng(0).integers(0, 255, (3, 2, 4, 5, 3), np.uint8)
    sheet = images.contact_sheet([list(row) for row in tiles])
    assert sheet.shape == (3 * 6 - 2, 2 * 7 - 2, 3)
    outside = np.ones(sheet.shape[:2], bool)
    for i in range(3):
        for j in range(2):
            place = np.s_[6 * i : 6 * i + 4, 7 * j : 7 * j + 5]
            np.testing.assert_array_equal(sheet[place], tiles[i, j])
            outside[place] = False
    assert (sheet[outside] == 255).all()
