"""Text on pictures: where it is, and that the pictures stay as they are."""

import numpy as np
import pytest

from oasis_tf.io import captions, images


@pytest.fixture
def sheet(rng):
    """Two rows of three tiles of 40x64."""
    tiles = rng.integers(0, 256, (2, 3, 40, 64, 3)).astype(np.uint8)
    return images.contact_sheet([list(row) for row in tiles])


def ink(picture, first, last):
    """Whether there is text between two columns of pixels."""
    return bool((picture[:, first:last] < 128).any())


def test_captions_are_over_their_columns(sheet):
    captioned = captions.with_captions(sheet, ["label map", "", "real"])
    assert captioned.shape == (captions.HEIGHT + 82, 196, 3) and captioned.dtype == np.uint8
    np.testing.assert_array_equal(captioned[captions.HEIGHT :], sheet)
    line = captioned[: captions.HEIGHT]
    assert ink(line, 0, 64) and not ink(line, 64, 132) and ink(line, 132, 196)


def test_long_captions_are_small(sheet):
    """They fit, where text of a readable size can."""
    line = captions.with_captions(sheet, ["averaged", "", ""])[: captions.HEIGHT]
    assert ink(line, 0, 64) and not ink(line, 64, 196)


def test_a_legend_names_colours(sheet):
    entries = [(f"class {k}", (250 - k, 10, k)) for k in range(7)]
    picture = captions.with_legend(sheet, entries)
    np.testing.assert_array_equal(picture[:82], sheet)
    legend = picture[82:]
    found = {tuple(color) for color in legend.reshape(-1, 3)}
    assert {color for _, color in entries} <= found
    one = captions.with_legend(sheet, entries[:1])
    assert 82 < len(one) < len(picture)  # as many lines as it needs
    assert ink(one[82:], captions._SWATCH + 2, 60)


def test_a_name_wider_than_the_picture_has_a_line_of_its_own(sheet):
    picture = captions.with_legend(sheet, [("n" * 90, (9, 9, 9)), ("m", (8, 8, 8))])
    assert picture.shape[1] == sheet.shape[1]
