"""Distinct neighbourhoods against a pixel-by-pixel enumeration, tables against convolutions."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from oasis_tf.layers import LabelConv2D, patterns
from oasis_tf.layers.patterns import find_patterns, hidden_table, modulation_table

SIZES = [(1, 1), (1, 2), (2, 2), (1, 7), (3, 5), (8, 8)]
NOISES = ["shared", "image", "pixel"]
OUTSIDE = (-1, -1)
CLASSES = 5


def make_noise_index(rng, kind, shape):
    if kind == "shared":
        return np.zeros((1, 1, 1), np.int32)
    if kind == "image":
        return np.arange(shape[0], dtype=np.int32)[:, None, None]
    return rng.integers(0, 3, shape).astype(np.int32)


def enumerate_neighbourhoods(label_map, noise_index, radius):
    """(label, noise) of every pixel of every window: [B, H, W, (2 * radius + 1)**2, 2]."""
    noise_index = np.broadcast_to(noise_index, label_map.shape)
    batch, height, width = label_map.shape
    offsets = range(-radius, radius + 1)
    found = np.empty((*label_map.shape, len(offsets) ** 2, 2), np.int64)
    for b, i, j in np.ndindex(batch, height, width):
        found[b, i, j] = [
            (label_map[b, i + s, j + t], noise_index[b, i + s, j + t])
            if 0 <= i + s < height and 0 <= j + t < width
            else OUTSIDE
            for s in offsets
            for t in offsets
        ]
    return found


def windows_of_windows(found):
    """5x5 neighbourhoods assembled from the 3x3 ones of a ``Patterns``: [P, 5, 5, 2]."""
    symbols = np.stack([found.labels, found.noises], axis=1)
    symbols = np.concatenate([symbols, [OUTSIDE]])
    conditions = symbols[found.conditions.numpy()].reshape(-1, 3, 3, 2)
    conditions = np.concatenate([conditions, np.full((1, 3, 3, 2), -1)])  # around pixels outside
    inner = conditions[found.neighbours.numpy()].reshape(-1, 3, 3, 3, 3, 2)
    window = np.full((len(inner), 5, 5, 2), -1)
    for i, j, s, t in np.ndindex(3, 3, 3, 3):
        seen = inner[:, i, j, s, t]
        # A neighbour outside the image has no hidden value.
        inside = (inner[:, i, j, 1, 1] >= 0).all(-1)
        np.testing.assert_array_equal(
            np.where(
                inside[:, None] & (window[:, i + s, j + t] >= 0), window[:, i + s, j + t], seen
            ),
            seen,
        )
        window[inside, i + s, j + t] = seen[inside]
    return window


def check(label_map, noise_index):
    """Checks that the tables hold the neighbourhood of every pixel, each once and no other."""
    found = find_patterns(label_map, noise_index)
    assert all(part.dtype == tf.int32 for part in found)
    index = found.index.numpy()
    want = enumerate_neighbourhoods(label_map, noise_index, 2)
    np.testing.assert_array_equal(windows_of_windows(found)[index].reshape(want.shape), want)
    distinct = {window.tobytes() for window in want.reshape(-1, 50)}
    assert len(found.neighbours) == len(distinct) == len(np.unique(index))
    distinct = {
        w.tobytes() for w in enumerate_neighbourhoods(label_map, noise_index, 1).reshape(-1, 18)
    }
    assert len(found.conditions) == len(distinct)
    pairs = {(label, noise) for label, noise in want.reshape(-1, 2).tolist()} - {OUTSIDE}
    assert len(found.labels) == len(found.noises) == len(pairs)
    return found


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("size", SIZES)
def test_tables_hold_the_neighbourhoods(rng, size, noise):
    label_map = rng.integers(0, 2, (2, *size)).astype(np.int32)
    check(label_map, make_noise_index(rng, noise, label_map.shape))


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    batch=st.integers(1, 3),
    classes=st.sampled_from([1, 2, 3, 30, 1204, 65536]),
    block=st.integers(1, 4),
    noise=st.sampled_from(NOISES),
    seed=st.integers(0, 1000),
)
def test_any_map(size, batch, classes, block, noise, seed):
    """Random maps, and maps of uniform blocks, in which neighbourhoods repeat."""
    rng = np.random.default_rng(seed)
    label_map = rng.integers(0, classes, (batch, *size)).astype(np.int32)
    label_map = label_map.repeat(block, 1).repeat(block, 2)[:, : size[0], : size[1]]
    check(label_map, make_noise_index(rng, noise, label_map.shape))


def test_uniform_maps_have_25_neighbourhoods():
    """Per axis, distance 0, 1 or more from either border; for 3x3 ones only 0 or more."""
    found = find_patterns(np.full((3, 16, 16), 7), np.zeros((1, 1, 1)))
    assert len(found.neighbours) == 25 and len(found.conditions) == 9 and len(found.labels) == 1


def test_images_share_only_with_a_shared_noise_vector(rng):
    label_map = np.repeat(rng.integers(0, 3, (1, 6, 7)), 2, axis=0)
    first, second = find_patterns(label_map, np.zeros((1, 1, 1), np.int32)).index.numpy()
    np.testing.assert_array_equal(first, second)
    first, second = check(label_map, np.array([0, 1]).reshape(2, 1, 1)).index.numpy()
    assert not set(first.ravel()) & set(second.ravel())


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "int64"])
def test_any_integer_type_up_to_its_largest_value(rng, dtype):
    most = min(np.iinfo(dtype).max, 65535)
    label_map = rng.choice([0, 1, most - 1, most], (2, 5, 6)).astype(dtype)
    label_map[0, 2, 3] = most
    found = check(label_map, np.array([0, 2**20]).reshape(2, 1, 1))
    assert found.labels.numpy().max() == most and found.noises.numpy().max() == 2**20


def test_encoded_triples_fit_into_int64():
    """The largest triple below the limit is still an int64."""
    assert patterns._TRIPLE_LIMIT**3 <= 2**63


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("size", SIZES)
def test_numbers_beyond_the_triple_limit(rng, monkeypatch, size, noise):
    monkeypatch.setattr(patterns, "_TRIPLE_LIMIT", 8)
    label_map = rng.integers(0, 5, (2, *size)).astype(np.int32)
    check(label_map, make_noise_index(rng, noise, label_map.shape))


def make_layers(rng, noise_channels, filters=(4, 1, 6)):
    layers = [LabelConv2D(f, CLASSES, noise_channels, dtype="float64") for f in filters]
    for layer in layers:
        layer.build()
        for variable in layer.variables:
            variable.assign(rng.normal(size=variable.shape))
    return layers


def table_of(layers, found, noise):
    kernels, biases = [layer.kernel for layer in layers], [layer.bias for layer in layers]
    return hidden_table(kernels, biases, layers[0].noise_channels, found, noise)


def make_conditions(rng, size, noise_channels):
    """Label map, noise and the number of every pixel's noise vector."""
    label_map = tf.constant(rng.integers(0, CLASSES, (3, *size)), tf.int32)
    if not noise_channels:
        return label_map, None, tf.zeros((1, 1, 1), tf.int32)
    return label_map, tf.constant(rng.normal(size=(3, noise_channels))), tf.range(3)[:, None, None]


