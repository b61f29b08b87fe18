"""REST and gRPC over a real export, through the C++ loader, with the real service stubs."""

import http.client
import json
import os
import socket
import subprocess
import sys

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from export.serving import labels, rest_server, warmup
from export.serving.connections import GrpcConnection, RestConnection
from export.serving.retries import Retries

METHOD = "tensorflow/serving/predict"
DTYPES = {"DT_FLOAT", "DT_INT32", "DT_INT64", "DT_STRING"}


@pytest.fixture(scope="module")
def rest(served):
    with RestConnection(served.url, 120, Retries(0)) as connection:
        yield connection


@pytest.fixture(scope="module")
def by_grpc(served):
    with GrpcConnection(served.address, "oasis", 120, Retries(0)) as connection:
        yield connection


def examples(servable, exported):
    known = labels.read(exported)
    return {
        name: warmup.example(signature, known, seed=11)
        for name, signature in servable.signatures.items()
    }


def ask(served, method, path, body=None, headers=None):
    """Status and parsed answer of a plain HTTP request."""
    address = served.url.split("/")[2]
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_every_signature_is_batch_major_and_meant_for_predictions(servable):
    assert "serving_default" in servable.signatures
    for name, signature in servable.signatures.items():
        assert signature.method == METHOD, name
        for tensor, info in (signature.inputs | signature.outputs).items():
            assert info.shape[0] == -1, (name, tensor)
            # REST encodes an output of strings only if its name says so.
            assert (info.dtype == object) == tensor.endswith("_bytes"), (name, tensor)


@pytest.mark.parametrize(
    "names", [("serving_default", "png"), pytest.param(None, marks=pytest.mark.slow)]
)
def test_rest_grpc_and_the_session_give_the_same_bits(servable, exported, rest, by_grpc, names):
    for name, inputs in examples(servable, exported).items():
        if names and name not in names:
            continue  # a signature takes seconds when it is first run
        expected = servable.predict(name, inputs)
        for connection in (rest, by_grpc):
            found = connection.predict(name, inputs)
            assert set(found) == set(expected)
            for key, value in expected.items():
                np.testing.assert_array_equal(found[key], value, strict=True, err_msg=name)


def test_lists_get_the_dtypes_of_the_signature(rest, by_grpc):
    label_map = np.random.default_rng(2).integers(0, 5, (1, 64, 64), np.int32)
    wanted = rest.predict("serving_default", {"label_map": label_map, "seed": np.array([2])})
    for connection in (rest, by_grpc):
        found = connection.predict(
            "serving_default", {"label_map": label_map.tolist(), "seed": [2]}
        )
        np.testing.assert_array_equal(found["image"], wanted["image"])


def test_rest_rows_are_the_columns(served, model):
    label_map = np.random.default_rng(0).integers(0, 5, (2, 32, 64), np.int32)
    rows = [
        {"label_map": m.tolist(), "seed": s} for m, s in zip(label_map, (3, 2**40), strict=True)
    ]
    columns = {"label_map": label_map.tolist(), "seed": [3, 2**40]}
    path = "/v1/models/oasis:predict"
    status, in_rows = ask(served, "POST", path, json.dumps({"instances": rows}))
    assert status == 200
    status, in_columns = ask(
        served, "POST", "/v1/models/oasis/versions/1:predict", json.dumps({"inputs": columns})
    )
    assert status == 200
    assert in_rows["predictions"] == in_columns["outputs"]
    expected = model.generate(label_map, seed=np.array([3, 2**40]))
    np.testing.assert_array_equal(np.array(in_rows["predictions"], np.float32), expected)


