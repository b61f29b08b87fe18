"""The label convolution, by look-ups and of one-hot maps, against a plain one."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from oasis_tf.layers import LabelConv2D, shared_label_conv
from oasis_tf.layers.label_conv import downsample, lookup_conv, one_hot_conv

SIZES = [(1, 1), (1, 2), (2, 2), (3, 5), (32, 32)]
CLASSES = 5
# kind of noise -> number of noise channels
NOISES = {"none": 0, "global": 3, "spatial": 3}


def make_layer(rng, noise_channels, filters=4, one_hot=False):
    layer = LabelConv2D(filters, CLASSES, noise_channels, one_hot, dtype="float64")
    layer.build()
    for variable in layer.variables:
        variable.assign(rng.normal(size=variable.shape))
    return layer


def make_inputs(rng, size, kind, batch=2):
    """Arguments of the layer: label map and, except for `none`, noise."""
    label_map = rng.integers(0, CLASSES, (batch, *size)).astype(np.int32)
    if kind == "none":
        return [label_map]
    shape = (batch, NOISES[kind]) if kind == "global" else (batch, *size, NOISES[kind])
    return [label_map, rng.normal(size=shape)]


def condition(label_map, noise=None):
    """concat(noise, one-hot labels), noise first: float64 tensor [B, H, W, Z + N]."""
    one_hot = tf.one_hot(label_map, CLASSES, dtype=tf.float64)
    if noise is None:
        return one_hot
    if len(noise.shape) == 2:
        noise = tf.broadcast_to(noise[:, None, None], (*label_map.shape, noise.shape[-1]))
    return tf.concat([noise, one_hot], axis=-1)


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("size", SIZES)
def test_equals_the_plain_convolution(rng, conv_same, size, kind, one_hot):
    layer = make_layer(rng, NOISES[kind], one_hot=one_hot)
    inputs = make_inputs(rng, size, kind)
    want = conv_same(condition(*inputs), layer.kernel.numpy()) + layer.bias.numpy()
    np.testing.assert_allclose(layer(*inputs), want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("size", SIZES)
def test_gradients_equal_those_of_the_plain_convolution(rng, size, kind, one_hot):
    layer = make_layer(rng, NOISES[kind], one_hot=one_hot)
    label_map, *noise = map(tf.constant, make_inputs(rng, size, kind))
    sources = [layer.kernel.value, layer.bias.value, *noise]
    target = rng.normal(size=(2, *size, 4))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(noise)
        ours = tf.reduce_sum(layer(label_map, *noise) * target)
        field = condition(label_map, *noise)
        plain = tf.nn.conv2d(field, layer.kernel.value, 1, "SAME") + layer.bias.value
        plain = tf.reduce_sum(plain * target)
    for got, want in zip(tape.gradient(ours, sources), tape.gradient(plain, sources), strict=True):
        got = tf.convert_to_tensor(got)  # look-ups give sparse gradients
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-11)


@settings(max_examples=25, deadline=None)
@given(
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    kind=st.sampled_from(sorted(NOISES)),
    seed=st.integers(0, 1000),
)
def test_any_size(conv_same, size, kind, seed):
    rng = np.random.default_rng(seed)
    layer, inputs = make_layer(rng, NOISES[kind]), make_inputs(rng, size, kind)
    want = conv_same(condition(*inputs), layer.kernel.numpy()) + layer.bias.numpy()
    np.testing.assert_allclose(layer(*inputs), want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("size", "stride", "padding"), [(1, 1, 0), (4, 2, 2), (2, 2, 0)])
def test_one_hot_maps_in_every_form_of_a_look_up(rng, size, stride, padding):
    label_map, kernel = rng.integers(0, 3, (2, 6, 8)), rng.normal(size=(size, size, 3, 2))
    got, want = (f(label_map, kernel, stride, padding) for f in (one_hot_conv, lookup_conv))
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("kind", NOISES)
def test_shared_pass_equals_separate_passes(rng, kind, one_hot):
    layers = [make_layer(rng, NOISES[kind], filters, one_hot) for filters in (4, 1, 7)]
    inputs = make_inputs(rng, (3, 4), kind)
    together = shared_label_conv(layers, *(inputs if len(inputs) == 2 else (*inputs, None)))
    for layer, y in zip(layers, together, strict=True):
        np.testing.assert_allclose(y, layer(*inputs), rtol=1e-13, atol=1e-13)


def test_an_image_does_not_depend_on_its_batch(rng):
    layer = LabelConv2D(8, CLASSES, 3)
    label_map, noise = make_inputs(rng, (4, 4), "global", batch=3)
    together = layer(label_map, noise.astype(np.float32)).numpy()
    for k in range(3):
        alone = layer(label_map[k : k + 1], noise[k : k + 1].astype(np.float32)).numpy()
        np.testing.assert_allclose(alone[0], together[k], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int64"])
def test_any_integer_type(rng, dtype, one_hot):
    layer = LabelConv2D(2, 256, 0, one_hot)  # padding's index, 256 or -1, is no uint8
    label_map = rng.integers(0, 256, (1, 3, 4))
    np.testing.assert_array_equal(layer(label_map.astype(dtype)), layer(label_map.astype("int32")))


@pytest.mark.parametrize("kind", ["none", "global"])
def test_no_tensor_grows_with_the_classes(kind):
    """Forward and backward pass build no tensor of size B * H * W * N."""
    batch, side, classes = 2, 16, 997
    layer = LabelConv2D(4, classes, NOISES[kind])
    layer.build()

    @tf.function
    def gradient(label_map, noise):
        with tf.GradientTape() as tape:
            inputs = [label_map] if kind == "none" else [label_map, noise]
            y = layer(*inputs)
        return tape.gradient(y, layer.kernel.value)

    graph = gradient.get_concrete_function(
        tf.TensorSpec((batch, side, side), tf.int32), tf.TensorSpec((batch, 3))
    ).graph
    shapes = [t.shape for op in graph.get_operations() for t in op.outputs]
    largest = max(s.num_elements() for s in shapes if s.is_fully_defined())
    assert len(shapes) > 50 and largest < batch * side * side * classes / 4


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_gradients_of_many_pixels_are_summed_in_single_precision(policy):
    """For a class of 4096 pixels, a sum in bfloat16 would stop at 256, in float16 at 2048."""
    layer = LabelConv2D(2, CLASSES, 0, dtype=policy)
    layer.build()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(np.ones((1, 64, 64), np.int32)))
    gradient = tf.convert_to_tensor(tape.gradient(loss, layer.kernel.value))
    want = np.zeros(gradient.shape)
    # For every tap, the number of pixels whose neighbour is inside the image.
    want[:, :, 1] = np.outer([63, 64, 63], [63, 64, 63])[..., None]
    np.testing.assert_allclose(gradient, want, rtol=2**-8)


def test_downsample_takes_every_factorth_row_and_column():
    x = np.arange(2 * 8 * 4).reshape(2, 8, 4)
    np.testing.assert_array_equal(downsample(x, 4), x[:, ::4, ::4])
    assert downsample(x, 1) is x


@pytest.mark.parametrize("kind", NOISES)
def test_keras_contract(keras_contract, rng, kind):
    label_map, *noise = make_inputs(rng, (4, 6), kind)
    inputs = [label_map, *(n.astype(np.float32) for n in noise)]
    keras_contract(lambda **options: LabelConv2D(4, CLASSES, NOISES[kind], **options), *inputs)
