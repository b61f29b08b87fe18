"""Keras as users have set it up for other projects: another backend, channels first."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import oasis_tf
from oasis_tf import OASIS, environment
from oasis_tf.data.shapes import scene
from oasis_tf.io.images import to_uint8
from oasis_tf.systems.oasis.models import Discriminator, Encoder, Generator, PatchDiscriminator

PACKAGE = Path(oasis_tf.__file__).parent
# Whatever takes `data_format` and has the user's setting for default.
TAKE_A_FORMAT = {
    *("Conv2D", "Conv2DTranspose", "DepthwiseConv2D", "SeparableConv2D", "Flatten"),
    *("AveragePooling2D", "MaxPooling2D", "GlobalAveragePooling2D", "GlobalMaxPooling2D"),
    *("UpSampling2D", "ZeroPadding2D", "Cropping2D"),
    *("ops.conv", "ops.conv_transpose", "ops.depthwise_conv", "ops.max_pool", "ops.average_pool"),
    *("ops.image.resize", "ops.image.pad_images", "ops.image.crop_images"),
}
OF_LIBRARIES = {"InceptionV3", "ResNetBackbone", "DeepLabV3Backbone"}


@pytest.mark.parametrize("setting", ["torch", "jax", "nonsense"])
def test_the_package_chooses_tensorflow(setting):
    code = "import os, sys, oasis_tf; print(os.environ['KERAS_BACKEND'], 'keras' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"KERAS_BACKEND": setting},
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
    )
    assert done.stdout == "tensorflow False\n"


def test_another_backend_that_is_there_already(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="Received: Keras on jax.*Import oasis_tf first"):
        environment.check_backend()
    monkeypatch.delitem(sys.modules, "oasis_tf.systems.oasis.models.oasis")
    with pytest.raises(ValueError, match="need Keras on TensorFlow"):
        _ = oasis_tf.OASIS


def called(node):
    """Name of what a call calls; of operations with their module."""
    text = ast.unparse(node.func).removeprefix("keras.")
    return text if text.startswith("ops.") else text.rpartition(".")[2]


def test_every_layer_and_operation_states_its_format():
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        inside = {
            id(node)
            for block in ast.walk(tree)
            if isinstance(block, ast.FunctionDef)
            and "usual_settings()" in map(ast.unparse, block.decorator_list)
            for node in ast.walk(block)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            place = f"{path}, line {node.lineno}: {ast.unparse(node)}"
            if called(node) in TAKE_A_FORMAT:
                found.add(called(node))
                stated = {word.arg: ast.unparse(word.value) for word in node.keywords}
                assert stated.get("data_format") == "'channels_last'", place
            if called(node) in OF_LIBRARIES:
                found.add(called(node))
                assert id(node) in inside, place
    assert len(found) > 12, found


@pytest.fixture
def channels_first():
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format("channels_last")


def outputs():
    """Of small networks with weights of fixed seeds."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    label_map = rng.integers(0, 3, (1, 16, 16))
    image = rng.uniform(-1, 1, (1, 16, 16, 3)).astype(np.float32)
    noise = rng.normal(size=(1, 2)).astype(np.float32)
    return [
        Generator(3, 2, 2, 2, widths=(2, 2, 1))(label_map, noise),
        Discriminator(3, 2, widths=(1, 2))(image),
        PatchDiscriminator(3, 2, num_layers=2)(image, label_map),
        *Encoder(2, channels=1, size=16)(image),
    ]


def test_networks_with_channels_first_as_the_users_default(channels_first):
    found = outputs()
    assert keras.config.image_data_format() == "channels_first"
    with environment.usual_settings():
        want = outputs()
    for a, b in zip(found, want, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_command_with_the_settings_of_another_project(
    run_module, write_model, tmp_path, monkeypatch
):
    small = {"generator_channels": 2, "discriminator_channels": 2, "spade_channels": 4}
    model_dir = write_model(noise_channels=4, **small)
    label_map = scene(2, 0, 64, 64)[1]
    Image.fromarray(label_map).save(tmp_path / "a.png")
    settings = {"backend": "torch", "image_data_format": "channels_first", "epsilon": 1e-7}
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "keras.json").write_text(json.dumps(settings | {"floatx": "float64"}))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    arguments = [f"--model_dir={model_dir}", f"--labels={tmp_path / 'a.png'}", "--output=out"]
    done = run_module("oasis_tf.synthesize", *arguments)
    assert done.returncode == 0, done.stderr
    image = np.asarray(Image.open(tmp_path / "out" / "a_seed0.png"))
    want = to_uint8(OASIS.load(model_dir).generate(label_map, seed=0))
    np.testing.assert_array_equal(image, want)
