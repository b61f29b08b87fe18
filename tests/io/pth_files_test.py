"""PyTorch's files, without PyTorch: checksums, and state dicts among other things."""

import zipfile

import numpy as np
import pytest

from oasis_tf.io import pth_files

SIGNS = (("fc.weight", "last.bias"),)
WEIGHTS = {"fc.weight": np.ones(1), "body.0.bias": np.ones(2), "last.bias": np.ones(3)}
OTHER = {"stem.weight": np.zeros(1), "last.bias": np.zeros(1)}


def parts(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_every_flip_of_a_bit_is_noticed_or_changes_nothing(tmp_path):
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"pickle")
        archive.writestr("a/data/0", bytes(range(40)))
    pth_files.check_checksums(path)
    whole, want, noticed = path.read_bytes(), parts(path), 0
    for bit in range(32, 8 * len(whole)):  # with other first bytes it is a file of older PyTorch
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            pth_files.check_checksums(path)
        except ValueError as error:
            assert f"{path} is damaged: " in str(error)
            noticed += 1
        else:
            assert parts(path).items() <= want.items()  # PyTorch misses a part that is not listed
    assert noticed > 8 * 46  # all of the contents, and more


def test_files_without_checksums(tmp_path):
    (tmp_path / "old.pth").write_bytes(b"\x80\x02" + bytes(50))
    pth_files.check_checksums(tmp_path / "old.pth")
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04" + bytes(50))
    with pytest.raises(ValueError, match="cut.pth is damaged: its list of parts cannot be read"):
        pth_files.check_checksums(tmp_path / "cut.pth")


def prefixed(prefix, weights=WEIGHTS):
    return {prefix + name: value for name, value in weights.items()}


@pytest.mark.parametrize(
    "contents",
    [
        WEIGHTS,
        prefixed("module."),
        prefixed("netG.module."),
        prefixed("module.") | {"n_averaged": np.zeros(())},  # of an average of weights
        prefixed("generator.") | prefixed("discriminator.", OTHER),  # of Lightning
        {"epoch": 3, "state_dict": prefixed("module."), "optimizer": {"state": {0: WEIGHTS}}}
        | {"optimizer": {"state": {0: {"step": np.ones(1)}}, "param_groups": []}},
        {"models": {"g": WEIGHTS, "d": OTHER}, "step": np.ones(1)},
        WEIGHTS | {"epoch": 3},
    ],
)
def test_the_only_part_that_fits_is_found(contents):
    found = pth_files.find_state_dict(contents, SIGNS, "a.pth", np.ndarray)
    assert {name: found[name] for name in WEIGHTS} == WEIGHTS


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"g": WEIGHTS, "g_ema": WEIGHTS}, "keys 'g', 'g_ema'; several fit: g, g_ema. Save the"),
        (prefixed("a.") | prefixed("b."), r"several fit: a\., b\."),
        ({"d": OTHER, "epoch": 1}, "keys 'd', 'epoch'; none of its parts fits"),
        ({"xfc.weight": WEIGHTS["fc.weight"], "e": 1}, "none of its parts fits"),
        ([WEIGHTS], "Received: list; none"),
    ],
)
def test_what_is_not_clear_is_refused(contents, message):
    with pytest.raises(ValueError, match=message):
        pth_files.find_state_dict(contents, SIGNS, "a.pth", np.ndarray)


def test_another_state_dict_is_left_to_those_who_know_the_network():
    assert pth_files.find_state_dict(OTHER, SIGNS, "a.pth", np.ndarray) == OTHER
