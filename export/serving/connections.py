"""Ways to a served model: REST and gRPC behind one interface.

    with connect("http://localhost:8501/v1/models/oasis") as served:
        png = served.predict("png", {"label_map_bytes": [contents], "seed": [7]})["image_bytes"][0]

Both take and give dicts of arrays (strings: lists or arrays of bytes objects), may be used by
several threads at a time, and raise `ServingError` alone. What a busy or unreachable server causes
is tried again, by urllib3 and by gRPC itself: predictions change nothing on a server. REST needs no
TensorFlow; gRPC needs the extra `serving`, and its requests and answers are a third of the size for
float images.
"""

import base64
import functools
import json
import threading
from typing import NamedTuple

import numpy as np

_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 10.0  # seconds before a request is repeated
_MOST_THREADS = 256
_OF_THE_LOADER = "__saved_model"  # listed among the signatures, but not for clients
_STRING = np.dtype(object)
_DTYPES = {
    "DT_FLOAT": np.dtype(np.float32),
    "DT_DOUBLE": np.dtype(np.float64),
    "DT_INT32": np.dtype(np.int32),
    "DT_INT64": np.dtype(np.int64),
    "DT_STRING": _STRING,
}
# gRPC's names of what an HTTP status says.
_CODES = {
    200: "INTERNAL",  # an answer that is no JSON object
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_TRANSIENT = (429, 502, 503, 504)


class ServingError(Exception):
    """A request that was not answered with a result.

    Attributes:
        code: gRPC's name of the failure, also over REST.
        message: what the server (or the way to it) had to say.
    """

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class Signature(NamedTuple):
    """NumPy dtypes (object: strings) by name."""

    inputs: dict
    outputs: dict


def connect(url=None, address=None, *, model="oasis", timeout_s=60.0, retries=3):
    """A connection by REST (`url`) or gRPC (`address`).

    Args:
        url: of the model: http://HOST:PORT/v1/models/NAME, also with /versions/N.
        address: HOST:PORT.
        model: name, for gRPC.
        timeout_s: longest silence of the server (REST), or time for an answer with all
            repetitions (gRPC).
        retries: most repetitions of a request; gRPC does 4 at most.

    Raises:
        ValueError: both or neither, or a URL of another form.
    """
    if bool(url) == bool(address):
        raise ValueError(
            "Name the server either by --url (REST) or by --grpc. "
            f"Received: {'both' if url else 'neither'}."
        )
    if url:
        return RestConnection(url, timeout_s, retries)
    return GrpcConnection(address, model, timeout_s, retries)


class _Connection:
    def __init__(self):
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
        return self._ask_signatures()

    def predict(self, signature, inputs):
        """Outputs of a signature, dict of arrays.

        Args:
            signature: its name.
            inputs: dict from names to arrays or lists, which get the signature's dtypes.

        Raises:
            ServingError: refused, or no answer after all retries.
        """
        if signature not in self.signatures:
            raise ServingError(
                "NOT_FOUND",
                f"The model has no signature {signature}. It has: "
                f"{', '.join(sorted(self.signatures))}.",
            )
        known = self.signatures[signature].inputs
        if set(inputs) != set(known):
            raise ServingError(
                "INVALID_ARGUMENT",
                f"Signature {signature} takes the inputs {', '.join(known)}. "
                f"Received: {', '.join(inputs) or 'none'}.",
            )
        arrays = {name: _array(value, known[name]) for name, value in inputs.items()}
        return self._predict(signature, arrays)


def _array(value, dtype):
    if dtype != _STRING or isinstance(value, np.ndarray):
        return np.asarray(value, dtype)
    array = np.empty(len(value), object)  # NumPy's own arrays of bytes lose zeros at their ends
    array[:] = value
    return array


class RestConnection(_Connection):
    """See `connect`; the module's docstring has an example."""

    def __init__(self, url, timeout_s=60.0, retries=3):
        import urllib3

        super().__init__()
        self.url = url.rstrip("/")
        if not self.url.startswith(("http://", "https://")) or "/v1/models/" not in self.url:
            raise ValueError(
                f"A model's URL has the form http://HOST:PORT/v1/models/NAME. Received: {url}"
            )
        self._errors = urllib3.exceptions
        repeated = urllib3.Retry(
            retries,
            allowed_methods=None,  # POST, too
            status_forcelist=_TRANSIENT,
            raise_on_status=False,
            backoff_factor=_FIRST_PAUSE,
            backoff_jitter=_FIRST_PAUSE,
            backoff_max=_LONGEST_PAUSE,
        )
        self._pool = urllib3.PoolManager(
            timeout=timeout_s,
            retries=repeated,
            maxsize=_MOST_THREADS,
            headers={"Content-Type": "application/json"},
        )

    def close(self):
        """Ends the connections."""
        self._pool.clear()

    def _ask_signatures(self):
        answer = self._ask("GET", "/metadata")
        try:
            found = answer["metadata"]["signature_def"]["signature_def"]
            return {
                name: Signature(_dtypes(entry["inputs"]), _dtypes(entry["outputs"]))
                for name, entry in found.items()
                if not name.startswith(_OF_THE_LOADER)
            }
        except (KeyError, TypeError, AttributeError) as error:
            message = f"{self.url}/metadata does not answer like TensorFlow Serving: {error!r}"
            raise ServingError("INTERNAL", message) from error

    def _predict(self, signature, arrays):
        inputs = {name: _to_json(array) for name, array in arrays.items()}
        request = {"signature_name": signature, "inputs": inputs}
        answer = self._ask("POST", ":predict", json.dumps(request).encode())
        outputs = self.signatures[signature].outputs
        try:
            columns = answer["outputs"]
            if len(outputs) == 1:  # an only output stands without its name
                columns = dict.fromkeys(outputs, columns)
            return {name: _from_json(columns[name], dtype) for name, dtype in outputs.items()}
        except (KeyError, TypeError, ValueError) as error:
            message = f"The answer is not TensorFlow Serving's form: {error!r}"
            raise ServingError("INTERNAL", message) from error

    def _ask(self, method, path, body=None):
        """The parsed answer."""
        try:
            response = self._pool.request(method, self.url + path, body=body, redirect=False)
        except self._errors.HTTPError as error:
            reason = getattr(error, "reason", None) or error
            nobody = isinstance(reason, self._errors.NewConnectionError)  # a TimeoutError, too
            late = isinstance(reason, self._errors.TimeoutError) and not nobody
            code = "DEADLINE_EXCEEDED" if late else "UNAVAILABLE"
            raise ServingError(code, f"No answer from {self.url}: {reason}") from error
        try:
            answer = json.loads(response.data)
        except ValueError:
            answer = response.data[:200].decode(errors="replace")
        if response.status == 200 and isinstance(answer, dict):
            return answer
        text = answer.get("error", answer) if isinstance(answer, dict) else answer
        code = _CODES.get(response.status, "UNKNOWN")
        raise ServingError(code, f"HTTP {response.status}: {text}")


def _dtypes(described):
    return {name: _DTYPES[info["dtype"]] for name, info in described.items()}


def _to_json(array):
    if array.dtype != _STRING:
        return array.tolist()
    return [{"b64": base64.b64encode(contents).decode("ascii")} for contents in array]


def _from_json(values, dtype):
    if dtype != _STRING:
        return np.array(values, dtype)
    return _array([base64.b64decode(value["b64"], validate=True) for value in values], dtype)


class GrpcConnection(_Connection):
    """See `connect`; needs the extra `serving`."""

    def __init__(self, address, model="oasis", timeout_s=60.0, retries=3):
        from export.serving import protos

        super().__init__()
        self._protos, self._model, self._timeout_s = protos, model, timeout_s
        # gRPC's own limit is 4 MiB, less than a float image of 640x640.
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        if retries:
            options.append(("grpc.service_config", json.dumps(_service_config(retries))))
        self._channel = protos.grpc.insecure_channel(address, options=options)
        self._stub = protos.prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def close(self):
        """Ends the connection."""
        self._channel.close()

    def _ask_signatures(self):
        request = self._protos.get_model_metadata_pb2.GetModelMetadataRequest()
        request.model_spec.name = self._model
        request.metadata_field.append("signature_def")
        answer = self._ask(self._stub.GetModelMetadata, request)
        found = self._protos.get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(found)
        return {
            name: Signature(self._dtypes(entry.inputs), self._dtypes(entry.outputs))
            for name, entry in found.signature_def.items()
            if not name.startswith(_OF_THE_LOADER)
        }

    def _dtypes(self, described):
        as_dtype = self._protos.tf.dtypes.as_dtype
        return {k: np.dtype(as_dtype(info.dtype).as_numpy_dtype) for k, info in described.items()}

    def _predict(self, signature, arrays):
        request = self._protos.predict_request(self._model, signature, arrays)
        return self._protos.arrays(self._ask(self._stub.Predict, request).outputs)

    def _ask(self, method, request):
        try:
            return method(request, timeout=self._timeout_s)
        except self._protos.grpc.RpcError as error:
            raise ServingError(error.code().name, error.details()) from error


def _service_config(retries):
    policy = {
        "maxAttempts": retries + 1,
        "initialBackoff": f"{_FIRST_PAUSE}s",
        "maxBackoff": f"{_LONGEST_PAUSE}s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
    }
    return {"methodConfig": [{"name": [{}], "retryPolicy": policy}]}
