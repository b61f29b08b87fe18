"""Stateless random numbers: what decides a draw, and what must not."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from oasis_tf import randomness
from oasis_tf.randomness import make_key, named_stream

KEYS = [
    (seed, stream, *numbers)
    for seed in (0, 1, 2**40)
    for stream in (0, 9, named_stream("toy/a"), named_stream("toy/b"))
    for numbers in ((), (0,), (1,), (0, 0), (0, 1), (1, 0), (2**33,))
]


def draws(key):
    return randomness.normal(key, [8]).numpy()


def test_every_key_has_draws_of_its_own():
    found = np.concatenate([draws(make_key(*numbers)) for numbers in KEYS])
    assert len(np.unique(found)) == len(found) == 8 * len(KEYS)
    assert stats.kstest(found, "norm").pvalue > 1e-3


def test_a_draw_is_decided_by_its_key_alone():
    first = draws(make_key(3, 5, 7))
    tf.random.set_seed(1)
    tf.random.normal([3])
    np.testing.assert_array_equal(draws(make_key(tf.constant(3, tf.int64), 5, 7)), first)
    in_graph = tf.function(lambda step: randomness.normal(make_key(3, 5, step), [8]))
    np.testing.assert_array_equal(in_graph(tf.constant(7)), first)


def test_bits_of_before_are_bits_of_today():
    """Recorded: a run that is continued draws on as it began."""
    key = make_key(3, 4, 5, 6)
    np.testing.assert_array_equal(key, [-1278122549857158568, 6])
    bits = [1, 1, 1, 0, 1, 1, 0, 1, 0, 0, 0, 0, 1, 0, 1, 1]
    np.testing.assert_array_equal(randomness.bits(key, [16]), bits)
    uniform = np.float32([0.6469670534133911, 0.18537533283233643])
    np.testing.assert_array_equal(randomness.uniform(key, [2]), uniform)
    # The normal distribution takes logarithms and cosines, whose last bit is the machine's.
    normal = [0.857348620891571, 0.36860978603363037]
    np.testing.assert_allclose(randomness.normal(key, [2]), normal, rtol=1e-6)


def test_names_are_streams_of_their_own():
    names = [f"{system}/{name}" for system in ("one_shot", "semgan") for name in "abcdef"]
    numbers = [named_stream(name) for name in names]
    assert len(set(numbers)) == 12 and min(numbers) >= 2**32 and max(numbers) < 2**63
    assert numbers == [named_stream(name) for name in names]


def test_uniform_and_bits():
    key = make_key(0, 1)
    uniform = randomness.uniform(key, [4000]).numpy()
    assert uniform.dtype == np.float32 and stats.kstest(uniform, "uniform").pvalue > 1e-3
    bits = randomness.bits(key, [4000]).numpy()
    assert set(bits) == {0, 1} and abs(bits.mean() - 0.5) < 5 * np.sqrt(0.25 / 4000)


@pytest.mark.parametrize("shape", [[], [3], [2, 3]])
def test_a_row_is_decided_by_its_number(shape):
    key = make_key(1, 2, 3)
    whole = randomness.normal_rows(key, 0, 6, shape).numpy()
    assert whole.shape == (6, *shape) and len(np.unique(whole)) == whole.size
    np.testing.assert_array_equal(randomness.normal_rows(key, tf.constant(2), 3, shape), whole[2:5])


def test_a_row_is_decided_by_its_seed():
    seeds = np.array([7, -3, 2**40, 7])
    together = randomness.normal_by_seed(tf.constant(seeds), 4, [5]).numpy()
    for seed, row in zip(seeds, together, strict=True):
        np.testing.assert_array_equal(randomness.normal(make_key(seed, 4), [5]), row)
    assert len({row.tobytes() for row in together}) == 3


def test_a_replica_takes_its_own_rows():
    rows = tf.range(6)
    np.testing.assert_array_equal(randomness.own_rows(rows, 6), rows)


def test_as_seeds():
    np.testing.assert_array_equal(randomness.as_seeds(5, 3), [5, 5, 5])
    np.testing.assert_array_equal(randomness.as_seeds([1, 2], 2), [1, 2])
    assert randomness.as_seeds(2**40, 1).dtype == np.int64
    with pytest.raises(ValueError, match=r"one int per image. Received: shape=\(3,\) for 2 images"):
        randomness.as_seeds([1, 2, 3], 2)
