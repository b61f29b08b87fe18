"""Resampling combined with a convolution, against the two separate steps."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from oasis_tf.layers import SpectralConv2D, resampling
from oasis_tf.layers.resampling import (
    average_pool,
    conv,
    conv_average_pool,
    depth_to_space,
    space_to_depth,
    strided_conv,
    strided_size,
    upsample,
    upsample_conv,
)

EVEN = [(2, 2), (2, 6), (4, 4), (6, 10), (32, 34)]
ANY = [(1, 1), (1, 2), (2, 2), (3, 1), (3, 5), (6, 4), (17, 16)]


def plain_conv(x, kernel):
    return tf.nn.conv2d(x, kernel, 1, "SAME")


def plain_pool(x):
    return tf.nn.avg_pool2d(x, 2, 2, "VALID")


def plain_upsample(x):
    return tf.repeat(tf.repeat(x, 2, axis=1), 2, axis=2)


# combined function -> the two steps, sizes to try
COMBINED = {
    conv_average_pool: (lambda x, kernel: plain_pool(plain_conv(x, kernel)), EVEN),
    upsample_conv: (lambda x, kernel: plain_conv(plain_upsample(x), kernel), ANY),
}
CASES = [(combined, size) for combined, (_, sizes) in COMBINED.items() for size in sizes]
LARGE = 10**6


def make_inputs(rng, size, channels=3, filters=5, batch=2):
    return tf.constant(rng.normal(size=(batch, *size, channels))), tf.constant(
        rng.normal(size=(3, 3, channels, filters))
    )


@pytest.fixture
def forbid(monkeypatch):
    """function(always): only the combined form may run (True), or only the two steps (False)."""

    def choose(always):
        monkeypatch.setattr(resampling, "_SMALLEST_SIDE", 0 if always else LARGE)
        names = ["conv"] if always else ["space_to_depth", "depth_to_space"]
        for name in names:
            monkeypatch.setattr(resampling, name, None)

    return choose


@pytest.mark.parametrize("always", [True, False])
@pytest.mark.parametrize(("combined", "size"), CASES)
def test_combined_equals_the_two_steps(rng, check_same, forbid, combined, size, always):
    """Both forms at every size: values and gradients, borders included."""
    forbid(always)
    x, kernel = make_inputs(rng, size)
    check_same(lambda: combined(x, kernel), lambda: COMBINED[combined][0](x, kernel), [x, kernel])


@pytest.mark.parametrize("size", [(3, 2), (5, 3), (33, 32), (32, 35)])
def test_pooling_drops_the_last_row_and_column_of_odd_sides(rng, check_same, size):
    x, kernel = make_inputs(rng, size)
    slow = COMBINED[conv_average_pool][0]
    check_same(lambda: conv_average_pool(x, kernel), lambda: slow(x, kernel), [x, kernel])


@pytest.mark.parametrize("combined", COMBINED)
@pytest.mark.parametrize("side", [16, 30, 32, 34])
def test_combined_equals_the_two_steps_by_its_own_choice(rng, check_same, combined, side):
    x, kernel = make_inputs(rng, (side, 2 * side), channels=1, filters=2, batch=1)
    check_same(lambda: combined(x, kernel), lambda: COMBINED[combined][0](x, kernel), [x, kernel])


@settings(max_examples=25, deadline=None)
@given(
    combined=st.sampled_from(list(COMBINED)),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    channels=st.integers(1, 4),
    filters=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_any_size(combined, size, channels, filters, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resampling, "_SMALLEST_SIDE", 0)
        size = [2 * side for side in size] if combined is conv_average_pool else size
        x, kernel = make_inputs(np.random.default_rng(seed), size, channels, filters, batch=1)
        want = COMBINED[combined][0](x, kernel)
        np.testing.assert_allclose(combined(x, kernel), want, rtol=1e-12, atol=1e-12)


def test_borders_by_hand():
    """One upsampled pixel: each of the four copies sees the corner of the kernel that is inside."""
    x, kernel = np.ones((1, 1, 1, 1)), np.arange(9.0).reshape(3, 3, 1, 1)
    corners = [[[4 + 5 + 7 + 8, 3 + 4 + 6 + 7], [1 + 2 + 4 + 5, 0 + 1 + 3 + 4]]]
    with pytest.MonkeyPatch.context() as patch:
        for smallest in (0, LARGE):
            patch.setattr(resampling, "_SMALLEST_SIDE", smallest)
            np.testing.assert_allclose(upsample_conv(x, kernel)[..., 0], corners)
            pooled = conv_average_pool(np.ones((1, 2, 2, 1)), kernel)
            np.testing.assert_allclose(pooled[0, 0, 0], [np.mean(corners)])


@pytest.mark.parametrize("combined", COMBINED)
def test_sizes_known_at_run_time_only(rng, combined):
    """One function for all sizes, the smallest included, above and below the threshold."""
    kernel = make_inputs(rng, (2, 2))[1]

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.float64)])
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            y = combined(x, kernel)
            loss = tf.reduce_sum(y**2)
        return y, tape.gradient(loss, [x, kernel])

    for size in COMBINED[combined][1]:
        x = tf.constant(rng.normal(size=(2, *size, 3)))
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            want = COMBINED[combined][0](x, kernel)
            loss = tf.reduce_sum(want**2)
        want = want, tape.gradient(loss, [x, kernel])
        for g, w in zip(tf.nest.flatten(run(x)), tf.nest.flatten(want), strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("always", [True, False])
@pytest.mark.parametrize("combined", COMBINED)
def test_half_precision(rng, forbid, combined, always):
    forbid(always)
    x, kernel = (tf.cast(value, tf.bfloat16) for value in make_inputs(rng, (8, 6)))
    with tf.GradientTape() as tape:
        tape.watch([x, kernel])
        y = combined(x, kernel)
        loss = tf.reduce_sum(tf.cast(y, tf.float32))
    assert {part.dtype for part in [y, *tape.gradient(loss, [x, kernel])]} == {tf.bfloat16}
    exact = [tf.cast(value, tf.float64) for value in (x, kernel)]
    error = np.abs(tf.cast(y, tf.float64).numpy() - COMBINED[combined][0](*exact).numpy())
    magnitude = COMBINED[combined][0](
        *map(tf.abs, exact)
    ).numpy()  # rounding errors are relative to it
    # Three roundings by half of 2**-8: kernel sums along rows, along columns, and the result.
    assert (error <= 1.5 * 2**-8 * magnitude).all() and error.max() > 0


@pytest.mark.parametrize("size", ANY)
def test_upsample_repeats(rng, check_same, size):
    x = tf.constant(rng.normal(size=(2, *size, 3)))
    check_same(lambda: upsample(x), lambda: plain_upsample(x), [x])


@pytest.mark.parametrize("size", [*EVEN, (3, 5), (7, 2)])
def test_average_pool_takes_the_mean(rng, size):
    x = rng.normal(size=(2, *size, 3))
    height, width = size[0] // 2, size[1] // 2
    blocks = x[:, : 2 * height, : 2 * width].reshape(2, height, 2, width, 2, 3)
    np.testing.assert_allclose(average_pool(x), blocks.mean((2, 4)), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("size", EVEN)
def test_space_to_depth_and_back(rng, size):
    x = rng.normal(size=(2, *size, 3))
    deep = space_to_depth(x)
    np.testing.assert_array_equal(deep, tf.nn.space_to_depth(x, 2))
    np.testing.assert_array_equal(depth_to_space(deep), x)
    wide = rng.normal(size=(2, *size, 12))
    np.testing.assert_array_equal(depth_to_space(wide), tf.nn.depth_to_space(wide, 2))
    np.testing.assert_array_equal(space_to_depth(depth_to_space(wide)), wide)


def test_conv_equals_the_slow_one(rng, conv_same):
    x, kernel = make_inputs(rng, (3, 5))
    np.testing.assert_allclose(conv(x, kernel), conv_same(x, kernel), rtol=1e-12, atol=1e-12)


def padded_conv(x, kernel, stride):
    """Convolution with k // 2 zeros on every side, like PyTorch's ``padding=k // 2``."""
    sides = 2 * [2 * [kernel.shape[0] // 2]]
    return tf.nn.conv2d(x, kernel, stride, [[0, 0], *sides, [0, 0]])


STRIDED = [
    ((1, 2), (1, 1), (1, 2)),
    ((2, 3), (1, 2), (2, 2)),
    ((5, 6), (3, 3), (3, 4)),
    ((16, 9), (8, 5), (9, 5)),
]


@pytest.mark.parametrize("size", [3, 4])
@pytest.mark.parametrize(("sides", "by_3", "by_4"), STRIDED)
def test_strided_convolution(rng, check_same, sides, by_3, by_4, size):
    """Equals the strided operation, with PyTorch's sizes, static or known at run time only."""
    x, kernel = rng.normal(size=(2, *sides, 3)), tf.constant(rng.normal(size=(size, size, 3, 5)))
    x = tf.constant(x)
    check_same(lambda: strided_conv(x, kernel), lambda: padded_conv(x, kernel, 2), [x, kernel])
    assert strided_conv(x, kernel).shape[1:3] == (by_3 if size == 3 else by_4)
    assert tuple(strided_size(side, size) for side in sides) == (by_3 if size == 3 else by_4)
    unknown = tf.TensorSpec((None, None, None, 3), tf.float64)
    in_graph = tf.function(lambda x: strided_conv(x, kernel), input_signature=[unknown])
    np.testing.assert_allclose(in_graph(x), padded_conv(x, kernel, 2), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sides", [(1, 1), (4, 5)])
def test_even_kernels_add_a_row_and_a_column(rng, check_same, sides):
    x = tf.constant(rng.normal(size=(2, *sides, 3)))
    kernel = tf.constant(rng.normal(size=(4, 4, 3, 5)))
    check_same(lambda: conv(x, kernel), lambda: padded_conv(x, kernel, 1), [x, kernel])
    assert conv(x, kernel).shape[1:3] == tuple(side + 1 for side in sides)


def test_strided_convolutions_run_with_stride_1(monkeypatch):
    """Strides and uneven padding have no fast half-precision gradient kernel on CPU."""
    seen = []
    monkeypatch.setattr(resampling.ops, "conv", lambda x, kernel, **how: seen.append(how) or x)
    for size in (3, 4):
        strided_conv(tf.ones((1, 6, 8, 3)), tf.ones((size, size, 3, 5)))
    assert [(how["strides"], how["padding"]) for how in seen] == 2 * [(1, "valid")]


def make_layer(resample, dtype="float64", size=3, **options):
    layer = SpectralConv2D(5, size, resample=resample, dtype=dtype, **options)
    layer.build((None, None, None, 3))
    rng = np.random.default_rng(1)
    for variable in layer.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    return layer


COMPOSED = {
    "none": plain_conv,
    "average_pool": lambda x, kernel: plain_pool(plain_conv(x, kernel)),
    "upsample": lambda x, kernel: plain_conv(plain_upsample(x), kernel),
    "stride": lambda x, kernel: padded_conv(x, kernel, 2),
}


@pytest.mark.parametrize("always", [True, False])
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("resample", COMPOSED)
def test_spectral_convolution_resamples(rng, check_same, monkeypatch, resample, use_bias, always):
    """Equals separate resampling and convolution with the normalised kernel."""
    monkeypatch.setattr(resampling, "_SMALLEST_SIDE", 0 if always else LARGE)
    layer, x = make_layer(resample, use_bias=use_bias), tf.constant(rng.normal(size=(2, 6, 4, 3)))

    def slow():
        y = COMPOSED[resample](x, layer.normalised_kernel())
        return y + layer.bias.value if use_bias else y

    check_same(lambda: layer(x), slow, [x, *layer.trainable_variables])
    assert layer.compute_output_shape(x.shape) == layer(x).shape


@pytest.mark.parametrize("resample", ["none", "stride"])
def test_spectral_convolution_with_an_even_kernel(rng, check_same, resample):
    layer, x = make_layer(resample, size=4), tf.constant(rng.normal(size=(2, 6, 5, 3)))

    def slow():
        y = padded_conv(x, layer.normalised_kernel(), 1 if resample == "none" else 2)
        return y + layer.bias.value

    check_same(lambda: layer(x), slow, [x, *layer.trainable_variables])
    assert layer.compute_output_shape(x.shape) == layer(x).shape
    assert layer.v.shape == (4 * 4 * 3,)


@pytest.mark.parametrize(
    ("size", "resample", "side"),
    [(3, "none", 9), (3, "average_pool", 4), (3, "upsample", 18), (3, "stride", 5),
     (4, "none", 10), (4, "stride", 5)],
)  # fmt: skip
def test_output_shape_of_unknown_sizes(size, resample, side):
    layer = SpectralConv2D(5, size, resample=resample)
    assert layer.compute_output_shape((None, None, 9, 3)) == (None, None, side, 5)


@pytest.mark.parametrize("resample", COMPOSED)
def test_spectral_convolution_contract(keras_contract, rng, resample):
    image = rng.normal(size=(2, 4, 6, 3)).astype(np.float32)
    keras_contract(lambda **options: SpectralConv2D(5, 3, resample=resample, **options), image)


def test_a_config_without_resample_means_none():
    config = SpectralConv2D(5, 3).get_config()
    assert config.pop("resample") == "none"
    assert SpectralConv2D.from_config(config).resample == "none"
