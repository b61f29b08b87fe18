"""Noise fields: what a seed decides, what an edit leaves alone, what is refused."""

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as some

from oasis_tf.data.datasets import published_label_space
from oasis_tf.systems.oasis import editing, noise
from oasis_tf.systems.oasis.editing import NoiseField

CHANNELS = 3
MAPS = arrays.arrays(
    np.uint8,
    some.tuples(some.integers(1, 6), some.integers(1, 6)),
    elements=some.integers(0, 3),
)
SEEDS = some.integers(-(2**63), 2**63 - 1)
quick = settings(max_examples=40, deadline=None, derandomize=True)


def vector_of(seed):
    return noise.sample_noise(tf.constant([seed], tf.int64), CHANNELS).numpy()[0]


def random_field(index, seed=0, channels=CHANNELS):
    vectors = np.random.default_rng(seed).normal(size=(int(index.max()) + 1, channels))
    return NoiseField(index, vectors.astype(np.float32))


def check_same(field, other):
    np.testing.assert_array_equal(field.index, other.index)
    np.testing.assert_array_equal(field.vectors, other.vectors)


@some.composite
def maps_with_regions(draw):
    label_map = draw(MAPS)
    return label_map, draw(arrays.arrays(bool, label_map.shape))


# === Fields from seeds ===


@pytest.mark.parametrize("seed", [0, 5, -3, 2**63 - 1, -(2**63), np.int32(5)])
def test_image_noise_is_the_vector_of_its_seed(seed):
    field = editing.image_noise(2, 3, seed, CHANNELS)
    np.testing.assert_array_equal(field.dense(), np.broadcast_to(vector_of(seed), (2, 3, CHANNELS)))
    assert len(field.vectors) == 1


@quick
@given(MAPS, SEEDS)
def test_class_noise_depends_on_class_and_seed_alone(label_map, seed):
    field = editing.class_noise(label_map, seed, CHANNELS)
    every = editing.class_noise(np.arange(4)[None], seed, CHANNELS).dense()[0]
    np.testing.assert_array_equal(field.dense(), every[label_map])
    assert len(field.vectors) == len(np.unique(label_map))


@quick
@given(MAPS)
def test_class_noise_of_given_seeds(label_map):
    base = editing.pixel_noise(*label_map.shape, 1, CHANNELS)
    got = editing.class_noise(label_map, {1: 7, np.int64(3): -9, 200: 1}, CHANNELS, base).dense()
    want = base.dense().copy()
    want[label_map == 1], want[label_map == 3] = vector_of(7), vector_of(-9)
    np.testing.assert_array_equal(got, want)
    seeds = {class_id: 40 + class_id for class_id in range(4)}
    whole = editing.class_noise(label_map, seeds, CHANNELS).dense()
    want = np.stack([vector_of(40 + class_id) for class_id in range(4)])
    np.testing.assert_array_equal(whole, want[label_map])


def flood(label_map):
    """Connected segments in reading order, by a walk from every pixel without a number."""
    found, count = np.full(label_map.shape, -1), 0
    for start in np.ndindex(label_map.shape):
        if found[start] >= 0:
            continue
        todo = [start]
        while todo:
            row, column = todo.pop()
            inside = 0 <= row < label_map.shape[0] and 0 <= column < label_map.shape[1]
            if inside and found[row, column] < 0 and label_map[row, column] == label_map[start]:
                found[row, column] = count
                todo += [(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)]
        count += 1
    return found


@quick
@given(MAPS)
def test_segments_are_joined_by_sides_and_numbered_in_reading_order(label_map):
    got = editing.segments(label_map)
    np.testing.assert_array_equal(got, flood(label_map))
    assert got.dtype == np.int32
    field = editing.segment_noise(label_map, 4, CHANNELS)
    np.testing.assert_array_equal(field.index, got)


def test_segments_touch_by_sides_only():
    np.testing.assert_array_equal(editing.segments(np.eye(2, dtype=int)), [[0, 1], [2, 3]])


