"""Writes pickles and PyTorch's files byte by byte, also such as no library would write."""

import struct
import zipfile
from typing import Any, NamedTuple

import numpy as np

_STORAGES = {"f2": "Half", "f4": "Float", "f8": "Double", "i8": "Long", "i4": "Int", "b1": "Bool"}


class Global(NamedTuple):
    """A function or class by its name."""

    name: str


class Call(NamedTuple):
    """What a function returns."""

    name: str
    args: tuple = ()


class New(NamedTuple):
    """An object of a class, with a state."""

    name: str
    state: Any


class Persistent(NamedTuple):
    """What lies outside of the pickle."""

    key: tuple


class Pickler:
    """Encodes Python objects.

    Args:
        inline: bool, whether numbers of tensors lie inside, as in a plain pickle.
    """

    def __init__(self, inline=False):
        self.inline, self.storages = inline, {}

    def dumps(self, value):
        """A whole pickle."""
        return b"\x80\x03" + self._of(value) + b"."

    def _of(self, value):
        if isinstance(value, np.ndarray):
            return self._of(self._tensor(value))
        if isinstance(value, Global):
            module, _, name = value.name.rpartition(".")
            return f"c{module}\n{name}\n".encode()
        if isinstance(value, Call):
            return self._of(Global(value.name)) + self._of(tuple(value.args)) + b"R"
        if isinstance(value, New):
            return self._of(Global(value.name)) + b")\x81" + self._of(value.state) + b"b"
        if isinstance(value, Persistent):
            return self._of(tuple(value.key)) + b"Q"
        return self._of_python(value)

    def _of_python(self, value):
        if isinstance(value, dict):
            return b"(" + b"".join(map(self._of, sum(value.items(), ()))) + b"d"
        if isinstance(value, (tuple, list)):
            end = b"t" if isinstance(value, tuple) else b"l"
            return b"(" + b"".join(map(self._of, value)) + end
        if isinstance(value, (str, bytes)):
            code, data = (b"X", value.encode()) if isinstance(value, str) else (b"B", value)
            return code + struct.pack("<I", len(data)) + data
        if value is None or isinstance(value, bool):
            return {None: b"N", True: b"\x88", False: b"\x89"}[value]
        if isinstance(value, float):
            return b"G" + struct.pack(">d", value)
        return f"L{value}L\n".encode()

    def _tensor(self, array):
        """Strides are kept, so that views are written as such."""
        strides = tuple(step // array.itemsize for step in array.strides)
        numbers = np.ravel(array, order="K")
        kind = Global(f"torch.{_STORAGES[array.dtype.str[1:]]}Storage")
        if self.inline:
            data = older_stream(numbers, storage=True)
            storage = Call("torch.storage._load_from_bytes", (data,))
        else:
            storage = self.storage(kind, numbers)
        rest = (0, array.shape, strides, False, Call("collections.OrderedDict"))
        return Call("torch._utils._rebuild_tensor_v2", (storage, *rest))

    def storage(self, kind, numbers):
        """Numbers outside of the pickle."""
        key = str(len(self.storages))
        self.storages[key] = numbers
        return Persistent(("storage", kind, key, "cpu", numbers.size))


def write_zip(path, contents):
    """A file of today's PyTorch."""
    pickler = Pickler()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickler.dumps(contents))
        archive.writestr("archive/byteorder", "little")
        for key, numbers in pickler.storages.items():
            archive.writestr(f"archive/data/{key}", numbers.tobytes())


def older_stream(contents, storage=False):
    """The bytes of a file of PyTorch before 1.6.

    Args:
        contents: what it holds.
        storage: bool, whether that is an array whose numbers alone are held.
    """
    pickler = Pickler()
    if storage:
        contents = pickler.storage(
            Global(f"torch.{_STORAGES[contents.dtype.str[1:]]}Storage"), contents
        )
        contents = Persistent((*contents.key, None))
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    parts = [0x1950A86A20F9469CFC6C, 1001, system, contents]
    data = b"".join(map(pickler.dumps, parts)) + pickler.dumps(list(pickler.storages))
    for numbers in pickler.storages.values():
        data += struct.pack("<q", numbers.size) + numbers.tobytes()
    return data


def plain(contents):
    """The bytes of a plain pickle."""
    return Pickler(inline=True).dumps(contents)
