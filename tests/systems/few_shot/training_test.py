"""Training by the loop: from new weights, adapted, restarted exactly, on replicas."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import oasis_tf
from oasis_tf.io import json_files
from oasis_tf.systems.few_shot import run_settings, source
from oasis_tf.systems.few_shot.system import SYSTEM
from oasis_tf.training import loop
from oasis_tf.training.store import CheckpointStore
from tests.systems.few_shot.conftest import write_pictures

SMALL = {"size": 8, "channels": (4, 4), "style_dim": 4, "num_mlp": 1, "strategy": "none"}
CADENCE = {"log_every": 1, "image_every": 100, "checkpoint_every": 2, "max_to_keep": 9}
OURS = {"d_loss": "all", "lambda_ss": 5.0, "ss_resolution": 8}


def train(model_dir, data_dir, **settings):
    given = {"data_dir": str(data_dir)} | CADENCE | settings
    config = run_settings.resolve_run(given, None)
    if os.path.exists(os.path.join(model_dir, "config.json")):
        config = run_settings.resolve_run(given, SYSTEM.config.load(model_dir))
    loop.train(config, str(model_dir), SYSTEM.make_task)
    return str(model_dir)


def state(model_dir, step):
    return CheckpointStore(model_dir).load(step)[1]


@pytest.fixture(scope="module")
def trained(few_pictures, tmp_path_factory):
    """Model directory of one step of StyleGAN2 from new weights, with both penalties."""
    path = tmp_path_factory.mktemp("run") / "model"
    return train(path, few_pictures, steps=1, **SMALL)


@pytest.fixture(scope="module")
def adapted(trained, tmp_path_factory):
    """(model directory of one step of its adaptation, folder of two pictures)."""
    folder = tmp_path_factory.mktemp("two") / "pictures"
    write_pictures(folder, 2, seed=5)
    path = tmp_path_factory.mktemp("adapted") / "model"
    return train(path, folder, steps=1, source=trained, strategy="none", **OURS), folder


def test_what_a_run_writes(trained):
    lines = Path(trained, "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 1
    for name in ("loss_d_real", "loss_g", "r1", "path_length"):
        assert f'"{name}"' in lines[0]
    assert len(source.listed(trained)) == 5
    arrays = state(trained, 1)
    assert arrays["path_mean"] > 0
    for name, array in arrays.items():
        if name.startswith("generator_ema/noise_"):
            np.testing.assert_array_equal(array, arrays[name.replace("_ema", "", 1)])
    samples = oasis_tf.load(trained).sample(3)
    assert samples.image.shape == (1, 8, 8, 3) and np.abs(samples.image).max() <= 1


@pytest.mark.slow
def test_an_adaptation_begins_with_its_source_and_leaves_it(trained, adapted):
    model_dir, _ = adapted
    start, found = state(trained, 1), state(model_dir, 1)
    for name, array in start.items():
        kind, _, rest = name.partition("/")
        if kind == "generator":
            np.testing.assert_array_equal(found[f"source/{rest}"], array, err_msg=name)
    moved = [n for n in found if n.startswith("generator/") and (found[n] != start[n]).any()]
    assert "generator/conv_0/kernel" in moved and "generator/mapping_0/kernel" in moved
    assert not any("noise_0" in name for name in moved)
    assert "heads/head_0/kernel" in found
    line = Path(model_dir, "metrics.jsonl").read_text().splitlines()[0]
    for name in ("loss_ss", "loss_d_head_0", "loss_g_head_1", "loss_g_adversarial"):
        assert f'"{name}"' in line
    both = oasis_tf.load(model_dir).sample(0, source=True)
    assert both.source.shape == both.image.shape


def test_fewer_pictures_than_the_batch_are_said(few_pictures, capsys):
    given = {"data_dir": str(few_pictures), "num_pictures": 2, **SMALL}
    task = SYSTEM.make_task(run_settings.resolve_run(given, None), tf.distribute.get_strategy())
    assert "2 pictures are repeated inside batches of 4." in capsys.readouterr().out
    images, _ = next(iter(task.batches(0)))
    assert images.shape == (4, 8, 8, 3) and len(np.unique(images, axis=0)) == 2


def test_a_source_that_does_not_fit_is_refused(trained, few_pictures, tmp_path):
    with pytest.raises(FileNotFoundError, match="`source` must be a model directory"):
        train(tmp_path / "m", few_pictures, source=str(tmp_path / "absent"))
    with pytest.raises(ValueError, match="--size=16 against 8"):
        train(tmp_path / "m", few_pictures, source=trained, size=16)
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    contents = json_files.read(other / "config.json") | {"system": "one_shot"}
    json_files.write(other / "config.json", contents)
    with pytest.raises(ValueError, match="must be a model of the system few_shot"):
        train(tmp_path / "m", few_pictures, source=str(other))
    assert not (tmp_path / "m").exists()


def test_evaluations_need_held_out_pictures(trained):
    config = run_settings.resolve_run({"eval_every": 1}, SYSTEM.config.load(trained))
    with pytest.raises(ValueError, match="`eval_every` needs pictures.*Give --held_out=FOLDER"):
        SYSTEM.make_task(config, tf.distribute.get_strategy())


@pytest.mark.slow
def test_evaluations_while_training_choose_the_best_checkpoint(trained, few_pictures, tmp_path):
    parts = shutil.copytree(trained, tmp_path / "parts")
    write_pictures(tmp_path / "others", 3, seed=9)
    others = {"eval_every": 1, "held_out": str(tmp_path / "others")}
    train(parts, few_pictures, steps=3, eval_metrics="path_roughness", **others)
    lines = (parts / "metrics.jsonl").read_text().splitlines()
    assert sum('"path_roughness_32steps"' in line for line in lines) == 2
    assert oasis_tf.load(str(parts), "best").sample(0).image.shape == (1, 8, 8, 3)
    with pytest.raises(ValueError, match="Held-out pictures must not be among those"):
        train(parts, few_pictures, steps=4, eval_every=1, held_out=str(few_pictures))


def check_equal(one, two):
    assert one.keys() == two.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(two[name], array, err_msg=name)


@pytest.mark.slow
def test_a_run_in_two_parts_is_one_run(trained, few_pictures, tmp_path):
    whole = train(tmp_path / "whole", few_pictures, steps=2, **SMALL)
    parts = shutil.copytree(trained, tmp_path / "parts")
    train(parts, few_pictures, steps=2)
    check_equal(state(whole, 2), state(parts, 2))


@pytest.mark.slow
def test_a_restart_at_the_end_of_probing(trained, few_pictures, tmp_path):
    """AdAM begins again with its filters chosen, after a restart as without one."""
    settings = {"source": trained, "strategy": "none", "probe_steps": 1, "r1_gamma": 0.0}
    whole = train(tmp_path / "whole", few_pictures, steps=2, **settings)
    parts = train(tmp_path / "parts", few_pictures, steps=1, **settings)
    probed = state(parts, 1)
    train(parts, few_pictures, steps=2)
    found = state(parts, 2)
    check_equal(state(whole, 2), found)
    bias, start = "generator/conv_0/bias", state(trained, 1)
    np.testing.assert_array_equal(probed[bias], start[bias])
    assert (found[bias] != start[bias]).any()
    modulated = found["modulation_g/conv_1/kernel/modulated"]
    assert set(modulated) <= {0.0, 1.0}


@pytest.mark.slow
def test_cdc_and_mixdl_take_steps(tmp_path, few_pictures):
    """At the least size that has all maps of patches."""
    sizes = SMALL | {"size": 64, "channels": (4, 4, 4, 4, 4)}
    sizes |= {"r1_gamma": 0.0, "path_weight": 0.0}
    first = train(tmp_path / "source", few_pictures, steps=1, **sizes)
    given = {"source": first, "strategy": "none", "r1_gamma": 0.0, "d_loss": "patch"}
    cdc = {"steps": 2, "lambda_distance": 1000.0, "patch_heads": 2}
    mixdl = {"steps": 1, "lambda_mixdl": 1000.0, "augmentation": "reduced"}
    for name, extra in (("cdc", cdc), ("mixdl", mixdl)):
        path = train(tmp_path / name, few_pictures, **given, **extra)
        found = state(path, extra["steps"])
        assert any(name.startswith("patch_optimizer/") for name in found)
        assert all(np.isfinite(x).all() for x in found.values())


@pytest.mark.slow
def test_half_precision_is_near_single(trained, few_pictures, tmp_path):
    """Losses and penalties of one step from the same weights."""
    half = train(tmp_path / "half", few_pictures, steps=1, mixed_precision="bfloat16", **SMALL)
    one, two = (
        json.loads(Path(path, "metrics.jsonl").read_text().splitlines()[0])
        for path in (trained, half)
    )
    for name in ("loss_d", "loss_g", "r1", "path_length"):
        assert two[name] == pytest.approx(one[name], rel=0.05), name
    assert two["loss_d"] != one["loss_d"]


@pytest.mark.slow
def test_biggan_is_trained_on_classes_and_adapted_without(tmp_path, few_pictures):
    for k in range(2):
        write_pictures(tmp_path / "classes" / str(k), 3, seed=k)
    sizes = {"network": "biggan", "size": 32, "ch": 1, "dim_z": 8, "shared_dim": 4}
    sizes |= {"attention": (0,), "attention_d": (0,), "batch_size": 4, "strategy": "none"}
    first = train(tmp_path / "source", tmp_path / "classes", steps=1, **sizes)
    assert "discriminator/embed/kernel" in state(first, 1)
    ours = {"d_loss": "all", "lambda_ss": 5.0, "ss_resolution": 16, "embedding_scale": "table"}
    ours["ss_mode"] = "train"  # which moves the state of the target alone
    ours |= {"batch_size": 4, "strategy": "none"}
    model_dir = train(tmp_path / "adapted", few_pictures, steps=1, source=first, **ours)
    found = state(model_dir, 1)
    assert "discriminator/embed/kernel" not in found
    start = state(first, 1)
    np.testing.assert_array_equal(found["generator/shared/table"], start["generator/shared/table"])
    for name, array in start.items():
        if name.startswith("generator/"):
            of_source = found[name.replace("generator", "source", 1)]
            np.testing.assert_array_equal(of_source, array, err_msg=name)
    assert oasis_tf.load(model_dir).sample(0).image.shape == (1, 32, 32, 3)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["stylegan2", "biggan"])
def test_two_replicas_are_one_device(tmp_path, network):
    main = Path(__file__).with_name("replicas_main.py")
    root = str(Path(oasis_tf.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": root}
    command = [sys.executable, main, network, tmp_path / "out.npz"]
    subprocess.run(command, env=environment, check=True)
    with np.load(tmp_path / "out.npz") as arrays:
        found = dict(arrays)
    assert len(found) > 100
    for name in [name for name in found if name.startswith("one/")]:
        np.testing.assert_allclose(
            found[f"two/{name[4:]}"], found[name], rtol=1e-8, atol=1e-10, err_msg=name
        )
