"""Many errors become one."""

import pickle

import pytest

from oasis_tf.io.problems import Problems, WrongValues, counted


def test_all_are_counted_and_ten_named_in_order():
    problems = Problems()
    problems.raise_if_any("none yet")
    for k in reversed(range(12)):
        with problems.noted():
            raise WrongValues(f"file {k:02}", [str(k), "255"])
    with problems.noted():
        raise ValueError("file 00")  # named already
    assert problems.count == 12
    with pytest.raises(ValueError) as error:
        problems.raise_if_any("12 of 20 files")
    lines = str(error.value).splitlines()
    assert lines[:2] == ["12 of 20 files:", "file 00"] and lines[10:12] == ["file 09", "and 2 more"]
    values = ", ".join(f"{k} (in 1)" for k in range(12))
    assert lines[12:] == [f"Values of no class in all of these files: {values}, 255 (in 12)."]


def test_one_error_stands_alone():
    problems = Problems()
    problems.add(ValueError("a.png is black"))
    with pytest.raises(ValueError, match=r"^a\.png is black$"):
        problems.raise_if_any("1 of 3 files")
    assert str(problems.error("1 of 3 files")) == "1 of 3 files:\na.png is black"


def test_errors_reach_other_processes_whole():
    error = pickle.loads(pickle.dumps(WrongValues("text", ["1"])))
    assert (str(error), error.values) == ("text", ("1",))


def test_counted():
    assert counted("abc") == "3 of them (a, b, c)"
    assert counted(map(str, range(12))).endswith("8, 9 and 2 more)")
