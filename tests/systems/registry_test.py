"""Systems by name: that of a model directory, its flags and its abilities."""

import dataclasses
import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
from absl import flags

import oasis_tf
from oasis_tf import systems, train
from oasis_tf.cli import system_runner
from oasis_tf.io import json_files
from oasis_tf.settings.fields import setting
from oasis_tf.settings.run_config import CONFIG_FILE, RunConfig
from oasis_tf.systems.system import System
from oasis_tf.training.settings import LoopSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToySettings(LoopSettings):
    DROPPED: ClassVar = {"speed": "training is as fast as it can be."}
    batch_size: int = setting("Pictures in a step.", 1, minimum=1)
    brush: int = setting("Width of the brush.", 3, minimum=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToyConfig(RunConfig):
    SYSTEM: ClassVar = "toy"
    SECTIONS: ClassVar = {"training": ToySettings}
    training: ToySettings


class ToySystem(System):
    name = "toy"
    title = "a toy"
    config = ToyConfig
    abilities: ClassVar = {"convert": "json"}

    def resolve(self, given, previous):
        return given, previous

    def load(self, model_dir, checkpoint=None):
        return self.name, model_dir, checkpoint


@pytest.fixture
def toy(monkeypatch):
    """Registers a second system."""
    module = type(sys)("toy_room")
    module.SYSTEM = ToySystem()
    monkeypatch.setitem(sys.modules, "toy_room", module)
    monkeypatch.setitem(systems._ROOMS, "toy", "toy_room")
    monkeypatch.setattr(systems, "NAMES", ("oasis", "toy"))
    yield module.SYSTEM
    systems.get.cache_clear()


@pytest.fixture
def toy_dir(toy, tmp_path):
    """A model directory of the second system."""
    ToyConfig(training=ToySettings(steps=3)).save(tmp_path / "toy")
    return str(tmp_path / "toy")


def old_config(tmp_path):
    """Writes a config.json from before there was a choice of systems."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / CONFIG_FILE).write_text('{"format_version": 1, "model": {}}')
    return str(tmp_path / "old")


def test_the_system_of_a_model_directory(toy_dir, tmp_path):
    assert systems.of_model_dir(toy_dir).name == "toy"
    assert systems.of_model_dir(old_config(tmp_path)).name == "oasis"
    assert oasis_tf.load(toy_dir, 7) == ("toy", toy_dir, 7)


def test_unknown_systems_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match="must be one of oasis, one_shot, few_shot. Received: system=cubism"
    ):
        systems.get("cubism")
    (tmp_path / CONFIG_FILE).write_text('{"format_version": 1, "system": "cubism"}')
    with pytest.raises(ValueError, match="holds a model of the system 'cubism'.*It has oasis"):
        systems.of_model_dir(tmp_path)
    with pytest.raises(FileNotFoundError, match="not a model directory"):
        systems.of_model_dir(tmp_path / "absent")


def test_a_configuration_of_another_system_is_refused(toy_dir):
    with pytest.raises(ValueError, match="of the system oasis. Received: system='toy'"):
        systems.get("oasis").config.load(toy_dir)


def test_a_setting_that_was_dropped_is_ignored_with_one_line(toy_dir, caplog):
    path = f"{toy_dir}/{CONFIG_FILE}"
    contents = json_files.read(path)
    contents["training"]["speed"] = 9
    with caplog.at_level(logging.WARNING):
        config = ToyConfig.from_json(contents, path)
    assert config == ToyConfig.load(toy_dir)
    assert caplog.messages == [f"{path}: `speed=9` is ignored: training is as fast as it can be."]
    contents["training"]["spead"] = 9
    with pytest.raises(ValueError, match="unknown: spead"):
        ToyConfig.from_json(contents, path)


# === Which system a command line chooses ===


def test_the_system_of_a_command_line(toy, toy_dir, tmp_path):
    chosen = lambda *arguments: system_runner.chosen_system(arguments).name  # noqa: E731
    assert chosen() == "oasis"
    assert chosen("--system=toy") == chosen("--system", "toy") == "toy"
    assert chosen("--system=toy", "--system=oasis") == "oasis"
    assert chosen("--", "--system=toy") == "oasis"
    assert chosen(f"--model_dir={toy_dir}") == chosen("-model_dir", toy_dir) == "toy"
    assert chosen(f"--model_dir={toy_dir}", "--system=toy") == "toy"
    assert chosen(f"--model_dirs={toy_dir},elsewhere") == "toy"
    assert chosen(f"--model_dir={tmp_path / 'new'}", "--system=toy") == "toy"
    with pytest.raises(ValueError, match="--system=oasis for .*toy, which holds a model of toy"):
        chosen(f"--model_dir={toy_dir}", "--system=oasis")


def test_flags_of_other_systems_are_refused_by_name(toy):
    def check(name, *arguments):
        system_runner._check_flags(
            arguments, systems.get(name), train.define_flags, ("oasis", "toy")
        )

    check("toy", "--brush=4", "--steps=3", "--nojit_compile", "x", "--unheard_of")
    check("oasis", "--lr_g=1", "--noflip")
    for argument, name, other in (
        ("--lr_g=1", "toy", "oasis"),
        ("--noflip", "toy", "oasis"),
        ("-brush", "oasis", "toy"),
    ):
        flag = argument.lstrip("-").partition("=")[0]
        with pytest.raises(ValueError) as error:
            check(name, argument)
        assert str(error.value) == (
            f"`--{flag}` must be a flag of the system. Received: --{flag} with --system={name}, "
            f"which does not have it. Systems that do: {other}. Leave --{flag} out, or choose "
            "another --system."
        )


def test_help_groups_flags_by_system(toy, capsys, monkeypatch):
    monkeypatch.setattr(flags, "FLAGS", flags.FlagValues())
    system_runner._print_help(train.define_flags, ("oasis", "toy"), train.ESSENTIAL)
    printed = " ".join(capsys.readouterr().out.split())
    common, oasis, toys = re.split("--system=(?=oasis:|toy:)", printed)
    assert "--flagfile:" in common and "--lr_g" not in common
    assert oasis.startswith("oasis: images from label maps") and "--lr_g:" in oasis
    assert toys.startswith("toy: a toy") and "--brush:" in toys and "--lr_g" not in toys
    assert "Width of the brush. (default: 3)" in toys and "--epochs:" not in toys


def test_abilities(toy):
    assert toy.ability("convert") is json
    assert systems.with_ability("convert") == ["oasis", "toy"]
    with pytest.raises(ValueError) as error:
        toy.ability("ablate")
    assert str(error.value) == (
        "The system must have the ability `ablate`. Received: system=toy, which does not. Systems "
        "that do: oasis."
    )


def test_a_command_refuses_a_system_without_its_ability(toy, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["prepare", "--system=toy", "--output=out"])
    with pytest.raises(SystemExit, match="1"):
        system_runner.run_ability("prepare")
    assert "ability `prepare`. Received: system=toy, which does not" in capsys.readouterr().err


def test_every_ability_of_every_system_can_be_imported():
    for name in systems.NAMES:
        system = systems.get(name)
        for ability in system.abilities:
            assert system.ability(ability)


def test_the_registry_needs_no_tensorflow():
    code = (
        "import sys; from oasis_tf import systems;"
        "[systems.get(name).config for name in systems.NAMES];"
        "print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_keras_names_are_unique():
    """Two classes of one registered name: files of one would be loaded as the other."""
    pattern = re.compile(r'register_keras_serializable\("(\S+)"\)\nclass (\w+)')
    texts = (path.read_text() for path in Path(oasis_tf.__file__).parent.rglob("*.py"))
    found = [">".join(names) for text in texts for names in pattern.findall(text)]
    assert len(found) > 20 and len(set(found)) == len(found)
