"""What the demo's tests share: a small model with random weights, and the demo that shows it."""

import json as json_module

import numpy as np
import pytest
from PIL import Image

import oasis_tf
from oasis_tf.data.datasets import published_label_space
from oasis_tf.data.shapes import scene
from oasis_tf.io.images import to_uint8
from tests.web.browsing import browser, start_demo  # noqa: F401 (fixtures)

SPACE = published_label_space("shapes")


SMALL = {
    "generator_channels": 4,
    "discriminator_channels": 2,
    "spade_channels": 4,
    "generator_widths": (4, 4, 2, 1),
    "discriminator_widths": (2, 4, 4),
}


@pytest.fixture(scope="session")
def model_dir(write_model):
    """A model directory: 12 classes of `shapes`, 64x64, 4 noise channels."""
    return write_model(noise_channels=4, **SMALL)


@pytest.fixture(scope="session")
def model(model_dir):
    """The model of `model_dir`."""
    return oasis_tf.OASIS.load(model_dir)


@pytest.fixture(scope="session")
def plain_model_dir(write_model):
    """As `model_dir`, without noise and discriminator."""
    return write_model(noise_channels=0, has_discriminator=False, **SMALL)


@pytest.fixture(scope="session")
def examples_dir(tmp_path_factory):
    """Two label files, one of another size than the model's."""
    folder = tmp_path_factory.mktemp("examples")
    for k, size in enumerate([(64, 64), (96, 48)]):
        Image.fromarray(scene(2, k, *size)[1]).save(folder / f"scene{k}.png")
    return folder


@pytest.fixture(scope="session")
def demo_url(start_demo, model_dir, examples_dir):  # noqa: F811
    """Address of the demo of `model_dir`."""
    with start_demo(f"--model_dir={model_dir}", f"--examples={examples_dir}") as url:
        yield url


@pytest.fixture(scope="session")
def tflite_files(model, tmp_path_factory):
    """Folder of generator.tflite and segmenter.tflite of `model`, float32."""
    from export.litert import writing
    from export.litert.planning import Plan

    folder = tmp_path_factory.mktemp("tflite")
    for network in ("generator", "segmenter"):
        plan = Plan(network, {"none": str(folder / f"{network}.tflite")}, 64, 64)
        writing.write(model, plan, None, report_examples=0)
    return folder


PROJECTION = np.random.default_rng(0).normal(0, 0.3, (4, 3)).astype(np.float32)


@pytest.fixture(scope="session")
def formula_tflite(tmp_path_factory):
    """As `tflite_files`, in seconds: networks that are formulas, of 4 noise channels.

    The image is tanh(colour of the class + noise times `PROJECTION`), which `formula_image` gives;
    the label map of an image is the class of the nearest colour.
    """
    import tensorflow as tf

    colours = np.array(SPACE.palette, np.float32) / 127.5 - 1

    def generator(label_map, noise):
        shift = tf.reshape(noise @ PROJECTION, (1, 1, 1, 3))
        return {"image": tf.tanh(tf.gather(colours, label_map) + shift)}

    def segmenter(image):
        distance = tf.reduce_sum((image[..., None, :] - colours) ** 2, -1)
        return {"label_map": tf.argmin(distance, -1, tf.int32)}

    label_map = tf.TensorSpec((1, 64, 64), tf.int32, "label_map")
    noise = tf.TensorSpec((1, 4), tf.float32, "noise")
    image = tf.TensorSpec((1, 64, 64, 3), tf.float32, "image")
    folder = tmp_path_factory.mktemp("formulas")
    for function, inputs in ((generator, [label_map, noise]), (segmenter, [image])):
        name, path = function.__name__, str(tmp_path_factory.mktemp("saved"))
        module = tf.Module()
        module.serve = tf.function(function, input_signature=inputs)
        tf.saved_model.save(module, path, signatures={"serving_default": module.serve})
        contents = tf.lite.TFLiteConverter.from_saved_model(path).convert()
        (folder / f"{name}.tflite").write_bytes(contents)
        description = {
            "format_version": 1,
            "network": name,
            "quantize": "none",
            "height": 64,
            "width": 64,
            "noise_channels": 4,
            "dataset": SPACE.dataset,
            "step": 2,
            "has_unknown": False,
            "classes": SPACE.classes(),
        }
        (folder / f"{name}.json").write_text(json_module.dumps(description))
    return folder


@pytest.fixture(scope="session")
def formula_image():
    """function(label_map [H, W], noise [4]) -> image of the generator of `formula_tflite`."""

    def generate(label_map, noise):
        colours = np.array(SPACE.palette) / 127.5 - 1
        return to_uint8(np.tanh(colours[label_map] + noise @ PROJECTION)).astype(int)

    return generate
