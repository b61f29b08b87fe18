"""REST rules: both forms, both ways, and what TensorFlow Serving's converter refuses."""

import json

import numpy as np
import pytest

from export.serving import rest_rules
from export.serving.errors import CODES, HTTP_STATUS, ServingError, code_of_status
from tests.export.serving.conftest import BYTES, INT64, as_strings, signature

INT32, FLOAT = np.dtype(np.int32), np.dtype(np.float32)
SIGNATURES = {
    "serving_default": signature({"label_map": INT32, "seed": INT64}, {"image": FLOAT}),
    "synthesize": signature({"label_map": INT32}, {"image": FLOAT}),
    "png": signature({"label_map_bytes": BYTES, "seed": INT64}, {"image_bytes": BYTES}),
    "png_segment": signature({"image_bytes": BYTES}, {"label_map_bytes": BYTES}),
    "segment": signature({"image": FLOAT}, {"label_map": INT32, "fake_probability": FLOAT}),
    "switch": signature({"on": np.dtype(bool)}, {"on": np.dtype(bool)}),
    "text": signature({"text": BYTES}, {"text": BYTES}),
}
MAP = [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
ROWS = [{"label_map": MAP[0], "seed": 2**40}, {"label_map": MAP[1], "seed": -1}]


def read(request):
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    return rest_rules.read_request(body, SIGNATURES)


def test_rows_and_columns_are_the_same_tensors():
    name, rows, form = read({"instances": ROWS})
    assert (name, form) == ("serving_default", "instances")
    columns = {"label_map": MAP, "seed": [2**40, -1]}
    name, same, form = read({"signature_name": "serving_default", "inputs": columns})
    assert (name, form) == ("serving_default", "inputs")
    for found in (rows, same):
        np.testing.assert_array_equal(found["label_map"], np.array(MAP, np.int32), strict=True)
        np.testing.assert_array_equal(found["seed"], np.array([2**40, -1], np.int64), strict=True)


def test_an_only_input_may_stand_without_its_name():
    for request in (
        {"instances": MAP},
        {"instances": [{"label_map": MAP[0]}, {"label_map": MAP[1]}]},
        {"inputs": MAP},
        {"inputs": {"label_map": MAP}},
    ):
        label_map = read({"signature_name": "synthesize"} | request)[1]["label_map"]
        np.testing.assert_array_equal(label_map, np.array(MAP, np.int32), strict=True)
    for request in ({"instances": [{"b64": "AP8="}]}, {"inputs": [{"b64": "AP8="}]}):
        found = read({"signature_name": "png_segment"} | request)[1]["image_bytes"]
        assert found.shape == (1,)
        assert found[0] == b"\x00\xff"
    assert read({"signature_name": "png_segment", "inputs": {"b64": "AP8="}})[1][
        "image_bytes"
    ] == np.array(b"\x00\xff", object)


def test_columns_may_have_more_than_the_inputs_rows_may_not():
    assert set(read({"inputs": {"label_map": MAP, "seed": [1, 2], "more": 3}})[1]) == {
        "label_map",
        "seed",
    }
    with pytest.raises(ServingError, match="keys must be label_map, seed"):
        read({"instances": [ROWS[0] | {"more": 3}]})


def test_numbers_for_floats():
    request = {"signature_name": "segment", "inputs": [0, -1.5, 1e-3, float("nan"), float("inf")]}
    found = read(request)[1]["image"]
    expected = np.array([0, -1.5, 1e-3, np.nan, np.inf], np.float32)
    np.testing.assert_array_equal(found, expected, strict=True)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (b"", "JSON Parse error"),
        (b"\xff\xfe", "JSON Parse error"),
        (b"[" * 100_000, "JSON Parse error"),
        (b'{"inputs": 1' + b"0" * 5000 + b"}", "JSON Parse error"),
        ([1], "must be an object"),
        ({}, "one of 'instances' and 'inputs'"),
        ({"instances": ROWS, "inputs": {}}, "one of 'instances' and 'inputs'"),
        ({"signature_name": 3, "instances": ROWS}, "must be a string"),
        ({"signature_name": "serve", "instances": ROWS}, '"serve" not found in signature def'),
        ({"instances": {}}, "must be a list"),
        ({"instances": []}, "not empty"),
        ({"instances": MAP}, "list of objects with the inputs label_map, seed"),
        ({"instances": [{"label_map": MAP[0]}]}, "keys must be label_map, seed"),
        ({"instances": [ROWS[0], MAP]}, "Element 1 of 'instances'"),
        ({"instances": [ROWS[0], {"label_map": [[1]], "seed": 1}]}, "one size"),
        ({"inputs": MAP}, "must be an object with label_map, seed"),
        ({"inputs": {"label_map": MAP}}, "Missing named input: seed"),
        ({"inputs": {"label_map": [[1, 2], [3]], "seed": 1}}, "ragged"),
        ({"inputs": {"label_map": [1, [2]], "seed": 1}}, "unequal depth"),
        ({"inputs": {"label_map": [[1], 2], "seed": 1}}, "ragged"),
        ({"inputs": {"label_map": [1.0], "seed": 1}}, "1.0 is not of expected type: int32"),
        ({"inputs": {"label_map": [True], "seed": 1}}, "True is not of expected type: int32"),
        ({"inputs": {"label_map": ["1"], "seed": 1}}, "is not of expected type: int32"),
        ({"inputs": {"label_map": [None], "seed": 1}}, "is not of expected type: int32"),
        ({"inputs": {"label_map": [2**31], "seed": 1}}, "2147483648.* does not fit int32"),
        ({"inputs": {"label_map": [1], "seed": 2**63}}, "does not fit int64"),
        ({"signature_name": "segment", "inputs": [1e39]}, "does not fit float32"),
        ({"signature_name": "segment", "inputs": [10**400]}, "does not fit float32"),
        ({"signature_name": "segment", "inputs": ["x"]}, "not of expected type: float32"),
        ({"signature_name": "switch", "inputs": [1]}, "not of expected type: bool"),
        ({"signature_name": "png_segment", "inputs": [{"b64": "A"}]}, "base64"),
        ({"signature_name": "png_segment", "inputs": [{"b64": "A*=="}]}, "base64"),
        ({"signature_name": "png_segment", "inputs": [{"b64": 1}]}, "b64"),
        ({"signature_name": "png_segment", "inputs": [7]}, "b64"),
    ],
)
def test_what_is_refused(request_, message):
    with pytest.raises(ServingError, match=message) as refused:
        read(request_)
    assert refused.value.code == "INVALID_ARGUMENT"
    assert len(refused.value.message) < 400


