"""Files written aside are whole or unchanged."""

import os

import pytest

from oasis_tf.io import files


def test_the_file_is_replaced_after_the_block(tmp_path):
    path = tmp_path / "new" / "a.txt"
    for text in ("first", "second"):
        with files.written_aside(path) as aside:
            assert os.path.splitext(aside)[1] == ".txt"
            assert os.path.dirname(aside) == str(path.parent)
            with open(aside, "w") as file:
                file.write(text)
        assert path.read_text() == text
    assert os.listdir(path.parent) == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="half way"), files.written_aside(path) as aside:
        with open(aside, "w") as file:
            file.write("half")
        raise RuntimeError("half way")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]
