"""The command: what it refuses, what it writes."""

import dataclasses
import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from export import tflite
from export.litert import conversion, examples, metadata, planning, writing
from oasis_tf.io import json_files
from oasis_tf.systems.oasis.serving import litert_networks


def plan(config, output, network="generator", quantize=("none",), **options):
    defaults = {"height": None, "width": None, "dynamic_size": False, "overwrite": False}
    return planning.plan_export(config, str(output), network, list(quantize), **defaults | options)


def test_names_and_sizes(model, tmp_path):
    found = plan(model.config, tmp_path / "x.tflite")
    assert found.paths == {"none": str(tmp_path / "x.tflite")}
    assert (found.height, found.width) == (64, 64)  # the training crop's
    found = plan(model.config, tmp_path, quantize=["none", "int8"], height=32, width=96)
    names = {quantize: os.path.basename(path) for quantize, path in found.paths.items()}
    assert names == {
        "none": "generator_32x96_float32.tflite",
        "int8": "generator_32x96_int8.tflite",
    }
    found = plan(model.config, tmp_path, "segmenter", ["dynamic"], dynamic_size=True)
    assert (found.height, found.width) == (None, None)
    assert found.paths == {"dynamic": str(tmp_path / "segmenter_dynamic_size_dynamic.tflite")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantize": ["int4"]}, "some of none, float16, dynamic, int8, .*quantize=int4"),
        ({"quantize": ["none", "none"]}, "each once"),
        ({"quantize": []}, "some of none"),
        ({"quantize": ["none", "int8"]}, "must be a folder"),
        ({"quantize": ["int8"], "dynamic_size": True}, "fixed size"),
        ({"height": 64}, "go together"),
        ({"height": 64, "width": 64, "dynamic_size": True}, "not with --dynamic_size"),
        ({"height": 48, "width": 64}, "`height` must be a positive multiple of 32 .*height=48"),
        ({"height": 64, "width": 96, "network": "segmenter"}, "multiple of 64 for a segmenter"),
        ({"height": 0, "width": 64}, "positive multiple"),
        ({"network": "encoder"}, "generator or segmenter. Received: network=encoder"),
    ],
)
def test_refused(model, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        plan(model.config, tmp_path / "x.tflite", **options)


def test_a_segmenter_needs_a_discriminator(model, tmp_path):
    settings = dataclasses.replace(model.config.model, has_discriminator=False)
    config = dataclasses.replace(model.config, model=settings)
    with pytest.raises(ValueError, match="cannot segment: it has no discriminator"):
        plan(config, tmp_path, "segmenter")


@pytest.mark.parametrize("name", ["x.tflite", "x.json", "x.report.json"])
def test_nothing_is_replaced_silently(model, tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(FileExistsError, match=f"{name} exists.*--overwrite"):
        plan(model.config, tmp_path / "x.tflite")
    plan(model.config, tmp_path / "x.tflite", overwrite=True)


def test_int8_needs_data(model, tmp_path):
    with pytest.raises(FileNotFoundError, match="No prepared data.*--data_dir=DIR; quantize=int8"):
        writing.dataset_for(plan(model.config, tmp_path, quantize=["int8"]), model.config, None)
    found = plan(model.config, tmp_path)
    assert writing.dataset_for(found, model.config, None) is None
    with pytest.raises(FileNotFoundError, match="missing"):
        writing.dataset_for(found, model.config, str(tmp_path / "missing"))


def test_classes_of_the_data_must_be_the_models(model, tmp_path, write_shapes):
    with pytest.raises(ValueError, match="must have the same classes"):
        writing.dataset_for(plan(model.config, tmp_path), model.config, write_shapes(1, 1))


def test_random_examples(model):
    network = litert_networks.network(model, "generator", 64, 96)
    found = examples.at_random(network, model.label_space, 2, 64, 96, seed=5)
    again = examples.at_random(network, model.label_space, 2, 64, 96, seed=5)
    for (inputs, label_map), (same, _) in zip(found, again, strict=True):
        assert inputs["label_map"].shape == label_map.shape == (1, 64, 96)
        assert label_map.min() >= 1 and label_map.max() < 5  # 0 is unknown
        np.testing.assert_array_equal(inputs["noise"], same["noise"])
    assert not np.array_equal(found[0][0]["noise"], found[1][0]["noise"])


def test_a_failed_conversion_leaves_nothing(model, tmp_path, monkeypatch):
    def fails(*args):
        raise ValueError("no such operation")

    monkeypatch.setattr(conversion, "convert", fails)
    with pytest.raises(ValueError, match="no such operation"):
        writing.write(model, plan(model.config, tmp_path), None, report_examples=0)
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_nothing_that_blocks_a_repeat(model, tmp_path, monkeypatch):
    written = []

    def write_bytes(path, contents):
        written.append(path)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(conversion, "convert", lambda *_: b"")
    monkeypatch.setattr(metadata, "embed", lambda contents, _: contents)
    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    found = plan(model.config, tmp_path, quantize=["none", "float16"])
    with pytest.raises(OSError, match="64_float16.tflite: No space left on device. Make room"):
        writing.write(model, found, None, report_examples=0)
    assert os.listdir(tmp_path) == []


def test_without_the_runtime(monkeypatch):
    monkeypatch.setattr(tflite.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'pip install "oasis-tf\[tflite\]".*--noreport'):
        tflite.check_runtime()


@pytest.fixture(scope="module")
def data_dir(write_shapes):
    return write_shapes(3, 2)


@pytest.fixture(scope="module")
def model_dir(data_dir, write_model):
    small = {"generator_channels": 2, "discriminator_channels": 2, "spade_channels": 4}
    return write_model(data_dir, noise_channels=4, **small)


@pytest.mark.parametrize(
    ("network", "inputs", "columns"),
    [
        ("segmenter", {"image"}, 9),
        pytest.param("generator", {"label_map", "noise"}, 7, marks=pytest.mark.slow),
    ],
)
def test_the_command(run_module, model_dir, data_dir, tmp_path, network, inputs, columns):
    output = tmp_path / "files"
    arguments = [f"--model_dir={model_dir}", f"--output={output}", f"--network={network}"]
    arguments += ["--quantize=none,dynamic", "--report_examples=2", "--threads=1"]
    done = run_module("export.tflite", *arguments, timeout=900)
    assert done.returncode == 0, done.stderr
    rows = [line.split("|") for line in done.stdout.splitlines() if line.startswith("|")]
    assert [row[1].strip() for row in rows] == ["file", "---", "engine", "none", "dynamic"]
    assert {len(row) - 2 for row in rows[2:]} == {columns}
    stems = [f"{network}_64x64_{kind}" for kind in ("float32", "dynamic")]
    suffixes = (".tflite", ".json", ".report.json")
    assert sorted(os.listdir(output)) == sorted(s + suffix for s in stems for suffix in suffixes)
    contents = (output / f"{stems[0]}.tflite").read_bytes()
    description = json_files.read(output / f"{stems[0]}.json")
    assert metadata.read(contents) == description
    assert (description["dataset"], description["step"]) == ("shapes", 2)
    assert (description["network"], description["quantize"]) == (network, "none")
    assert description["classes"][0]["name"] == "sky"
    report = json.loads((output / f"{stems[0]}.report.json").read_text())
    assert report["file"]["max_error"] < 1e-4
    assert report["examples_from"] == data_dir
    run = Interpreter(model_content=contents).get_signature_runner("serving_default")
    assert set(run.get_input_details()) == inputs
