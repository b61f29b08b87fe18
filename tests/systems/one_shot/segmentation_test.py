"""One-shot segmentation: batches, augmentation, RePRI against NumPy, DAVIS' files, whole runs."""

import dataclasses
import json
import warnings

import numpy as np
import pytest
from PIL import Image

from oasis_tf.io import json_files
from oasis_tf.metrics import evaluation as of_splits
from oasis_tf.metrics.settings import PicturesEvaluationConfig
from oasis_tf.systems.one_shot import evaluation, run_settings
from oasis_tf.systems.one_shot.segmentation import (
    coco20i,
    experiment,
    finetuning,
    pairs,
    repri,
    scenes,
)
from oasis_tf.systems.one_shot.system import SYSTEM
from oasis_tf.training import loop
from tests.systems.one_shot.conftest import SMALL

# === Batches ===


def make_pool(generated=5):
    """Images of one value each: 0 the real one, 10, 20, … the generated ones."""
    mask = np.zeros((1, 24, 32), np.uint8)
    mask[0, 8:16, 8:24] = 1
    values = np.arange(1, generated + 1, dtype=np.uint8) * 10
    images = np.broadcast_to(values[:, None, None, None], (generated, 24, 32, 3))
    masks = np.repeat(mask, generated, axis=0)
    return pairs.Pool(np.zeros((1, 24, 32, 3), np.uint8), mask, images, masks, 2, {})


@pytest.mark.parametrize("row", finetuning.ROWS)
def test_half_of_a_batch_is_generated(row):
    standard, synthetic = finetuning.ROWS[row]
    found, masks = finetuning.batch(np.random.default_rng(0), make_pool(), 6, standard, synthetic)
    values = found.reshape(len(found), -1).max(1)
    assert list(values[:6]) == [0] * 6
    assert len(found) == len(masks) == (12 if synthetic else 6)
    assert all(value in range(10, 60, 10) for value in values[6:])
    moved = any((mask != make_pool().mask[0]).any() for mask in masks)
    assert moved is standard


def test_standard_augmentation_moves_image_and_mask_alike():
    y, x = np.mgrid[:60, :80]
    mask = ((y - 25) ** 2 + (x - 35) ** 2 < 200).astype(np.uint8)
    image = np.repeat(mask[..., None] * 200, 3, axis=-1).astype(np.uint8)
    areas = []
    for seed in range(6):
        changed, ids = finetuning.standard_augmentation(np.random.default_rng(seed), image, mask)
        assert changed.dtype == ids.dtype == np.uint8
        assert np.mean((changed[..., 0] > 100) != ids) < 0.02
        areas.append(ids.sum() / mask.sum())
    assert 0.75**2 - 0.05 < min(areas) < max(areas) < 1.25**2 + 0.05
    assert max(areas) - min(areas) > 0.2


def test_weights_balance_the_areas():
    mask = np.array([[0, 0, 0, 1]])
    weights = finetuning.balanced(mask, 2)
    np.testing.assert_allclose(weights, np.array([[1, 1, 1, 3]]) / 1.5)
    assert weights[mask == 0].sum() == pytest.approx(weights[mask == 1].sum())
    np.testing.assert_array_equal(finetuning.balanced(np.zeros((2, 2), int), 2), 1)


# === RePRI ===


def logistic(x):
    return 1 / (1 + np.exp(-x))


def loss_by_numpy(support, mask, query, w, b, share, weight):
    """Cross-entropy + weight · KL(mean prediction, share) + entropy / K."""
    unit = w / np.linalg.norm(w)
    p, q = (logistic(20 * (z @ unit - b)) for z in (support, query))
    known = -np.mean(mask * np.log(p) + (1 - mask) * np.log(1 - p))
    m = q.mean()
    divergence = m * np.log(m / share) + (1 - m) * np.log((1 - m) / (1 - share))
    entropy = -np.mean(q * np.log(q) + (1 - q) * np.log(1 - q))
    return known + weight * divergence + entropy / len(support)


def units(rng, *shape):
    z = rng.normal(size=shape)
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def classify_by_numpy(support, mask, query):
    """50 steps by differences of the loss."""
    means = [z[m].mean(0) for z, m in zip(support, mask, strict=True)]
    w = np.mean(means, axis=0)
    b = (query @ (w / np.linalg.norm(w))).mean()

    def share():
        return logistic(20 * (query @ (w / np.linalg.norm(w)) - b)).mean()

    pi, weight = share(), 1 / len(support)
    for step in range(50):
        if step == 10:
            pi, weight = share(), weight + 1
        parameters, gradient = np.append(w, b), []
        for k in range(len(parameters)):
            change = np.zeros(len(parameters))
            change[k] = 1e-6
            low, high = (
                loss_by_numpy(support, mask, query, *np.split(p, [-1]), pi, weight)
                for p in (parameters - change, parameters + change)
            )
            gradient.append((high - low) / 2e-6)
        w, b = np.split(parameters - 0.025 * np.array(gradient), [-1])
    return logistic(20 * (query @ (w / np.linalg.norm(w)) - b))


