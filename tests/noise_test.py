"""Stateless random numbers: what decides a draw, and what must not."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from oasis_tf import noise

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


def test_as_seeds():
    np.testing.assert_array_equal(noise.as_seeds(5, 3), [5, 5, 5])
    np.testing.assert_array_equal(noise.as_seeds([1, 2], 2), [1, 2])
    assert noise.as_seeds(2**40, 1).dtype == np.int64
    with pytest.raises(ValueError, match=r"one int per image. Received: shape=\(3,\) for 2 images"):
        noise.as_seeds([1, 2, 3], 2)


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
