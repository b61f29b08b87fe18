"""Speed and its parts, by a clock that the test sets."""

import types

import pytest

from oasis_tf.training import clock


@pytest.fixture
def now(monkeypatch):
    """The time, in `now.seconds`."""
    found = types.SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(clock.time, "monotonic", lambda: found.seconds)
    return found


@pytest.fixture
def running(now, make_config):
    """A clock at step 10 of 30, with a progress bar that is not shown."""
    made = clock.Clock(10, make_config(steps=30).training)
    with made.progress_bar():
        yield made


def test_speed_is_that_of_the_lap(running, now):
    for _ in range(4):
        with running.waiting():
            now.seconds += 0.5
        now.seconds += 1.5
        running.tick()
    assert running.lap() == {
        "speed/steps_per_second": 0.5,
        "speed/images_per_second": 1.0,
        "speed/data_wait_fraction": 0.25,
    }
    now.seconds += 4
    running.tick()
    assert running.lap() == {
        "speed/steps_per_second": 0.25,
        "speed/images_per_second": 0.5,
        "speed/data_wait_fraction": 0.0,
    }


def test_evaluations_are_not_counted_as_training(running, now):
    for seconds in (70, 50):
        with running.evaluating():
            now.seconds += seconds
        assert running.evaluation_seconds == seconds
        now.seconds += 2
        running.tick()
    assert running.lap()["speed/steps_per_second"] == 0.5


def test_what_an_evaluation_found_and_cost_is_shown(running, now, capsys):
    with running.evaluating():
        now.seconds += 71.26
    values = {"fid_seeded64": 1234.5678, "segmentation/miou": 0.25, "segmentation/iou/sky": 0.5}
    running.show_evaluation(values | {"alignment_compact/miou": float("nan")})
    assert capsys.readouterr().out == (
        "evaluated step 10 in 71.3 s: fid_seeded64 1235 segmentation/miou 0.25 "
        "alignment_compact/miou nan\n"
    )
