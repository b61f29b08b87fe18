"""Networks as Keras files: the same bits, nothing replaced silently."""

import os

import keras
import numpy as np
import pytest

from export import keras_file

LABEL_MAP = np.random.default_rng(0).integers(0, 5, (2, 32, 32))
NOISE = np.random.default_rng(1).normal(size=(2, 8)).astype(np.float32)
PHOTO = np.random.default_rng(2).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)


def test_networks_come_back_bit_for_bit(shallow_model, tmp_path):
    path = str(tmp_path / "new" / "generator.keras")
    keras_file.export(shallow_model, path)
    generator = keras.models.load_model(path)
    assert type(generator) is type(shallow_model.generator_ema)
    want = shallow_model.generator_ema(LABEL_MAP, NOISE)
    assert (want != shallow_model.generator(LABEL_MAP, NOISE)).numpy().any()
    np.testing.assert_array_equal(generator(LABEL_MAP, NOISE), want)
    assert os.listdir(tmp_path / "new") == ["generator.keras"]

    path = str(tmp_path / "discriminator.keras")
    keras_file.export(shallow_model, path, "discriminator")
    discriminator = keras.models.load_model(path)
    np.testing.assert_array_equal(discriminator(PHOTO), shallow_model.discriminator(PHOTO))
    assert discriminator.label_space == shallow_model.label_space is not None


def test_a_model_without_a_discriminator(shallow_plain_model, tmp_path):
    with pytest.raises(ValueError, match="be written as a Keras file: it has no discriminator"):
        keras_file.export(shallow_plain_model, str(tmp_path / "d.keras"), "discriminator")
    assert os.listdir(tmp_path) == []


def test_other_networks_are_refused(shallow_model, tmp_path):
    with pytest.raises(ValueError, match="generator or discriminator. Received: network=encoder"):
        keras_file.export(shallow_model, str(tmp_path / "e.keras"), "encoder")
    assert os.listdir(tmp_path) == []


def test_a_failed_export_leaves_what_was_there(shallow_plain_model, tmp_path, monkeypatch):
    path = tmp_path / "g.keras"
    path.write_text("old")

    def fails(self, path):
        with open(path, "w"):
            raise OSError("disk full")

    monkeypatch.setattr(type(shallow_plain_model.generator), "save", fails)
    with pytest.raises(OSError, match="disk full"):
        keras_file.export(shallow_plain_model, str(path))
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["g.keras"])


def test_nothing_is_replaced_silently(tmp_path):
    path = tmp_path / "g.keras"
    keras_file.check_output(str(path), overwrite=False)
    path.touch()
    keras_file.check_output(str(path), overwrite=True)
    with pytest.raises(ValueError, match="g.keras exists. Nothing was written.*--overwrite"):
        keras_file.check_output(str(path), overwrite=False)
    with pytest.raises(ValueError, match="must end with .keras. Received: output=model.h5"):
        keras_file.check_output("model.h5", overwrite=False)
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(ValueError, match="folder.keras exists"):
        keras_file.check_output(str(tmp_path / "folder.keras"), overwrite=True)
