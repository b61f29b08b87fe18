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


def test_a_step_that_is_compiled_is_no_measure_of_speed(running, now, capsys):
    """Neither is the wait for its batch. Without another step there is no speed to show."""
    with running.waiting():
        now.seconds += 30
    now.seconds += 60
    running.tick(compiled=True)
    assert running.lap() == {}
    running.show({"loss": 1.0}, {})
    assert capsys.readouterr().out == "step 11/30 loss 1.000\n"
    for compiled, seconds in ((False, 2), (True, 40), (False, 2)):
        with running.waiting():
            now.seconds += 0.5 if not compiled else 7
        now.seconds += seconds - 0.5
        running.tick(compiled)
    speed = running.lap()
    assert speed["speed/steps_per_second"] == 0.5
    assert speed["speed/data_wait_fraction"] == 0.25
    running.show({"loss": 1.0}, speed)
    assert capsys.readouterr().out == "step 14/30 0.50 it/s 1.0 images/s ETA 00:00:32 loss 1.000\n"


def test_other_work_is_announced_once_and_not_counted(running, now, capsys):
    for _ in range(2):
        with running.aside("Drawing"):
            now.seconds += 45
        now.seconds += 2
        running.tick()
    assert running.lap()["speed/steps_per_second"] == 0.5
    assert capsys.readouterr().out == "Drawing …\n"


def test_the_bar_of_a_terminal_leaves_out_the_same(now, make_config, monkeypatch):
    monkeypatch.setattr(clock.sys.stderr, "isatty", lambda: True, raising=False)
    made = clock.Clock(10, make_config(steps=30).training)
    with made.progress_bar() as bar:
        bar.start_t = bar.last_print_t = now.seconds
        bar._time = lambda: now.seconds
        with made.waiting():
            now.seconds += 60
        made.tick(compiled=True)
        with made.aside("Drawing"):
            now.seconds += 30
        for _ in range(4):
            with made.waiting():
                now.seconds += 2
            made.tick()
        shown = bar.format_dict
    assert (shown["n"], shown["initial"], shown["elapsed"]) == (15, 11, 8.0)
    assert shown["rate"] is None or shown["rate"] == pytest.approx(0.5)


def test_what_an_evaluation_found_and_cost_is_shown(running, now, capsys):
    with running.evaluating():
        now.seconds += 71.26
    values = {"fid_seeded64": 1234.5678, "segmentation/miou": 0.25, "segmentation/iou/sky": 0.5}
    running.show_evaluation(values | {"alignment_compact/miou": float("nan")})
    assert capsys.readouterr().out == (
        "Evaluating (the first time also compiles) …\n"
        "evaluated step 10 in 71.3 s: fid_seeded64 1235 segmentation/miou 0.25 "
        "alignment_compact/miou nan\n"
    )
