"""Pictures and events of a run, on disk."""

import os

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from oasis_tf.training.writer import EVENTS, SummaryWriter


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
