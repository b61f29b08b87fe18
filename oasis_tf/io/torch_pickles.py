"""Reads PyTorch's files, and pickles that hold tensors, without PyTorch. No code in a file is run.

A pickle is a program: it names functions and classes and calls them. Here it gets none of them.
What it may name is one of

* what builds a tensor, for which this module has its own functions, with arrays of NumPy;
* a class of a third party, in whose place it gets an inert record (``Inert``);
* a few harmless types of Python.

Anything else is refused by its name. That includes all of Python's standard library, and what
PyTorch and NumPy have beside tensors, where functions are that run code.

Three kinds of files are read: PyTorch's zip files, the older stream of pickles followed by raw
data, and plain pickles.
"""

import collections
import io
import math
import pickle
import sys
import zipfile

import numpy as np

from oasis_tf.io.pth_files import check_checksums

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
# Of these packages only what is listed here gets an inert record.
_RECORDS = {
    "torch": ("device", "Size", "dtype", "float16", "float32", "float64", "int32", "int64"),
    "numpy": (
        *("dtype", "ndarray", "core.multiarray.scalar", "_core.multiarray.scalar"),
        *("core.multiarray._reconstruct", "_core.multiarray._reconstruct"),
    ),
    "argparse": ("Namespace",),
    "pathlib": ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path"),
}


class Inert(dict):
    """What a file has in the place of an object of a class that is not loaded.

    Attributes:
        attributes: dict, its state, as far as that is a dict.
    """

    name = "?"

    def __init__(self, *_, **__):
        super().__init__()
        self.attributes = {}

    def __setstate__(self, state):
        self.attributes = state if isinstance(state, dict) else {}

    def append(self, *_):
        """Does nothing: items of lists are not kept."""

    extend = append
    __hash__ = object.__hash__
    __eq__ = object.__eq__


class _Refused(Exception):
    """A name that a file must not ask for."""


def read(path):
    """Reads a file.

    Args:
        path: str.

    Returns:
        what it holds: tensors are NumPy arrays, objects of unknown classes ``Inert``.

    Raises:
        ValueError: the file asks for something that is neither a tensor nor harmless, or it is
            damaged or something else.
        OSError: it cannot be read.
    """
    check_checksums(path)
    with open(path, "rb") as file:
        data = file.read()
    try:
        if data.startswith(b"PK\x03\x04"):
            return _of_zip(data)
        return _of_stream(data)
    except _Refused as error:
        raise ValueError(
            f"{path} must hold nothing but tensors and settings: it is a pickle, which can run any "
            f"code, and none of it is run. Received: a file that asks for {error}. Do not open it "
            "with anything else unless you trust where it comes from."
        ) from error
    except Exception as error:  # damaged or hostile bytes can raise anything
        raise ValueError(
            f"{path} must be a whole file of torch.save, or a pickle of networks. Received: a file "
            f"that fails with {type(error).__name__} ({error}). Copy or download it again."
        ) from error


