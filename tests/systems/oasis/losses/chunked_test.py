"""Losses computed from features in chunks, against those of full maps of logits."""

import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.systems.oasis import losses
from oasis_tf.systems.oasis.losses import chunked

CLASSES, CHANNELS = 7, 4
BOUNDS = {"float32": 1e-6, "float64": 1e-12}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunked, "CHUNK_PIXELS", 10)  # images of 6x4 pixels: three chunks of 8


def random(*shapes, seed=0, dtype="float64"):
    rng = np.random.default_rng(seed)
    return [tf.constant(rng.normal(size=shape), dtype) for shape in shapes]


def head(dtype, batch=3, seed=0):
    """Features, kernel and bias, and a label map."""
    shapes = (batch, 6, 4, CHANNELS), (CHANNELS, CLASSES + 1), (CLASSES + 1,)
    label_map = np.random.default_rng(seed).integers(0, CLASSES, (batch, 6, 4)).astype(np.int32)
    return random(*shapes, seed=seed, dtype=dtype), label_map


def gradients(function, sources):
    with tf.GradientTape() as tape:
        tape.watch(sources)
        value = 3 * function(*sources)  # the upstream gradient is not 1
    return value, *tape.gradient(value, sources)


def run(function, way):
    if way == "eager":
        return function()
    return tf.function(function, autograph=False, jit_compile=way == "xla")()


def close(got, want, dtype):
    for a, b in zip(got, want, strict=True):
        assert a.dtype == dtype and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=BOUNDS[dtype] * np.abs(b).max())


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("way", ["eager", "graph", "xla"])
def test_cross_entropy_equals_that_of_full_logits(dtype, way):
    parts, label_map = head(dtype)
    weights = tf.constant(np.random.default_rng(1).uniform(0, 2, CLASSES), dtype)

    def full_logits(features, kernel, bias):
        return losses.real_loss(features @ kernel + bias, label_map, weights)

    def by_chunks(features, kernel, bias):
        return losses.head_cross_entropy(
            features, kernel, bias, label_map + 1, tf.gather(weights, label_map)
        )

    got, want = (run(lambda f=f: gradients(f, parts), way) for f in (by_chunks, full_logits))
    close(got, want, dtype)


@pytest.mark.parametrize("dtype", BOUNDS)
def test_losses_and_accuracy_take_chunked_logits(dtype):
    parts, label_map = head(dtype)
    weights = tf.constant(np.linspace(0, 2, CLASSES), dtype)
    for function in (
        losses.fake_loss,
        lambda logits: losses.real_loss(logits, label_map.astype(np.uint8), weights),
    ):
        got = gradients(lambda *x, f=function: f(losses.ChunkedLogits(*x)), parts)
        want = gradients(lambda f, k, b, g=function: g(f @ k + b), parts)
        close(got, want, dtype)
    logits = parts[0] @ parts[1] + parts[2]
    for channel in (losses.FAKE, label_map + 1):
        got = losses.accuracy(losses.ChunkedLogits(*parts), channel)
        hits = logits.numpy().argmax(-1) == channel
        assert got.dtype == dtype and 0 < hits.mean() < 1
        np.testing.assert_allclose(got, hits.mean(), rtol=1e-6)
        np.testing.assert_allclose(losses.accuracy(logits, channel), hits.mean(), rtol=1e-6)


@pytest.mark.parametrize("dtype", BOUNDS)
def test_labelmix_loss_equals_that_of_full_logits(dtype):
    (of_mix, kernel, bias), _ = head(dtype)
    real, fake = random(of_mix.shape, of_mix.shape, seed=1, dtype=dtype)
    mask = tf.constant(np.random.default_rng(2).integers(0, 2, (3, 6, 4, 1)), dtype)

    def full_logits(of_mix, real, fake, kernel, bias):
        logits = [x @ kernel + bias for x in (of_mix, real, fake)]
        return losses.labelmix_loss(logits[0], mask, *logits[1:])

    def chunked_logits(of_mix, real, fake, kernel, bias):
        logits = [losses.ChunkedLogits(x, kernel, bias) for x in (of_mix, real, fake)]
        return losses.labelmix_loss(logits[0], mask, *logits[1:])

    sources = [of_mix, real, fake, kernel]
    got = gradients(lambda *x: chunked_logits(*x, bias), sources)
    close(got, gradients(lambda *x: full_logits(*x, bias), sources), dtype)
    of_bias = gradients(lambda x: full_logits(*sources, x), [bias])[1]
    assert np.abs(of_bias).max() < 10 * BOUNDS[dtype]  # the bias has no gradient


