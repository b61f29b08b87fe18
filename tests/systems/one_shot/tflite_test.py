"""TFLite files of the sampler, and folded norms, against the model."""

import json

import numpy as np
import pytest
import tensorflow as tf

from export.litert import metadata, planning, writing
from oasis_tf.systems.one_shot.build import build_model
from oasis_tf.systems.one_shot.config import Config
from oasis_tf.systems.one_shot.loading import load_model
from oasis_tf.training.named_weights import named_weights
from oasis_tf.training.restoring import restored
from tests.systems.one_shot.conftest import write_model


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("tflite") / "model", num_classes=3, step=7)


@pytest.fixture(scope="module")
def model(model_dir):
    return load_model(model_dir)


def plan(model, output, quantize=("none",), height=None, width=None, dynamic_size=False):
    sizes = (height, width, dynamic_size, False)
    return planning.plan_export(model.config, str(output), "generator", list(quantize), *sizes)


def test_folded_norms_change_nothing(model, model_dir):
    other, _ = restored(model_dir, None, Config, build_model, training=False)
    other.settle()
    z = tf.random.stateless_normal((2, 4), (1, 2))
    np.testing.assert_allclose(
        model.sample_latents(z).image, other.sample_latents(z).image, atol=1e-5
    )
    kernel = named_weights(model.generator_ema)["block_2/conv_1/kernel"].numpy()
    (largest, *_) = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), compute_uv=False)
    assert largest == pytest.approx(1, abs=0.5)  # u and v have seen few iterations


@pytest.mark.slow
def test_files(model, tmp_path):
    """Two sizes, one with the first map resized; what they say of themselves."""
    from ai_edge_litert.interpreter import Interpreter

    chosen = plan(model, tmp_path, ["none", "dynamic", "int8"])
    rows = writing.write(model, chosen, None, representative_examples=3, report_examples=2)
    assert rows[1]["max_error"] < 1e-4 and rows[1]["equal_labels"] > 0.999
    assert rows[2]["psnr"] > 25 and rows[3]["psnr"] > 15
    report = json.loads((tmp_path / "generator_48x64_float32.report.json").read_text())
    assert report["examples_from"] == "seeds"
    found = metadata.read((tmp_path / "generator_48x64_float32.tflite").read_bytes())
    assert (found["system"], found["step"], found["num_classes"]) == ("one_shot", 7, 3)
    assert (found["noise_channels"], found["colors"][1]) == (4, [128, 0, 0])
    path = tmp_path / "wide.tflite"
    writing.write(model, plan(model, path, height=48, width=96), None, report_examples=0)
    run = Interpreter(str(path)).get_signature_runner("serving_default")
    z = np.random.default_rng(0).standard_normal((1, 4)).astype(np.float32)
    wanted = model.sample_latents(z, grid=(3, 6))
    got = run(latent=z)
    np.testing.assert_allclose(got["image"], wanted.image, atol=1e-4)
    assert got["mask"].dtype == np.uint8 and (got["mask"] == wanted.mask).mean() > 0.999


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dynamic_size": True}, "`dynamic_size` is not for a generator of one_shot"),
        ({"height": 40, "width": 64}, "`height` must be a positive multiple of 16"),
    ],
)
def test_refused(model, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        plan(model, tmp_path, **options)


def test_data_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match="`data_dir` is for systems that generate from label maps"):
        writing.dataset_for(plan(model, tmp_path), model.config, "data")