def plain_conv(x, kernel, bias=0.0):
    return tf.nn.conv2d(x, kernel, 1, "SAME") + bias


@pytest.mark.parametrize("noise_channels", [0, 2])
@pytest.mark.parametrize("size", SIZES)
def test_hidden_table_equals_the_plain_convolution(
    rng, dense_condition, check_same, size, noise_channels
):
    layers = make_layers(rng, noise_channels)
    label_map, noise, noise_index = make_conditions(rng, size, noise_channels)
    found = find_patterns(label_map, noise_index)
    centre = tf.gather(found.neighbours[:, 4], found.index)  # 3x3 neighbourhood of every pixel

    def fast():
        return tf.gather(table_of(layers, found, noise), centre)

    def slow():
        field = dense_condition(label_map, noise, CLASSES)
        parts = [plain_conv(field, layer.kernel.value, layer.bias.value) for layer in layers]
        return tf.concat(parts, axis=-1)

    sources = [part for layer in layers for part in (layer.kernel, layer.bias)]
    check_same(fast, slow, sources + ([] if noise is None else [noise]))


@pytest.mark.parametrize("noise_channels", [0, 2])
@pytest.mark.parametrize("size", SIZES)
def test_modulation_table_equals_the_plain_convolution(
    rng, dense_condition, check_same, size, noise_channels
):
    (layer,) = make_layers(rng, noise_channels, filters=(4,))
    label_map, noise, noise_index = make_conditions(rng, size, noise_channels)
    kernel = tf.constant(rng.normal(size=(3, 3, 4, 3)))
    found = find_patterns(label_map, noise_index)

    def fast():
        hidden = table_of([layer], found, noise)
        return tf.gather(modulation_table(hidden, found, kernel), found.index)

    def slow():
        field = dense_condition(label_map, noise, CLASSES)
        hidden = plain_conv(field, layer.kernel.value, layer.bias.value)
        return plain_conv(tf.nn.relu(hidden), kernel)

    sources = [kernel, layer.kernel, layer.bias]
    check_same(fast, slow, sources + ([] if noise is None else [noise]))
