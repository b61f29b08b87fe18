"""SavedModels through TensorFlow's C API: the loader that TensorFlow Serving has, without Python's.

`tensorflow` is not imported, only the libraries of its installed package are opened. So what runs
here needs neither Keras nor this project, and errors are those that a server would answer with.

    with SavedModelSession("oasis/1") as session:
        outputs = session.run("serving_default", {"label_map": label_map, "seed": seed})
"""

import ctypes
import functools
import importlib.util
import math
import os
from typing import NamedTuple

import numpy as np

_STRING = 7
# Numbers of types in TensorFlow's `types.proto`. Strings are arrays of bytes objects.
_DTYPES = {
    1: np.dtype(np.float32),
    2: np.dtype(np.float64),
    3: np.dtype(np.int32),
    4: np.dtype(np.uint8),
    5: np.dtype(np.int16),
    6: np.dtype(np.int8),
    _STRING: np.dtype(object),
    9: np.dtype(np.int64),
    10: np.dtype(np.bool_),
    17: np.dtype(np.uint16),
    19: np.dtype(np.float16),
    22: np.dtype(np.uint32),
    23: np.dtype(np.uint64),
}
_NUMBERS = {dtype: number for number, dtype in _DTYPES.items()}


class TensorFlowError(RuntimeError):
    """What TensorFlow answered instead of a result.

    Attributes:
        code: int, of its `Code`: 3 invalid argument, 5 not found, 8 resource exhausted, ….
    """

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class TensorInfo(NamedTuple):
    """An input or output: its name in the graph, NumPy dtype (object: bytes), shape (-1: any)."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...] | None


class Signature(NamedTuple):
    """Inputs and outputs, dicts of `TensorInfo` by name, and the method's name."""

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]
    method: str


