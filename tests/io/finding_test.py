"""Files below a folder: hidden ones, links, cycles of links, folders that cannot be read."""

import os

import pytest

from oasis_tf.io.finding import files_below


@pytest.fixture
def found(tmp_path):
    """function(folder="."): relative paths that are found below a folder of `tmp_path`."""
    return lambda folder=".": [
        os.path.relpath(path, tmp_path / folder) for path in files_below(tmp_path / folder)
    ]


def test_hidden_files_and_folders_and_those_of_systems_are_skipped(touch, found):
    touch("a-b/x.png", "a/y.png", "z.png", "a/.ipynb_checkpoints/y-checkpoint.png", ".git/z.png")
    touch(".z.png", "a/._y.png", "__MACOSX/z.png", "a/@eaDir/y.png/THUMB.png", "lost+found/q.png")
    assert found() == ["a/y.png", "a-b/x.png", "z.png"]
    assert found("a/.ipynb_checkpoints") == ["y-checkpoint.png"]  # asked for by its name


def test_every_real_folder_is_searched_once(tmp_path, touch, found):
    touch("root/a.png", "root/m/b.png", "root/n/c.png", "d.png")
    for link, target in {
        "root/all": ".",
        "root/again": "../root",
        "root/m/up": "..",
        "root/m/to_n": "../n",
        "root/n/to_m": "../m",
        "root/0_first_in_order": "m",  # the real name is kept
        "root/above": "..",  # leads back, though it holds another file
        "root/self": "self",
    }.items():
        (tmp_path / link).symlink_to(target)
    assert found("root") == ["a.png", "m/b.png", "n/c.png", "self"]


def test_links_that_are_no_cycle_are_followed(tmp_path, touch, found):
    touch("root/a.png", "else/b.png", "else/deep/c.png", "else/deep/.hidden/d.png", "file.png")
    (tmp_path / "root/linked").symlink_to(tmp_path / "else")
    (tmp_path / "root/linked_too").symlink_to("../else/deep")  # reached already
    (tmp_path / "else/back").symlink_to("../root")
    (tmp_path / "root/f.png").symlink_to("../file.png")
    (tmp_path / "root/g.png").symlink_to("../absent.png")
    (tmp_path / "whole").symlink_to("root")
    expected = ["a.png", "f.png", "g.png", "linked/b.png", "linked/deep/c.png"]
    assert found("root") == found("whole") == expected


def test_a_folder_that_cannot_be_read_is_named(tmp_path, touch, monkeypatch):
    touch("a.png", "shut/b.png")
    scandir = os.scandir

    def refusing(path):
        if os.path.basename(path) == "shut":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(PermissionError, match="shut"):
        files_below(tmp_path)