def test_pixel_noise_is_normal_and_without_repetition():
    field = editing.pixel_noise(40, 30, 2, 8)
    assert len(field.vectors) == 1200
    np.testing.assert_array_equal(field.index, np.arange(1200).reshape(40, 30))
    assert abs(field.vectors.mean()) < 0.05 and abs(field.vectors.std() - 1) < 0.05


def test_vectors_of_a_seed_do_not_depend_on_how_many_are_drawn():
    few, many = (editing.pixel_noise(1, count, 3, 5).vectors for count in (3, 1000))
    np.testing.assert_array_equal(many[:3], few)


def test_no_two_draws_share_a_vector():
    one_each = np.arange(6).reshape(2, 3)
    fields = []
    for seed in (0, 1, 4, 5, 6, 2**40):
        fields += [
            editing.image_noise(2, 3, seed, CHANNELS),
            editing.class_noise(one_each, seed, CHANNELS),
            editing.segment_noise(one_each, seed, CHANNELS),
            editing.pixel_noise(2, 3, seed, CHANNELS),
        ]
    values = np.concatenate([field.vectors.ravel() for field in fields])
    assert len(np.unique(values)) == len(values) == 6 * 19 * CHANNELS


# === Edits ===


@quick
@given(maps_with_regions(), SEEDS)
def test_resample_changes_the_region_alone(case, seed):
    label_map, region = case
    field = editing.segment_noise(label_map, 1, CHANNELS)
    got = editing.resample(field, region, seed).dense()
    assert (got[region] == vector_of(seed)).all()
    np.testing.assert_array_equal(got[~region], field.dense()[~region])
    np.testing.assert_array_equal(editing.resample(field, region, seed).dense(), got)


@quick
@given(MAPS, SEEDS)
def test_resample_of_nothing_and_of_everything(label_map, seed):
    field = editing.segment_noise(label_map, 1, CHANNELS)
    check_same(editing.resample(field, np.zeros(field.shape, bool), seed), field)
    whole = editing.resample(field, np.ones(field.shape, bool), seed)
    check_same(whole, editing.image_noise(*field.shape, seed, CHANNELS))


@quick
@given(MAPS, some.sets(some.integers(0, 5), min_size=1))
def test_resample_classes(label_map, classes):
    field = editing.class_noise(label_map, 1, CHANNELS)
    got = editing.resample_classes(field, label_map, classes, 8)
    check_same(got, editing.resample(field, np.isin(label_map, list(classes)), 8))


def test_a_class_that_is_not_there_changes_nothing():
    label_map = np.array([[0, 1], [1, 2]])
    field = editing.class_noise(label_map, 1, CHANNELS)
    check_same(editing.resample_classes(field, label_map, [7], 8), field)
    check_same(editing.class_noise(label_map, {7: 1}, CHANNELS, field), field)


def test_classes_by_name():
    label_map = np.array([[0, 1], [2, 1]])
    space, field = published_label_space("shapes"), editing.image_noise(2, 2, 1, CHANNELS)
    for names, ids in ((["hill", "grass"], [1, 2]), ("Hill", [1]), ([1, "grass"], [1, 2])):
        named = editing.resample_classes(field, label_map, names, 8, label_space=space)
        check_same(named, editing.resample_classes(field, label_map, ids, 8))
    named = editing.class_noise(label_map, {"hill": 7}, CHANNELS, field, label_space=space)
    check_same(named, editing.class_noise(label_map, {1: 7}, CHANNELS, field))
    with pytest.raises(ValueError, match="No class is named 'hil'.*among them: hill"):
        editing.resample_classes(field, label_map, ["hil"], 8, label_space=space)


# === Interpolation ===

SHARES = some.floats(0, 1)


