"""Errors of writing: path, reason, remedy; nothing left."""

import contextlib
import errno
import os
import resource

import keras
import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.io import files, images, output_paths, write_errors


@contextlib.contextmanager
def no_file_above(size):
    """Lets files of this process grow to `size` bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def save_png(path):
    images.write_png(path, np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))


def save_keras(path):
    inputs = keras.Input((64,))
    model = keras.Model(inputs, keras.layers.Dense(64)(inputs))
    with files.written_aside(path) as aside:
        model.save(aside)


def save_savedmodel(path):
    module = tf.Module()
    module.weights = tf.Variable(tf.zeros(4096))
    with files.folder_written_aside(path) as aside:
        tf.saved_model.save(module, aside)


@pytest.mark.parametrize(
    ("write", "name"),
    [(save_png, "a.png"), (save_keras, "a.keras"), (save_savedmodel, "1")],
)
def test_a_file_that_grows_too_large(tmp_path, write, name):
    path = tmp_path / "out" / name
    with (
        no_file_above(4096),
        pytest.raises(OSError, match=rf"Cannot write {path}: File too large\. Raise the limit"),
    ):
        write(path)
    assert os.listdir(tmp_path / "out") == []
    write(path)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "Make room there"),
        (errno.EACCES, "Make it writable"),
        (errno.EROFS, "a disk"),
    ],
)
def test_reasons_and_remedies(tmp_path, number, remedy):
    path = tmp_path / "a"
    with pytest.raises(write_errors.NotWritten) as raised, files.written_aside(path):
        raise OSError(number, os.strerror(number))
    assert str(raised.value).startswith(f"Cannot write {path}: {os.strerror(number)}. ")
    assert remedy in str(raised.value)
    assert raised.value.errno == number


def test_of_files_in_one_another_the_one_that_the_user_knows_is_named(tmp_path):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with (
        pytest.raises(OSError, match=rf"Cannot write {tmp_path}/1: "),
        files.folder_written_aside(tmp_path / "1") as aside,
        files.written_aside(os.path.join(aside, "labels.json")),
    ):
        raise full
    with (
        pytest.raises(OSError, match=rf"Cannot write {tmp_path}/b: "),
        files.written_aside(tmp_path / "a"),
        files.written_aside(tmp_path / "b"),
    ):
        raise full
    assert os.listdir(tmp_path) == []


def test_a_file_aside_is_not_named_even_if_that_was_explained(tmp_path):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with (
        pytest.raises(OSError, match=rf"Cannot write {tmp_path}/model: No space left"),
        files.folder_written_aside(tmp_path / "model") as aside,
    ):
        raise OSError(f"Cannot write checkpoint {aside}/step_0: {full.strerror}.") from full


def test_errors_of_libraries(tmp_path):
    text = "; No space left on device [Op:SaveV2]"
    for error in (tf.errors.UnknownError(None, None, f"x/.1.tmp{text}"), RuntimeError(text)):
        with (
            pytest.raises(OSError, match="/1: No space left on device. Make room there"),
            files.folder_written_aside(tmp_path / "1"),
        ):
            raise error


def test_other_errors_stay_what_they_are(tmp_path):
    """Of inputs, of programs, and those that have been explained."""
    others = [
        PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "input.png")),
        FileNotFoundError(errno.ENOENT, "No such file", str(tmp_path / "a")),
        OSError("Cannot write b: No space left on device. Make room."),
        ValueError("No space left on device"),
    ]
    for error in others:
        with pytest.raises(type(error)) as raised, files.written_aside(tmp_path / "a"):
            raise error
        assert raised.value is error


def test_a_folder_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "new" / "a.png"
    for check in (
        lambda: save_png(path),
        lambda: write_errors.check_writable(path),
        lambda: output_paths.check_outputs([path], []),
        lambda: output_paths.check_folder(path.parent),
    ):
        with pytest.raises(OSError, match=f"Cannot write {tmp_path}/file.*part of this path is a"):
            check()


def test_a_folder_without_permission(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda place, _: place != str(tmp_path))
    for path in (tmp_path / "a.png", tmp_path / "new" / "a.png", tmp_path):
        with pytest.raises(OSError, match="Permission denied. Make it writable"):
            write_errors.check_writable(path)
    (tmp_path / "mine").mkdir()
    write_errors.check_writable(tmp_path / "mine" / "a.png")
