"""Official checkpoints in and out, with recorded weights. Files are .npz, to need no PyTorch."""

import numpy as np
import pytest

import oasis_tf
from benchmarks import golden_files
from benchmarks.one_shot import recordings
from oasis_tf.io import pth_files
from oasis_tf.systems.one_shot import run_settings
from oasis_tf.systems.one_shot.config import Config
from oasis_tf.systems.one_shot.official import conversion
from oasis_tf.systems.one_shot.source import Source


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Paths of the recorded networks of OSMIS after three iterations, by name."""
    monkeypatch.setattr(pth_files, "check_torch", lambda: None)
    monkeypatch.setattr(pth_files, "read_state_dict", lambda path: dict(np.load(path)))

    def write(state, path):
        with open(path, "wb") as file:
            np.savez(file, **state)

    monkeypatch.setattr(pth_files, "write_state_dict", write)
    recording = recordings.load(recordings.GOLDEN / "osmis.npz")
    paths = {}
    for part, name in (("EMA3", "checkpoint"), ("G3", "generator"), ("D3", "discriminator")):
        paths[name] = str(tmp_path / f"{part}.pth")
        write(golden_files.part(recording, part), paths[name])
    return paths


def test_there_and_back(files, tmp_path):
    config = conversion.convert(str(tmp_path / "model"), **files)
    model = config.model
    assert (model.blocks_g, model.blocks_d, model.blocks_d0) == (5, 6, 2)
    assert (model.ch_g, model.ch_d, model.noise_dim, model.num_classes) == (4, 4, 8, 3)
    assert (model.height, model.width) == (80, 64)
    written = conversion.write_official(str(tmp_path / "model"), str(tmp_path / "back"))
    assert [path.rsplit("/")[-1] for path in written] == [
        *("0_G.pth", "0_G_EMA.pth", "0_D.pth", "latest_epoch.txt")
    ]
    for path, name in zip(written, ("generator", "checkpoint", "discriminator"), strict=False):
        with np.load(files[name]) as want, np.load(path) as got:
            assert set(got.files) == set(want.files)
            for key in want.files:
                np.testing.assert_array_equal(got[key], want[key], err_msg=key)


def test_the_average_alone_samples_as_the_release_does(files, tmp_path):
    conversion.convert(str(tmp_path / "model"), files["checkpoint"])
    recording = recordings.load(recordings.GOLDEN / "osmis.npz")
    samples = oasis_tf.load(tmp_path / "model").sample_latents(recording["z"][0])
    want = golden_files.nhwc(recording["EMA3_sample"])
    np.testing.assert_allclose(samples.image, want, atol=1e-5)
    config = Config.load(tmp_path / "model")
    with pytest.raises(ValueError, match="must have a discriminator to be trained"):
        run_settings.resolve({}, source=Source(1, 80, 64, 3, digest="a"), previous=config)


def test_a_converted_model_takes_the_first_pictures(files, tmp_path):
    config = conversion.convert(str(tmp_path / "model"), **files)
    source = Source(1, 200, 160, 3, digest="a")
    adopted = run_settings.resolve({"data_dir": "x"}, source=source, previous=config)
    assert adopted.source == source and adopted.model == config.model
    with pytest.raises(ValueError, match="2 classes, background included, for 3"):
        run_settings.resolve({}, source=Source(1, 80, 64, 2, digest="a"), previous=config)


def test_what_is_refused(files, tmp_path):
    with pytest.raises(ValueError, match="`generator` and `discriminator` must be given together"):
        conversion.convert(str(tmp_path / "a"), files["checkpoint"], files["generator"])
    with pytest.raises(ValueError, match="is not a generator of SIV-GAN or OSMIS: first_linear"):
        conversion.convert(str(tmp_path / "a"), files["discriminator"])
    assert not (tmp_path / "a").exists()
