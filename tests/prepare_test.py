"""The command `python -m oasis_tf.prepare`, as users run it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import oasis_tf
from oasis_tf.data import overview, shapes
from oasis_tf.data.tfrecord import PreparedDataset

SHAPES = ("--dataset=shapes", "--num_train=24", "--num_val=3", "--height=16", "--width=24")


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def test_shapes_and_a_second_run(run_module, tmp_path):
    wanted = ["--system=oasis", "--output=out", "--num_shards=2", "--label_files=labels"]
    wanted += ["--resize_height=8", "--resize_width=12"]
    done = run_module("oasis_tf.prepare", *SHAPES, *wanted)
    assert done.returncode == 0, done.stderr
    prepared = PreparedDataset.load(str(tmp_path / "out"))
    *table, look, last = done.stdout.splitlines()
    assert len(table) == 13 and table[0].split()[:2] == ["id", "class"]
    assert look.startswith("Look at out/contact_sheet.png")
    assert last == "out: 12 classes, 24 train, 3 val images."
    rare = overview.rare_classes(prepared)
    assert ("hardly occur" in done.stderr) == bool(rare) and (rare or "") in done.stderr
    assert Image.open(tmp_path / "out/contact_sheet.png").size[0] > 4 * 128
    assert len(prepared.shard_paths("train")) == 2 and prepared.training_size == (8, 12)
    written = [np.array(Image.open(path)) for path in sorted(tmp_path.glob("labels/*.png"))]
    layouts = [shapes.layout(0, shapes.VALIDATION_INDEX + k, 16, 24) for k in range(3)]
    np.testing.assert_array_equal(written, layouts)
    done = run_module("oasis_tf.prepare", *SHAPES, "--output=out")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ERROR: out holds a prepared data set already.")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset=shapes"], "ERROR: --dataset and --output must be given"),
        (["--dataset=folder", "--output=o"], "ERROR: --dataset=folder needs --num_classes, --raw"),
        (["--dataset=ade20k", "--output=o", "--source=absent"], "ERROR: --source=absent is not"),
        ([*SHAPES, "--output=o", "--resize_width=8"], "ERROR: --resize_height and --resize_width"),
    ],
)
def test_failures_are_one_line_and_an_exit_code(run_module, arguments, message):
    done = run_module("oasis_tf.prepare", *arguments)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if "ERROR:" in line]
    assert line.startswith(message)
    assert "Traceback" not in done.stderr


def test_help_names_every_flag(run_module):
    done = run_module("oasis_tf.prepare", "--help")
    assert done.returncode == 0
    for flag in (
        "dataset",
        "source",
        "output",
        "image_dir",
        "label_dir",
        "val_image_dir",
        "val_label_dir",
        "image_suffix",
        "label_suffix",
        "val_fraction",
        "num_classes",
        "unknown_label",
        "class_names",
        "raw_ids",
        "classes",
        "label_format",
        "scene_list",
        "num_train",
        "num_val",
        "height",
        "width",
        "seed",
        "num_shards",
        "num_workers",
        "overwrite",
        "system",
    ):
        assert f"--{flag}:" in done.stdout.replace("--[no]", "--")


@pytest.mark.exhaustive
def test_killed_again_and_again(run_module, tmp_path):
    """The main process and its workers are killed at random moments."""
    sizes = ("--num_train=3000", "--num_val=200", "--num_shards=40")
    command = ("oasis_tf.prepare", SHAPES[0], *sizes, "--num_workers=2", "--label_files=labels")
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    killed.mkdir()
    whole.mkdir()
    assert run_module(*command, "--output=data", cwd=whole).returncode == 0
    rng, kills = np.random.default_rng(0), 0
    while not (killed / "data/dataset.json").exists():
        with open(tmp_path / "log", "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command, "--output=data"],
                cwd=killed,
                env=os.environ | {"PYTHONPATH": str(Path(oasis_tf.__file__).resolve().parents[1])},
                stderr=log,
            )
        while process.poll() is None and "checking" not in (tmp_path / "log").read_text():
            time.sleep(0.01)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0, 4))
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        assert process.returncode in (0, -signal.SIGKILL), (tmp_path / "log").read_text()
    assert kills > 1
    done = run_module(*command, "--output=data", cwd=killed)  # removes the journal, if needed
    assert "holds a prepared data set already" in done.stderr
    for name in ("data", "labels"):
        assert contents(killed / name) == contents(whole / name)


def test_killed_and_run_again(run_module, tmp_path):
    arguments = [
        *SHAPES[:1],
        "--num_train=600",
        "--num_val=3",
        "--num_shards=30",
        "--num_workers=2",
    ]
    environment = os.environ | {"PYTHONPATH": str(Path(oasis_tf.__file__).resolve().parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-m", "oasis_tf.prepare", *arguments, "--output=killed"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not (tmp_path / "killed/preparation.json").exists():
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = {path: path.stat().st_ino for path in (tmp_path / "killed").glob("train*")}
    assert 0 < len(finished) < 30
    with pytest.raises(FileNotFoundError, match="has no dataset.json"):
        PreparedDataset.load(str(tmp_path / "killed"))
    for output in ("killed", "whole"):
        done = run_module("oasis_tf.prepare", *arguments, f"--output={output}")
        assert done.returncode == 0, done.stderr
        assert ("shards that are finished" in done.stderr) == (output == "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    kept = [path.stat().st_ino == inode for path, inode in finished.items()]
    assert sum(kept) >= len(kept) - 1  # the last one may not be in the journal yet
