"""A training iteration with chunked logits against one with a full map of logits."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from oasis_tf import OASIS
from oasis_tf.systems.oasis import losses
from oasis_tf.systems.oasis.losses import chunked
from oasis_tf.systems.oasis.models import Discriminator, Generator, MultiScale

CLASSES, SIDE = 9, 16


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    # 16x16 pixels do not divide into 7 or fewer chunks of at most 60: there are 8.
    monkeypatch.setattr(chunked, "CHUNK_PIXELS", 60)


def make_model(dtype, chunk_logits, scales=1):
    common = {"dtype": dtype}
    networks = [
        Discriminator(CLASSES, 4, widths=(2,), chunk_logits=chunk_logits, name=f"d_{k}", **common)
        for k in range(scales)
    ]
    model = OASIS(
        Generator(CLASSES, 3, 1, 4, widths=(2, 2, 1), name="generator", **common),
        networks[0] if scales == 1 else MultiScale(networks, name="discriminator", **common),
        has_unknown=True,
        name="oasis",
        **common,
    )
    rng = np.random.default_rng(0)
    for variable in (*model.generator.variables, *model.discriminator.variables):
        value = rng.normal(0, 0.3, variable.shape)
        variable.assign(abs(value) + 0.1 if variable.name == "moving_variance" else value)
    model.compile(*(keras.optimizers.SGD(1.0, name=f"{name}_optimizer") for name in "gd"))
    return model


def after_a_step(model, function=lambda step: step):
    rng = np.random.default_rng(1)
    image = tf.constant(rng.integers(0, 256, (2, SIDE, SIDE, 3)), tf.uint8)
    label_map = tf.constant(rng.integers(0, CLASSES, (2, SIDE, SIDE)), tf.uint8)
    logs = function(model.train_step)((image, label_map))
    weights = [*model.generator.trainable_variables, *model.discriminator.trainable_variables]
    return {name: float(value) for name, value in logs.items()}, [w.numpy() for w in weights]


@pytest.mark.parametrize("scales", [1, 2])
def test_an_iteration_computes_the_same(scales):
    (want, weights), (got, chunked_weights) = (
        after_a_step(make_model("float64", chunk, scales)) for chunk in (False, True)
    )
    assert got == pytest.approx(want, rel=1e-12)
    for a, b in zip(chunked_weights, weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11 * max(1, np.abs(b).max()))


@pytest.mark.exhaustive
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_an_iteration_in_a_graph_in_low_precision(precision):
    graph = lambda step: tf.function(step, autograph=False)  # noqa: E731
    (want, weights), (got, chunked_weights) = (
        after_a_step(make_model(precision, chunk), graph) for chunk in (False, True)
    )
    bound = {"float32": 1e-5, "mixed_bfloat16": 3e-2}[precision]
    of_losses = {name for name in want if name.startswith("loss")}
    for name in of_losses:
        assert got[name] == pytest.approx(want[name], rel=bound)
    for a, b in zip(chunked_weights, weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=10 * bound * max(1, np.abs(b).max()))


def test_logits_are_chunked_only_in_training():
    network = Discriminator(CLASSES, 4, widths=(2,), chunk_logits=True)
    image = np.random.default_rng(0).normal(size=(1, 4, 4, 3)).astype(np.float32)
    logits = network(image)
    assert logits.shape == (1, 4, 4, CLASSES + 1)
    in_training, [features] = network(image, training=True, return_features=True)
    assert isinstance(in_training, losses.ChunkedLogits) and len(features) == 2
    written_out = in_training.features @ in_training.kernel + in_training.bias
    assert written_out.shape == logits.shape and in_training.dtype == "float32"
    again = Discriminator.from_config(network.get_config())
    assert again.chunk_logits
    with pytest.raises(ValueError, match="`chunk_logits` .* label_encoding='concat'"):
        Discriminator(CLASSES, 4, widths=(2,), label_encoding="concat", chunk_logits=True)
