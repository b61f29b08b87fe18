"""What the pictures of a run show."""

import numpy as np
import pytest

from oasis_tf.data.pipeline import evaluation_batches
from oasis_tf.io import captions
from oasis_tf.systems.oasis.panels import FAKE_COLOR, Panels

SIDE, GAP, FACTOR = 32, 2, 2  # small tiles are enlarged


def tile(sheet, row, column):
    """A tile at its own size, below the captions."""
    side = SIDE * FACTOR
    top, left = captions.HEIGHT + row * (side + GAP), column * (side + GAP)
    large = sheet[top : top + side, left : left + side]
    np.testing.assert_array_equal(large[1::FACTOR, 1::FACTOR], large[::FACTOR, ::FACTOR])
    return large[::FACTOR, ::FACTOR]


@pytest.fixture(scope="module")
def drawn(shared_task, make_config, data_dir):
    """(pictures, image, label map, palette with "fake" in front)."""
    config = make_config()
    model = shared_task(config, None).model
    scenes = evaluation_batches(data_dir, "val", height=SIDE, width=SIDE, batch_size=2)
    image, label_map = (x.numpy() for x in next(iter(scenes)))
    pictures = Panels(model, config.label_space, image, label_map).draw()
    return pictures, image, label_map, np.array([FAKE_COLOR, *config.label_space.palette])


def test_sheets_have_a_row_a_scene(drawn):
    pictures = drawn[0]
    assert set(pictures) == {"samples", "labelmix"}
    for name, columns in (("samples", 5), ("labelmix", 4)):
        assert pictures[name].dtype == np.uint8
        height, width, _ = pictures[name].shape
        assert width == columns * 66 - 2
        assert height > captions.HEIGHT + 2 * 66 - 2  # the legend is below


def test_the_legend_has_the_classes_of_the_scenes(drawn):
    pictures, _, label_map, palette = drawn
    below = captions.HEIGHT + 2 * 66 - 2
    wanted = {tuple(palette[k + 1]) for k in np.unique(label_map)}
    absent = {tuple(color) for color in palette[1:] if np.ptp(color)} - wanted  # text is grey
    assert absent
    for picture in pictures.values():
        legend = {tuple(color) for color in picture[below:].reshape(-1, 3)}
        assert wanted <= legend and not absent & legend


def test_samples(drawn):
    pictures, image, label_map, palette = drawn
    for row in range(2):
        np.testing.assert_array_equal(
            tile(pictures["samples"], row, 0), palette[label_map[row] + 1]
        )
        np.testing.assert_array_equal(tile(pictures["samples"], row, 1), image[row])
        segmentation = tile(pictures["samples"], row, 4).reshape(-1, 3)
        colors = {tuple(color) for color in palette[1:]}
        assert {tuple(color) for color in segmentation} <= colors


def test_labelmix(drawn):
    pictures, image, label_map, palette = drawn
    sheet, colors = pictures["labelmix"], {tuple(color) for color in palette}
    for row in range(2):
        mask = tile(sheet, row, 0)
        assert set(np.unique(mask)) <= {0, 255}
        for label in np.unique(label_map[row]):  # one bit a class
            assert len(np.unique(mask[label_map[row] == label])) == 1
        real = mask[..., 0] == 255
        np.testing.assert_array_equal(tile(sheet, row, 1)[real], image[row][real])
        for column in (2, 3):
            assert {tuple(color) for color in tile(sheet, row, column).reshape(-1, 3)} <= colors


@pytest.mark.parametrize("channel", [0, 1, 7])
def test_channels_have_the_colours_of_their_classes(shared_task, make_config, drawn, channel):
    """D sure of one channel everywhere: black for "fake", else its class."""
    _, image, label_map, palette = drawn
    config = make_config()
    model = shared_task(config, None).model
    model.discriminator.to_logits.bias.assign(1000.0 * np.eye(13)[channel])
    pictures = Panels(model, config.label_space, image, label_map).draw()
    tiles = [tile(pictures["labelmix"], 0, column) for column in (2, 3)]
    tiles += [tile(pictures["samples"], 0, 4)] if channel else []
    for got in tiles:
        assert (got == palette[channel]).all()
