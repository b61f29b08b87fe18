"""Modulation per neighbourhood and per pixel against plain convolutions of one-hot maps."""

import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.layers import SPADEModulation, modulation
from oasis_tf.layers.modulation import modulations

SIZES = [(1, 1), (1, 2), (2, 2), (3, 5), (8, 8)]
CLASSES, NOISE = 4, 3
# channels, hidden channels
WIDTHS = [(5, 4), (2, 4), (5, 7)]


def make_norms(rng, noise_channels=NOISE, dtype="float64", widths=WIDTHS, one_hot=False):
    norms = [
        SPADEModulation(c, CLASSES, noise_channels, h, one_hot, dtype=dtype) for c, h in widths
    ]
    for norm in norms:
        norm.build()
        for variable in norm.variables:
            variable.assign(rng.normal(0, 0.7, variable.shape))
    return norms


def make_conditions(rng, size, noise, batch=2):
    """Label map of few classes, so that neighbourhoods repeat, and noise."""
    label_map = tf.constant(rng.choice(CLASSES, (batch, *size), p=[0.8, 0.1, 0.1, 0]), tf.int32)
    shape = {"none": None, "image": (batch, NOISE), "pixel": (batch, *size, NOISE)}[noise]
    return label_map, None if shape is None else tf.constant(rng.normal(size=shape))


def make_inputs(rng, norms, shape):
    """For every norm, its input and an affine normalisation."""
    xs = [tf.constant(rng.normal(size=(*shape, norm.channels))) for norm in norms]
    draw = lambda norm: tf.constant(rng.normal(size=norm.channels))  # noqa: E731
    return xs, [(draw(norm), draw(norm)) for norm in norms]


def reference(norm, x, affine, field, absolute=False):
    """The paper's equation in float64: normalised * (1 + gamma) + beta.

    ``absolute`` replaces every term by its magnitude, which rounding errors are relative to.
    """
    size = tf.abs if absolute else tf.identity
    weight = lambda name: size(tf.cast(getattr(norm, name).value, tf.float64))  # noqa: E731
    conv = lambda x, kernel, bias: tf.nn.conv2d(x, kernel, 1, "SAME") + bias  # noqa: E731
    kernel, bias = (
        size(tf.cast(v.value, tf.float64)) for v in (norm.shared.kernel, norm.shared.bias)
    )
    hidden = tf.nn.relu(conv(size(field), kernel, bias))
    gamma = conv(hidden, weight("gamma_kernel"), weight("gamma_bias"))
    beta = conv(hidden, weight("beta_kernel"), weight("beta_bias"))
    x = size(x)
    if affine is not None:
        x = x * size(affine[0]) + size(affine[1])
    return x * (1 + gamma) + beta


@pytest.mark.parametrize("way", ["shared", "dense", "one_hot"])
@pytest.mark.parametrize("noise", ["none", "image", "pixel"])
@pytest.mark.parametrize("size", SIZES)
def test_equals_the_equation_of_the_paper(rng, dense_condition, check_same, size, noise, way):
    """Values and all gradients, with and without a folded normalisation, three norms at once."""
    norms = make_norms(rng, 0 if noise == "none" else NOISE, one_hot=way == "one_hot")
    label_map, vectors = make_conditions(rng, size, noise)
    xs, affines = make_inputs(rng, norms, label_map.shape)
    affines[1] = None

    def fast():
        functions = modulations(norms, label_map, vectors, dense=way != "shared")
        return [f(x, affine) for f, x, affine in zip(functions, xs, affines, strict=True)]

    def slow():
        field = dense_condition(label_map, vectors, CLASSES)
        return [reference(*each, field) for each in zip(norms, xs, affines, strict=True)]

    sources = [v for norm in norms for v in norm.trainable_variables] + xs
    sources += [part for affine in affines if affine for part in affine]
    check_same(fast, slow, sources + ([] if vectors is None else [vectors]))


@pytest.mark.parametrize("noise", ["none", "image"])
def test_shared_equals_dense(rng, check_same, noise):
    """Both paths as a layer, on a map large enough for all kinds of borders."""
    (norm,) = make_norms(rng, 0 if noise == "none" else NOISE, widths=WIDTHS[:1])
    label_map, vectors = make_conditions(rng, (16, 12), noise, batch=3)
    (x,), _ = make_inputs(rng, [norm], label_map.shape)
    check_same(
        lambda: norm(x, label_map, vectors),
        lambda: modulations([norm], label_map, vectors, dense=True)[0](x),
        [x, *norm.trainable_variables, *([] if vectors is None else [vectors])],
    )