def test_gradients_of_confident_logits_are_exact():
    """Where softmax is nearly one-hot, the gradient must not be a difference of large sums."""
    (features, kernel, bias), label_map = head("float32")
    bias = bias + 12 * tf.one_hot(3, CLASSES + 1)
    label_map[:] = 2  # channel 3, of which D is certain
    weights = tf.ones(CLASSES)
    got = gradients(
        lambda *x: losses.real_loss(losses.ChunkedLogits(*x), label_map, weights),
        [features, kernel, bias],
    )
    exact = [tf.cast(x, "float64") for x in (features, kernel, bias)]
    want = gradients(
        lambda f, k, b: losses.real_loss(f @ k + b, label_map, tf.cast(weights, "float64")), exact
    )
    for a, b in zip(got[1:], want[1:], strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())


def test_half_precision_equals_full_logits_in_half_precision():
    """Products in bfloat16, losses in float32, as for a full map of logits."""
    (features, kernel, bias), label_map = head("float32")
    half = tf.cast(features, "bfloat16")

    def full_logits(half, kernel, bias):
        logits = half @ tf.cast(kernel, "bfloat16") + tf.cast(bias, "bfloat16")
        return losses.real_loss(tf.cast(logits, "float32"), label_map, tf.ones(CLASSES))

    def by_chunks(*parts):
        return losses.real_loss(losses.ChunkedLogits(*parts), label_map, tf.ones(CLASSES))

    got = gradients(by_chunks, [half, kernel, bias])
    want = gradients(full_logits, [half, kernel, bias])
    assert [x.dtype for x in got] == ["float32", "bfloat16", "float32", "float32"]
    np.testing.assert_allclose(got[0], want[0], rtol=1e-6)
    for a, b in zip(got[1:], want[1:], strict=True):
        a, b = (np.asarray(x, np.float64) for x in (a, b))
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-2 * np.abs(b).max())


def test_the_bias_gradient_is_summed_in_float32(monkeypatch):
    monkeypatch.setattr(chunked, "CHUNK_PIXELS", 4096)
    features = tf.zeros((1, 64, 64, 2), "bfloat16")
    bias = tf.zeros(2)
    slope = gradients(
        lambda bias: losses.fake_loss(losses.ChunkedLogits(features, tf.zeros((2, 2)), bias)),
        [bias],
    )[1]
    np.testing.assert_allclose(slope, [-1.5, 1.5], rtol=1e-6)


@pytest.mark.parametrize("batch", [1, None])
def test_no_tensor_holds_the_logits_of_all_pixels(monkeypatch, batch):
    """Checks the graph of losses and gradients, loops included."""
    monkeypatch.setattr(chunked, "CHUNK_PIXELS", 16)
    side, channels = 16, 300

    @tf.function(input_signature=[tf.TensorSpec((batch, side, side, CHANNELS))])
    def step(features):
        kernel, bias = tf.ones((CHANNELS, channels)), tf.ones(channels)
        label_map = tf.zeros(tf.shape(features)[:-1], tf.int32)
        label_map = tf.ensure_shape(label_map, (batch, side, side))
        with tf.GradientTape() as tape:
            tape.watch([features, kernel, bias])
            logits = losses.ChunkedLogits(features, kernel, bias)
            mask = tf.cast(label_map[..., None], "float32")
            loss = losses.real_loss(logits, label_map, tf.ones(channels - 1))
            loss += losses.fake_loss(logits)
            loss += losses.labelmix_loss(logits, mask, logits, logits)
        return tape.gradient(loss, [features, kernel]), losses.accuracy(logits, label_map + 1)

    graph = step.get_concrete_function().graph
    graphs = [graph, *(f.graph for f in graph._functions.values() if hasattr(f, "graph"))]
    sizes = {
        tensor.shape.num_elements()
        for g in graphs for op in g.get_operations() for tensor in op.outputs
        if tensor.shape.is_fully_defined()
    }  # fmt: skip
    assert 16 * channels in sizes  # the graphs of the loops are included
    assert max(sizes) < 2 * 16 * channels < side * side * channels
    (of_features, _), _ = step(tf.ones((2 if batch is None else 1, side, side, CHANNELS)))
    assert np.isfinite(of_features).all()
