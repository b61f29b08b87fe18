"""The command `convert` with PyTorch's files (extra `convert`)."""

import os
import pickle

import numpy as np
import pytest
from PIL import Image

from oasis_tf.data.datasets import published_label_space
from oasis_tf.io import pth_files


def test_flags_are_checked_first(run_module, tmp_path):
    for arguments, message in (
        ([], "Give either --checkpoint=FILE.*neither"),
        (["--checkpoint=a", "--to_official=b"], "both"),
        (["--checkpoint=nowhere.pth", "--dataset=ade20k"], "no checkpoint file nowhere.pth"),
    ):
        done = run_module("oasis_tf.convert", f"--model_dir={tmp_path / 'm'}", *arguments)
        assert done.returncode == 1
        assert done.stderr.startswith("ERROR: ")
        assert message.split(".*")[-1] in done.stderr
    assert not (tmp_path / "m").exists()


class _Trap:
    """An object that runs code when it is unpickled without protection."""

    def __reduce__(self):
        return os.mkdir, ("trapped",)


@pytest.mark.slow
def test_files_that_are_not_state_dicts(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    torch.save({"a": torch.zeros(9)}, "whole.pth")
    content = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(content[: len(content) // 2])
    (tmp_path / "trap.pth").write_bytes(pickle.dumps({"a": _Trap()}))
    torch.save({"a": _Trap()}, "zipped_trap.pth")
    with pytest.raises(ValueError, match="cut.pth is damaged: "):
        pth_files.read_state_dict("cut.pth")
    for name in ("trap.pth", "zipped_trap.pth"):
        with pytest.raises(ValueError, match=f"{name} must be a state dict written by torch.save"):
            pth_files.read_state_dict(name)
    assert not (tmp_path / "trapped").exists()
    for contents in ([torch.zeros(1)], {"state_dict": {"a": torch.zeros(1)}}, {1: torch.zeros(1)}):
        torch.save(contents, "other.pth")
        with pytest.raises(ValueError, match="must hold a state dict, names to tensors. Received"):
            pth_files.read_state_dict("other.pth")


@pytest.mark.slow
def test_no_flip_of_a_bit_changes_what_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "a.pth"
    torch.save({"a": torch.arange(8.0), "b": torch.ones(3, dtype=torch.int64)}, path)
    whole, want, noticed = path.read_bytes(), pth_files.read_state_dict(path), 0
    for bit in range(0, 8 * len(whole), 5):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            found = pth_files.read_state_dict(path)
        except ValueError as error:
            assert str(path) in str(error)
            noticed += 1
            continue
        assert found.keys() == want.keys()
        for name, value in want.items():
            np.testing.assert_array_equal(found[name], value, err_msg=f"bit {bit}")
    assert noticed > 100


@pytest.mark.slow
def test_half_precision_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    path = str(tmp_path / "half.pth")
    values = torch.tensor([1.5, -2.25])
    torch.save({"a": values.bfloat16(), "b": values.half(), "c": torch.tensor(3)}, path)
    got = pth_files.read_state_dict(path)
    for name in "ab":
        assert got[name].dtype == np.float32
        np.testing.assert_array_equal(got[name], values.numpy())
    assert got["c"] == 3


@pytest.mark.slow
def test_full_width_there_and_back(run_module, tmp_path):
    """Checkpoints of the published size, written by PyTorch: converted, used, converted back."""
    torch = pytest.importorskip("torch")
    from benchmarks.oasis import pytorch_peer

    torch.manual_seed(0)
    networks = {
        "G": pytorch_peer.Generator(151, 64, 64),
        "EMA": pytorch_peer.Generator(151, 64, 64),
        "D": pytorch_peer.Discriminator(151, 64),
    }
    counts = [sum(p.numel() for p in networks[letter].parameters()) for letter in "GD"]
    assert counts == [74_314_691, 22_258_904]
    for letter, network in networks.items():
        torch.save(network.state_dict(), tmp_path / f"{letter}.pth")
    Image.fromarray(np.arange(64 * 64, dtype=np.uint8).reshape(64, 64) % 151).save(
        tmp_path / "labels.png"
    )
    for module, *arguments in (
        ("oasis_tf.convert", "--checkpoint=EMA.pth", "--generator=G.pth", "--discriminator=D.pth",
         "--dataset=ade20k"),
        ("oasis_tf.convert", "--to_official=back"),
        ("oasis_tf.synthesize", "--labels=labels.png", "--output=images", "--height=64",
         "--width=64"),
    ):  # fmt: skip
        done = run_module(module, "--model_dir=model", *arguments)
        assert done.returncode == 0, done.stderr
    for letter, network in networks.items():
        back = torch.load(tmp_path / "back" / f"latest_{letter}.pth", weights_only=True)
        network.load_state_dict(back, strict=True)  # PyTorch finds every name and shape
        written = torch.load(tmp_path / f"{letter}.pth", weights_only=True)
        for name, tensor in written.items():
            assert torch.equal(back[name], tensor), f"{letter} {name}"
    image = np.asarray(Image.open(tmp_path / "images" / "labels_seed0.png"))
    assert image.shape == (64, 64, 3)
    assert published_label_space("ade20k").num_classes == 151
