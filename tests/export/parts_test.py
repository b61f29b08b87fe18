"""Export of other parts than OASIS': what a model can do decides what is written."""

import numpy as np
import pytest
import tensorflow as tf

from export import savedmodel
from export.litert import conversion
from oasis_tf import OASIS
from oasis_tf.systems.oasis.serving import litert_networks
from oasis_tf.systems.oasis.serving.signatures import (
    ALWAYS,
    NEED_LOCAL_NOISE,
    NEED_SEGMENTER,
    NEED_VECTOR,
)

SMALL = {
    "generator_channels": 2,
    "discriminator_channels": 2,
    "spade_channels": 4,
    "discriminator_widths": (1, 2),
}
ENCODER = {"encoder_channels": 2, "encoder_size": 8, "latent_channels": 3}
SPADE = {"generator": "spade", "generator_widths": (2, 2, 2, 1), "discriminator": "ms_patch"}
STEM = SPADE | ENCODER | {"noise": "none", "encoder": "stem"}
BESIDE = ENCODER | {
    "generator_widths": (2, 1, 1),
    "noise_channels": 4,
    "encoder": "beside_noise",
    "discriminator": "oasis_x2",
}
SEEDS = np.array([5, 2**40])
OF_PARTS = {
    "stem": (STEM, (*ALWAYS, *NEED_VECTOR)),
    "beside": (BESIDE, (*ALWAYS, *NEED_VECTOR, *NEED_LOCAL_NOISE, *NEED_SEGMENTER)),
}


@pytest.fixture(scope="module", params=OF_PARTS)
def exported(request, write_model, tmp_path_factory):
    """Live model, what is loaded of its export, and names of signatures that it should have."""
    settings, names = OF_PARTS[request.param]
    model = OASIS.load(write_model(**(SMALL | settings)))
    # The fixture's weights saturate tanh, after which differences grow or vanish.
    kernel = model.generator_ema.to_rgb.kernel
    kernel.assign(kernel * 1e-5)
    kernel.assign(kernel * (0.3 / np.abs(model.generate(label_maps(), SEEDS)).mean()))
    path = str(tmp_path_factory.mktemp("export") / "1")
    savedmodel.export(model, path, max_pixels=2**20)
    return model, tf.saved_model.load(path).signatures, names


def label_maps():
    return np.random.default_rng(0).integers(0, 12, (2, 64, 64), np.int32)


def test_signatures_are_those_that_the_parts_allow(exported):
    _, signatures, names = exported
    assert set(signatures) == set(names)


def test_images_have_the_bits_of_the_live_model(exported):
    model, signatures, _ = exported
    label_map, seed = tf.constant(label_maps()), tf.constant(SEEDS)
    live = model.generate(label_maps(), SEEDS)
    assert 0.02 < np.abs(live).mean() < 0.9
    image = signatures["serving_default"](label_map=label_map, seed=seed)["image"]
    np.testing.assert_array_equal(image, live)
    vectors = model.sample_noise(SEEDS, 2)
    image = signatures["noise"](label_map=label_map, noise=vectors)["image"]
    np.testing.assert_array_equal(image, live)


@pytest.mark.parametrize("exported", ["beside"], indirect=True)
def test_two_discriminators_segment_by_the_finer_one(exported):
    model, signatures, _ = exported
    image = np.random.default_rng(1).uniform(-1, 1, (2, 64, 64, 3)).astype(np.float32)
    found = signatures["segment"](image=tf.constant(image))["label_map"]
    np.testing.assert_array_equal(found, model.segment(image))
    finest = model.discriminator.discriminators[0]
    np.testing.assert_array_equal(found, model.known_argmax(finest(image)))


def test_tflite_generates_the_same(exported, tmp_path):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="needs `tflite`")
    model, _, _ = exported
    network = litert_networks.network(model, "generator", 64, 64)
    contents = conversion.convert(network, "none")
    generate = interpreter.Interpreter(model_content=contents).get_signature_runner(
        "serving_default"
    )
    noise = model.sample_noise(SEEDS[:1], 1).numpy()
    image = generate(label_map=label_maps()[:1], noise=noise)["image"]
    np.testing.assert_allclose(image, model.generate(label_maps()[:1], SEEDS[:1]), atol=1e-4)
