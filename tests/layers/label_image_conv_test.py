"""Convolutions of label map and image against plain ones of concat(one-hot, image)."""

import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.layers import LabelImageConv2D, SpectralConv2D, SpectralLabelImageConv2D
from oasis_tf.layers.label_conv import lookup_conv
from oasis_tf.layers.resampling import average_pool

CLASSES = 5
# kernel size, resample, size of the image
CASES = [
    (3, "none", (3, 5)),
    (3, "none", (1, 1)),
    (1, "none", (2, 3)),
    (4, "none", (5, 4)),
    (4, "stride", (1, 2)),
    (4, "stride", (7, 8)),
    (3, "stride", (5, 6)),
    (1, "average_pool", (4, 6)),
]


def make_inputs(rng, size, batch=2):
    label_map = rng.integers(0, CLASSES, (batch, *size)).astype(np.int32)
    return label_map, rng.uniform(-1, 1, (batch, *size, 3))


def make_layer(rng, kind, kernel_size, resample, **options):
    layer = kind(4, kernel_size, CLASSES, resample=resample, dtype="float64", **options)
    layer.build()
    for variable in layer.variables:
        variable.assign(rng.normal(size=variable.shape))
    return layer


def dense_input(label_map, image):
    return tf.concat([tf.one_hot(label_map, CLASSES, dtype=tf.float64), image], axis=-1)


def plain_conv(x, kernel, resample):
    """Convolution padded by k // 2 on every side, then stride or pooling."""
    margin = kernel.shape[0] // 2
    x = tf.pad(x, [(0, 0), (margin, margin), (margin, margin), (0, 0)])
    y = tf.nn.conv2d(x, kernel, 2 if resample == "stride" else 1, "VALID")
    return average_pool(y) if resample == "average_pool" else y


@pytest.mark.parametrize(("kernel_size", "resample", "size"), CASES)
def test_plain_layer_equals_the_dense_convolution(rng, check_same, kernel_size, resample, size):
    layer = make_layer(rng, LabelImageConv2D, kernel_size, resample)
    label_map, image = make_inputs(rng, size)
    image = tf.constant(image)
    check_same(
        lambda: layer(label_map, image),
        lambda: (
            plain_conv(dense_input(label_map, image), layer.kernel.value, resample)
            + layer.bias.value
        ),
        [image, layer.kernel, layer.bias],
    )


@pytest.mark.parametrize(("kernel_size", "resample", "size"), CASES)
def test_spectral_layer_equals_the_dense_convolution(rng, check_same, kernel_size, resample, size):
    """The norm is that of the whole kernel: absent classes contribute to it too."""
    layer = make_layer(rng, SpectralLabelImageConv2D, kernel_size, resample)
    label_map, image = make_inputs(rng, size)
    label_map[label_map == 1] = 0
    image = tf.constant(image)

    def slow():
        kernel = layer.kernel.value
        sigma = tf.einsum("i,ij,j->", layer.v.value, tf.reshape(kernel, (-1, 4)), layer.u.value)
        x = dense_input(label_map, image)
        return plain_conv(x, kernel / sigma, resample) + layer.bias.value

    check_same(lambda: layer(label_map, image), slow, [image, layer.kernel, layer.bias])


def test_training_takes_a_power_iteration_of_the_whole_kernel(rng):
    layer = make_layer(rng, SpectralLabelImageConv2D, 4, "stride", use_bias=False)
    dense = SpectralConv2D(4, 4, False, "stride", dtype="float64")
    label_map, image = make_inputs(rng, (6, 7))
    dense.build((None, None, None, CLASSES + 3))
    dense.set_weights(layer.get_weights())
    for _ in range(2):
        want = dense(dense_input(label_map, image), training=True)
        got = layer(label_map, tf.constant(image), training=True)
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
        for variable, wanted in zip(layer.variables, dense.variables, strict=True):
            np.testing.assert_array_equal(variable, wanted)


def test_without_an_image_it_is_an_embedding_of_labels(rng, check_same):
    layer = make_layer(rng, SpectralLabelImageConv2D, 1, "none", image_channels=0, use_bias=False)
    label_map, _ = make_inputs(rng, (3, 4))

    def slow():
        table = layer.kernel.value[0, 0]
        sigma = tf.einsum("i,ij,j->", layer.v.value, table, layer.u.value)
        return tf.one_hot(label_map, CLASSES, dtype=tf.float64) @ (table / sigma)

    check_same(lambda: layer(label_map), slow, [layer.kernel])


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (1, 1), (2, 3), (3, 2)])
@pytest.mark.parametrize("kernel_size", [1, 2, 5])
def test_look_ups_with_any_stride_and_padding(rng, kernel_size, stride, padding):
    label_map = rng.integers(0, CLASSES, (2, 6, 9)).astype(np.uint8)
    kernel = rng.normal(size=(kernel_size, kernel_size, CLASSES, 3))
    x = np.pad(np.eye(CLASSES)[label_map], [(0, 0), (padding,) * 2, (padding,) * 2, (0, 0)])
    got = lookup_conv(label_map, tf.constant(kernel), stride, padding)
    want = tf.nn.conv2d(x, kernel, stride, "VALID")
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "kernel_size", "resample"),
    [
        (LabelImageConv2D, 4, "stride"),
        (SpectralLabelImageConv2D, 3, "none"),
        (SpectralLabelImageConv2D, 1, "average_pool"),
    ],
)
def test_keras_contract(keras_contract, rng, kind, kernel_size, resample):
    label_map, image = make_inputs(rng, (4, 6))
    keras_contract(
        lambda **options: kind(4, kernel_size, CLASSES, resample=resample, **options),
        label_map,
        image.astype(np.float32),
    )


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_gradients_of_many_pixels_are_summed_in_single_precision(policy):
    """For a class of 4096 pixels, a sum in bfloat16 would stop at 256, in float16 at 2048."""
    layer = LabelImageConv2D(1, 4, CLASSES, resample="stride", dtype=policy)
    layer.build()
    label_map, image = np.ones((1, 128, 128), np.int32), np.zeros((1, 128, 128, 3), np.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.cast(layer(label_map, image), tf.float32))
    gradient = tf.convert_to_tensor(tape.gradient(loss, layer.kernel.value))
    want = np.outer([64] * 4, [64] * 4)  # of 65 positions, one is outside the image
    np.testing.assert_allclose(gradient[:, :, 1, 0], want, rtol=2**-8)
