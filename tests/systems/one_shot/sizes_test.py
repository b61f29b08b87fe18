"""Sizes and depths by the size of the pictures: the specification's table."""

import warnings

import pytest

from oasis_tf.systems.one_shot.sizes import Sizes, automatic_sizes, capped

# (height, width) -> max_size, grid, (g, n, n_ll), training size
TABLE = {
    (192, 330): (330, (3, 5), (7, 7, 3), (192, 320)),
    (185, 330): (330, (3, 5), (7, 7, 3), (192, 320)),
    (480, 854): (330, (3, 5), (7, 7, 3), (192, 320)),
    (256, 256): (1024, (4, 4), (7, 7, 3), (256, 256)),
    (300, 300): (1024, (5, 5), (7, 7, 3), (320, 320)),
    (384, 640): (1024, (3, 5), (8, 7, 4), (384, 640)),
    (576, 1024): (1024, (2, 4), (9, 8, 4), (512, 1024)),
    (64, 64): (1024, (4, 4), (5, 6, 2), (64, 64)),
    (64, 96): (1024, (4, 6), (5, 6, 2), (64, 96)),
    (48, 64): (1024, (3, 4), (5, 5, 2), (48, 64)),
    (100, 150): (1024, (3, 5), (6, 6, 3), (96, 160)),
}
WARNED = {(48, 64), (100, 150)}


@pytest.mark.parametrize("picture", TABLE)
def test_the_published_table(picture):
    max_size, grid, depths, size = TABLE[picture]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = automatic_sizes(*picture, max_size)
    assert found == Sizes(*grid, *depths)
    assert (found.height, found.width) == size
    assert bool(caught) == (picture in WARNED)
    if caught:
        assert "instead of" in str(caught[0].message)


def test_480_by_854_uncapped():
    found = automatic_sizes(480, 854, 1024)
    assert (found.grid_height, found.grid_width, found.blocks_g) == (4, 7, 8)
    assert (found.height, found.width) == (512, 896)


def test_the_cap():
    assert capped(480, 854, 330) == (185, 330)
    assert capped(854, 480, 330) == (330, 185)
    assert capped(100, 100, 330) == (100, 100)


@pytest.mark.parametrize(
    ("size", "depths", "message"),
    [
        ((47, 64), (), "sides of the pictures must have 48 to 1792.*Received: 47x64"),
        ((1793, 1793), (), "must have 48 to 1792"),
        ((48, 1000), (), "that much longer.*48x1000.*0x4"),
        ((64, 64), (0, 7, 0), "`num_blocks_d` must be at most 6.*num_blocks_d=7"),
        ((64, 64), (0, 6, 6), "`num_blocks_d0` must be less.*num_blocks_d0=6 with 6"),
    ],
)
def test_what_does_not_fit(size, depths, message):
    with pytest.raises(ValueError, match=message):
        automatic_sizes(*size, 2000, *depths)


def test_depths_can_be_given():
    assert automatic_sizes(64, 96, 1024, 6, 5, 1) == Sizes(2, 3, 6, 5, 1)