class SavedModelSession:
    """A loaded SavedModel; threads may run it at the same time.

    Args:
        path: folder of one version, with `saved_model.pb`.
        tags: names of the wanted graph.

    Attributes:
        signatures: dict from names to `Signature`.
        meta_graph: bytes, the serialised `MetaGraphDef`.

    Raises:
        TensorFlowError: no such model.
        OSError: TensorFlow is not installed, or its libraries cannot be opened.
    """

    def __init__(self, path, tags=("serve",)):
        self._tf, self._session, self._graph = _library(), None, None
        names = (ctypes.c_char_p * len(tags))(*(tag.encode() for tag in tags))
        buffer, options = self._tf.TF_NewBuffer(), self._tf.TF_NewSessionOptions()
        self._graph = self._tf.TF_NewGraph()
        try:
            self._session = self._checked(
                self._tf.TF_LoadSessionFromSavedModel,
                *(options, None, os.fsencode(path), names, len(tags), self._graph, buffer),
            )
            self.meta_graph = ctypes.string_at(buffer.contents.data, buffer.contents.length)
        except TensorFlowError:
            self.close()
            raise
        finally:
            self._tf.TF_DeleteBuffer(buffer)
            self._tf.TF_DeleteSessionOptions(options)
        self.signatures = _signatures(self.meta_graph)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        """Frees the model; no thread may be in `run` or call it afterwards."""
        session, self._session = self._session, None
        graph, self._graph = self._graph, None
        if session:
            self._checked(self._tf.TF_CloseSession, session)
            self._checked(self._tf.TF_DeleteSession, session)
        if graph:
            self._tf.TF_DeleteGraph(graph)

    def run(self, signature, inputs):
        """Calls a signature.

        Args:
            signature: its name.
            inputs: dict from names to arrays of the signature's dtypes. Strings are bytes objects
                in lists or in arrays of objects: NumPy's own arrays of bytes lose zeros at the end.

        Returns:
            dict from names to arrays; strings as arrays of bytes objects.

        Raises:
            ValueError: no such signature, or inputs of other names or dtypes.
            TensorFlowError: what the graph refused.
        """
        info = self._signature(signature, inputs)
        arrays = [_array(name, inputs[name], tensor) for name, tensor in info.inputs.items()]
        feeds, fetches = self._ports(info.inputs), self._ports(info.outputs)
        given, results = (ctypes.c_void_p * len(feeds))(), (ctypes.c_void_p * len(fetches))()
        try:
            for k, array in enumerate(arrays):
                given[k] = self._tensor(array)
            self._checked(
                self._tf.TF_SessionRun,
                *(self._session, None, feeds, given, len(feeds)),
                *(fetches, results, len(fetches), None, 0, None),
            )
            return {name: self._value(results[k]) for k, name in enumerate(info.outputs)}
        finally:
            for tensor in (*given, *results):
                if tensor:
                    self._tf.TF_DeleteTensor(tensor)

    def _signature(self, name, inputs):
        if self._session is None:
            raise ValueError("The session is closed.")
        if name not in self.signatures:
            raise ValueError(
                f"The model has no signature {name!r}. It has: {', '.join(self.signatures)}."
            )
        info = self.signatures[name]
        if set(inputs) != set(info.inputs):
            raise ValueError(
                f"Signature {name} takes the inputs {', '.join(info.inputs)}. "
                f"Received: {', '.join(inputs) or 'none'}."
            )
        return info

    def _ports(self, tensors):
        """Where in the graph tensors are fed or fetched."""
        ports = (_Output * len(tensors))()
        for port, info in zip(ports, tensors.values(), strict=True):
            name, _, index = info.name.partition(":")
            port.operation = self._tf.TF_GraphOperationByName(self._graph, name.encode())
            port.index = int(index or 0)
        return ports

    def _tensor(self, array):
        """A copy of an array as TensorFlow's own; strings are views of the array's bytes."""
        sizes = (ctypes.c_int64 * array.ndim)(*array.shape)
        strings = array.dtype.hasobject
        size = array.size * ctypes.sizeof(_String) if strings else array.nbytes
        tensor = self._tf.TF_AllocateTensor(_NUMBERS[array.dtype], sizes, array.ndim, size)
        data = self._tf.TF_TensorData(tensor)
        if not strings:
            ctypes.memmove(data, array.ctypes.data, size)
            return tensor
        for k, text in enumerate(array.flat):
            string = data + k * ctypes.sizeof(_String)
            self._tf.TF_StringInit(string)
            self._tf.TF_StringAssignView(string, text, len(text))
        return tensor

    def _value(self, tensor):
        """An array with a tensor's values."""
        dtype = _DTYPES[self._tf.TF_TensorType(tensor)]
        axes = range(self._tf.TF_NumDims(tensor))
        shape = tuple(self._tf.TF_Dim(tensor, axis) for axis in axes)
        data, values = self._tf.TF_TensorData(tensor), np.empty(shape, dtype)
        if not dtype.hasobject:
            ctypes.memmove(values.ctypes.data, data, values.nbytes)
            return values
        for k in range(math.prod(shape)):
            string = data + k * ctypes.sizeof(_String)
            start = self._tf.TF_StringGetDataPointer(string)
            values.flat[k] = ctypes.string_at(start, self._tf.TF_StringGetSize(string))
        return values

    def _checked(self, function, *arguments):
        """Calls a function whose last argument is a status, which it raises."""
        status = self._tf.TF_NewStatus()
        try:
            result = function(*arguments, status)
            code = self._tf.TF_GetCode(status)
            if code:
                message = self._tf.TF_Message(status).decode(errors="replace")
                raise TensorFlowError(code, message)
            return result
        finally:
            self._tf.TF_DeleteStatus(status)


def _array(name, value, info):
    """``value`` as an array that can be given to TensorFlow as it is."""
    if info.dtype.hasobject:
        array = np.asarray(value, None if isinstance(value, np.ndarray) else object)
        if not array.dtype.hasobject or not all(isinstance(text, bytes) for text in array.flat):
            raise ValueError(
                f"`{name}` must be bytes objects, in a list or an array of objects. "
                f"Received: dtype={array.dtype}."
            )
        return array
    array = np.asarray(value)
    if array.dtype != info.dtype:
        raise ValueError(f"`{name}` must be {info.dtype}. Received: dtype={array.dtype}.")
    return np.asarray(array, order="C")


# === The library ===


class _Buffer(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("deallocator", ctypes.c_void_p),
    ]


