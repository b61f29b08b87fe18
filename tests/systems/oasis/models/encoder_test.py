"""The image encoder against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.systems.oasis.models import Encoder, reparameterised
from oasis_tf.training.named_weights import named_weights


def image(size, batch=2):
    return np.random.default_rng(0).uniform(-1, 1, (batch, *size, 3)).astype(np.float32)


def small(size=16, **options):
    return Encoder(3, channels=2, size=size, **options)


def randomised(network):
    rng = np.random.default_rng(1)
    for variable in network.variables:
        variable.assign(rng.normal(0, 1, variable.shape))
    return network


@pytest.mark.parametrize(("latent", "parameters"), [(256, 10_463_424), (64, 7_317_312)])
def test_number_of_parameters_at_full_width(latent, parameters):
    convs = zip((3, 64, 128, 256, 512, 512), (64, 128, 256, 512, 512, 512), strict=True)
    table = sum(9 * fan_in * fan_out for fan_in, fan_out in convs)
    assert table + 2 * (4 * 4 * 512 + 1) * latent == parameters
    variables = Encoder(latent).trainable_variables
    assert sum(int(np.prod(v.shape)) for v in variables) == parameters


@pytest.mark.parametrize(
    ("size", "widths"),
    [(8, (1,)), (64, (1, 2, 4, 8)), (128, (1, 2, 4, 8, 8)), (512, (1, 2, 4, 8, 8, 8, 8))],
)
def test_the_size_decides_the_number_of_convolutions(size, widths):
    network = Encoder(3, channels=1, size=size)
    assert network.widths == widths and len(network.convs) == len(widths)
    assert network.to_mean.kernel.shape == (16 * widths[-1], 3)


def bilinear(size, new_size):
    """Matrix [new_size, size] of bilinear weights: half-pixel centres, no antialiasing."""
    weights = np.zeros((new_size, size))
    for row, position in enumerate((np.arange(new_size) + 0.5) * size / new_size - 0.5):
        low = int(np.floor(position))
        for k, share in ((low, 1 - (position - low)), (low + 1, position - low)):
            weights[row, min(max(k, 0), size - 1)] += share
    return weights


def halved_conv(x, kernel):
    """3x3 convolution, stride 2, padding of 1."""
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows, columns = (side - 2 for side in x.shape[1:3])
    taps = [(s, t) for s in range(3) for t in range(3)]
    return sum(x[:, s : s + rows : 2, t : t + columns : 2] @ kernel[s, t] for s, t in taps)


def slow_encoder(network, x):
    weights = {name: v.numpy() for name, v in named_weights(network).items()}
    rows, columns = (bilinear(side, network.size) for side in x.shape[1:3])
    x = np.einsum("ih,bhwc,jw->bijc", rows, x, columns)
    for k in range(len(network.convs)):
        kernel = weights[f"conv_{k}/kernel"]
        matrix = kernel.reshape(-1, kernel.shape[-1])
        x = halved_conv(x, kernel / (weights[f"conv_{k}/v"] @ matrix @ weights[f"conv_{k}/u"]))
        x = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
        x = np.where(x > 0, x, float(np.float32(0.2)) * x)
    assert x.shape[1:3] == (4, 4)
    x = x.reshape(len(x), -1)
    return [
        x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]
        for name in ("to_mean", "to_log_variance")
    ]


@pytest.mark.parametrize("size", [(16, 16), (24, 20), (9, 40), (8, 8)])
def test_equals_the_table_of_the_paper(size):
    network, x = randomised(small(dtype="float64")), image(size)
    moments = network(x)
    # TensorFlow resizes in float32.
    tolerance = 1e-10 if size == (16, 16) else 1e-4
    for got, want in zip(moments, slow_encoder(network, x), strict=True):
        assert got.shape == (2, 3) and want.std() > 0.1
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


def test_sizes_known_at_run_time_only():
    network = randomised(small())
    unknown = tf.TensorSpec((None, None, None, 3), tf.float32)
    encode = tf.function(lambda x: network(x), input_signature=[unknown])
    for size in ((16, 16), (24, 32)):
        for got, want in zip(encode(image(size)), network(image(size)), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_training_updates_only_the_spectral_vectors():
    network = small()
    before = {name: v.numpy() for name, v in named_weights(network).items()}
    network(image((16, 16)), training=True)
    for name, variable in named_weights(network).items():
        moved = (variable.numpy() != before[name]).any()
        assert moved == name.endswith(("/u", "/v")), name


@pytest.mark.parametrize("size", [0, 4, 48, 100])
def test_refuses_sizes_that_are_not_powers_of_2(size):
    with pytest.raises(ValueError, match=f"power of 2, 8 or above. Received: size={size}"):
        Encoder(3, size=size)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((8, 8, 3), "must have 4 axes"), ((1, 8, 8, 4), r"3 channels. Received: \(1, 8, 8, 4\)")],
)
def test_refuses_inputs_that_are_not_batches_of_images(shape, message):
    with pytest.raises(ValueError, match=message):
        small()(np.zeros(shape, np.float32))


def test_keras_contract(keras_contract):
    keras_contract(lambda **options: small(**options), image((16, 16)))
    keras_contract(lambda **options: small(8, **options), image((12, 20)), policies=())


def test_reparameterised_vectors_and_gradients():
    rng = np.random.default_rng(0)
    mean, log_variance, noise = (tf.constant(rng.normal(size=(4, 3))) for _ in range(3))
    with tf.GradientTape() as tape:
        tape.watch([mean, log_variance])
        z = reparameterised(mean, log_variance, noise)
    deviation = np.exp(log_variance) ** 0.5
    np.testing.assert_allclose(z, mean + deviation * noise)
    to_mean, to_log_variance = tape.gradient(z, [mean, log_variance])
    np.testing.assert_allclose(to_mean, np.ones((4, 3)))
    np.testing.assert_allclose(to_log_variance, deviation * noise / 2)
