"""The commands that use a trained model, from their flags to the files they write."""

import dataclasses
import errno
import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from PIL import Image

from oasis_tf import OASIS
from oasis_tf.data.datasets import published_label_space
from oasis_tf.data.shapes import scene
from oasis_tf.io.images import to_uint8
from oasis_tf.io.label_files import resize_label_map
from oasis_tf.metrics import evaluation
from oasis_tf.metrics.names import metric_of
from oasis_tf.metrics.settings import EvaluationConfig
from oasis_tf.systems.oasis.synthesis import command as synthesize

SPACE = published_label_space("shapes")


@pytest.fixture(scope="module")
def data_dir(write_shapes):
    """Eight training scenes and five validation scenes."""
    return write_shapes(8, 5)


@pytest.fixture(scope="module")
def model_dir(data_dir, write_model):
    """A model directory as after training, with random weights."""
    small = {"generator_channels": 2, "discriminator_channels": 2, "spade_channels": 4}
    return write_model(data_dir, noise_channels=4, **small)


@pytest.fixture
def labels(tmp_path):
    """Two label files of other sizes than the model's crop."""
    folder = tmp_path / "labels"
    folder.mkdir()
    for k, size in enumerate([(64, 64), (96, 42)]):
        Image.fromarray(scene(2, k, *size)[1]).save(folder / f"scene{k}.png")
    return folder


def read(path):
    return np.asarray(Image.open(path))


def test_synthesize(run_module, model, model_dir, labels, tmp_path):
    out = tmp_path / "out"
    arguments = [f"--model_dir={model_dir}", f"--labels={labels}", f"--output={out}"]
    arguments += ["--seed=7", "--num_samples=2", "--height=64", "--width=96"]
    done = run_module("oasis_tf.synthesize", *arguments, f"--grid={tmp_path / 'grid.png'}")
    assert done.returncode == 0, done.stderr
    assert f"Wrote 5 files to {out}" in done.stdout
    assert sorted(os.listdir(out)) == [f"scene{k}_seed{s}.png" for k in (0, 1) for s in (7, 8)]
    for k in (0, 1):
        label_map = resize_label_map(read(labels / f"scene{k}.png"), 64, 96)
        for seed in (7, 8):
            image = read(out / f"scene{k}_seed{seed}.png")
            np.testing.assert_array_equal(image, to_uint8(model.generate(label_map, seed=seed)))
    assert (read(out / "scene0_seed7.png") != read(out / "scene0_seed8.png")).mean() > 0.25
    assert Image.open(tmp_path / "grid.png").size == (3 * 98 - 2, 2 * 66 - 2)


def test_synthesize_refuses_before_it_writes(run_module, model_dir, labels, tmp_path):
    Image.new("RGB", (64, 64), (1, 2, 3)).save(labels / "photo.png")
    arguments = [f"--model_dir={model_dir}", f"--labels={labels}", f"--output={tmp_path / 'out'}"]
    done = run_module("oasis_tf.synthesize", *arguments)
    assert done.returncode == 1
    assert "photo.png: 1 colours are not in the data set's palette: #010203 (4096" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def model(model_dir):
    """Loaded, and its graphs traced, once for all tests of this module."""
    return OASIS.load(model_dir)


@pytest.fixture
def synthesize_here(model, model_dir, tmp_path, monkeypatch, capsys):
    """function(*flags) that runs `synthesize` in this process and returns its output."""
    monkeypatch.setattr(OASIS, "load", lambda *_: model)

    def run(*arguments):
        values = flags.FlagValues()
        synthesize.define_flags(values)
        values(
            ["synthesize", f"--model_dir={model_dir}", f"--output={tmp_path / 'out'}", *arguments]
        )
        monkeypatch.setattr(synthesize.flags, "FLAGS", values)
        synthesize.main([])
        return capsys.readouterr().out

    return run