def test_images_of_a_batch_keep_their_noise(rng):
    """One label map with two noise vectors: each image equals the one computed alone."""
    norms = make_norms(rng)
    label_map, noise = make_conditions(rng, (6, 7), "image", batch=1)
    label_map, noise = tf.repeat(label_map, 2, axis=0), tf.concat([noise, -noise], axis=0)
    xs, _ = make_inputs(rng, norms, label_map.shape)
    for f, norm, x in zip(modulations(norms, label_map, noise), norms, xs, strict=True):
        together = f(x)
        assert np.abs(together[0] - together[1]).max() > 0.1
        for k in range(2):
            alone = norm(x[k : k + 1], label_map[k : k + 1], noise[k : k + 1])
            np.testing.assert_allclose(together[k : k + 1], alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("noise", "dense", "searches"),
    [("image", False, 1), ("none", False, 1), ("image", True, 0), ("pixel", False, 0)],
)
def test_which_path_is_taken(rng, monkeypatch, noise, dense, searches):
    """Neighbourhoods are searched once for all norms, and not at all on the dense path."""
    calls = []
    find = modulation.find_patterns
    monkeypatch.setattr(modulation, "find_patterns", lambda *a: calls.append(a) or find(*a))
    norms = make_norms(rng, 0 if noise == "none" else NOISE)
    modulations(norms, *make_conditions(rng, (3, 4), noise), dense)
    assert len(calls) == searches


def test_other_backends_take_the_dense_path(rng, monkeypatch):
    monkeypatch.setattr(modulation.keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(modulation, "find_patterns", None)
    assert len(modulations(make_norms(rng), *make_conditions(rng, (3, 4), "image"))) == 3


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision(rng, dense_condition, policy, dense):
    """The error is far below one rounding of the summed terms; gradients are in float32."""
    (norm,) = make_norms(rng, dtype=policy, widths=[(5, 16)])
    label_map, noise = make_conditions(rng, (12, 16), "image")
    (x,), (affine,) = make_inputs(rng, [norm], label_map.shape)
    x = tf.cast(x, norm.compute_dtype)
    affine = tuple(tf.cast(part, tf.float32) for part in affine)
    with tf.GradientTape() as tape:
        (f,) = modulations([norm], label_map, tf.cast(noise, norm.compute_dtype), dense)
        y = f(x, affine)
        loss = tf.reduce_sum(tf.cast(y, tf.float32))
    assert y.dtype == norm.compute_dtype
    exact = [tf.cast(x, tf.float64), tuple(tf.cast(part, tf.float64) for part in affine)]
    exact.append(dense_condition(label_map, noise, CLASSES))
    resolution = {"bfloat16": 2**-8, "float16": 2**-11}[norm.compute_dtype]
    error = np.abs(tf.cast(y, tf.float64).numpy() - reference(norm, *exact).numpy())
    magnitude = reference(norm, *exact, absolute=True).numpy()
    assert (error <= 0.25 * resolution * magnitude).all()
    assert error.max() > 0
    for gradient in tape.gradient(loss, [v.value for v in norm.trainable_variables]):
        assert gradient.dtype == tf.float32


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("noise", ["none", "image"])
def test_sizes_known_at_run_time_only(rng, noise, dense):
    norms = make_norms(rng, 0 if noise == "none" else NOISE, widths=WIDTHS[:1])

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, None), tf.int32),
            tf.TensorSpec((None, NOISE), tf.float64),
            tf.TensorSpec((None, None, None, 5), tf.float64),
        ]
    )
    def run(label_map, vectors, x):
        vectors = None if noise == "none" else vectors
        return modulations(norms, label_map, vectors, dense)[0](x)

    for batch, size in [(1, (3, 4)), (2, (5, 2)), (3, (1, 1))]:
        label_map, vectors = make_conditions(rng, size, "image", batch)
        (x,), _ = make_inputs(rng, norms, label_map.shape)
        want = norms[0](x, label_map, None if noise == "none" else vectors)
        np.testing.assert_allclose(run(label_map, vectors, x), want, rtol=1e-12, atol=1e-12)


def test_compiled_as_a_whole(rng):
    """XLA bounds the number of neighbourhoods by the number of pixels."""
    norms = make_norms(rng, widths=WIDTHS[:1])
    label_map, noise = make_conditions(rng, (5, 6), "image")
    (x,), _ = make_inputs(rng, norms, label_map.shape)
    weights = [v.value for v in norms[0].trainable_variables]

    @tf.function(jit_compile=True)
    def run():
        with tf.GradientTape() as tape:
            tape.watch([x, noise])
            y = modulations(norms, label_map, noise)[0](x)
            loss = tf.reduce_sum(y**2)
        return y, tape.gradient(loss, [x, noise, *weights])

    with tf.GradientTape() as tape:
        tape.watch([x, noise])
        y = modulations(norms, label_map, noise, dense=True)[0](x)
        loss = tf.reduce_sum(y**2)
    want = y, [tf.convert_to_tensor(g) for g in tape.gradient(loss, [x, noise, *weights])]
    for g, w in zip(tf.nest.flatten(run()), tf.nest.flatten(want), strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(g), w, rtol=1e-10, atol=1e-10)
