"""Servers with TensorFlow Serving's REST form and its gRPC services, for clients to be tested with.

They serve anything with `signatures` (as `tests.export.loading.LoadedModel` has them) and
`run(name, inputs)`; `Refused` or TensorFlow's errors raised there are answers.
"""

import base64
import concurrent.futures
import contextlib
import http.server
import json
import threading

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

NAME = "oasis"
PATH = f"/v1/models/{NAME}"
_DATA_TYPES = {
    "float32": "DT_FLOAT",
    "float64": "DT_DOUBLE",
    "int32": "DT_INT32",
    "int64": "DT_INT64",
    "object": "DT_STRING",
}
STATUS = {
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


class Refused(Exception):
    """A request that is answered with an error: gRPC's name of it, and words."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def _run(model, name, inputs):
    if name not in model.signatures:
        raise Refused("INVALID_ARGUMENT", f'Serving signature name: "{name}" not found')
    if set(inputs) != set(model.signatures[name].inputs):
        raise Refused("INVALID_ARGUMENT", f"input size does not match signature: {set(inputs)}")
    try:
        return model.run(name, inputs)
    except tf.errors.OpError as error:
        raise Refused("INVALID_ARGUMENT", error.message) from error


# === REST ===


class RestServer(http.server.ThreadingHTTPServer):
    """Answers on 127.0.0.1 inside a `with` block; `url` is the model's."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, model):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.model = model
        self.url = f"http://127.0.0.1:{self.server_address[1]}{PATH}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exception):
        self.shutdown()
        self.server_close()

    def metadata(self):
        def described(infos):
            return {key: {"dtype": _DATA_TYPES[info.dtype.name]} for key, info in infos.items()}

        definitions = {
            name: {"inputs": described(one.inputs), "outputs": described(one.outputs)}
            for name, one in self.model.signatures.items()
        }
        loader = {"inputs": {}, "outputs": {"__saved_model_init_op": {"dtype": "DT_INVALID"}}}
        definitions["__saved_model_init_op"] = loader
        return {"metadata": {"signature_def": {"signature_def": definitions}}}

    def status(self):
        return {"model_version_status": [{"version": "1", "state": "AVAILABLE"}]}

    def predict(self, request):
        name = request.get("signature_name", "serving_default")
        signature = self.model.signatures.get(name)
        infos = signature.inputs if signature else {}
        if "instances" in request:
            rows = request["instances"]
            columns = {key: [row[key] for row in rows] for key in rows[0]}
        else:
            rows, columns = None, request["inputs"]
        inputs = {key: _from_json(columns[key], info.dtype) for key, info in infos.items()}
        outputs = {key: _to_json(value) for key, value in _run(self.model, name, inputs).items()}
        only = next(iter(outputs)) if len(outputs) == 1 else None
        if rows is None:
            return {"outputs": outputs[only] if only else outputs}
        found = [{key: outputs[key][k] for key in outputs} for k in range(len(rows))]
        return {"predictions": [row[only] for row in found] if only else found}


def _from_json(value, dtype):
    """An array; as TensorFlow Serving, no number is taken for one of another kind."""
    if dtype.hasobject:
        array = np.empty(len(value), object)
        array[:] = [base64.b64decode(one["b64"], validate=True) for one in value]
        return array
    array = np.array(value)
    if array.size and array.dtype.kind not in {"i": "i", "f": "if"}[dtype.kind]:
        raise Refused("INVALID_ARGUMENT", f"JSON Value is not of expected type: {dtype}")
    return array.astype(dtype)


def _to_json(array):
    if not array.dtype.hasobject:
        return array.tolist()
    return [{"b64": base64.b64encode(contents).decode()} for contents in array]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *_):
        """Nothing."""

    def do_GET(self):
        answers = {PATH: self.server.status, f"{PATH}/metadata": self.server.metadata}
        self._answer(answers.get(self.path))

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        predicts = self.path == f"{PATH}:predict"
        self._answer((lambda: self.server.predict(request)) if predicts else None)

    def _answer(self, work):
        try:
            if work is None:
                raise Refused("NOT_FOUND", f"Servable not found for request: {self.path}")
            status, contents = 200, work()
        except Refused as error:
            status, contents = STATUS[error.code], {"error": str(error)}
        body = json.dumps(contents).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):  # who asked may be gone
            self.wfile.write(body)


# === gRPC ===


@contextlib.contextmanager
def grpc_server(model):
    """Gives the address of TensorFlow Serving's prediction service on 127.0.0.1."""
    unlimited = [(f"grpc.max_{way}_message_length", -1) for way in ("receive", "send")]
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(16), options=unlimited)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Predictions(model), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(grace=1).wait()


class _Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, model):
        self._model = model

    def Predict(self, request, context):
        _check_name(request, context)
        inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
        try:
            outputs = _run(self._model, request.model_spec.signature_name, inputs)
        except Refused as error:
            context.abort(getattr(grpc.StatusCode, error.code), str(error))
        response = predict_pb2.PredictResponse()
        for key, value in outputs.items():
            response.outputs[key].CopyFrom(tf.make_tensor_proto(value))
        return response

    def GetModelMetadata(self, request, context):
        _check_name(request, context)
        found = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in self._model.signatures.items():
            definition = found.signature_def[name]
            for infos, tensors in (
                (signature.inputs, definition.inputs),
                (signature.outputs, definition.outputs),
            ):
                for key, info in infos.items():
                    tensors[key].dtype = tf.dtypes.as_dtype(info.dtype).as_datatype_enum
        found.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].dtype = 0
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(found)
        return response


def _check_name(request, context):
    if request.model_spec.name != NAME:
        context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found: {request.model_spec.name}")