class _Output(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


_String = ctypes.c_byte * 24  # TF_TString

_POINTER, _TEXT, _INT, _SIZE = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t
_FUNCTIONS = {
    "TF_NewStatus": (_POINTER,),
    "TF_DeleteStatus": (None, _POINTER),
    "TF_GetCode": (_INT, _POINTER),
    "TF_Message": (_TEXT, _POINTER),
    "TF_NewBuffer": (ctypes.POINTER(_Buffer),),
    "TF_DeleteBuffer": (None, ctypes.POINTER(_Buffer)),
    "TF_NewGraph": (_POINTER,),
    "TF_DeleteGraph": (None, _POINTER),
    "TF_NewSessionOptions": (_POINTER,),
    "TF_DeleteSessionOptions": (None, _POINTER),
    "TF_LoadSessionFromSavedModel": (
        *(_POINTER, _POINTER, _POINTER, _TEXT, _POINTER, _INT, _POINTER),
        *(ctypes.POINTER(_Buffer), _POINTER),
    ),
    "TF_CloseSession": (None, _POINTER, _POINTER),
    "TF_DeleteSession": (None, _POINTER, _POINTER),
    "TF_SessionRun": (
        *(None, _POINTER, _POINTER, _POINTER, _POINTER, _INT, _POINTER, _POINTER, _INT),
        *(_POINTER, _INT, _POINTER, _POINTER),
    ),
    "TF_GraphOperationByName": (_POINTER, _POINTER, _TEXT),
    "TF_AllocateTensor": (_POINTER, _INT, _POINTER, _INT, _SIZE),
    "TF_DeleteTensor": (None, _POINTER),
    "TF_TensorType": (_INT, _POINTER),
    "TF_NumDims": (_INT, _POINTER),
    "TF_Dim": (ctypes.c_int64, _POINTER, _INT),
    "TF_TensorData": (_POINTER, _POINTER),
    "TF_StringInit": (None, _POINTER),
    "TF_StringAssignView": (None, _POINTER, _TEXT, _SIZE),
    "TF_StringGetDataPointer": (_POINTER, _POINTER),
    "TF_StringGetSize": (_SIZE, _POINTER),
}


@functools.cache
def _library():
    spec = importlib.util.find_spec("tensorflow")
    if spec is None:
        raise OSError("TensorFlow is not installed: `pip install tensorflow`.")
    folders = spec.submodule_search_locations  # several, once TensorFlow is imported
    names = ("libtensorflow_cc.so.2", "libtensorflow_cc.2.dylib")
    paths = [os.path.join(folder, name) for folder in folders for name in names]
    path = next(filter(os.path.exists, paths), None)
    if path is None:
        raise OSError(f"TensorFlow's package has another form: no {names[0]} in {folders[0]}.")
    library = ctypes.CDLL(path)
    for name, (result, *arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


# === Protocol buffers, as far as signatures need them ===

_SIGNATURES = 5  # of MetaGraphDef
_INITIALISER = "__saved_model_init_op"  # listed among the signatures, but of the loader's


def _signatures(meta_graph):
    found = {}
    for entry in map(_fields, _fields(meta_graph).get(_SIGNATURES, ())):
        name = entry[1][0].decode()
        if name == _INITIALISER:
            continue
        signature = _fields(entry[2][0])
        found[name] = Signature(
            _tensors(signature.get(1, ())),
            _tensors(signature.get(2, ())),
            signature.get(3, [b""])[0].decode(),
        )
    return dict(sorted(found.items()))


def _tensors(entries):
    entries = [_fields(entry) for entry in entries]
    tensors = {entry[1][0].decode(): _tensor_info(_fields(entry[2][0])) for entry in entries}
    return dict(sorted(tensors.items()))


def _tensor_info(info):
    shape = _fields(info.get(3, [b""])[0])
    sizes = (_fields(dim).get(1, [0])[0] for dim in shape.get(2, ()))
    # Varints have no sign: -1 is the largest.
    signed = tuple(size - 2**64 if size >= 2**63 else size for size in sizes)
    return TensorInfo(
        info[1][0].decode(), _DTYPES[info[2][0]], None if shape.get(3, [0])[0] else signed
    )


def _fields(message):
    """Fields of a serialised message: dict from numbers to lists of ints or bytes."""
    found, position = {}, 0
    while position < len(message):
        key, position = _varint(message, position)
        kind = key & 7
        if kind == 0:
            value, position = _varint(message, position)
        else:
            size = {1: 8, 5: 4}.get(kind)
            if kind == 2:
                size, position = _varint(message, position)
            if size is None:
                raise ValueError(f"A serialised message has fields of type {kind}.")
            value, position = message[position : position + size], position + size
        found.setdefault(key >> 3, []).append(value)
    return found


def _varint(message, position):
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
