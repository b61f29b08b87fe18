"""Ways to a served model: REST and gRPC behind one interface, with time-outs and retries.

    with RestConnection("http://localhost:8501/v1/models/oasis") as served:
        png = served.predict("png", {"label_map_bytes": [contents], "seed": [7]})["image_bytes"][0]

Both take and give dicts of arrays (strings: lists or arrays of bytes objects), may be used by
several threads at a time, and raise `ServingError` alone. REST needs no TensorFlow; gRPC needs the
extra `serving`, and its requests and answers are a third of the size for float images.
"""

import functools
import json
import threading
import time
from typing import NamedTuple

import numpy as np

from export.serving import rest_rules
from export.serving.errors import ServingError, code_of_status
from export.serving.retries import Retries

MAX_ANSWER = 2**29  # bytes
_PIECE = 2**16


class Tensor(NamedTuple):
    """NumPy dtype of an input or output (object: strings)."""

    dtype: np.dtype


class Signature(NamedTuple):
    """Dicts of `Tensor` by name."""

    inputs: dict
    outputs: dict


def connect(url=None, address=None, *, model="oasis", timeout_s=60.0, retries=None):
    """A connection by REST (`url`) or gRPC (`address`).

    Args:
        url: of the model: http://HOST:PORT/v1/models/NAME, also with /versions/N.
        address: HOST:PORT.
        model: name, for gRPC.
        timeout_s: of every try.
        retries: `Retries`.

    Raises:
        ValueError: both or neither, or a URL of another form.
    """
    if bool(url) == bool(address):
        raise ValueError(
            "Name the server either by --url (REST) or by --grpc. "
            f"Received: {'both' if url else 'neither'}."
        )
    retries = retries or Retries()
    if url:
        return RestConnection(url, timeout_s, retries)
    return GrpcConnection(address, model, timeout_s, retries)


class _Connection:
    def __init__(self, timeout_s, retries):
        self._timeout_s, self._retries = timeout_s, retries
        self._lock = threading.Lock()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    @property
    def signatures(self):
        """Dict of `Signature` by name, asked for once."""
        with self._lock:
            return self._known_signatures

    @functools.cached_property
    def _known_signatures(self):
        return self._retries.call(self._ask_signatures, "metadata")

    def predict(self, signature, inputs, key=""):
        """Outputs of a signature, dict of arrays.

        Args:
            signature: its name.
            inputs: dict from names to arrays, or lists, which get the signature's dtype.
            key: tells the request from others, for the jitter of retries.

        Raises:
            ServingError: refused, or no answer after all retries.
        """
        if signature not in self.signatures:
            raise ServingError(
                "NOT_FOUND",
                f"The model has no signature {signature}. It has: {', '.join(self.signatures)}.",
            )
        described = self.signatures[signature].inputs
        inputs = {
            name: _listed(value, described[name].dtype)
            if isinstance(value, list) and name in described
            else value
            for name, value in inputs.items()
        }
        return self._retries.call(lambda: self._predict(signature, inputs), key)


def _listed(values, dtype):
    if dtype.kind != "O":
        return np.array(values, dtype)
    array = np.empty(len(values), object)  # NumPy's own arrays of bytes lose zeros at their ends
    array[:] = values
    return array


class RestConnection(_Connection):
    """See `connect`; the module's docstring has an example."""

    def __init__(self, url, timeout_s=60.0, retries=None):
        super().__init__(timeout_s, retries or Retries())
        self.url = url.rstrip("/")
        if not self.url.startswith(("http://", "https://")) or "/v1/models/" not in self.url:
            raise ValueError(
                f"A model's URL has the form http://HOST:PORT/v1/models/NAME. Received: {url}"
            )
        self._local, self._sessions = threading.local(), []

    def close(self):
        """Ends the connections."""
        for session in self._sessions:
            session.close()

    def status(self):
        """What the server tells of the model's versions, a list of dicts."""
        return self._retries.call(lambda: self._ask("GET", ""), "status")["model_version_status"]

    def _ask_signatures(self):
        answer = self._ask("GET", "/metadata")
        try:
            found = answer["metadata"]["signature_def"]["signature_def"]
            return {
                name: Signature(_tensors(entry["inputs"]), _tensors(entry["outputs"]))
                for name, entry in found.items()
                if not name.startswith("__saved_model")
            }
        except (KeyError, TypeError, AttributeError) as error:
            message = f"{self.url}/metadata does not answer like TensorFlow Serving: {error!r}"
            raise ServingError("INTERNAL", message) from error

    def _predict(self, signature, inputs):
        request = rest_rules.write_request(signature, inputs)
        answer = self._ask("POST", ":predict", json.dumps(request).encode())
        return rest_rules.read_answer(answer, self._known_signatures[signature].outputs)

    def _ask(self, method, path, body=None):
        """The parsed answer."""
        import requests
        import urllib3

        deadline = time.monotonic() + self._timeout_s
        try:
            with self._session().request(
                method, self.url + path, data=body, timeout=self._timeout_s, stream=True,
                allow_redirects=False,
            ) as response:  # fmt: skip
                contents = _read(response, deadline)
        except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
            raise self._too_late() from error
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise ServingError("UNAVAILABLE", f"No answer from {self.url}: {error}") from error
        if contents is None:
            raise self._too_late()
        return _parsed(response.status_code, contents)

    def _too_late(self):
        message = f"No whole answer from {self.url} in {self._timeout_s:g} s."
        return ServingError("DEADLINE_EXCEEDED", message)

    def _session(self):
        """Of this thread: `requests` does not promise that threads may share one."""
        if not hasattr(self._local, "session"):
            import requests

            session = self._local.session = requests.Session()
            session.trust_env = False  # neither proxies nor passwords of the environment
            session.headers["Content-Type"] = "application/json"
            session.headers["Accept-Encoding"] = "identity"  # pictures are compressed already
            self._sessions.append(session)
        return self._local.session


