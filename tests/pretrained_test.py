"""Models that come with the package: found by name, read in place, written by `pack`."""

import json
import os

import numpy as np
import pytest
from absl import flags

import oasis_tf
from oasis_tf import pretrained, systems
from oasis_tf.cli import common_flags
from oasis_tf.io import label_files
from oasis_tf.pretrained import pack
from oasis_tf.settings.run_config import CONFIG_FILE
from oasis_tf.training.store import CheckpointStore, DamagedCheckpointError

SMALL = {"generator_channels": 1, "discriminator_channels": 1, "spade_channels": 8}


@pytest.fixture(scope="module")
def model_dir(write_model, write_shapes):
    return write_model(write_shapes(1, 3), noise_channels=3, **SMALL)


@pytest.fixture(scope="module")
def shipped(model_dir, tmp_path_factory):
    """A folder of shipped models with one, `tiny`, which is read-only."""
    folder = tmp_path_factory.mktemp("pretrained")
    pack.pack(model_dir, folder / "tiny")
    for path in folder.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield folder
    for path in folder.rglob("*"):
        path.chmod(0o755)


@pytest.fixture(autouse=True)
def installed(shipped, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "_FOLDER", shipped)
    monkeypatch.chdir(tmp_path)


def test_a_shipped_model_is_loaded_by_its_name(model_dir, shipped):
    model, packed_from = oasis_tf.load("tiny"), oasis_tf.load(model_dir)
    label_map = np.random.default_rng(0).integers(0, 12, (1, 4, 4)).repeat(16, 1).repeat(16, 2)
    got, want = (one(label_map, seed=3).numpy() for one in (model, packed_from))
    np.testing.assert_allclose(got, want, atol=0.05)  # kernels of 11 bits
    logits = [one.class_logits(got).numpy().argmax(-1) for one in (model, packed_from)]
    assert (logits[0] == logits[1]).mean() > 0.9
    assert model.step.numpy() == packed_from.step.numpy()
    assert systems.of_model_dir("tiny").name == "oasis"


def test_what_is_in_it(model_dir, shipped):
    contents = json.loads((shipped / "tiny" / CONFIG_FILE).read_text())
    assert contents["data"]["data_dir"] is None
    assert os.path.dirname(model_dir) not in json.dumps(contents)
    step, arrays = CheckpointStore(shipped / "tiny").load()
    assert step == 2
    assert not [name for name in arrays if name.startswith(("generator/", "adam"))]
    for name, array in arrays.items():
        half = array.ndim > 1
        assert array.dtype == ("float16" if half else "int64" if name == "step" else "float32")
    examples = pretrained.examples("tiny")
    space = oasis_tf.systems.get("oasis").config.load(shipped / "tiny").label_space
    found = label_files.find_label_files(examples)
    assert len(found) == 3
    assert {label_files.read_label_map(file, space).shape for file in found} == {(64, 64)}


def test_a_folder_of_that_name_wins(tmp_path):
    assert pretrained.find("tiny") == str(pretrained._FOLDER / "tiny")
    (tmp_path / "tiny").mkdir()
    assert pretrained.find("tiny") == "tiny"
    with pytest.raises(FileNotFoundError, match="tiny is not a model directory"):
        oasis_tf.load("tiny")


def test_other_names_list_the_shipped_models():
    assert pretrained.names() == ["tiny"]
    with pytest.raises(FileNotFoundError, match="Shipped with this package: tiny"):
        oasis_tf.load("tyni")
    assert pretrained.find("tyni") == "tyni" and pretrained.name_of("tyni") is None


def test_the_flag_of_what_only_reads():
    values = flags.FlagValues()
    common_flags.define_model_dir_flag(values)
    values(["program", "--model_dir=tiny"])
    assert values.model_dir == str(pretrained._FOLDER / "tiny")
    assert pretrained.name_of(values.model_dir) == "tiny"
    values(["program", "--model_dir=other/tiny"])
    assert values.model_dir == "other/tiny"


def test_damage_is_noticed(shipped, tmp_path, monkeypatch):
    import shutil

    shutil.copytree(shipped / "tiny", tmp_path / "folder" / "tiny", copy_function=shutil.copyfile)
    monkeypatch.setattr(pretrained, "_FOLDER", tmp_path / "folder")
    (file,) = (tmp_path / "folder").rglob("inference.npz")
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises((DamagedCheckpointError, OSError), match="."):
        oasis_tf.load("tiny")


def test_what_is_packed_is_checked(model_dir, tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("")
    with pytest.raises(FileExistsError, match="must be new or empty"):
        pack.pack(model_dir, tmp_path / "there")
    monkeypatch.setattr(pack, "MOST_BYTES", 1000)
    with pytest.raises(ValueError, match="at most 0.001 MB. Received: "):
        pack.pack(model_dir, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@pytest.mark.slow
def test_commands_take_the_name(run_module, tmp_path, monkeypatch):
    """With the models that are really there, as after installation."""
    monkeypatch.undo()
    for name in pretrained.names():
        examples = pretrained.examples(name)
        options = ["--model_dir", name, "--labels", examples, "--output", "out"]
        done = run_module("oasis_tf.synthesize", *options)
        assert done.returncode == 0, done.stderr
        assert len(list((tmp_path / "out").iterdir())) == len(os.listdir(examples))
        done = run_module("export.keras_file", "--model_dir", name, "--output=model.keras")
        assert done.returncode == 0, done.stderr
