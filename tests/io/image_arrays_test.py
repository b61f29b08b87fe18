"""Images as arrays: one rule for types and ranges; grids of them."""

import warnings

import numpy as np
import pytest
from PIL import Image

from oasis_tf.io.image_arrays import checked_images
from oasis_tf.io.images import image_grid, to_uint8

PHOTO = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5


@pytest.mark.parametrize("dtype", ["int16", "uint16", "int32", "int64", "uint64"])
def test_integers_of_any_width_are_8_bits(dtype):
    got = checked_images(PHOTO.astype(dtype))
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, PHOTO)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_stay_as_they_are(dtype):
    image = (PHOTO / 127.5 - 1).astype(dtype)
    assert checked_images(image) is image


def test_what_is_right_is_not_copied_nor_warned_of():
    with warnings.catch_warnings(action="error"):
        assert checked_images(PHOTO) is PHOTO
        checked_images(PHOTO / 127.5 - 1)
        assert checked_images(np.zeros((0, 4, 4, 3))).shape == (0, 4, 4, 3)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (PHOTO.astype(np.float32), r"floats must lie in \[-1, 1\].*from 0 to 235.*/ 127.5 - 1"),
        (np.full((1, 1, 3), -1.01), "from -1.01 to -1.01"),
        (np.array([[[0, np.nan, 0]]]), "from nan to nan"),
        (np.array([[[0, 0, np.inf]]]), "to inf"),
        (PHOTO.astype(np.int32) * 2, r"in 0\.\.\.255. Received: dtype=int32, values from 0 to 470"),
        (np.full((1, 1, 3), -1), "values from -1 to -1"),
        (PHOTO > 9, r"integers in 0\.\.\.255 or floats.*dtype=bool"),
        (np.array(["a.png"]), "Received: dtype=<U5"),
    ],
)
def test_all_else_is_refused(image, message):
    with pytest.raises(ValueError, match=f"(?s)`photo`.*{message}"):
        checked_images(image, "photo")


def test_floats_from_0_to_1_are_warned_of_once():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        for image in (PHOTO / 255, PHOTO / 255 / 2):
            checked_images(image)
    assert len(seen) == 1 and "2 * image - 1" in str(seen[0].message)


def test_to_uint8_refuses_other_ranges():
    np.testing.assert_array_equal(to_uint8(PHOTO.astype(np.int64)), PHOTO)
    for image in (PHOTO.astype(np.float32), PHOTO.astype(int) * 9):
        with pytest.raises(ValueError, match="must lie in"):
            to_uint8(image)


def test_a_grid_of_pictures_and_arrays():
    tiles = [Image.fromarray(PHOTO), PHOTO, PHOTO / 127.5 - 1]
    grid = image_grid(tiles)
    assert grid.mode == "RGB" and grid.size == (10, 10)
    pixels = np.asarray(grid)
    for top, left in ((0, 0), (0, 6), (6, 0)):
        np.testing.assert_array_equal(pixels[top : top + 4, left : left + 4], PHOTO)
    assert (pixels[6:, 6:] == 255).all() and (pixels[4:6] == 255).all()
    assert image_grid(np.stack([PHOTO] * 4), columns=4).size == (22, 4)


@pytest.mark.parametrize(
    ("images", "columns", "message"),
    [
        ([], None, "at least one image"),
        (PHOTO, None, r"shapes \[\(4, 3\)\]"),
        ([PHOTO], 0, "columns=0"),
    ],
)
def test_a_grid_of_something_else_is_refused(images, columns, message):
    with pytest.raises(ValueError, match=message):
        image_grid(images, columns)
