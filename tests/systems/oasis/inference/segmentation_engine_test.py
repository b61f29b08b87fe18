"""The folded discriminator against the layers that it is made of."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import softmax

from oasis_tf.systems.oasis.inference.segmentation_engine import (
    SegmentationEngine,
    folded_discriminator,
    known_argmax,
    logits,
)
from oasis_tf.systems.oasis.models import Discriminator

CLASSES = 4
SIZES = [(8, 8), (8, 24), (64, 32)]


def make_discriminator(dtype="float64", widths=(2, 2, 4)):
    """With an identity shortcut, and norms of 1 to 2 that are not those of the kernels."""
    discriminator = Discriminator(CLASSES, channels=2, widths=widths, dtype=dtype)
    rng = np.random.default_rng(0)
    for variable in discriminator.variables:
        fan_in = np.prod(variable.shape[:-1]) if len(variable.shape) == 4 else 4
        variable.assign(rng.normal(0, fan_in**-0.5, variable.shape))
        if variable.name == "bias":  # small, so that images decide
            variable.assign(variable * 0.1)
    discriminator.to_logits.kernel.assign(discriminator.to_logits.kernel * 5)
    for block in (*discriminator.down_blocks, *discriminator.up_blocks):
        for conv in filter(None, (block.conv_0, block.conv_1, block.conv_s)):
            product = conv.kernel.numpy().reshape(-1, conv.filters) @ conv.u.numpy()
            conv.v.assign(product / np.square(product).sum() * rng.uniform(1, 2))
    return discriminator


@pytest.fixture(scope="module")
def discriminator():
    return make_discriminator()


@pytest.fixture(scope="module")
def engine(discriminator):
    return SegmentationEngine(discriminator, has_unknown=True)


def images(height, width, batch=3):
    return np.random.default_rng(width).uniform(-1, 1, (batch, height, width, 3))


@pytest.mark.parametrize("size", SIZES)
def test_logits_of_folded_weights_are_the_discriminators(discriminator, size):
    image = images(*size)
    weights = folded_discriminator(discriminator, "float64")
    found = logits(weights, tf.constant(image))
    want = discriminator(image, training=False)
    assert np.abs(want).max() > 0.1
    np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-9)


def test_folded_weights_are_those_of_convolutions_alone(discriminator):
    weights = folded_discriminator(discriminator, "float64")
    assert sum(np.prod(w.shape) for w in weights.values()) == sum(
        np.prod(v.shape) for v in discriminator.trainable_variables
    )
    assert not [name for name in weights if name.endswith(("/u", "/v"))]
    conv = discriminator.down_blocks[0].conv_0
    matrix = conv.kernel.numpy().reshape(-1, conv.filters)
    np.testing.assert_allclose(
        np.reshape(weights["down_0/conv_0/kernel"], matrix.shape),
        matrix / (conv.v.numpy() @ matrix @ conv.u.numpy()),
    )


def test_fixed_sizes_give_what_dynamic_ones_give(discriminator):
    image = tf.constant(images(64, 64))
    weights = folded_discriminator(discriminator, "float64")
    fixed, dynamic = (
        tf.function(lambda x: logits(weights, x), [tf.TensorSpec(shape, tf.float64)])
        for shape in ([3, 64, 64, 3], [None, None, None, 3])
    )
    np.testing.assert_allclose(fixed(image), dynamic(image), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("size", SIZES)
def test_engine_gives_known_classes_and_the_share_of_fake(discriminator, engine, size):
    image = images(*size)
    label_map, fake = engine(image)
    shares = softmax(discriminator(image, training=False), axis=-1)
    assert 0.01 < shares[..., 0].mean() < 0.99
    np.testing.assert_array_equal(label_map, 1 + shares[..., 2:].argmax(axis=-1))
    np.testing.assert_allclose(fake, shares[..., 0], rtol=1e-6)
    assert (label_map.dtype, fake.dtype) == (tf.int32, tf.float32)


def test_an_image_does_not_depend_on_its_batch():
    engine = SegmentationEngine(make_discriminator("float32"), has_unknown=False)
    image = images(64, 32).astype(np.float32)
    batch = engine(image)
    for k in range(3):
        for whole, one in zip(batch, engine(image[k : k + 1]), strict=True):
            np.testing.assert_array_equal(whole[k], one[0])
    assert [part.shape for part in engine(image[:0])] == [(0, 64, 32)] * 2


def test_dense_batches_equal_image_by_image(discriminator, engine):
    dense = SegmentationEngine(discriminator, has_unknown=True, batching="dense")
    for size in SIZES[:2]:
        image = images(*size)
        (label_map, fake), want = dense(image), engine(image)
        np.testing.assert_array_equal(label_map, want[0])
        np.testing.assert_allclose(fake, want[1], rtol=1e-6)
    assert [part.shape for part in dense(image[:0])] == [(0, 8, 24)] * 2


def test_refresh_takes_the_weights_of_the_moment():
    discriminator = make_discriminator()
    engine = SegmentationEngine(discriminator, has_unknown=False)
    before = engine(images(8, 8))
    conv = discriminator.up_blocks[0].conv_1
    conv.kernel.assign(-conv.kernel)
    conv.u.assign(conv.u * 2)
    np.testing.assert_array_equal(engine(images(8, 8))[1], before[1])
    engine.refresh()
    fresh = SegmentationEngine(discriminator, has_unknown=False)(images(8, 8))
    np.testing.assert_array_equal(engine(images(8, 8))[1], fresh[1])
    assert np.abs(fresh[1] - before[1]).max() > 0


def test_half_precision_has_float32_logits():
    discriminator = make_discriminator("mixed_bfloat16")
    image = images(16, 16).astype(np.float32)
    weights = folded_discriminator(discriminator, "bfloat16")
    found = logits(weights, tf.constant(image))
    assert found.dtype == tf.float32
    want = make_discriminator("float32")(image, training=False)
    error = np.abs(found - want)
    assert 0 < error.mean() < 0.02 * np.abs(want).max()


def test_argmax_leaves_out_fake_and_unknown():
    scores = np.array([[9, 8, 1, 2]])
    assert known_argmax(scores, first=0) == [0]
    assert known_argmax(scores, first=1) == [2]


@pytest.mark.parametrize("shape", [(1, 12, 8, 3), (1, 8, 8, 4), (8, 8, 3)])
def test_what_does_not_fit_is_refused(engine, shape):
    with pytest.raises(ValueError, match="Received"):
        engine(np.zeros(shape))
