"""All steps on the command line with tiny data: prepare, train, resume, generate, export."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from oasis_tf import OASIS
from oasis_tf.data.shapes import scene
from oasis_tf.io import images, json_files
from oasis_tf.training.store import CheckpointStore

TINY = [
    "--flagfile=quickstart.flags",
    "--generator_channels=1",
    "--generator_widths=2,2,1",
    "--discriminator_widths=2,2",
    "--discriminator_channels=1",
    "--spade_channels=4",
    "--noise_channels=2",
    "--batch_size=2",
    "--log_every=1",
    "--checkpoint_every=2",
    "--image_every=4",
    "--statistics_batches=2",
]


def succeed(process):
    assert process.returncode == 0, process.stderr
    return process.stdout


def fail(process):
    assert process.returncode == 1, process.stderr
    assert "Traceback" not in process.stderr
    return process.stderr


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


@pytest.mark.slow
def test_from_raw_data_to_a_served_model(run_module, work):
    data, model, labels = f"{work}/data", f"{work}/model", work / "labels"
    where = (f"--data_dir={data}", f"--model_dir={model}")

    # An unprepared folder stops before anything is written.
    assert "python -m oasis_tf.prepare" in fail(run_module("oasis_tf.train", *TINY, *where))
    assert not (work / "model").exists()

    sizes = ("--num_train=6", "--num_val=2", "--height=64", "--width=64")
    succeed(run_module("oasis_tf.prepare", "--dataset=shapes", f"--output={data}", *sizes))

    printed = succeed(run_module("oasis_tf.train", *TINY, *where, "--steps=3"))
    assert "step 3/3" in printed and "ETA" in printed
    assert CheckpointStore(model).steps() == [2, 3]

    # The same command with more steps continues; contradictory flags are refused.
    assert "lr_g" in fail(run_module("oasis_tf.train", f"--model_dir={model}", "--lr_g=1e-5"))
    printed = succeed(run_module("oasis_tf.train", f"--model_dir={model}", "--steps=5"))
    assert "Continuing from step 3" in printed
    assert CheckpointStore(model).steps() == [4, 5]
    with open(f"{model}/metrics.jsonl") as file:
        lines = [json_files.loads(line) for line in file]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5]
    assert all(np.isfinite(list(line.values())).all() for line in lines)
    assert (work / "model" / "samples" / "samples_00000004.png").exists()

    labels.mkdir()
    label_map = scene(9, 0, 64, 64)[1]
    Image.fromarray(label_map).save(labels / "one.png")
    flags = ("--num_samples=2", "--seed=7", f"--output={work}/images")
    succeed(run_module("oasis_tf.synthesize", f"--model_dir={model}", f"--labels={labels}", *flags))
    loaded = OASIS.load(model)
    written = [np.array(Image.open(work / "images" / f"one_seed{s}.png")) for s in (7, 8)]
    wanted = images.to_uint8(loaded.generate(np.stack([label_map] * 2), seed=[7, 8]))
    np.testing.assert_allclose(np.stack(written).astype(int), wanted.astype(int), atol=1)

    succeed(run_module("export.savedmodel", f"--model_dir={model}", f"--output={work}/served"))
    served = tf.saved_model.load(f"{work}/served/1").signatures["serving_default"]
    answer = served(
        label_map=tf.constant(label_map[None], tf.int32), seed=tf.constant([7], tf.int64)
    )
    np.testing.assert_allclose(answer["image"], loaded.generate(label_map[None], seed=7), atol=1e-5)


@pytest.mark.slow
def test_dry_run(run_module, work):
    """Runs on the data of the test above; writes nothing."""
    printed = succeed(
        run_module("oasis_tf.train", *TINY, f"--data_dir={work}/data", "--steps=3", "--dry_run")
    )
    assert "trainable parameters" in printed and "memory: about" in printed
