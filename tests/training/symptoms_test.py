"""A symptom is said once, and only if it lasts."""

import pytest

from oasis_tf.training.symptoms import LINES, STEPS, Watch


def said(lines, watch=None):
    """Steps at which a symptom is said, of pairs of step and symptom."""
    watch = watch or Watch()
    return [step for step, symptom in lines if watch.take(step, symptom)]


@pytest.mark.parametrize("every", [1, 50, 100, 1000])
def test_a_symptom_is_said_once_when_it_has_lasted(every):
    """For three lines at least, however long they are, and for 200 steps."""
    ill = [(step, "ill") for step in range(every, 5001, every)]
    assert said(ill) == [max(LINES * every, STEPS)]
    well = [(step, None) for step in range(every, 2001, every)]
    later = [(2000 + step, text) for step, text in ill]
    assert said(well + later + [(9000, None)] + [(9000 + step, "ill") for step, _ in ill]) == [
        2000 + max(LINES * every, STEPS)
    ]


def test_a_symptom_that_goes_away_is_not_said():
    assert said([(100 * k, None if k % 3 == 0 else "ill") for k in range(1, 50)]) == []


@pytest.mark.parametrize("stop", range(1, 9))
def test_a_restarted_run_goes_on_where_it_was(stop):
    """It takes in the lines up to its checkpoint, silently; what was said there is not repeated."""
    lines = [(100 * k, "ill" if k > 2 else None) for k in range(1, 9)]
    watch = Watch()
    before = said(lines[:stop], watch)
    assert before + said(lines[stop:], watch) == said(lines) == [500]
    again = Watch()
    said(lines[:stop], again)
    assert said(lines[stop:], again) == ([] if before else [500])
