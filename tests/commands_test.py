"""The commands that use a trained model, from their flags to their files."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from oasis_tf import OASIS
from oasis_tf.config import Config, DataConfig, EvaluationConfig, ModelConfig, TrainingConfig
from oasis_tf.data.datasets import published_label_space
from oasis_tf.data.examples import ShapesScene
from oasis_tf.data.preparation import prepare
from oasis_tf.data.shapes import scene
from oasis_tf.images import to_uint8
from oasis_tf.label_files import resize_label_map
from oasis_tf.metrics import evaluation
from oasis_tf.metrics.names import metric_of
from oasis_tf.models.weights import forward_state, named_weights
from oasis_tf.training.build import build_model
from oasis_tf.training.checkpoints import CheckpointStore

SPACE = published_label_space("shapes")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Eight scenes to train on and five to evaluate with."""
    path = str(tmp_path_factory.mktemp("data") / "shapes")
    splits = {
        split: [ShapesScene(f"{split}_{k}", seed, k, 64, 64) for k in range(count)]
        for split, count, seed in (("train", 8, 0), ("val", 5, 1))
    }
    prepare(splits, SPACE, path, num_workers=1)
    return path


@pytest.fixture(scope="module")
def model_dir(data_dir, tmp_path_factory):
    """A model directory as training leaves it, with weights drawn at random."""
    config = Config(
        model=ModelConfig(
            num_classes=12,
            has_unknown=False,
            noise_channels=4,
            generator_channels=2,
            discriminator_channels=2,
            spade_channels=4,
        ),
        data=DataConfig(data_dir=data_dir, crop_height=64, crop_width=64),
        training=TrainingConfig(steps=2),
        label_space=SPACE,
    )
    path = str(tmp_path_factory.mktemp("model"))
    config.save(path)
    model, rng = build_model(config), np.random.default_rng(0)
    training = {
        f"{name}/{key}": 0.2 * rng.random(variable.shape, np.float32)
        for name in ("generator", "generator_ema", "discriminator")
        for key, variable in named_weights(getattr(model, name)).items()
    } | {"step": np.int64(2)}
    # The statistics re-estimated for use are not those that training averages on.
    inference = {
        key: 0.5 + rng.random(variable.shape, np.float32)
        for key, variable in forward_state(model.generator_ema).items()
    }
    CheckpointStore(path).save(2, training, inference)
    return path


@pytest.fixture
def labels(tmp_path):
    """Two label files of other sizes than the model's crop."""
    folder = tmp_path / "labels"
    folder.mkdir()
    for k, size in enumerate([(64, 64), (96, 48)]):
        Image.fromarray(scene(2, k, *size)[1]).save(folder / f"scene{k}.png")
    return folder


def read(path):
    return np.asarray(Image.open(path))


def test_synthesize(run_module, model_dir, labels, tmp_path):
    out = tmp_path / "out"
    arguments = [f"--model_dir={model_dir}", f"--labels={labels}", f"--output={out}"]
    arguments += ["--seed=7", "--num_samples=2", "--height=64", "--width=96"]
    done = run_module("oasis_tf.synthesize", *arguments, f"--grid={tmp_path / 'grid.png'}")
    assert done.returncode == 0, done.stderr
    assert f"Wrote 5 files to {out}" in done.stdout
    assert sorted(os.listdir(out)) == [f"scene{k}_seed{s}.png" for k in (0, 1) for s in (7, 8)]
    model = OASIS.load(model_dir)
    for k in (0, 1):
        label_map = resize_label_map(read(labels / f"scene{k}.png"), 64, 96)
        for seed in (7, 8):
            image = read(out / f"scene{k}_seed{seed}.png")
            np.testing.assert_array_equal(image, to_uint8(model.generate(label_map, seed=seed)))
    assert (read(out / "scene0_seed7.png") != read(out / "scene0_seed8.png")).mean() > 0.5
    assert Image.open(tmp_path / "grid.png").size == (3 * 98 - 2, 2 * 66 - 2)


def test_synthesize_refuses_without_a_trace(run_module, model_dir, labels, tmp_path):
    Image.new("RGB", (64, 64)).save(labels / "photo.png")
    arguments = [f"--model_dir={model_dir}", f"--labels={labels}", f"--output={tmp_path / 'out'}"]
    done = run_module("oasis_tf.synthesize", *arguments)
    assert done.returncode == 1
    assert "ERROR: A label PNG must have one channel" in done.stderr
    assert "photo.png" in done.stderr
    assert not (tmp_path / "out").exists()


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


def test_evaluate_refuses_what_is_no_data_set(model_dir, tmp_path):
    with pytest.raises(FileNotFoundError, match="not a prepared data set"):
        evaluation.evaluate_model(model_dir, str(tmp_path), ["segmentation"], EvaluationConfig())


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