def test_synthesize_edits_from_its_flags(synthesize_here, labels, tmp_path):
    base = [f"--labels={labels}", "--size=native", "--resample_classes=sky, tree"]
    said = synthesize_here(*base, "--seed=3", "--num_samples=2")
    assert "1 of 2 inputs are padded" in said
    assert "Wrote 4 files" in said
    edit = "scene1_seed3_sky-tree_seed4.png"
    names = [f"scene{k}_seed3{e}.png" for k in (0, 1) for e in ("", "_sky-tree_seed4")]
    assert sorted(os.listdir(tmp_path / "out")) == names
    assert read(tmp_path / "out" / edit).shape == (96, 42, 3)
    os.remove(tmp_path / "out" / edit)
    synthesize_here(*base, "--seed=3", "--num_samples=2", "--skip_existing", "--nooverwrite")
    assert (tmp_path / "out" / edit).exists()
    said = synthesize_here(
        *base, "--interpolate=3", "--interpolation=spherical", "--animation=gif,webp"
    )
    assert "Wrote 10 files" in said
    assert (tmp_path / "out" / "scene0_seed0_sky-tree_to_seed1_spherical.gif").exists()


def test_synthesize_goes_on_after_a_full_disk(synthesize_here, labels, tmp_path, monkeypatch):
    synced, fsync = [], os.fsync

    def full_once(descriptor):
        synced.append(descriptor)
        if len(synced) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full_once)
    message = "scene1_seed0.png: No space left on device. Make room.* --skip_existing goes on"
    with pytest.raises(OSError, match=message):
        synthesize_here(f"--labels={labels}")
    assert os.listdir(tmp_path / "out") == ["scene0_seed0.png"]
    synthesize_here(f"--labels={labels}", "--skip_existing")
    assert sorted(os.listdir(tmp_path / "out")) == ["scene0_seed0.png", "scene1_seed0.png"]


def test_synthesize_other_modes_from_their_flags(synthesize_here, data_dir, tmp_path):
    assert "Wrote 3 files" in synthesize_here("--labelmix", "--num_scenes=3")
    photographs = f"--from_images={tmp_path / 'photos'}"
    (tmp_path / "photos").mkdir()
    Image.fromarray(scene(2, 0, 80, 64)[0]).save(tmp_path / "photos" / "p.jpg")
    assert "1 of 1 inputs are resized" in synthesize_here(photographs, "--segment_only")
    assert read(tmp_path / "out" / "p.png").max() < 12
    assert "Wrote 1 files" in synthesize_here(photographs)
    twin = f"--output={tmp_path / 'twin'}"
    assert "Wrote 8 synthetic examples" in synthesize_here("--augment", twin)
    with pytest.raises(ValueError, match="--region cannot be used with --augment"):
        synthesize_here("--augment", "--region=mask.png")


