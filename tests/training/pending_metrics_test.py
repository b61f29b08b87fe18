"""Metrics of an unfinished line: their means, and their way through a checkpoint."""

import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.training.pending_metrics import PendingMetrics

ROWS = [{"loss": 0.1}, {"path": 3.0, "loss": 0.2}, {"r1": 5.0, "loss": 0.4}, {"loss": 0.8}]


def pending(rows):
    made = PendingMetrics()
    for row in rows:
        made.append({name: tf.constant(value) for name, value in row.items()})
    return made


def test_means_are_over_the_steps_that_have_the_metric():
    found = pending([*ROWS, {"r1": 6.0}]).averages()
    assert list(found) == ["loss", "path", "r1"]
    losses = np.float32([0.1, 0.2, 0.4, 0.8]).astype(np.float64)
    assert found == {"loss": losses.mean(), "path": 3.0, "r1": 5.5}


def test_no_steps():
    assert PendingMetrics().averages() == {} and PendingMetrics().arrays() == {}
    assert PendingMetrics({"line/kernel": np.ones(2)}).rows() == []


@pytest.mark.parametrize("rows", [ROWS, ROWS[::-1], ROWS[:1], [{}, *ROWS, {}]])
def test_a_checkpoint_between_any_two_steps_changes_nothing(rows):
    whole = pending(rows)
    for cut in range(len(rows) + 1):
        first = pending(rows[:cut])
        again = PendingMetrics(first.arrays())
        if any(rows[:cut]):
            assert again.rows() == first.rows()
        for row in rows[cut:]:
            again.append(row)
        assert list(again.averages().items()) == list(whole.averages().items())


def test_rows_with_the_same_metrics_are_written_as_ever():
    """So that checkpoints are the same files as those of earlier versions."""
    arrays = pending([{"a": 1.0, "b": 2.0}, {"b": 4.0, "a": 3.0}]).arrays()
    assert list(arrays) == ["pending/names", "pending/values"]
    assert list(arrays["pending/names"]) == ["a", "b"]
    np.testing.assert_array_equal(arrays["pending/values"], [[1, 2], [3, 4]])
    assert arrays["pending/values"].dtype == np.float32
    back = PendingMetrics(arrays)
    assert back.rows() == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    assert all(isinstance(value, np.float32) for row in back.rows() for value in row.values())


def test_a_metric_that_is_not_finite_is_not_taken_for_an_absent_one():
    rows = [{"loss": np.nan, "r1": np.inf}, {"loss": 1.0}]
    arrays = pending(rows).arrays()
    assert np.isnan(arrays["pending/values"][0, 0])
    np.testing.assert_array_equal(arrays["pending/present"], [[True, True], [True, False]])
    first, second = PendingMetrics(arrays).rows()
    assert np.isnan(first["loss"]) and first["r1"] == np.inf and second == {"loss": 1}
