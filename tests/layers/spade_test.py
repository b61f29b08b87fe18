"""The SPADE block against a slow reference on one-hot maps in float64."""

import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.layers import SPADEModulation, SPADEResBlock

CLASSES, NOISE, HIDDEN = 4, 3, 6
WIDTHS = [(6, 6), (6, 2), (2, 5)]


def make_block(rng, widths, noise_channels=NOISE, **options):
    block = SPADEResBlock(*widths, CLASSES, noise_channels, HIDDEN, dtype="float64", **options)
    block.build()
    for variable in block.variables:
        value = rng.normal(0, 0.7, variable.shape)
        variable.assign(abs(value) + 0.5 if variable.name == "moving_variance" else value)
    return block


def make_inputs(rng, channels, size=(4, 6), noise_channels=NOISE, upsample=False):
    """Arguments of the block; ``size`` is that of the label map."""
    sides = [side // 2 for side in size] if upsample else size
    x = tf.constant(rng.normal(size=(2, *sides, channels)))
    label_map = tf.constant(rng.integers(0, CLASSES, (2, *size)), tf.int32)
    if not noise_channels:
        return [x, label_map]
    return [x, label_map, tf.constant(rng.normal(size=(2, noise_channels)))]


def float32_inputs(rng, channels):
    """The same inputs as float32 arrays."""
    x, label_map, noise = (x.numpy() for x in make_inputs(rng, channels))
    return x.astype(np.float32), label_map, noise.astype(np.float32)


class Reference:
    """The block as in the paper's figure, with the weights of ``block`` by name."""

    def __init__(self, block):
        self.weights = {v.path.split("/", 1)[1]: v.value for v in block.variables}
        self.shortcut, self.upsample = block.learned_shortcut, block.upsample
        self.averages = {}  # running averages after a training pass

    def __call__(self, x, label_map, noise=None, training=False):
        field = tf.one_hot(label_map, CLASSES, dtype=tf.float64)
        if noise is not None:
            constant = tf.broadcast_to(noise[:, None, None], (*label_map.shape, noise.shape[-1]))
            field = tf.concat([constant, field], axis=-1)
        self.field, self.training = field, training
        if self.upsample:
            x = tf.repeat(tf.repeat(x, 2, axis=1), 2, axis=2)
        y = self.spectral("conv_0", tf.nn.leaky_relu(self.norm("norm_0", "batch_norm_0", x), 0.2))
        y = self.spectral("conv_1", tf.nn.leaky_relu(self.norm("norm_1", "batch_norm_1", y), 0.2))
        if self.shortcut:
            x = self.spectral("conv_s", self.norm("norm_s", "batch_norm_0", x))
        return x + y

    def conv(self, x, kernel, bias):
        return tf.nn.conv2d(x, self.weights[kernel], 1, "SAME") + self.weights[bias]

    def norm(self, name, batch_norm, x):
        mean = self.weights[f"{batch_norm}/moving_mean"]
        variance = self.weights[f"{batch_norm}/moving_variance"]
        if self.training:
            old, count = {"mean": mean, "variance": variance}, np.prod(x.shape[:3])
            mean, variance = tf.nn.moments(x, [0, 1, 2])
            new = {"mean": mean, "variance": variance * count / max(count - 1, 1)}
            for kind in old:
                self.averages[f"{batch_norm}/moving_{kind}"] = 0.9 * old[kind] + 0.1 * new[kind]
        x = (x - mean) / tf.sqrt(variance + 1e-5)
        h = tf.nn.relu(self.conv(self.field, f"{name}/shared/kernel", f"{name}/shared/bias"))
        gamma = self.conv(h, f"{name}/gamma_kernel", f"{name}/gamma_bias")
        beta = self.conv(h, f"{name}/beta_kernel", f"{name}/beta_bias")
        return x * (1 + gamma) + beta

    def spectral(self, name, x):
        kernel, u = self.weights[f"{name}/kernel"], tf.convert_to_tensor(self.weights[f"{name}/u"])
        v = tf.convert_to_tensor(self.weights[f"{name}/v"])
        matrix = tf.reshape(kernel, (-1, kernel.shape[-1]))
        if self.training:
            v = tf.linalg.l2_normalize(tf.linalg.matvec(matrix, u))
            u = tf.linalg.l2_normalize(tf.linalg.matvec(matrix, v, transpose_a=True))
        sigma = tf.tensordot(tf.stop_gradient(v), tf.linalg.matvec(matrix, tf.stop_gradient(u)), 1)
        y = tf.nn.conv2d(x, kernel / sigma, 1, "SAME")
        return y if name == "conv_s" else y + self.weights[f"{name}/bias"]


@pytest.mark.parametrize("way", [{}, {"dense": True}, {"dense": True, "one_hot": True}])
@pytest.mark.parametrize("upsample", [False, True])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("widths", WIDTHS)
def test_block_equals_the_reference(rng, widths, training, upsample, way):
    block = make_block(rng, widths, upsample=upsample, **way)
    inputs = make_inputs(rng, widths[0], upsample=upsample)
    reference = Reference(block)
    sources = [inputs[0], inputs[2], *(v.value for v in block.trainable_variables)]
    target = rng.normal(size=(2, 4, 6, widths[1]))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs[::2])
        # The reference first: it must read u and v before the power iteration updates them.
        slow = reference(*inputs, training=training)
        fast = block(*inputs, training=training)
        losses = [tf.reduce_sum(y * target) for y in (slow, fast)]
    np.testing.assert_allclose(fast, slow, rtol=1e-10, atol=1e-10)
    want, got = (tape.gradient(loss, sources) for loss in losses)
    for w, g in zip(want, got, strict=True):
        w = tf.convert_to_tensor(w).numpy()
        np.testing.assert_allclose(tf.convert_to_tensor(g), w, rtol=1e-9, atol=1e-9)
    assert len(reference.averages) == (4 if training else 0)
    for name, want in reference.averages.items():
        np.testing.assert_allclose(reference.weights[name], want, rtol=1e-12, err_msg=name)