@quick
@given(maps_with_regions(), SHARES, some.booleans())
def test_interpolation_is_that_of_every_pixel(case, share, spherical):
    label_map, region = case
    first = editing.class_noise(label_map, 1, CHANNELS)
    second = editing.pixel_noise(*label_map.shape, 2, CHANNELS)
    got = editing.interpolate(first, second, share, spherical=spherical, region=region).dense()
    ends = [field.dense().astype(np.float64) for field in (first, second)]
    want = slerp(*ends, share) if spherical else (1 - share) * ends[0] + share * ends[1]
    np.testing.assert_allclose(got[region], want[region], rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(got[~region], first.dense()[~region])


def slerp(a, b, share):
    """The textbook formula on directions, lengths linear; for vectors that are not parallel."""
    lengths = [np.linalg.norm(x, axis=-1, keepdims=True) for x in (a, b)]
    a, b = a / lengths[0], b / lengths[1]
    angle = np.arccos((a * b).sum(-1, keepdims=True))
    direction = (np.sin((1 - share) * angle) * a + np.sin(share * angle) * b) / np.sin(angle)
    return ((1 - share) * lengths[0] + share * lengths[1]) * direction


@quick
@given(MAPS, some.booleans(), SHARES)
def test_ends_of_interpolation(label_map, spherical, share):
    first = editing.class_noise(label_map, 1, CHANNELS)
    second = editing.segment_noise(label_map, 2, CHANNELS)
    check_same(editing.interpolate(first, second, 0, spherical=spherical), first)
    check_same(editing.interpolate(first, second, 1.0, spherical=spherical), second)
    check_same(editing.interpolate(first, first, share, spherical=spherical), first)
    nowhere = np.zeros(first.shape, bool)
    check_same(editing.interpolate(first, second, share, region=nowhere), first)
    back = editing.interpolate(second, first, 1 - share, spherical=spherical).dense()
    there = editing.interpolate(first, second, share, spherical=spherical).dense()
    np.testing.assert_allclose(back, there, rtol=1e-5, atol=1e-6)


def test_interpolation_makes_one_vector_for_equal_pairs():
    left, top = np.indices((4, 6))[1] < 3, np.indices((4, 6))[0] < 2
    first, second = (random_field(part.astype(int), k) for k, part in enumerate((left, top)))
    assert len(editing.interpolate(first, second, 0.25).vectors) == 4


# === Measurement ===


def test_change_is_a_mean_over_pixels_and_channels():
    first = np.zeros((2, 2, 3), np.float32)
    second = first.copy()
    second[0, 0], second[0, 1, 2], second[1, 1] = 1, -0.6, 0.2
    region = np.array([[True, True], [False, False]])
    want = (0.5 + 0.1) / 2, 0.1 / 2
    np.testing.assert_allclose(editing.change(first, second, region), want, rtol=1e-6)
    both = editing.change([first, second], [second, second], np.stack([region, ~region]))
    np.testing.assert_allclose(both.inside, [want[0], 0], rtol=1e-6)
    np.testing.assert_allclose(both.outside, [want[1], 0], rtol=1e-6)
    one_region = editing.change([first, first], [second, first], region)
    np.testing.assert_allclose(one_region.inside, [want[0], 0], rtol=1e-6)


def test_change_of_bytes_and_of_nothing():
    first, second = np.zeros((1, 2, 3), np.uint8), np.full((1, 2, 3), 51, np.uint8)
    inside, outside = editing.change(first, second, np.zeros((1, 2), bool))
    assert np.isnan(inside) and outside == pytest.approx(0.2)
    assert isinstance(inside, float) and isinstance(outside, float)


# === Refusals ===

MAP = np.array([[0, 1], [1, 2]])
FIELD = editing.image_noise(2, 2, 0, CHANNELS)
OTHER_SIZE = editing.image_noise(2, 3, 0, CHANNELS)
OTHER_CHANNELS = editing.image_noise(2, 2, 0, CHANNELS + 1)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("image_noise", (2, 2, 0, 0), "has no noise to edit: noise_channels=0"),
        ("class_noise", (MAP, 0, 0), "has no noise"),
        ("class_noise", (MAP, {0: 0}, 0), "has no noise"),
        ("segment_noise", (MAP, 0, 0), "has no noise"),
        ("pixel_noise", (2, 2, 0, 0), "has no noise"),
        ("image_noise", (0, 2, 0, 3), "must have pixels. Received: 0 x 2"),
        ("pixel_noise", (2, 0, 0, 3), "must have pixels. Received: 2 x 0"),
        ("image_noise", (2, 2, 0.5, 3), "seed must be an integer of 64 bits. Received: 0.5"),
        ("image_noise", (2, 2, 2**63, 3), "seed must be an integer of 64 bits"),
        ("class_noise", (MAP, True, 3), "seed must be an integer .* True"),
        ("class_noise", (MAP, {0: None}, 3), "seed must be an integer .* None"),
        ("class_noise", (MAP, {}, 3), "at least one class"),
        ("class_noise", (MAP, {1: 0}, 3), r"Classes \[0, 2\] of the label map have no seed"),
        ("class_noise", (MAP, 0, 3, FIELD), "one seed is for all classes"),
        ("class_noise", (MAP, {0: 1}, 3, OTHER_SIZE), r"label map, \(2, 2\). Received: \(2, 3\)"),
        ("class_noise", (MAP, {0: 1}, 3, OTHER_CHANNELS), "one length. Received: 4 and 3"),
        ("class_noise", (MAP[None], 0, 3), r"integers \[H, W\].*shape=\(1, 2, 2\)"),
        ("segments", (MAP / 1,), "dtype=float64"),
        ("segments", (-MAP,), "model ids from 0. Received: -2"),
        ("segments", (MAP[:0],), "at least one pixel"),
        ("resample", (FIELD, MAP, 0), "must hold booleans. Received: dtype=int64. .*mask > 127"),
        ("resample", (FIELD, MAP[:1] > 0, 0), r"size of the image, \(2, 2\). Received: \(1, 2\)"),
        ("resample", (FIELD, MAP > 0, "7"), "seed must be an integer"),
        ("resample_classes", (FIELD, MAP, [], 0), "Name at least one class"),
        ("resample_classes", (FIELD, MAP, [-1], 0), "model id, an integer from 0. Received: -1"),
        ("resample_classes", (FIELD, MAP, ["sky"], 0), "label_space=model.label_space.*'sky'"),
        ("resample_classes", (FIELD, MAP, "sky", 0), "label_space=model.label_space.*'sky'"),
        ("class_noise", (MAP, {"sky": 1}, CHANNELS), "label_space=model.label_space.*'sky'"),
        ("resample_classes", (OTHER_SIZE, MAP, [0], 0), r"label map, \(2, 2\). Received: \(2, 3\)"),
        ("interpolate", (FIELD, OTHER_SIZE, 0), r"first field, \(2, 2\). Received: \(2, 3\)"),
        ("interpolate", (FIELD, OTHER_CHANNELS, 0), "one length. Received: 4 and 3"),
        ("interpolate", (FIELD, FIELD, 1.01), "must be in 0..1. Received: 1.01"),
        ("interpolate", (FIELD, FIELD, -1e-9), "must be in 0..1"),
        ("interpolate", (FIELD, FIELD, np.nan), "must be in 0..1. Received: nan"),
        ("change", (np.zeros((2, 2, 3)), np.zeros((2, 3, 3)), MAP > 0), "of one shape"),
        ("change", (np.zeros((2, 2)), np.zeros((2, 2)), MAP > 0), r"must be \[H, W, 3\]"),
        ("change", (np.zeros((2, 2, 3), int),) * 2 + (MAP > 0,), "or uint8. Received: int64"),
        ("change", (np.zeros((2, 2, 3)),) * 2 + (MAP,), "must hold booleans"),
        ("change", (np.zeros((3, 2, 2, 3)),) * 2 + (MAP[None] > 0,), r"Received: \(1, 2, 2\)"),
    ],
)
def test_refuses(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(editing, function)(*arguments)


def test_interpolation_refuses_a_mask_that_is_no_region():
    with pytest.raises(ValueError, match="must hold booleans"):
        editing.interpolate(FIELD, FIELD, 0.5, region=MAP)
