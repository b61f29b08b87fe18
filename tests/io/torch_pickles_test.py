"""Files of PyTorch and pickles of tensors: read without PyTorch, and nothing in them is run."""

import pickle

import numpy as np
import pytest

from oasis_tf.io import torch_pickles
from tests.flips import flips
from tests.pickles import Call, Global, New, Persistent, Pickler, older_stream, plain, write_zip

ARRAYS = {
    "single": np.arange(6, dtype="f4").reshape(2, 3) / 7,
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "half": np.arange(3, dtype="f2"),
    "count": np.array(3),
    "mask": np.array([True, False]),
}
CONTENTS = {
    "g": ARRAYS,
    "args": New("argparse.Namespace", {"lr": 0.5, "out": None, "sizes": [1, 2]}),
    "seen": Call("numpy.core.multiarray.scalar", (Call("numpy.dtype", ("f8", False)), b"12345678")),
    "options": New("dnnlib.util.EasyDict", {"w": 3}),
}


def write(form, path, contents):
    if form == "zip":
        write_zip(path, contents)
    else:
        path.write_bytes({"older": older_stream, "plain": plain}[form](contents))
    return path


def check(found):
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("form", ["zip", "older", "plain"])
def test_all_forms(tmp_path, form):
    found = torch_pickles.read(write(form, tmp_path / "a", CONTENTS))
    check(found["g"])
    assert found["args"].attributes == {"lr": 0.5, "out": None, "sizes": [1, 2]}
    assert (found["options"].name, found["options"].attributes) == (
        "dnnlib.util.EasyDict",
        {"w": 3},
    )


def test_networks_of_nvlabs_are_their_state(tmp_path):
    meta = {"module_src": "import os", "class_name": "G", "state": ARRAYS}
    call = Call("torch_utils.persistence._reconstruct_persistent_obj", (meta,))
    found = torch_pickles.read(write("plain", tmp_path / "a.pkl", {"G": call}))["G"]
    assert set(found) == {"class_name", "state"}
    check(found["state"])


@pytest.mark.slow
def test_files_of_pytorch(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch writes the files")
    tensors = {name: torch.from_numpy(array) for name, array in ARRAYS.items()}
    tensors["parameter"] = torch.nn.Parameter(tensors["single"])
    torch.save(tensors, tmp_path / "zip")
    torch.save(tensors, tmp_path / "older", _use_new_zipfile_serialization=False)
    for protocol in (2, 4):
        (tmp_path / f"plain{protocol}").write_bytes(pickle.dumps(tensors, protocol))
    for name in ("zip", "older", "plain2", "plain4"):
        found = torch_pickles.read(tmp_path / name)
        check(found)
        np.testing.assert_array_equal(found["parameter"], ARRAYS["single"])


@pytest.mark.parametrize(
    "name",
    [
        *("os.system", "posix.system", "builtins.eval", "__builtin__.getattr", "subprocess.Popen"),
        *("functools.partial", "runpy.run_path", "torch.hub.load", "numpy.load", "pickle.loads"),
        *("torch.utils.data.dataset.Dataset", "numpy.testing._private.utils.runstring"),
        "importlib.import_module",
    ],
)
@pytest.mark.parametrize("form", ["zip", "older", "plain"])
def test_what_asks_for_code_is_refused_by_name(tmp_path, name, form):
    code = f"touch {tmp_path / 'ran'}"
    path = write(form, tmp_path / "a", {"g": ARRAYS, "x": Call(name, (code,))})
    with pytest.raises(ValueError, match=f"asks for {name}"):
        torch_pickles.read(path)
    assert not (tmp_path / "ran").exists()


def test_code_inside_of_a_tensor_is_refused(tmp_path):
    inner = older_stream(Call("os.system", ("true",)))
    call = Call("torch.storage._load_from_bytes", (inner,))
    path = write("plain", tmp_path / "a", {"x": call})
    with pytest.raises(ValueError, match=r"asks for os\.system"):
        torch_pickles.read(path)


def test_a_file_changes_nothing_that_it_may_name(tmp_path):
    state = (None, {"__defaults__": (1,)})
    for target in ("torch._utils._rebuild_tensor_v2", "dnnlib.util.EasyDict"):
        data = b"\x80\x03" + Pickler()._of(Global(target)) + Pickler()._of(state) + b"b."
        (tmp_path / "a").write_bytes(data)
        with pytest.raises(ValueError, match="must be a whole file"):
            torch_pickles.read(tmp_path / "a")


FLOATS = Global("torch.FloatStorage")


def tensor(storage, offset, size, stride):
    return Call("torch._utils._rebuild_tensor_v2", (storage, offset, size, stride, False, None))


@pytest.mark.parametrize(
    "contents",
    [
        tensor(Persistent(("storage", FLOATS, "0", "cpu", 10**9)), 0, (2,), (1,)),
        tensor(Persistent(("storage", FLOATS, "0", "cpu", 4)), 0, (1,), (1,)),  # without numbers
        tensor(Persistent(("file", "/etc/passwd")), 0, (1,), (1,)),
    ],
)
def test_storages_that_are_not_there(tmp_path, contents):
    with pytest.raises(ValueError, match="must be a whole file"):
        torch_pickles.read(write("older", tmp_path / "a", contents))


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [(0, (7,), (1,)), (5, (2,), (1,)), (-1, (1,), (1,)), (5, (2,), (-1,)), (0, (9, 9), (0, 0))],
)
def test_tensors_beyond_their_storage(tmp_path, offset, size, stride):
    storage = Call("torch.storage._load_from_bytes", (older_stream(np.zeros(6), storage=True),))
    with pytest.raises(ValueError, match="a tensor"):
        torch_pickles.read(write("plain", tmp_path / "a", tensor(storage, offset, size, stride)))


@pytest.mark.parametrize("form", ["older", "plain"])
def test_damage_is_an_error_or_other_numbers(tmp_path, form):
    path = write(form, tmp_path / "a", CONTENTS)
    data, errors = path.read_bytes(), 0
    for damaged in (*flips(data, 0, 200), *(data[:n] for n in range(1, len(data), 37))):
        path.write_bytes(damaged)
        try:
            torch_pickles.read(path)
        except ValueError as error:
            assert str(path) in str(error)
            errors += 1
    assert errors > 60
