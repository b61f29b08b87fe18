"""Pictures and events of a run."""

import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from oasis_tf.data.pipeline import evaluation_batches
from oasis_tf.training.writer import EVENTS, FAKE_COLOR, Panels, SummaryWriter

SIDE, GAP = 32, 2


def tile(sheet, row, column):
    step = SIDE + GAP
    return sheet[row * step : row * step + SIDE, column * step : column * step + SIDE]


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
        assert pictures[name].shape == (2 * 34 - 2, columns * 34 - 2, 3)


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


def test_events_can_be_read(tmp_path):
    writer = SummaryWriter(str(tmp_path))
    picture = np.random.default_rng(0).integers(0, 256, (8, 12, 3)).astype(np.uint8)
    writer.text("configuration", {"seed": 3}, 0)
    for step in (1, 2):
        writer.scalars({"loss_g": step / 2, "speed/it": 3.0}, step)
    writer.pictures({"samples": picture}, 2)
    writer.close()
    events = EventAccumulator(os.path.join(tmp_path, EVENTS), size_guidance={"tensors": 0})
    events.Reload()
    tags = events.Tags()["tensors"]
    assert set(tags) == {"configuration", "loss_g", "speed/it", "samples"}
    values = [(e.step, float(tf.make_ndarray(e.tensor_proto))) for e in events.Tensors("loss_g")]
    assert values == [(1, 0.5), (2, 1.0)]
    assert b'"seed": 3' in tf.make_ndarray(events.Tensors("configuration")[0].tensor_proto).item()
    width, height, png = tf.make_ndarray(events.Tensors("samples")[0].tensor_proto)
    assert (int(width), int(height)) == (12, 8)
    np.testing.assert_array_equal(tf.io.decode_png(png), picture)
    file = tmp_path / "samples" / "samples_00000002.png"
    np.testing.assert_array_equal(np.asarray(Image.open(file)), picture)
