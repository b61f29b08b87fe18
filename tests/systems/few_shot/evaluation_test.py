"""Measuring against held-out pictures: values by independent ways, and what is refused."""

import json
import shutil

import numpy as np
import pytest

from oasis_tf.io.images import to_uint8
from oasis_tf.metrics import evaluation as of_models
from oasis_tf.metrics.features import networks
from oasis_tf.metrics.settings import PicturesEvaluationConfig
from oasis_tf.systems.few_shot import evaluation, source
from tests.systems.few_shot.conftest import SIZE, write_pictures

SETTINGS = PicturesEvaluationConfig(evaluation_samples=4, intra_samples=9)


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    """Path of a folder with nine pictures that no model has seen."""
    path = tmp_path_factory.mktemp("held_out") / "val"
    write_pictures(path, 9, seed=1)
    return path


@pytest.fixture(scope="module")
def report(adapted_dir, held_out, tmp_path_factory):
    """What the metrics found, and the file that keeps it."""
    path = tmp_path_factory.mktemp("report") / "values.json"
    names = ["fid", "intra_lpips", "head_shares"]
    contents = of_models.evaluate_model(
        adapted_dir, str(held_out), names, SETTINGS, seed=3, json_path=str(path)
    )
    assert json.loads(path.read_text())["metrics"].keys() == contents["metrics"].keys()
    return contents


def test_fid_of_as_many_images(report, adapted, held_out):
    real = np.stack([source.resized(path, SIZE) for path in source.find(held_out)])
    generated = to_uint8(adapted.sample(3, num_samples=9).image)
    a, b = (networks.feature_network()(x).astype(np.float64) for x in (real, generated))
    cov_a, cov_b = (np.cov(x, rowvar=False) for x in (a, b))
    root = np.linalg.eigvals(cov_a @ cov_b).astype(complex)
    wanted = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(cov_a + cov_b)
    wanted -= 2 * np.sqrt(root).real.sum()
    assert report["metrics"]["fid_seeded64"] == pytest.approx(wanted, rel=0.01)
    protocol = report["protocols"]["fid"]
    assert (protocol["num_real"], protocol["num_generated"]) == (9, 9)
    assert any("covariances are singular" in note for note in protocol["notes"])
    assert (report["split"], report["num_images"]) == ("held out", 9)
    assert report["dataset"] == "9 held-out pictures, 5 training pictures"


def test_shares_of_heads(report, adapted):
    values = report["metrics"]
    heads = ["block_1", "block_2", "block_3", "end"]
    for side in "dg":
        shares = [values[f"head_share_{side}/{head}"] for head in heads]
        assert sum(shares) == pytest.approx(1) and min(shares) > 0
    assert report["protocols"]["head_shares"]["losses"]["d"].keys() == set(heads)


def test_intra_lpips_of_a_report(report):
    protocol = report["protocols"]["intra_lpips"]
    assert sum(protocol["cluster_sizes"]) == 9
    values = np.array(protocol["by_cluster"], float)
    wanted = values[~np.isnan(values)].mean()
    assert report["metrics"]["intra_lpips_seeded64_9samples"] == pytest.approx(wanted)


def test_what_can_be_had(adapted):
    assert evaluation.has(adapted.config, None) == {"several", "training", "walk", "heads"}
    assert "held_out" in evaluation.has(adapted.config, "DIR")


def test_training_pictures_are_no_held_out_ones(adapted_dir, few_pictures, held_out, tmp_path):
    """Neither under another name nor, changed, under their own."""
    for name, of in (("copy.png", few_pictures / "0_2.png"), ("0_2.png", held_out / "1_0.png")):
        folder = tmp_path / name
        shutil.copytree(held_out, folder)
        shutil.copy(of, folder / name)
        with pytest.raises(ValueError, match=f"Received: 1 of 10 in .*: {name}. Move them out"):
            of_models.evaluate_model(adapted_dir, str(folder), ["fid"], SETTINGS)
    one = tmp_path / "one"
    write_pictures(one, 1, seed=2)
    with pytest.raises(ValueError, match="At least 2 held-out pictures"):
        of_models.evaluate_model(adapted_dir, str(one), ["fid"], SETTINGS)
    with pytest.raises(ValueError, match="The metric fid needs pictures that the model was not"):
        of_models.evaluate_model(adapted_dir, None, ["fid"], SETTINGS)