def test_the_classifier_takes_the_steps_of_its_definition():
    rng = np.random.default_rng(3)
    support, query = units(rng, 2, 3, 4, 5), units(rng, 3, 4, 5)
    mask = rng.random((2, 3, 4)) < 0.4
    found = repri.classify(support.astype(np.float32), mask, query.astype(np.float32))
    np.testing.assert_allclose(found, classify_by_numpy(support, mask, query), atol=2e-3)


def test_a_support_without_the_object_is_refused():
    features = units(np.random.default_rng(4), 1, 3, 4, 5).astype(np.float32)
    with pytest.raises(ValueError, match="object must be in the support"):
        repri.classify(features, np.zeros((1, 3, 4), bool), features[0])


@pytest.mark.parametrize(("row", "size"), [("none", 1), ("standard", 11), ("synthetic", 11)])
def test_support(row, size):
    images, masks = experiment.support(make_pool(20), 1, row, seed=5)
    assert images.shape == (size, 24, 32, 3) and masks.dtype == bool and len(masks) == size
    assert images[0].max() == 0
    different = {"none": 0, "standard": 1, "synthetic": 10}
    assert len({int(image.max()) for image in images[1:]}) == different[row]


def test_lists_of_coco(tmp_path):
    assert coco20i.classes_of_fold(1)[:3] == [2, 6, 10]
    assert sorted(sum((coco20i.classes_of_fold(k) for k in range(4)), [])) == list(range(1, 81))
    for name, value in (("a", 5), ("b", 6), ("c", 5)):
        Image.fromarray(np.full((4, 4), value, np.uint8)).save(tmp_path / f"{name}.png")
    path = tmp_path / "fold.txt"
    path.write_text("a.jpg a.png\nb.jpg b.png\n\nc.jpg c.png\n")
    listed = coco20i.read_list(path, str(tmp_path))
    found = coco20i.holding(listed, 5)
    assert [image for image, _ in found] == [str(tmp_path / "a.jpg"), str(tmp_path / "c.jpg")]
    assert len(coco20i.holding(listed, 5, 1)) == 1
    path.write_text("a.jpg\n")
    with pytest.raises(ValueError, match="two paths.*line 1"):
        coco20i.read_list(path, str(tmp_path))


# === Files ===


def test_davis_leaves_out_the_first_and_the_last_frame(tmp_path):
    image, mask = np.zeros((4, 6, 8, 3), np.uint8), np.ones((4, 6, 8), np.uint8)
    pairs.write_davis(tmp_path, "bear", image, mask)
    found = pairs.find(tmp_path, "bear")
    assert [path.name for path, _ in found] == ["00001.jpg", "00002.jpg"]
    np.testing.assert_array_equal(pairs.read_mask(found[0][1], 2), mask[0])
    assert Image.open(found[0][1]).mode == "P"
    with pytest.raises(ValueError, match="Pairs to test on .* 0 files"):
        pairs.find(tmp_path, "bird")


def test_masks_of_one_object_may_hold_shares(tmp_path):
    path = tmp_path / "mask.png"
    Image.fromarray(np.array([[0, 100, 200, 255]], np.uint8)).save(path)
    np.testing.assert_array_equal(pairs.read_mask(path, 2), [[0, 0, 1, 1]])
    with pytest.raises(ValueError, match="classes of the model, 0...2"):
        pairs.read_mask(path, 3)


def test_views_are_augmented_as_in_training(picture):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few blocks
        config = run_settings.resolve_run({"data_dir": picture} | SMALL, None)
        plain = run_settings.resolve_run(
            {"data_dir": picture, "augmentation": "none"} | SMALL, None
        )
    images, masks = evaluation.training_pairs(config)
    assert images.shape == (1, 48, 64, 3) and masks is None
    found = evaluation.views(config, images, 9)
    assert found.shape == (9, 48, 64, 3) and found.dtype == np.uint8
    np.testing.assert_array_equal(found, evaluation.views(config, images, 9))
    assert any((view != images[0]).any() for view in found)
    full = dataclasses.replace(config.training, augmentation="full", prob_augm=1.0)
    changed = evaluation.views(dataclasses.replace(config, training=full), images, 30)
    assert changed.min() == 0 and changed.max() == 255  # colours beyond the range are clipped
    same = evaluation.views(plain, images, 3)
    np.testing.assert_array_equal(same, np.concatenate([images] * 3))


