"""Activation checkpointing changes only what is kept in memory."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context  # the only way to the graph that is executed

from oasis_tf.layers.remat import remat_call
from oasis_tf.layers.spade import SPADEResBlock
from oasis_tf.systems.oasis.models import Discriminator, Generator
from oasis_tf.systems.oasis.models.unet_blocks import DownBlock, UpBlock

LABELS = np.arange(2 * 8 * 8, dtype=np.int32).reshape(2, 8, 8) % 5
NOISE = np.random.default_rng(1).normal(size=(2, 3))
BLOCKS = [
    (lambda: SPADEResBlock(6, 4, 5, 3, 7, dtype="float64"), (LABELS, NOISE)),
    (lambda: SPADEResBlock(6, 6, 5, 3, 7, dtype="float64"), (LABELS, NOISE)),
    (lambda: DownBlock(6, 4, dtype="float64"), ()),
    (lambda: UpBlock(6, 6, dtype="float64"), ()),
]


def step(layer, call, x):
    """Output, gradients and state of a training pass with random weights."""
    rng = np.random.default_rng(0)
    for variable in layer.variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))

    @tf.function(autograph=False)
    def run(x):
        weights = [v.value for v in layer.trainable_variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([x, *weights])
            y = call(x)
            # A second pass updates u, v and the statistics before the gradient is computed.
            loss = tf.reduce_sum(y**3) + tf.reduce_sum(call(x) ** 2)
        return y, tape.gradient(loss, [x, *weights], unconnected_gradients="zero")

    y, gradients = run(tf.constant(x))
    return y, gradients, [v.numpy() for v in layer.non_trainable_variables]


def check(plain, again):
    for got, want in zip(tf.nest.flatten(again), tf.nest.flatten(plain), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11)
    for got, want in zip(again[2], plain[2], strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(("make", "conditions"), BLOCKS)
def test_blocks(make, conditions):
    layer = make()
    layer.build()
    x = np.random.default_rng(2).normal(size=(2, 8, 8, 6))
    plain = step(layer, lambda x: layer(x, *conditions, training=True), x)
    assert all(np.abs(g).max() > 0 for g in plain[1])
    check(plain, step(layer, lambda x: remat_call(layer, x, *conditions), x))


@pytest.mark.parametrize("noise", [NOISE, np.random.default_rng(4).normal(size=(2, 8, 8, 3))])
@pytest.mark.exhaustive
def test_gradients_reach_the_noise(noise):
    """An encoder that computes the noise learns from them."""
    layer = BLOCKS[0][0]()
    layer.build()
    x = np.random.default_rng(2).normal(size=(2, 8, 8, 6))
    plain = step(layer, lambda z: layer(x, LABELS, z, training=True), noise)
    assert np.abs(plain[1][0]).max() > 0
    check(plain, step(layer, lambda z: remat_call(layer, tf.constant(x), LABELS, z), noise))


def test_discriminator():
    image = np.random.default_rng(3).normal(size=(2, 8, 8, 3))
    networks = [Discriminator(5, 2, (2, 3), remat=r, dtype="float64") for r in (False, True)]
    check(*(step(d, lambda x, d=d: d(x, training=True), image) for d in networks))


@pytest.mark.exhaustive
def test_generator():
    networks = [Generator(5, 3, 2, 4, (3, 2, 1), remat=r, dtype="float64") for r in (False, True)]
    check(*(step(g, lambda z, g=g: g(LABELS, z, training=True), NOISE) for g in networks))


def test_evaluation_is_the_same_call():
    plain, remat = (Generator(5, 3, 2, 4, (3, 2, 1), remat=r) for r in (False, True))
    remat.set_weights(plain.get_weights())
    np.testing.assert_array_equal(
        remat(LABELS, NOISE.astype("float32")), plain(LABELS, NOISE.astype("float32"))
    )


def executed_convolutions(call):
    """Number of convolutions in the optimised graph of a forward and backward pass."""

    @tf.function(autograph=False)
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(call(x) ** 2)
        return tape.gradient(loss, x)

    context.context().enable_run_metadata()
    run(tf.ones((1, 8, 8, 6)))
    graphs = context.context().export_run_metadata().function_graphs
    context.context().disable_run_metadata()
    nodes = [n for g in graphs for n in g.post_optimization_graph.node]
    nodes += [
        n for g in graphs for f in g.post_optimization_graph.library.function for n in f.node_def
    ]
    return sum(n.op.endswith("Conv2D") for n in nodes)


def test_activations_are_recomputed():
    """TensorFlow's graph optimizers do not merge the two passes."""
    block = DownBlock(6, 6)
    block.build()
    plain = executed_convolutions(lambda x: block(x, training=True))
    again = executed_convolutions(lambda x: remat_call(block, x))
    assert plain == 2
    assert again == plain + 1  # the output of the second convolution is not needed again


def test_other_backends_are_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="needs Keras on TensorFlow. Received: backend=jax"):
        remat_call(DownBlock(6, 6), np.zeros((1, 8, 8, 6)))