@pytest.mark.parametrize("form", ["instances", "inputs"])
def test_requests_come_back_as_they_were_written(form):
    inputs = {
        "label_map_bytes": as_strings(b"\x89PNG\x00", b"", bytes(range(256))),
        "seed": np.array([-(2**63), 0, 2**63 - 1]),
    }
    request = json.loads(json.dumps(rest_rules.write_request("png", inputs, form)))
    name, found, read_form = read(request)
    assert (name, read_form) == ("png", form)
    for key, value in inputs.items():
        np.testing.assert_array_equal(found[key], value, strict=True)
    image = np.random.default_rng(0).normal(size=(2, 3, 4, 3)).astype(np.float32)
    request = json.dumps(rest_rules.write_request("segment", {"image": image}, form))
    np.testing.assert_array_equal(read(request.encode())[1]["image"], image, strict=True)


@pytest.mark.parametrize("form", ["instances", "inputs"])
@pytest.mark.parametrize("name", ["serving_default", "png", "segment"])
def test_answers_come_back_as_they_were_written(name, form):
    rng = np.random.default_rng(1)
    values = {
        "image": np.tanh(rng.normal(size=(2, 3, 4, 3))).astype(np.float32),
        "image_bytes": as_strings(b"\x89PNG\x00\x00", b"\xff"),
        "label_map": rng.integers(0, 9, (2, 3, 4), np.int32),
        "fake_probability": rng.random((2, 3, 4), np.float32),
    }
    outputs = {key: values[key] for key in SIGNATURES[name].outputs}
    answer = json.loads(json.dumps(rest_rules.write_answer(outputs, form)))
    assert list(answer) == [rest_rules.FORMS[form]]
    found = rest_rules.read_answer(answer, SIGNATURES[name].outputs)
    assert set(found) == set(outputs)
    for key, value in outputs.items():
        np.testing.assert_array_equal(found[key], value, strict=True)


def test_answers_have_the_documented_shape():
    image = np.array([[0.25], [-1.0]], np.float32)
    assert rest_rules.write_answer({"image": image}, "instances") == {"predictions": [[0.25], [-1]]}
    assert rest_rules.write_answer({"image": image}, "inputs") == {"outputs": [[0.25], [-1]]}
    two = {"a": np.array([1, 2]), "b_bytes": as_strings(b"x", b"y")}
    assert rest_rules.write_answer(two, "instances") == {
        "predictions": [{"a": 1, "b_bytes": {"b64": "eA=="}}, {"a": 2, "b_bytes": {"b64": "eQ=="}}]
    }
    assert rest_rules.write_answer(two, "inputs") == {
        "outputs": {"a": [1, 2], "b_bytes": [{"b64": "eA=="}, {"b64": "eQ=="}]}
    }
    # Only names that end in `_bytes` are encoded; others are text, and must be.
    assert rest_rules.write_answer({"text": as_strings(b"x")}, "inputs") == {"outputs": ["x"]}
    with pytest.raises(ServingError, match="UTF-8"):
        rest_rules.write_answer({"text": as_strings(b"\xff")}, "inputs")


def test_rows_need_outputs_of_one_batch_size():
    for outputs in (
        {"a": np.zeros(2), "b": np.zeros(3)},
        {"a": np.float32(1)},
    ):
        with pytest.raises(ServingError, match="inconsistent batch"):
            rest_rules.write_answer(outputs, "instances")


@pytest.mark.parametrize("answer", [{}, {"outputs": {"image": 1}}, {"predictions": {"x": 1}}])
def test_answers_of_another_kind_of_server_are_told(answer):
    with pytest.raises(ServingError, match="not TensorFlow Serving's form"):
        rest_rules.read_answer(answer, SIGNATURES["segment"].outputs)


def test_codes_and_statuses():
    assert set(CODES) == set(HTTP_STATUS)
    assert CODES.index("UNAVAILABLE") == 14
    assert CODES.index("INVALID_ARGUMENT") == 3
    for status, code in {
        400: "INVALID_ARGUMENT",
        404: "NOT_FOUND",
        429: "RESOURCE_EXHAUSTED",
        418: "INVALID_ARGUMENT",
        500: "INTERNAL",
        502: "UNAVAILABLE",
        503: "UNAVAILABLE",
        504: "DEADLINE_EXCEEDED",
        302: "UNKNOWN",
    }.items():
        assert code_of_status(status) == code