def _of_zip(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        folder = pickled.removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist():
            order = archive.read(f"{folder}byteorder")
            if order != b"little":
                raise ValueError(f"the byte order {order}")
        if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
            raise ValueError("compressed parts, which PyTorch does not write")

        def storage(kind, key, size):
            array = np.frombuffer(bytearray(archive.read(f"{folder}data/{key}")), kind)
            if len(array) != size:
                raise ValueError(f"{len(array)} numbers in storage {key} in place of {size}")
            return array

        return _Unpickler(io.BytesIO(archive.read(pickled)), storage).load()


def _of_stream(data):
    """Older files begin with a number; what begins with anything else is a plain pickle."""
    file = io.BytesIO(data)
    first = _Unpickler(file).load()
    if first != _MAGIC or not isinstance(first, int):
        return first
    return _older(file, len(data))


def _older(file, size):
    """What stands behind the magic number of the older stream."""
    version, system = _Unpickler(file).load(), _Unpickler(file).load()
    if version != _VERSION or not system.get("little_endian", True):
        raise ValueError(f"version {version}, {system}")
    left = size

    def storage(kind, _, count):
        nonlocal left
        left -= np.dtype(kind).itemsize * count
        if left < 0:
            raise ValueError("storages that are larger than the file")
        return np.empty(count, kind)

    unpickler = _Unpickler(file, storage)
    found, keys = unpickler.load(), _Unpickler(file).load()
    for key in keys:  # the numbers come after what is built of them
        array = unpickler.storages[key]
        (count,) = np.frombuffer(file.read(8), "<i8")
        if count != len(array):
            raise ValueError(f"{count} numbers in storage {key} in place of {len(array)}")
        array[:] = np.frombuffer(file.read(array.nbytes), array.dtype)
    if set(keys) != set(unpickler.storages):
        raise ValueError("storages without numbers")
    return found


class _Unpickler(pickle._Unpickler):
    """Builds tensors, containers of Python and ``Inert``.

    It is the one written in Python: the one in C reserves memory up to whatever number a damaged
    file gives to an object.

    Args:
        file: binary file.
        storage: function of (dtype, key, count) -> array [count]; default: there are no storages.
    """

    def __init__(self, file, storage=None):
        super().__init__(file)
        self._storage, self.storages = storage, {}

    def find_class(self, module, name):
        full = f"{module}.{name}"
        if full in _KNOWN:
            return _KNOWN[full]
        package, _, rest = full.partition(".")
        if package == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if package in _RECORDS and rest in _RECORDS[package]:
            return _inert(full)
        standard = package in sys.stdlib_module_names or package in ("__builtin__", "copy_reg")
        if standard or package in _RECORDS or not package:
            raise _Refused(full)
        return _inert(full)

    def persistent_load(self, saved):
        kind, dtype, key, _, count, *view = saved
        if kind != "storage" or self._storage is None or any(x is not None for x in view):
            raise ValueError(f"a tensor stored as {kind!r} with {view}")
        if dtype not in _STORAGES.values():
            raise ValueError(f"a storage of {dtype}")
        if key not in self.storages:
            self.storages[key] = self._storage(dtype, key, count)
        return self.storages[key]


def _inert(name):
    return type("Inert", (Inert,), {"name": name})


def _tensor(storage, offset, size, stride, *_):
    """A tensor as an array: ``torch._utils._rebuild_tensor_v2``."""
    size, stride = [int(n) for n in size], [int(n) for n in stride]
    count = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if offset < 0 or min(size + stride, default=0) < 0 or count > len(storage):
        raise ValueError(f"a tensor of the size {size} and strides {stride}")
    if count and last >= len(storage):
        raise ValueError("a tensor beyond its storage")
    if not count:
        return np.zeros(size, storage.dtype)
    steps = [n * storage.itemsize for n in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps)


def _parameter(tensor, *_):
    return tensor


def _storage_of(data):
    """``torch.storage._load_from_bytes``: a file within a file."""
    found = _of_stream(bytes(data))
    if not isinstance(found, np.ndarray):
        raise ValueError("a file within the file that holds no numbers")
    return found


def _state_of(meta):
    """A network of NVlabs' ``persistence``: its source text is neither run nor read."""
    return {"class_name": meta.get("class_name"), "state": meta.get("state")}


def _encoded(text, encoding):
    """``_codecs.encode``, of which old pickles make bytes."""
    if encoding != "latin1":
        raise ValueError(f"the encoding {encoding}")
    return text.encode("latin1")


def _builder(function):
    """A callable without attributes, so that a file cannot change any."""

    class Builder:
        __slots__ = ()

        def __call__(self, *args):
            return function(*args)

    return Builder()


_BUILDERS = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.storage._load_from_bytes": _storage_of,
    "torch_utils.persistence._reconstruct_persistent_obj": _state_of,
    "_codecs.encode": _encoded,
}
_KNOWN = {
    "collections.OrderedDict": collections.OrderedDict,
    "builtins.set": set,
    "__builtin__.set": set,
    **{name: _builder(function) for name, function in _BUILDERS.items()},
}