# === What is refused ===


def refused(message, model_dirs, task="finetune", **settings):
    with pytest.raises(ValueError, match=message):
        experiment.check(experiment.Options([str(p) for p in model_dirs], **settings), task)


def test_experiments_that_cannot_work(scene, picture, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few blocks
        for name, data in (("bear", str(scene / "train")), ("plain", picture)):
            run_settings.resolve_run({"data_dir": data} | SMALL, None).save(tmp_path / name)
    bear, test = tmp_path / "bear", str(scene / "test")
    experiment.check(experiment.Options([str(bear)], test), "finetune")
    refused("must generate masks.*plain, trained without", [tmp_path / "plain"], data_dir=test)
    refused("`model_dirs` must be given", [])
    refused("one name for each model, all different.*bear, bear", [bear, bear], data_dir=test)
    refused("`data_dir` must be given", [bear])
    refused("must be given together", [bear], coco_list="fold.txt")
    refused("one id for each model.*2 for 1", [bear], "repri", coco_list="fold.txt",
            coco_dir="COCO", coco_classes=["1", "5"])  # fmt: skip
    refused("of fold 1: 2, 6, 10, .*Received: 5.", [bear], "repri", coco_list="fold.txt",
            coco_dir="COCO", coco_classes=["5"], coco_fold=1)  # fmt: skip
    refused("--base_data is a setting of --task=repri", [bear], data_dir=test, base_data="DATA")
    refused("--network=compact. Leave", [bear], data_dir=test, backbone_weights="resnet.h5")


# === Whole ===


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Folder of rendered scenes, 48x64."""
    folder = tmp_path_factory.mktemp("scene")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenes.render, "__defaults__", (48, 64))
        scenes.write(str(folder), count=3, seed=1)
    return folder


@pytest.fixture(scope="module")
def model_dir(scene, tmp_path_factory):
    """OSMIS after one step."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = {"data_dir": str(scene / "train"), "steps": 1, "image_every": 100}
        config = run_settings.resolve_run(SMALL | settings, None)
    path = str(tmp_path_factory.mktemp("run") / "bear")
    loop.train(config, path, SYSTEM.make_task)
    return path


@pytest.mark.slow
def test_experiments(model_dir, scene, tmp_path):
    options = experiment.Options(
        [model_dir], str(scene / "test"), steps=2, batch_size=2, seeds=(0, 1), pool_size=7,
        json_path=str(tmp_path / "values.json"),
    )  # fmt: skip
    experiment.check(options, "finetune")
    contents = experiment.run(options, "finetune")
    assert contents["network"] == "compact"
    assert contents["pools"]["bear"]["kept"] == 6
    assert set(contents["rows"]) == set(finetuning.ROWS)
    for rows in contents["rows"].values():
        assert len(rows) == 2
        for one in rows:
            j, f = one["J_compact"], one["F_compact"]
            assert 0 <= j <= 1 and 0 <= f <= 1
            assert one["J&F_compact"] == pytest.approx((j + f) / 2)
    assert json.loads((tmp_path / "values.json").read_text())["rows"] == contents["rows"]
    assert "synthetic" in experiment.table(contents)
    with pytest.raises(ValueError, match="values.json exists"):
        experiment.check(options, "finetune")

    options = experiment.Options([model_dir], str(scene / "test"), seeds=(0,), pool_size=12)
    contents = experiment.run(options, "repri")
    assert contents["network"] == "compact_random"
    assert all(0 <= rows[0]["miou_compact_random"] <= 1 for rows in contents["rows"].values())

    written = experiment.write_pools(options, tmp_path / "stm")
    assert written == {"bear": 10}
    for kind, suffix in (("JPEGImages", "jpg"), ("Annotations", "png")):
        names = [p.name for p in (tmp_path / "stm" / kind / "bear").iterdir()]
        assert sorted(names) == [f"{k:05d}.{suffix}" for k in range(10)]


@pytest.mark.slow
def test_evaluate(model_dir):
    settings = PicturesEvaluationConfig(evaluation_samples=3, evaluation_views=2)
    report = of_splits.evaluate_model(
        model_dir, None, ["sifid", "training_distance"], settings, seed=4
    )
    assert json_files.read(f"{model_dir}/evaluations/step_00000001.json")["metrics"]
    assert set(report["protocols"]) == {"sifid", "training_distance"}
    assert report["num_images"] == 3 and np.isfinite(report["metrics"]["sifid_stage0_seeded64"])
    with pytest.raises(ValueError, match="fid needs pictures that the model was not"):
        of_splits.evaluate_model(model_dir, None, ["fid"], settings)