def _read(response, deadline):
    """The body, or None if it takes longer: a time-out of `requests` is for every piece alone."""
    received = bytearray()
    while piece := response.raw.read1(_PIECE):  # what has come, without waiting for more
        received += piece
        if time.monotonic() > deadline:
            return None
        if len(received) > MAX_ANSWER:
            raise ServingError("INTERNAL", f"The answer has more than {MAX_ANSWER:,} bytes.")
    return bytes(received)


def _parsed(status, contents):
    try:
        answer = json.loads(contents)
    except ValueError:
        answer = None
    if status == 200 and isinstance(answer, dict) and "error" not in answer:
        return answer
    known = isinstance(answer, dict) and "error" in answer
    text = str(answer["error"]) if known else contents[:200].decode(errors="replace")
    code = code_of_status(status) if status != 200 else "INTERNAL"
    raise ServingError(code, f"HTTP {status}: {text}")


def _tensors(described):
    names = {name: dtype for dtype, name in rest_rules.DTYPE_NAMES.items()}
    return {name: Tensor(np.dtype(names[info["dtype"]])) for name, info in described.items()}


class GrpcConnection(_Connection):
    """See `connect`; needs the extra `serving`."""

    def __init__(self, address, model="oasis", timeout_s=60.0, retries=None):
        from export.serving import protos

        super().__init__(timeout_s, retries or Retries())
        self._protos, self._grpc, self._model = protos, protos.grpc, model
        self.address = address
        self._channel = protos.grpc.insecure_channel(address, options=protos.GRPC_OPTIONS)
        self._predictions = protos.prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = protos.model_service_pb2_grpc.ModelServiceStub(self._channel)

    def close(self):
        """Ends the connection."""
        self._channel.close()

    def status(self):
        """What the server tells of the model's versions, a list of dicts as by REST."""
        request = self._protos.get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = self._model
        answer = self._retries.call(lambda: self._ask(self._models.GetModelStatus, request))
        state = type(answer.model_version_status[0]).State.Name
        return [
            {"version": str(version.version), "state": state(version.state)}
            for version in answer.model_version_status
        ]

    def _ask_signatures(self):
        request = self._protos.get_model_metadata_pb2.GetModelMetadataRequest()
        request.model_spec.name = self._model
        request.metadata_field.append("signature_def")
        answer = self._ask(self._predictions.GetModelMetadata, request)
        found = self._protos.get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(found)
        return {
            name: Signature(self._tensors(entry.inputs), self._tensors(entry.outputs))
            for name, entry in found.signature_def.items()
            if not name.startswith("__saved_model")
        }

    def _tensors(self, described):
        as_dtype = self._protos.tf.dtypes.as_dtype
        return {
            name: Tensor(np.dtype(as_dtype(info.dtype).as_numpy_dtype))
            for name, info in described.items()
        }

    def _predict(self, signature, inputs):
        try:
            request = self._protos.predict_request(self._model, signature, inputs)
        except (TypeError, ValueError) as error:
            raise ServingError("INVALID_ARGUMENT", f"No tensors: {error}") from error
        return self._protos.arrays(self._ask(self._predictions.Predict, request).outputs)

    def _ask(self, method, request):
        try:
            return method(request, timeout=self._timeout_s)
        except self._grpc.RpcError as error:
            raise ServingError(error.code().name, error.details()) from error
