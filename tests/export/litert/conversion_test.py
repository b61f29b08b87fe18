"""TFLite files against the engines they are made from. Conversions cost seconds: each is shared."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from tensorflow.lite.python import schema_py_generated as schema

from export.litert import conversion
from oasis_tf.systems.oasis.serving import litert_networks

ALL = ("none", "float16", "dynamic", "int8")


def psnr(got, want, span=2):
    return 10 * np.log10(span**2 / np.square(got - want).mean())


def generator_inputs(model, size, batch=1, seed=0):
    rng = np.random.default_rng(seed)
    label_map = rng.integers(0, 5, (batch, *size), np.int32)
    channels = model.generator.noise_channels
    if not channels:
        return {"label_map": label_map}
    return {"label_map": label_map, "noise": rng.standard_normal((batch, channels), np.float32)}


def image_inputs(size, batch=1, seed=0):
    image = np.random.default_rng(seed).uniform(-1, 1, (batch, *size, 3))
    return {"image": image.astype(np.float32)}


def runner(contents):
    return Interpreter(model_content=contents).get_signature_runner("serving_default")


@pytest.fixture(scope="module")
def generator(shallow_model):
    """function(quantization) -> network of 64x64 images and its file."""
    network = litert_networks.network(shallow_model, "generator", 64, 64)
    calibration = [generator_inputs(shallow_model, (64, 64), seed=s) for s in range(10, 14)]

    @functools.cache
    def convert(quantize):
        return conversion.convert(network, quantize, calibration)

    return lambda quantize: (network, convert(quantize))


@pytest.fixture(scope="module")
def free(shallow_model):
    """A generator of images of any number and size, and its file."""
    network = litert_networks.network(shallow_model, "generator")
    return network, conversion.convert(network, "none")


@pytest.fixture(scope="module")
def segmenter(model):
    """A segmenter of 64x64 images and its file."""
    network = litert_networks.network(model, "segmenter", 64, 64)
    return network, conversion.convert(network, "none")


def test_float32_gives_what_the_engine_gives(shallow_model, generator):
    network, contents = generator("none")
    inputs = generator_inputs(shallow_model, (64, 64))
    image, want = runner(contents)(**inputs)["image"], network.reference(**inputs)["image"]
    assert image.shape == (1, 64, 64, 3) and image.dtype == np.float32
    assert want.std() > 0.05 and np.abs(want).mean() < 0.9  # the image is not flat
    np.testing.assert_allclose(image, want, rtol=0, atol=1e-4)
    np.testing.assert_allclose(image, shallow_model.generate(**inputs), rtol=0, atol=1e-4)
    other = runner(contents)(**inputs | {"noise": inputs["noise"][:, ::-1]})["image"]
    assert np.abs(other - image).max() > 0.01


@pytest.mark.parametrize(("quantize", "least"), [("float16", 60), ("dynamic", 40), ("int8", 15)])
def test_quantised_files_stay_close(shallow_model, generator, quantize, least):
    network, contents = generator(quantize)
    inputs = generator_inputs(shallow_model, (64, 64))
    image, want = runner(contents)(**inputs)["image"], network.reference(**inputs)["image"]
    assert least < psnr(image, want) < 100
    assert image.dtype == np.float32


@pytest.mark.slow
def test_calibration_alone_decides_int8(shallow_model, generator):
    network, contents = generator("int8")
    calibration = [generator_inputs(shallow_model, (64, 64), seed=s) for s in range(10, 14)]
    assert conversion.convert(network, "int8", calibration) == contents


def constants(contents):
    model = schema.Model.GetRootAs(contents)
    buffers = (model.Buffers(i) for i in range(model.BuffersLength()))
    return [b.DataAsNumpy().tobytes() for b in buffers if b.DataLength() >= 64]


@pytest.mark.parametrize(("quantize", "part"), [("none", 1), ("float16", 2)])
def test_weights_are_stored_once(shallow_model, generator, quantize, part):
    network, contents = generator(quantize)
    found = constants(contents)
    assert len(set(found)) == len(found)
    weights = sum(weight.numpy().nbytes for weight in network.weights.values()) / part
    # Row N of the label tables, the ends of the noise, and shapes.
    assert weights < sum(map(len, found)) < 1.15 * weights


@pytest.mark.parametrize(("size", "batch"), [((32, 32), 1), ((64, 64), 1), ((64, 96), 2)])
def test_free_number_and_size(shallow_model, free, size, batch):
    network, contents = free
    inputs = generator_inputs(shallow_model, size, batch)
    image = runner(contents)(**inputs)["image"]
    assert image.shape == (batch, *size, 3)
    np.testing.assert_allclose(image, network.reference(**inputs)["image"], rtol=0, atol=1e-4)


def test_segmenter_finds_the_same_labels(model, segmenter):
    network, contents = segmenter
    inputs = image_inputs((64, 64))
    found, want = runner(contents)(**inputs), network.reference(**inputs)
    assert found["label_map"].dtype == np.int32
    np.testing.assert_array_equal(found["label_map"], want["label_map"])
    np.testing.assert_array_equal(found["label_map"], model.segment(inputs["image"]))
    assert len(np.unique(found["label_map"])) > 1 and found["label_map"].min() > 0  # 0 is unknown
    fake = found["fake_probability"]
    assert fake.std() > 1e-3 and fake.shape == (1, 64, 64)
    np.testing.assert_allclose(fake, want["fake_probability"], rtol=0, atol=1e-4)


def test_without_noise(shallow_plain_model):
    network = litert_networks.network(shallow_plain_model, "generator", 32, 64)
    inputs = generator_inputs(shallow_plain_model, (32, 64))
    assert list(inputs) == ["label_map"]
    image = runner(conversion.convert(network, "none"))(**inputs)["image"]
    np.testing.assert_allclose(image, network.reference(**inputs)["image"], rtol=0, atol=1e-4)


def test_operations_are_built_in(generator, free, segmenter):
    for contents in (generator("none")[1], generator("int8")[1], free[1], segmenter[1]):
        assert conversion.foreign_operations(contents) == []


class Foreign:
    """A network that TFLite's built-in operations cannot compute."""

    weights = {}

    @property
    def signature(self):
        def draw(seed):
            return {"noise": tf.random.stateless_normal([3], seed, alg="philox")}

        return tf.function(draw, input_signature=[tf.TensorSpec([2], tf.int32, name="seed")])


def test_other_operations_are_refused_by_name():
    with pytest.raises(ValueError, match="built-in operations alone.*StatelessRandomNormalV2"):
        conversion.convert(Foreign(), "none")
