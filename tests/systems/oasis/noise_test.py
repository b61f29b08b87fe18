"""Stateless random numbers: what decides a draw, and what must not."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from oasis_tf.systems.oasis import noise

STREAMS = (noise.GENERATOR_STEP, noise.DISCRIMINATOR_STEP, noise.STATISTICS)


def test_training_noise_is_decided_by_its_arguments():
    first = noise.training_noise(3, 5, noise.GENERATOR_STEP, 4, 8).numpy()
    tf.random.set_seed(1)
    tf.random.normal([3])
    again = noise.training_noise(
        tf.constant(3, tf.int64), tf.constant(5, tf.int64), noise.GENERATOR_STEP, 4, 8
    )
    np.testing.assert_array_equal(again, first)
    in_graph = tf.function(lambda step: noise.training_noise(3, step, noise.GENERATOR_STEP, 4, 8))
    np.testing.assert_array_equal(in_graph(tf.constant(5)), first)
    assert first.dtype == np.float32 and first.shape == (4, 8)


def test_every_seed_step_stream_and_index_has_its_own_noise():
    draws = [
        noise.training_noise(seed, step, stream, 2, 4, index).numpy().tobytes()
        for seed in (0, 1, 2**40)
        for step in (0, 1, 7)
        for stream in STREAMS
        for index in (0, 1)
    ]
    assert len(set(draws)) == len(draws)


def test_training_noise_is_normal_and_independent():
    rows = np.concatenate(
        [noise.training_noise(0, step, stream, 64, 16) for step in range(20) for stream in STREAMS]
    )
    assert stats.kstest(rows.ravel(), "norm").pvalue > 1e-3
    correlation = np.corrcoef(rows.T) - np.eye(16)
    assert np.abs(correlation).max() < 0.1


@pytest.mark.parametrize("seed", [0, 2**31, 2**62])
def test_large_seeds_and_steps_count_in_full(seed):
    draws = [noise.training_noise(seed + k, 2**33, STREAMS[0], 1, 4).numpy() for k in range(2)]
    assert (draws[0] != draws[1]).all()
    low = noise.training_noise(seed, 0, STREAMS[0], 1, 4).numpy()
    assert (draws[0] != low).all()


def test_labelmix_bits_are_fair_and_independent():
    draw = tf.function(lambda step: noise.labelmix_bits(0, step, 12))
    bits = np.array([draw(tf.constant(step)) for step in range(400)])
    assert set(np.unique(bits)) == {0, 1}
    limit = 5 * np.sqrt(0.25 / 400)
    assert np.abs(bits.mean(0) - 0.5).max() < limit  # over steps, every class
    assert np.abs(np.corrcoef(bits.T) - np.eye(12)).max() < 0.25
    assert abs(bits.mean() - 0.5) < 5 * np.sqrt(0.25 / bits.size)


def test_labelmix_bits_are_decided_by_seed_and_step():
    first = noise.labelmix_bits(3, 5, 64).numpy()
    np.testing.assert_array_equal(noise.labelmix_bits(3, tf.constant(5, tf.int64), 64), first)
    assert (noise.labelmix_bits(3, 6, 64).numpy() != first).any()
    assert (noise.labelmix_bits(4, 5, 64).numpy() != first).any()


def test_noise_of_an_image_does_not_depend_on_its_batch():
    seeds = np.array([7, -3, 2**40, 7])
    together = noise.sample_noise(tf.constant(seeds), 16).numpy()
    assert together.shape == (4, 16) and together.dtype == np.float32
    for k, seed in enumerate(seeds):
        alone = noise.sample_noise(tf.constant([seed]), 16).numpy()[0]
        np.testing.assert_array_equal(alone, together[k])
    np.testing.assert_array_equal(together[0], together[3])
    assert len({row.tobytes() for row in together}) == 3


def test_numbered_noise_is_decided_by_seed_stream_and_number():
    few = noise.numbered_noise(3, noise.CLASSES, 2, 5).numpy()
    assert few.dtype == np.float32 and few.shape == (2, 5)
    np.testing.assert_array_equal(noise.numbered_noise(3, noise.CLASSES, 1000, 5)[:2], few)
    draws = [
        noise.numbered_noise(seed, stream, 3, 5).numpy().ravel()
        for seed in (-1, 0, 3, 2**40)
        for stream in (noise.CLASSES, noise.SEGMENTS, noise.PIXELS)
    ]
    seeds = tf.constant([-1, 0, 3, 2**40, noise.CLASSES], tf.int64)
    draws.append(noise.sample_noise(seeds, 5).numpy().ravel())
    values = np.concatenate(draws)
    assert len(np.unique(values)) == len(values) == 12 * 15 + 25


def test_labelmix_bits_of_every_image():
    bits = np.concatenate([noise.labelmix_bits(0, step, 12, batch=8) for step in range(100)])
    assert bits.shape == (800, 12) and set(np.unique(bits)) == {0, 1}
    assert np.abs(bits.mean(0) - 0.5).max() < 5 * np.sqrt(0.25 / 800)
    correlation = np.corrcoef(bits.reshape(100, -1).T) - np.eye(96)  # of images and of classes
    assert np.abs(correlation).max() < 0.5
    again = noise.labelmix_bits(0, tf.constant(99, tf.int64), 12, batch=8)
    np.testing.assert_array_equal(again, bits[-8:])


def test_cutmix_draws_are_uniform_independent_and_decided_by_seed_and_step():
    draws = np.concatenate([noise.cutmix_draws(0, step, 64) for step in range(20)])
    assert draws.shape == (1280, 4) and draws.dtype == np.float32
    assert stats.kstest(draws.ravel(), "uniform").pvalue > 1e-3
    assert np.abs(np.corrcoef(draws.T) - np.eye(4)).max() < 0.15
    again = noise.cutmix_draws(tf.constant(0, tf.int64), tf.constant(19, tf.int64), 64)
    np.testing.assert_array_equal(again, draws[-64:])
    others = {noise.cutmix_draws(seed, 19, 64).numpy().tobytes() for seed in (0, 1, 2**40)}
    assert len(others) == 3 and len({row.tobytes() for row in draws}) == 1280


# === Noise while training, by kind ===

CLASSES, CHANNELS = 5, 4


def make_maps(batch=4, size=(6, 8)):
    return np.random.default_rng(0).integers(0, CLASSES, (batch, *size)).astype(np.int32)


def draw(kind, label_map, step=0, seed=3, stream=noise.GENERATOR_STEP, **options):
    return noise.replica_noise(
        kind, label_map, CLASSES, CHANNELS, seed, step, stream, **options
    ).numpy()


def steps_of(by_region):
    """The first two steps whose mixed noise is (or is not) by region."""
    return [k for k in range(50) if bool(noise.mixes_regions(3, k)) == by_region][:2]


def vectors_by_class(field, labels):
    """class -> its distinct vectors in an image [H, W, Z]."""
    return {c: np.unique(field[labels == c], axis=0) for c in np.unique(labels)}


def test_noise_of_an_image_is_what_it_was():
    for options in ({}, {"index": 2}):
        want = noise.training_noise(3, 5, noise.STATISTICS, 4, CHANNELS, **options)
        got = draw("image", make_maps(), 5, stream=noise.STATISTICS, **options)
        np.testing.assert_array_equal(got, want)
    assert noise.replica_noise("none", make_maps(), CLASSES, 0, 0, 0, 0) is None


@pytest.mark.parametrize("kind", ["region", "mix"])
def test_noise_of_regions_is_constant_inside_a_class_of_an_image(kind):
    label_map, step = make_maps(), 0 if kind == "region" else steps_of(True)[0]
    field = draw(kind, label_map, step)
    assert field.dtype == np.float32 and field.shape == (*label_map.shape, CHANNELS)
    found = [vectors_by_class(*pair) for pair in zip(field, label_map, strict=True)]
    assert all(len(vectors) == 1 for classes in found for vectors in classes.values())
    distinct = np.concatenate([vectors for classes in found for vectors in classes.values()])
    # Between classes and between images every number differs.
    assert len(np.unique(distinct)) == distinct.size == CHANNELS * sum(map(len, found))


def test_noise_of_a_region_hangs_on_its_class_alone():
    """Neither on where the class lies nor on which others there are."""
    label_map = make_maps()
    field, moved = draw("region", label_map), draw("region", label_map[:, ::-1])
    np.testing.assert_array_equal(moved, field[:, ::-1])
    fewer = draw("region", np.where(label_map == 1, 2, label_map))
    np.testing.assert_array_equal(fewer[label_map != 1], field[label_map != 1])
    more = noise.replica_noise("region", label_map, 1204, CHANNELS, 3, 0, noise.GENERATOR_STEP)
    np.testing.assert_array_equal(more, field)


def test_noise_of_pixels_differs_everywhere():
    field = draw("pixel", make_maps())
    assert field.dtype == np.float32 and field.shape == (4, 6, 8, CHANNELS)
    assert len(np.unique(field)) == field.size
    same_labels = draw("pixel", np.zeros((4, 6, 8), np.int32))
    np.testing.assert_array_equal(same_labels, field)


def test_mixed_noise_is_by_image_or_by_region():
    label_map = make_maps()
    for step in steps_of(True):
        np.testing.assert_array_equal(draw("mix", label_map, step), draw("region", label_map, step))
    for step in steps_of(False):
        rows = draw("image", label_map, step)[:, None, None]
        np.testing.assert_array_equal(
            draw("mix", label_map, step), np.broadcast_to(rows, (*label_map.shape, CHANNELS))
        )


def test_the_coin_of_mixed_noise_is_fair():
    @tf.function
    def tosses(seed, steps, index):
        return tf.map_fn(
            lambda step: noise.mixes_regions(seed, step, index), steps, fn_output_signature=tf.bool
        )

    seeds, steps = tf.range(4), tf.range(400)
    coins = np.array([tosses(seed, steps, tf.constant(0)) for seed in seeds], float)
    limit = 5 * np.sqrt(0.25 / 400)
    assert np.abs(coins.mean(1) - 0.5).max() < limit
    assert np.abs(np.corrcoef(coins) - np.eye(4)).max() < 0.25
    assert abs(np.corrcoef(coins[0, 1:], coins[0, :-1])[0, 1]) < 0.25
    # Passes of one step, as those for statistics, have coins of their own.
    passes = [tosses(seeds[0], steps[:40], index) for index in seeds]
    np.testing.assert_array_equal(passes[0], coins[0, :40])
    assert len({np.array(coin).tobytes() for coin in passes}) == 4


@pytest.mark.parametrize("kind", ["image", "region", "pixel"])
def test_noise_by_kind_is_standard_normal(kind):
    label_map = np.arange(CLASSES, dtype=np.int32).repeat(2).reshape(1, 1, 10).repeat(20, 0)
    values = []
    for step in range(3):
        for stream in STREAMS:
            field = draw(kind, label_map, step, stream=stream)
            # Every vector once.
            field = field[:, :, ::2] if kind == "region" else field
            values.append(field.reshape(-1, CHANNELS))
    values = np.concatenate(values)
    assert stats.kstest(values.ravel(), "norm").pvalue > 1e-3
    assert abs(values.mean()) < 5 / np.sqrt(values.size)
    assert abs(values.var() - 1) < 5 * np.sqrt(2 / values.size)
    correlation = np.corrcoef(values.T) - np.eye(CHANNELS)
    assert np.abs(correlation).max() < 5 / np.sqrt(len(values))


@pytest.mark.parametrize("kind", ["image", "region", "pixel", "mix"])
def test_every_seed_step_stream_and_index_has_its_own_noise_of_every_kind(kind):
    draws = [
        draw(kind, make_maps(2), step, seed, stream, index=index).tobytes()
        for seed in (3, 2**40)
        for step in (0, 7)
        for stream in STREAMS
        for index in (0, 1)
    ]
    assert len(set(draws)) == len(draws)


@pytest.mark.parametrize("kind", ["image", "region", "pixel", "mix"])
def test_replicas_have_the_rows_of_the_global_batch(kind):
    label_map = make_maps(6)
    for step in [*steps_of(True)[:1], *steps_of(False)[:1]]:
        whole = draw(kind, label_map, step)
        for replicas in (2, 3):
            parts = np.split(label_map, replicas)
            # As `tf.distribute` numbers them, and in a graph of sizes unknown.
            slices = [
                draw(kind, part, step, replica=tf.constant(k), replicas=replicas)
                for k, part in enumerate(parts)
            ]
            np.testing.assert_array_equal(np.concatenate(slices), whole)


@pytest.mark.parametrize("kind", ["image", "region", "pixel", "mix"])
def test_noise_by_kind_in_a_graph(kind):
    unknown = tf.TensorSpec([None, None, None], tf.int64)

    @tf.function(input_signature=[unknown, tf.TensorSpec([], tf.int64)])
    def run(label_map, step):
        return noise.replica_noise(
            kind, label_map, CLASSES, CHANNELS, 3, step, noise.GENERATOR_STEP
        )

    label_map = make_maps()
    np.testing.assert_array_equal(run(label_map, 5), draw(kind, label_map, 5))
    known = tf.TensorSpec(label_map.shape, tf.int32)
    static = tf.function(run.python_function, input_signature=[known, tf.TensorSpec([], tf.int64)])
    wanted = (4, CHANNELS) if kind == "image" else (*label_map.shape, CHANNELS)
    shape = static.get_concrete_function().output_shapes
    assert shape.is_compatible_with(wanted) and shape[1:] == wanted[1:]
    np.testing.assert_array_equal(static(label_map, 5), draw(kind, label_map, 5))


def test_refuses_other_kinds():
    with pytest.raises(ValueError, match="one of none, image, region, .* Received: kind=class"):
        draw("class", make_maps())


def test_noise_of_latent_vectors_is_apart_from_all_other():
    latent = [
        noise.latent_noise(seed, step, stream, 2, CHANNELS, index).numpy()
        for seed in (3, 2**40)
        for step in (0, 1, 7)
        for stream in STREAMS
        for index in (0, 1)
    ]
    others = [
        draw(kind, make_maps(2), step, stream=stream)
        for kind in ("image", "region", "pixel")
        for step in (0, 1, 7)
        for stream in STREAMS
    ]
    own = np.concatenate(latent)
    assert own.dtype == np.float32 and own.shape[1] == CHANNELS
    vectors = np.concatenate([own, *(np.reshape(other, (-1, CHANNELS)) for other in others)])
    apart = {vector.tobytes() for vector in vectors[: len(own)]}
    assert len(apart) == len(own)
    assert not apart & {vector.tobytes() for vector in vectors[len(own) :]}
    assert stats.kstest(own.ravel(), "norm").pvalue > 1e-3
