"""Losses against closed forms and loops; weights of heads; masks in training."""

import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.systems.one_shot import losses, masks

RNG = np.random.default_rng(0)
MAPS = [RNG.normal(size=(3, 4, 5, 1)), RNG.normal(size=(3, 1, 1, 1))]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_losses_of_objects():
    logits = RNG.normal(size=(3 * 2, 1, 1, 4))
    weights = np.array([0.5, 0.0, 2.0])
    p = np.exp(logits[:, 0, 0]) / np.exp(logits[:, 0, 0]).sum(-1, keepdims=True)
    rows = [(weights[i], -np.log(p[2 * i + b, i])) for i in range(3) for b in range(2)]
    wanted = sum(w * c for w, c in rows) / sum(w for w, _ in rows)
    tensor = [tf.constant(logits)]
    np.testing.assert_allclose(losses.of_objects(tensor, 3, tf.constant(weights)), [wanted])
    np.testing.assert_allclose(losses.of_objects(tensor, 3), [-np.log(p[:, 3]).mean()])
    printed = losses.of_objects_not_fake(tensor, 3)
    np.testing.assert_allclose(printed, [-np.log(1 - p[:, 3]).mean()])
    none = losses.of_objects(tensor, 3, tf.zeros(3, tf.float64))
    assert np.isfinite(none).all()


@pytest.mark.parametrize(("n", "low"), [(6, 2), (7, 3), (7, 4), (8, 4)])
def test_weights_of_heads(n, low):
    def total(**options):
        found = losses.head_weights(n, low, **options)
        branches = [k for k in ("content", "layout") if options.get(k, True)] or ["layout"]
        return found["low"] * low + sum(found[k] * (n - low) for k in branches)

    for branches in (
        {},
        {"content": False},
        {"layout": False},
        dict.fromkeys(("content", "layout"), False),
    ):
        assert total(**branches) == pytest.approx(1)
        assert total(kind="paper", **branches) == pytest.approx(4)
    paper = losses.head_weights(7, 3, "paper")
    assert paper == {"content": 0.25, "layout": 0.25, "low": pytest.approx(2 / 3)}
    assert losses.head_weights(n, low, low=False)["low"] == 0


@pytest.mark.parametrize("batch", [2, 3, 4, 5])
def test_diversity_is_a_triple_loop(batch):
    features = [RNG.normal(size=(batch, side, side, 3)) for side in (2, 4, 8)]
    total = sum(
        np.abs(f[i] - f[j]).mean() for f in features for i in range(batch) for j in range(i)
    )
    tensors = [tf.constant(f) for f in features]
    np.testing.assert_allclose(losses.diversity(tensors), total * 2 / (3 * 2))
    pairs = batch * (batch - 1) / 2
    np.testing.assert_allclose(losses.diversity(tensors, "paper"), total / pairs / 3)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradient_of_diversity(dtype):
    """Of rows large enough to be compiled, with ties, against automatic differentiation."""
    x = tf.constant(RNG.integers(-3, 4, (3, 90, 82, 3)) / 8, dtype)

    def naive(x):
        x = tf.cast(x, tf.float32)
        return sum(tf.reduce_mean(abs(x[i] - x[j])) for i in range(3) for j in range(i))

    values, gradients = [], []
    for function in (lambda x: 3 * losses.diversity([x], "paper"), naive):
        with tf.GradientTape() as tape:
            tape.watch(x)
            values.append(function(x))
        gradients.append(tf.cast(tape.gradient(values[-1], x), tf.float32).numpy())
    np.testing.assert_allclose(*values, rtol=1e-5)
    np.testing.assert_allclose(*gradients, rtol=1e-2 if dtype == "bfloat16" else 1e-5)


# === Masks ===


def test_channels_of_ids_and_of_shares():
    ids = masks.channels(np.array([[[0, 2]]], np.uint8), 3, False, "float32")
    np.testing.assert_array_equal(ids, [[[[1, 0, 0], [0, 0, 1]]]])
    soft = masks.channels(np.array([[[0, 51]]], np.uint8), 2, True, "float32")
    np.testing.assert_allclose(soft, [[[[1, 0], [0.8, 0.2]]]], rtol=1e-6)


def test_downsampling_takes_the_first():
    mask = tf.reshape(tf.range(64.0), (1, 8, 8, 1))
    np.testing.assert_array_equal(masks.downsampled(mask, 4)[0, :, :, 0], [[0, 4], [32, 36]])


@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.parametrize("full", [True, False])
def test_hard_masks_pass_the_gradient(warm, full):
    soft = tf.nn.softmax(tf.random.stateless_normal((2, 8, 8, 3), (0, 1)))
    uniform = tf.random.stateless_uniform(soft.shape if full else (2, 2, 2, 3), (2, 3))
    with tf.GradientTape() as tape:
        tape.watch(soft)
        hard = masks.small_hard_mask(soft, 4, uniform, warm, full=full)
        loss = tf.reduce_sum(hard * tf.range(3.0))
    values = np.round(hard.numpy(), 6)
    assert set(np.unique(values)) <= {0, 1} and hard.shape == (2, 2, 2, 3)
    if not warm:
        np.testing.assert_array_equal(values.argmax(-1), soft.numpy()[:, ::4, ::4].argmax(-1))
    gradient = tape.gradient(loss, soft).numpy()
    np.testing.assert_array_equal(gradient[:, ::4, ::4], np.broadcast_to([0, 1, 2], (2, 2, 2, 3)))
    assert np.count_nonzero(gradient) == 2 * 2 * 2 * 2


@pytest.mark.parametrize("kind", ["channel", "pixel"])
def test_drawn_masks_have_the_soft_mean(kind):
    soft = np.array([0.7, 0.25, 0.05], np.float32)
    uniform = tf.random.stateless_uniform((1, 200, 200, 3), (0, 1))
    found = masks.drawn(tf.broadcast_to(soft, uniform.shape), uniform, kind).numpy()
    np.testing.assert_allclose(found.mean((0, 1, 2)), soft, atol=0.01)
    assert set(np.unique(found.sum(-1))) == ({1.0} if kind == "pixel" else {0.0, 1.0, 2.0, 3.0})


def test_inverse_areas():
    mask = tf.constant([[[[1.0, 0.0, 0.0], [0.25, 0.75, 0.0]]]])
    np.testing.assert_allclose(masks.inverse_areas(mask), [0.8, 4 / 3, 0], rtol=1e-6)
