"""Training by the loop: what a run writes, exact restart, replicas, use of what was trained."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import oasis_tf
from oasis_tf.io import json_files
from oasis_tf.systems.one_shot import draws, run_settings
from oasis_tf.systems.one_shot.system import SYSTEM
from oasis_tf.training import loop, strategies
from oasis_tf.training.named_weights import forward_state
from oasis_tf.training.store import CheckpointStore
from tests.systems.one_shot.conftest import SMALL

CADENCE = {"log_every": 1, "image_every": 100, "checkpoint_every": 2, "max_to_keep": 9}


def resolve(data_dir, previous=None, **settings):
    return run_settings.resolve_run({"data_dir": data_dir} | SMALL | settings, previous)


def train(model_dir, data_dir, **settings):
    loop.train(resolve(data_dir, **CADENCE | settings), str(model_dir), SYSTEM.make_task)
    return str(model_dir)


@pytest.fixture(scope="module")
def trained(masked_frames, tmp_path_factory):
    """Model directory of two steps of OSMIS."""
    return train(tmp_path_factory.mktemp("run") / "model", masked_frames, steps=2, image_every=2)


def test_what_a_run_writes(trained):
    lines = Path(trained, "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 2
    for name in ("g_content", "g_diversity", "real_layout", "fake_low", "d"):
        assert f'"loss_{name}"' in lines[-1]
    assert CheckpointStore(trained).steps() == [2]
    config = json_files.read(os.path.join(trained, "config.json"))
    assert config["system"] == "one_shot" and config["model"]["num_classes"] == 3
    pictures = [p.name for p in Path(trained).rglob("*.png")]
    assert any("samples" in name for name in pictures) and any("masks" in n for n in pictures)


def test_load_and_sample(trained):
    model = oasis_tf.load(trained)
    samples = model.sample(5)
    assert samples.image.shape == (1, 48, 64, 3) and samples.image.dtype == np.float32
    assert samples.mask.shape == (1, 48, 64) and samples.mask.dtype == np.uint8
    assert np.abs(samples.image).max() <= 1 and samples.mask.max() <= 2
    several = model.sample(4, num_samples=3)
    np.testing.assert_allclose(several.image[1], samples.image[0], atol=1e-5)
    latents = draws.latents_of(tf.constant([5], tf.int64), 4)
    np.testing.assert_array_equal(model.sample_latents(latents).image, samples.image)
    larger = model.sample(5, grid=(16, 24))
    assert larger.image.shape == (1, 64, 96, 3)


def test_a_model_for_use_has_taken_one_power_iteration(trained):
    """sigma is fixed, by u and v one iteration after those of the checkpoint."""
    model = oasis_tf.load(trained)
    _, arrays = CheckpointStore(trained).load()
    kernel = arrays["generator_ema/block_1/conv_0/kernel"]
    matrix = kernel.reshape(-1, kernel.shape[-1])
    v = matrix @ arrays["generator_ema/block_1/conv_0/u"]
    v /= np.linalg.norm(v)
    u = v @ matrix
    state = forward_state(model.generator_ema)
    np.testing.assert_allclose(state["block_1/conv_0/u"], u / np.linalg.norm(u), atol=1e-5)
    before = {name: v.numpy() for name, v in state.items()}
    model.sample(1)
    assert all((before[name] == v.numpy()).all() for name, v in state.items())


@pytest.mark.slow
def test_synthesize(trained, run_module, tmp_path):
    done = run_module(
        "oasis_tf.synthesize",
        f"--model_dir={trained}",
        f"--output={tmp_path}/out",
        *("--num_samples=3", "--seed=4", "--grid", f"--walk={tmp_path}/out/walk.gif", "--frames=2"),
    )
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    each = {f"seed{k}{what}.png" for k in (4, 5, 6) for what in ("", "_mask")}
    assert names == each | {"grid.png", "walk.gif"}
    with Image.open(tmp_path / "out" / "seed5_mask.png") as mask:
        assert mask.mode == "P" and mask.getpalette()[:12] == [
            0,
            0,
            0,
            128,
            0,
            0,
            0,
            128,
            0,
            128,
            128,
            0,
        ]
        assert (np.asarray(mask) == oasis_tf.load(trained).sample(5).mask[0]).mean() > 0.999
    (tmp_path / "out" / "seed5.png").unlink()  # the mask that stays is not replaced either
    again = run_module(
        "oasis_tf.synthesize", f"--model_dir={trained}", f"--output={tmp_path}/out", "--seed=5"
    )
    assert again.returncode == 1 and "seed5_mask.png" in again.stderr


@pytest.mark.slow
def test_the_savedmodel_samples_alike(trained, tmp_path):
    from export import savedmodel

    model = oasis_tf.load(trained)
    names = savedmodel.export(model, str(tmp_path / "1"))
    assert set(names) == {"serving_default", "sample", "from_latent", "png"}
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    found = loaded.signatures["sample"](seed=tf.constant([3, 9], tf.int64))
    wanted = model.sample([3, 9])
    np.testing.assert_allclose(found["image"], wanted.image, atol=1e-6)
    assert found["mask"].dtype == tf.uint8
    assert (found["mask"].numpy() == wanted.mask).mean() > 0.999
    z = draws.latents_of(tf.constant([3, 9], tf.int64), 4)
    again = loaded.signatures["from_latent"](latent=z)
    np.testing.assert_array_equal(again["image"], found["image"])
    with pytest.raises(tf.errors.InvalidArgumentError, match="`latent` must be finite"):
        loaded.signatures["from_latent"](latent=z * np.nan)


def test_the_command_refuses_bad_pictures(run_module, tmp_path):
    done = run_module(
        "oasis_tf.train",
        *("--flagfile=one_shot_quick.flags", f"--data_dir={tmp_path}", "--model_dir=model"),
    )
    assert done.returncode == 1 and "at least one picture" in done.stderr
    assert not (tmp_path / "model").exists()


def test_auto_takes_one_device_where_the_batch_does_not_divide(monkeypatch, capsys):
    devices = tf.config.list_logical_devices("CPU") * 2
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: devices)
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda names: ("mirrored", names))
    assert strategies.make_strategy("auto", 5) is tf.distribute.get_strategy()
    assert "One device of 2 is used: batch_size=5" in capsys.readouterr().out
    assert strategies.make_strategy("auto", 4)[0] == "mirrored"
    assert strategies.make_strategy("auto")[0] == "mirrored"


def test_evaluations_while_training_are_refused(picture):
    with pytest.raises(ValueError, match="`eval_every` needs a system that measures"):
        SYSTEM.make_task(resolve(picture, steps=1, eval_every=1), tf.distribute.get_strategy())


def state(model_dir, step):
    return CheckpointStore(model_dir).load(step)[1]


@pytest.mark.slow
def test_a_run_in_two_parts_is_one_run(trained, masked_frames, tmp_path):
    whole = train(tmp_path / "whole", masked_frames, steps=4)
    parts = shutil.copytree(trained, tmp_path / "parts")
    train(parts, masked_frames, steps=4)
    one, two = state(whole, 4), state(parts, 4)
    assert one.keys() == two.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(two[name], array, err_msg=name)
    assert (
        state(whole, 2)["discriminator/low_0/conv_0/kernel"]
        != one["discriminator/low_0/conv_0/kernel"]
    ).any()


@pytest.mark.slow
def test_two_replicas_are_one_device(tmp_path):
    main = Path(__file__).with_name("replicas_main.py")
    source = str(Path(oasis_tf.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": source}
    subprocess.run([sys.executable, main, tmp_path / "out.npz"], env=environment, check=True)
    with np.load(tmp_path / "out.npz") as arrays:
        found = dict(arrays)
    assert len(found) > 100
    for name in [name for name in found if name.startswith("one/")]:
        np.testing.assert_allclose(
            found[f"two/{name[4:]}"], found[name], rtol=1e-9, atol=1e-10, err_msg=name
        )
