"""Pictures and events of a run, on disk."""

import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from oasis_tf.training.writer import EVENTS, SummaryWriter, events_folder, tag


def test_events_can_be_read(tmp_path):
    writer = SummaryWriter(str(tmp_path / "streets"))
    picture = np.random.default_rng(0).integers(0, 256, (8, 12, 3)).astype(np.uint8)
    writer.text("configuration", {"seed": 3}, 0)
    for step in (1, 2):
        writer.scalars({"loss_g": step / 2, "speed/it": 3.0}, step)
    writer.facts({"class_frequency/sky": 0.5}, 2)
    writer.pictures({"samples": picture}, 2)
    writer.close()
    folder = tmp_path / "streets" / EVENTS / "streets"  # TensorBoard shows the run's own name
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    tags = events.Tags()["tensors"]
    scalars = {"loss/g", "speed/it", "class_frequency/sky"}
    assert set(tags) == {"configuration", "samples"} | scalars
    values = [(e.step, float(tf.make_ndarray(e.tensor_proto))) for e in events.Tensors("loss/g")]
    assert values == [(1, 0.5), (2, 1.0)]
    assert b'"seed": 3' in tf.make_ndarray(events.Tensors("configuration")[0].tensor_proto).item()
    width, height, png = tf.make_ndarray(events.Tensors("samples")[0].tensor_proto)
    assert (int(width), int(height)) == (12, 8)
    np.testing.assert_array_equal(tf.io.decode_png(png), picture)
    file = tmp_path / "streets" / "samples" / "samples_00000002.png"
    np.testing.assert_array_equal(np.asarray(Image.open(file)), picture)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("loss_d_real", "loss/d_real"),
        ("accuracy_fake", "accuracy/fake"),
        ("loss", "loss"),
        ("loss_scale/generator", "loss_scale/generator"),
        ("learning_rate/generator", "learning_rate/generator"),
    ],
)
def test_values_are_in_groups(name, shown):
    assert tag(name) == shown


@pytest.mark.parametrize(
    ("there", "goes_to"),
    [
        ([], "tensorboard/new"),
        (["tensorboard/old/events.out.1"], "tensorboard/old"),  # the folder was renamed
        (["tensorboard/events.out.1"], "tensorboard"),  # of an earlier release
    ],
)
def test_a_run_that_was_begun_goes_on_in_its_folder(tmp_path, there, goes_to, monkeypatch):
    for name in there:
        os.makedirs((tmp_path / "new" / name).parent)
        (tmp_path / "new" / name).touch()
    assert events_folder(str(tmp_path / "new")) == str(tmp_path / "new" / goes_to)
    (tmp_path / "new").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / "new")
    assert events_folder(".") == os.path.join(".", goes_to)
