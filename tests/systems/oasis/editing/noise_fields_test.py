"""Noise fields: equal noise is an equal field, nothing can change one, batches hold it all."""

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from oasis_tf.systems.oasis.editing import image_noise, pixel_noise
from oasis_tf.systems.oasis.editing.noise_fields import NoiseField, stack

CHANNELS = 3
MAPS = arrays.arrays(
    np.uint8,
    some.tuples(some.integers(1, 6), some.integers(1, 6)),
    elements=some.integers(0, 3),
)
quick = settings(max_examples=40, deadline=None, derandomize=True)


def random_field(index, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(int(index.max()) + 1, CHANNELS))
    return NoiseField(index, vectors.astype(np.float32))


def check_same(field, other):
    np.testing.assert_array_equal(field.index, other.index)
    np.testing.assert_array_equal(field.vectors, other.vectors)


@quick
@given(MAPS, some.integers(0, 9))
def test_field_holds_what_it_is_given(index, seed):
    vectors = np.random.default_rng(seed).normal(size=(6, CHANNELS)).astype(np.float32)
    vectors[2] = vectors[0]
    field = NoiseField(index, vectors)
    np.testing.assert_array_equal(field.dense(), vectors[index])
    assert field.index.dtype == np.int32 and field.vectors.dtype == np.float32
    assert field.shape == index.shape and field.noise_channels == CHANNELS


@quick
@given(MAPS, some.permutations(range(4)))
def test_equal_noise_is_an_equal_field(index, order):
    vectors = np.random.default_rng(0).normal(size=(4, CHANNELS)).astype(np.float32)
    field = NoiseField(index, vectors)
    twice = np.concatenate([vectors[order], vectors])
    even = np.indices(index.shape).sum(0) % 2 == 0
    check_same(NoiseField(np.where(even, np.argsort(order)[index], 4 + index), twice), field)
    numbers, first = np.unique(field.index, return_index=True)
    np.testing.assert_array_equal(numbers, np.arange(len(field.vectors)))  # all in use
    assert (np.diff(first) > 0).all()  # by first appearance
    assert len({row.tobytes() for row in field.vectors}) == len(field.vectors)


def test_field_cannot_be_changed_from_outside():
    index, vectors = np.zeros((2, 2), np.int32), np.ones((1, 3), np.float32)
    field = NoiseField(index, vectors)
    vectors[:] = 5
    index[:] = 7
    np.testing.assert_array_equal(field.dense(), np.ones((2, 2, 3)))
    for part in (field.index, field.vectors):
        with pytest.raises(ValueError, match="read-only"):
            part[:] = 0


def test_resized_takes_the_pixels_that_the_networks_take():
    field = pixel_noise(4, 6, 0, CHANNELS)
    np.testing.assert_array_equal(field.resized(2, 3).dense(), field.dense()[::2, ::2])
    np.testing.assert_array_equal(field.resized(4, 2).dense(), field.dense()[:, ::3])
    large = field.resized(8, 3)
    np.testing.assert_array_equal(large.dense(), field.dense()[:, ::2].repeat(2, axis=0))
    check_same(field.resized(8, 18).resized(4, 6), field)


@pytest.mark.parametrize(("size", "side"), [((3, 6), "height"), ((4, 4), "width"), ((0, 6), "he")])
def test_resized_refuses_other_ratios(size, side):
    with pytest.raises(ValueError, match=f"{side}.* whole multiple or a whole part of its present"):
        image_noise(4, 6, 0, CHANNELS).resized(*size)


@pytest.mark.parametrize(
    ("index", "vectors", "message"),
    [
        (np.zeros(4, int), np.ones((1, 3)), r"integers \[H, W\] .* shape=\(4,\)"),
        (np.zeros((2, 2)), np.ones((1, 3)), "integers .* dtype=float64"),
        (np.zeros((0, 2), int), np.ones((1, 3)), "at least one pixel"),
        (np.zeros((2, 2), int), np.ones(3), r"floats \[K, Z\]. Received: .*shape=\(3,\)"),
        (np.zeros((2, 2), int), np.ones((1, 3), int), "floats .* dtype=int64"),
        (np.zeros((2, 2), int), np.ones((1, 0)), "has no noise to edit"),
        (np.full((2, 2), 1), np.ones((1, 3)), "number the 1 vectors .* values from 1 to 1"),
        (np.full((2, 2), -1), np.ones((1, 3)), "values from -1 to -1"),
        (np.zeros((2, 2), int), np.full((1, 3), np.nan), "finite"),
        (np.zeros((2, 2), int), np.full((1, 3), 1e38), r"in \[-10000, 10000\]"),
    ],
)
def test_field_refuses(index, vectors, message):
    with pytest.raises(ValueError, match=message):
        NoiseField(index, vectors)


@quick
@given(some.lists(arrays.arrays(np.uint8, (3, 4), elements=some.integers(0, 3)), min_size=1))
def test_stack_holds_every_field(maps):
    fields = [random_field(index, seed) for seed, index in enumerate(maps)]
    index, vectors = stack(fields)
    assert index.dtype == np.int32 and vectors.dtype == np.float32
    assert vectors.shape == (len(maps), max(len(f.vectors) for f in fields), CHANNELS)
    for row, field in enumerate(fields):
        np.testing.assert_array_equal(vectors[row][index[row]], field.dense())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([], "at least one noise field"),
        ([(2, 2, 3), (2, 4, 3)], r"size of the first field, \(2, 2\). Received: \(2, 4\)"),
        ([(2, 2, 3), (2, 2, 4)], "one length. Received: 4 and 3"),
    ],
)
def test_stack_refuses(fields, message):
    with pytest.raises(ValueError, match=message):
        stack([image_noise(height, width, 0, channels) for height, width, channels in fields])