def test_grpc_stubs(served, model):
    label_map = np.random.default_rng(1).integers(0, 5, (2, 64, 32), np.int32)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "oasis"
    request.inputs["label_map"].CopyFrom(tf.make_tensor_proto(label_map))
    request.inputs["seed"].CopyFrom(tf.make_tensor_proto([5, 6], tf.int64))
    with grpc.insecure_channel(served.address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        response = stub.Predict(request, timeout=60)
        image = tf.make_ndarray(response.outputs["image"])
        np.testing.assert_array_equal(image, model.generate(label_map, seed=np.array([5, 6])))
        assert response.model_spec.version.value == 1
        request.output_filter.append("image")
        assert set(stub.Predict(request, timeout=60).outputs) == {"image"}
        request.output_filter[0] = "picture"
        _refused(stub.Predict, request, "INVALID_ARGUMENT", "alias not found")
        del request.output_filter[:]
        _wrong_requests(stub, request)
        metadata = get_model_metadata_pb2.GetModelMetadataRequest()
        metadata.model_spec.name = "oasis"
        _refused(stub.GetModelMetadata, metadata, "INVALID_ARGUMENT", "must be signature_def")
        status = get_model_status_pb2.GetModelStatusRequest()
        status.model_spec.name = "oasis"
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        (version,) = models.GetModelStatus(status, timeout=60).model_version_status
        assert (version.version, version.State.Name(version.state)) == (1, "AVAILABLE")
        status.model_spec.name = "other"
        _refused(models.GetModelStatus, status, "NOT_FOUND", "Servable not found")


def _wrong_requests(stub, sound):
    def changed(change):
        request = predict_pb2.PredictRequest()
        request.CopyFrom(sound)
        change(request)
        return request

    def put(name, value, dtype=None):
        return changed(lambda r: r.inputs[name].CopyFrom(tf.make_tensor_proto(value, dtype)))

    for request, code, message in (
        (changed(lambda r: r.inputs.pop("seed")), "INVALID_ARGUMENT", "required: {seed}"),
        (put("more", 1), "INVALID_ARGUMENT", "Sent extra: {more}"),
        (put("seed", [5, 6], tf.int32), "INVALID_ARGUMENT", "seed"),
        (put("label_map", np.zeros((2, 64, 32), np.float32)), "INVALID_ARGUMENT", "label_map"),
        (put("label_map", np.zeros((2, 33, 32), np.int32)), "INVALID_ARGUMENT", "multiples of 32"),
        (put("label_map", np.full((2, 32, 32), 9, np.int32)), "INVALID_ARGUMENT", "model ids"),
        (put("seed", [[5, 6]], tf.int64), "INVALID_ARGUMENT", "seed"),
        (
            changed(lambda r: r.inputs["seed"].tensor_shape.dim[0].__setattr__("size", 99)),
            "INVALID_ARGUMENT",
            "`seed` is no whole tensor",
        ),
        (
            changed(lambda r: setattr(r.model_spec, "signature_name", "none")),
            "FAILED_PRECONDITION",
            'key "none" not found',
        ),
        (changed(lambda r: setattr(r.model_spec, "name", "x")), "NOT_FOUND", "Latest(x)"),
        (
            changed(lambda r: setattr(r.model_spec.version, "value", 2)),
            "NOT_FOUND",
            "Specific(oasis, 2)",
        ),
    ):
        _refused(stub.Predict, request, code, message)


def _refused(method, request, code, message):
    with pytest.raises(grpc.RpcError) as refused:
        method(request, timeout=60)
    assert refused.value.code().name == code
    assert message in refused.value.details()


def test_both_tell_the_same_signatures_and_status(rest, by_grpc, servable, served):
    assert rest.signatures == by_grpc.signatures
    for name, signature in servable.signatures.items():
        assert {k: v.dtype for k, v in signature.inputs.items()} == {
            k: v.dtype for k, v in rest.signatures[name].inputs.items()
        }
    (version,) = rest.status()
    assert by_grpc.status() == [{"version": version["version"], "state": version["state"]}]
    assert version["state"] == "AVAILABLE"
    status, metadata = ask(served, "GET", "/v1/models/oasis/metadata")
    assert status == 200
    default = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert default["method_name"] == METHOD
    shape = default["inputs"]["label_map"]["tensor_shape"]
    assert shape == {"dim": [{"size": "-1", "name": ""}] * 3, "unknown_rank": False}
    assert ask(served, "GET", "/v1/models/oasis/versions/1")[0] == 200


def test_paths_and_bodies_that_are_refused(served):
    default = "/v1/models/oasis:predict"
    for method, path, body, status, message in (
        ("GET", "/", None, 400, "Malformed request: GET /"),
        ("GET", "/v1/models/", None, 400, "Malformed request"),
        ("POST", "/v1/models/oasis:paint", "{}", 400, "Malformed request"),
        ("GET", "/v1/models/other", None, 404, "any versions of model other"),
        ("GET", "/v1/models/oasis/versions/7", None, 404, "any versions of model"),
        ("GET", "/v1/models/other/metadata", None, 404, "Latest(other)"),
        ("POST", "/v1/models/other:predict", "{}", 404, "Latest(other)"),
        ("POST", "/v1/models/oasis/versions/2:predict", "{}", 404, "Specific(oasis, 2)"),
        ("POST", default, "", 400, "JSON Parse error"),
        ("POST", default, '{"inputs": {"label_map": [[[7]]], "seed": [1]}}', 400, "multiples"),
        ("POST", default, '{"inputs": {"label_map": 1, "seed": [1]}}', 400, "label_map"),
    ):
        found, answer = ask(served, method, path, body)
        assert (found, list(answer)) == (status, ["error"]), path
        assert message in answer["error"]
    large = {"Content-Length": str(rest_server.MAX_REQUEST + 1)}
    status, answer = ask(served, "POST", default, None, large)
    assert status == 400
    assert "Content-Length of 67,108,864 at most" in answer["error"]
    assert ask(served, "POST", default, None, {"Transfer-Encoding": "chunked"})[0] == 400


def test_connections_that_say_nothing_are_dropped_and_hurt_nobody(served, rest, monkeypatch):
    host, port = served.url.split("/")[2].split(":")
    idle = [socket.create_connection((host, int(port))) for _ in range(8)]
    try:
        idle[0].sendall(b"POST /v1/models/oasis:predict HTTP/1.1\r\nContent-Length: 9\r\n\r\n{")
        idle[1].sendall(b"nonsense\r\n\r\n")
        assert rest.status()
    finally:
        for connection in idle:
            connection.close()
    assert rest.status()


def test_too_many_requests_are_refused(stand_in, served_stand_in):
    stand_in.gate.clear()
    servable = served_stand_in._rest.servable
    limited = type(servable)(stand_in, "oasis", 3, running=1, waiting=1, timeout_s=0.2)
    import concurrent.futures

    from export.serving.errors import ServingError

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        inputs = {"label_map_bytes": [b"x"], "seed": [1]}
        asked = [pool.submit(limited.predict, "png", inputs) for _ in range(3)]
        codes = []
        for request in concurrent.futures.as_completed(asked):
            error = request.exception()
            codes.append(error.code if isinstance(error, ServingError) else None)
            if len(codes) == 2:
                stand_in.gate.set()
    assert codes[:2] == ["UNAVAILABLE", "DEADLINE_EXCEEDED"]
    assert stand_in.asked == 1


@pytest.mark.parametrize("place", ["oasis", "oasis/1", "oasis/one"])
def test_folders_that_are_no_version(tmp_path, place):
    from export.serving.servable import Servable

    (tmp_path / place).mkdir(parents=True)
    with pytest.raises(ValueError, match="NAME/VERSION"):
        Servable.load(tmp_path / place)


def test_the_command(exported, tmp_path):
    """Loads without TensorFlow's Python package being imported, answers, ends when interrupted."""
    code = (
        # Children of a process that ignores the signal would ignore it, too.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys; from export.serving import local_server; from oasis_tf import commandline\n"
        "try:\n    commandline.run(local_server.main, local_server.define_flags)\n"
        "finally:\n    print({'tensorflow', 'keras'} & set(sys.modules))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, f"--saved_model={exported}", "--port=0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    try:
        url = process.stdout.readline().removeprefix("REST: ").strip()
        with RestConnection(url, 60, Retries(0)) as connection:
            assert connection.status()[0]["version"] == "1"
        process.send_signal(2)
        assert process.communicate(timeout=60)[0] == "set()\n"
        assert process.returncode == 130
    finally:
        process.kill()