def test_block_without_noise(rng):
    block, inputs = make_block(rng, (6, 2), 0), make_inputs(rng, 6, noise_channels=0)
    np.testing.assert_allclose(block(*inputs), Reference(block)(*inputs), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("size", "upsample"),
    [((1, 1), False), ((2, 2), False), ((2, 4), False), ((2, 2), True), ((2, 4), True)],
)
def test_block_at_the_smallest_resolutions(rng, size, upsample):
    block = make_block(rng, (6, 2), upsample=upsample)
    inputs, reference = make_inputs(rng, 6, size, upsample=upsample), Reference(block)
    slow = reference(*inputs, training=True)
    np.testing.assert_allclose(block(*inputs, training=True), slow, rtol=1e-10, atol=1e-10)
    for name, want in reference.averages.items():
        np.testing.assert_allclose(reference.weights[name], want, rtol=1e-12, err_msg=name)


def test_upsampled_statistics_count_every_copy(rng):
    """For 2 images of 1x1 the unbiased variance is 8/7 of the biased one, not 2 times."""
    block, inputs = (
        make_block(rng, (6, 2), upsample=True),
        make_inputs(rng, 6, (2, 2), upsample=True),
    )
    before = block.batch_norm_0.moving_variance.numpy()
    block(*inputs, training=True)
    copies = inputs[0].numpy().repeat(2, 1).repeat(2, 2)
    want = 0.9 * before + 0.1 * copies.var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(block.batch_norm_0.moving_variance.numpy(), want, rtol=1e-12)


def test_norms_with_the_same_input_share_statistics(rng):
    block, inputs = make_block(rng, (6, 2)), make_inputs(rng, 6)
    before = block.batch_norm_0.moving_mean.numpy()
    block(*inputs, training=True)
    want = 0.9 * before + 0.1 * inputs[0].numpy().mean((0, 1, 2))  # one update, not two
    np.testing.assert_allclose(block.batch_norm_0.moving_mean.numpy(), want, rtol=1e-12)
    assert sum("batch_norm" in v.path for v in block.variables) == 4


def test_evaluation_updates_nothing(rng):
    block, inputs = make_block(rng, (6, 2)), make_inputs(rng, 6)
    before = block.get_weights()
    block(*inputs, training=False)
    for old, new in zip(before, block.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


@pytest.mark.parametrize("widths", WIDTHS[:2])
def test_block_keras_contract(keras_contract, rng, widths):
    def make(**options):
        return SPADEResBlock(*widths, CLASSES, NOISE, HIDDEN, **options)

    keras_contract(make, *float32_inputs(rng, widths[0]))


def test_modulation_keras_contract(keras_contract, rng):
    def make(**options):
        return SPADEModulation(6, CLASSES, NOISE, HIDDEN, **options)

    keras_contract(make, *float32_inputs(rng, 6))