@pytest.mark.slow
def test_evaluate(run_module, model_dir, data_dir, tmp_path):
    where = [f"--model_dir={model_dir}", f"--data_dir={data_dir}"]
    few = ["--segmenter_steps=2", "--diversity_samples=2", "--diversity_maps=1"]
    names = [name for name in evaluation.METRICS if name != "lvis"]
    outputs = [f"--plots={tmp_path / 'plots'}"]
    done = run_module("oasis_tf.evaluate", *where, *few, f"--metrics={','.join(names)}", *outputs)
    assert done.returncode == 0, done.stderr
    (path,) = Path(model_dir, "evaluations").iterdir()
    report = json.loads(path.read_text())
    assert (report["num_images"], report["step"]) == (5, 2)
    values = report["metrics"]
    for family in ("segmentation", "alignment_compact", "segmenter_compact"):
        assert 0 <= values[f"{family}/miou"] <= 1
        assert f"{family}/iou/balloon" in values
        assert f"{family}/miou" in done.stdout
    for name in ("fid_seeded64", "kid_seeded64", "diversity/ms_ssim_3scales", "texture_chi2/mean"):
        assert np.isfinite(values[name])
        assert name in done.stdout
    assert "never with published values" in done.stdout
    assert {metric_of(name) for name in values} == set(names) == set(report["protocols"])
    assert list(Path(tmp_path, "plots").glob("*.png"))

    kept = os.listdir(os.path.join(data_dir, "segmenters"))
    assert len(kept) == 1
    settings = EvaluationConfig(segmenter_steps=2)
    again = evaluation.evaluate_model(
        model_dir, None, ["alignment", "fid"], settings, batch_size=2,
        json_path=str(tmp_path / "new" / "report.json"),
    )  # fmt: skip
    for name, value in again["metrics"].items():
        if not name.startswith("fid"):
            np.testing.assert_equal(value, np.nan if values[name] is None else values[name])
    assert again["metrics"]["fid_seeded64"] == pytest.approx(values["fid_seeded64"], rel=1e-6)
    assert os.listdir(os.path.join(data_dir, "segmenters")) == kept

    other = str(tmp_path / "new" / "report.json")
    done = run_module("oasis_tf.evaluate", f"--compare={model_dir},{other}")
    assert done.returncode == 0, done.stderr
    assert "fid_seeded64" in done.stdout


def test_evaluate_refuses_before_it_reads_the_model(data_dir, tmp_path):
    with pytest.raises(ValueError, match="Unknown metrics: speed"):
        evaluation.evaluate_model(tmp_path, data_dir, ["speed"], EvaluationConfig())
    with pytest.raises(FileNotFoundError, match="not a model directory"):
        evaluation.evaluate_model(tmp_path, data_dir, ["segmentation"], EvaluationConfig())


def test_evaluate_refuses_a_folder_that_is_not_a_data_set(model_dir, tmp_path):
    with pytest.raises(FileNotFoundError, match="not a prepared data set"):
        evaluation.evaluate_model(model_dir, str(tmp_path), ["segmentation"], EvaluationConfig())


def test_evaluate_asks_for_a_data_set_that_has_moved(model, tmp_path):
    data = dataclasses.replace(model.config.data, data_dir=str(tmp_path / "gone"))
    dataclasses.replace(model.config, data=data).save(tmp_path / "model")
    with pytest.raises(FileNotFoundError, match="gone is not a prepared.*give its new --data_dir"):
        evaluation.evaluate_model(tmp_path / "model", None, ["segmentation"], EvaluationConfig())


@pytest.mark.slow
def test_export_savedmodel(run_module, model_dir, tmp_path):
    arguments = [f"--model_dir={model_dir}", f"--output={tmp_path / 'served'}"]
    done = run_module("export.savedmodel", *arguments, "--version=3")
    assert done.returncode == 0, done.stderr
    assert os.listdir(tmp_path / "served") == ["3"]
    serve = tf.saved_model.load(str(tmp_path / "served" / "3")).signatures["serving_default"]
    label_map = scene(2, 0, 64, 64)[1][None].astype(np.int32)
    image = serve(label_map=tf.constant(label_map), seed=tf.constant([5], tf.int64))["image"]
    model = OASIS.load(model_dir)
    np.testing.assert_array_equal(image.numpy(), model.generate(label_map, seed=5))


def test_export_keras_file(run_module, model_dir, tmp_path):
    path = tmp_path / "generator.keras"
    arguments = [f"--model_dir={model_dir}", f"--output={path}"]
    done = run_module("export.keras_file", *arguments)
    assert done.returncode == 0, done.stderr
    generator, model = keras.models.load_model(path), OASIS.load(model_dir)
    label_map, noise = scene(2, 0, 64, 64)[1][None], model.sample_noise(5, 1)
    np.testing.assert_array_equal(
        generator(label_map, noise), model.generator_ema(label_map, noise)
    )
    again = run_module("export.keras_file", *arguments)
    assert again.returncode == 1
    assert "generator.keras exists" in again.stderr and "tensorflow" not in again.stderr
