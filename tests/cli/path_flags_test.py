"""Every flag of every command that names a file or a folder takes local paths alone."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest
from absl import flags

import oasis_tf
from oasis_tf import systems, train
from oasis_tf.cli import system_runner
from oasis_tf.settings import path_flags
from oasis_tf.settings.run_config import CONFIG_FILE

ROOT = Path(oasis_tf.__file__).resolve().parents[1]
# Flags of free text that are no paths. `variants` and `common` are names of flagfiles, which
# `flagfiles.find_flagfile` looks up by the same rule.
NO_PATHS = {
    *("checkpoint", "host", "public_url", "serving_url", "url", "grpc", "model", "network", "size"),
    *("metrics", "eval_metrics", "best_metric", "quantize", "seeds", "resample_classes"),
    *("animation", "log_to", "raw_ids", "image_suffix", "label_suffix", "variants", "common"),
    *("split", "ours", "values", "videos", "filter_depths", "coco_classes"),
    *("batches", "precisions", "labels", "tasks", "peer", "parity"),
}


def modules_with_flags():
    """Names of all modules with a function `define_flags`."""
    for package in ("oasis_tf", "export", "benchmarks"):
        for path in sorted((ROOT / package).rglob("*.py")):
            body = ast.parse(path.read_text(encoding="utf-8")).body
            if any(isinstance(n, ast.FunctionDef) and n.name == "define_flags" for n in body):
                yield ".".join(path.relative_to(ROOT).with_suffix("").parts)


def flags_of(module):
    values = flags.FlagValues()
    define = importlib.import_module(module).define_flags
    arguments = {"system": systems.get(systems.DEFAULT), "flag_values": values}
    arguments |= {"task": "step", "iterations": 1, "where": {"flag_values": values}}
    arguments |= {"data": "Pictures.", "metrics": ["fid"]}
    if module == "benchmarks.comparison":  # takes the name
        arguments["system"] = systems.DEFAULT
    define(**{name: arguments[name] for name in inspect.signature(define).parameters})
    return values


def is_path(flag):
    return isinstance(flag.parser, (path_flags.PathParser, path_flags.PathListParser))


def is_free_text(flag):
    return type(flag.parser) in (flags.ArgumentParser, flags.ListParser)


MODULES = list(modules_with_flags())


def test_commands_are_found():
    names = {"oasis_tf.demo", "oasis_tf.data.prepare_command", "export.tflite", "benchmarks.step"}
    names |= {"oasis_tf.systems.oasis.official.command", "export.serving.client"}
    assert names - {"benchmarks.step"} < set(MODULES) and len(MODULES) > 15


@pytest.mark.parametrize("module", MODULES)
def test_text_is_a_path_or_known_to_be_none(module):
    values = flags_of(module)
    for name in values:
        flag = values[name]
        if is_path(flag):
            with pytest.raises(flags.IllegalFlagValueError, match=f"{name}=gs://b: Paths must be"):
                flag.parse("gs://b")
        else:
            assert not is_free_text(flag) or name in NO_PATHS, (
                f"--{name} of {module}: define it by path_flags, or name it in NO_PATHS"
            )


def test_values(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    values = flags.FlagValues()
    path_flags.define_path("output", None, "Folder.", flag_values=values)
    path_flags.define_paths("compare", None, "Folders.", flag_values=values)
    values(["command", "--output=~/x", "--compare=~/a,b"])
    assert values.output == f"{tmp_path}/x"
    assert values.compare == [f"{tmp_path}/a", "b"]


def test_settings_are_absolute(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    values = flags.FlagValues()
    train.define_flags(systems.get("oasis"), values)
    for name in ("data_dir", "init_from", "vgg19", "inception", "segmenter", "lvis_annotations"):
        assert is_path(values[name]), name
    values(["train", "--data_dir=~/data"])
    assert values.data_dir == f"{tmp_path}/data"


def test_the_system_is_that_of_a_model_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / CONFIG_FILE).write_text('{"system": "another"}')
    with pytest.raises(ValueError, match="the system 'another'"):
        system_runner.chosen_system(["--model_dir=~"])
    with pytest.raises(ValueError, match="Paths must be local"):
        system_runner.chosen_system(["--model_dir=gs://bucket/run"])


def test_nothing_is_made_for_an_address(run_module, tmp_path):
    done = run_module("oasis_tf.prepare", "--dataset=shapes", "--output=gs://bucket/data")
    assert done.returncode == 1 and list(tmp_path.iterdir()) == []
    assert "flag --output=gs://bucket/data: Paths must be local." in done.stderr
