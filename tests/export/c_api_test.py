"""TensorFlow's C API from Python: values both ways, refusals, threads, memory."""

import gc
import threading

import numpy as np
import pytest
import tensorflow as tf

from export import c_api
from export.c_api import SavedModelSession, TensorFlowError

DTYPES = [dtype for dtype in c_api._DTYPES.values() if not dtype.hasobject]
TEXTS = [b"", b"short", b"\0ends with zeros\0\0", b"long" * 100_000]


@pytest.fixture(scope="module")
def echo(tmp_path_factory):
    """The session of a model that gives back what it gets."""
    module, signatures = tf.Module(), {}

    def add(name, dtype):
        @tf.function(input_signature=[tf.TensorSpec([None, 2], dtype, name="value")])
        def signature(value):
            value = tf.ensure_shape(value, [None, 2])
            return {"value": tf.identity(value), "shape": tf.shape(value)}

        signatures[name] = signature
        setattr(module, name, signature)

    for dtype in DTYPES:
        add(dtype.name, dtype)
    add("string", tf.string)

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, name="value")])
    def any_rank(value):
        return {"rank": tf.rank(value)}

    signatures["any_rank"] = module.any_rank = any_rank
    path = str(tmp_path_factory.mktemp("echo") / "1")
    tf.saved_model.save(module, path, signatures)
    with SavedModelSession(path) as session:
        yield session


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_numbers_come_back(echo, dtype):
    values = np.array([[0, 1], [2, 3], [100, 0]]).astype(dtype)
    for value in (values, values[:0], values[::-1], np.asfortranarray(values)):
        found = echo.run(dtype.name, {"value": value})
        assert found["value"].dtype == dtype
        np.testing.assert_array_equal(found["value"], value)
        assert list(found["shape"]) == list(value.shape)


def test_bytes_come_back(echo):
    value = [TEXTS[:2], TEXTS[2:]]
    for given in (value, np.array(value, object)):
        found = echo.run("string", {"value": given})["value"]
        assert found.tolist() == value


def test_signatures_tell_types_and_shapes(echo):
    signature = echo.signatures["float32"]
    assert signature.inputs["value"][1:] == (np.float32, (-1, 2))
    assert signature.outputs["shape"][1:] == (np.int32, (2,))
    assert signature.method == "tensorflow/serving/predict"
    assert echo.signatures["any_rank"].inputs["value"].shape is None
    assert echo.run("any_rank", {"value": np.float32(3)})["rank"] == 0


@pytest.mark.parametrize(
    ("name", "inputs", "message"),
    [
        ("nothing", {}, "no signature 'nothing'. It has: any_rank, bool"),
        ("int32", {}, "takes the inputs value. Received: none"),
        ("int32", {"value": np.zeros((1, 2), np.int32), "more": 1}, "Received: value, more"),
        ("int32", {"value": np.zeros((1, 2))}, "`value` must be int32. Received: dtype=float64"),
        ("string", {"value": np.array([b"a", b"b"])}, r"bytes objects.*Received: dtype=\|S1"),
        ("string", {"value": [["a", "b"]]}, "bytes objects"),
    ],
)
def test_what_does_not_fit_is_refused(echo, name, inputs, message):
    with pytest.raises(ValueError, match=message):
        echo.run(name, inputs)


def test_no_model(tmp_path):
    with pytest.raises(TensorFlowError, match=f"Could not find SavedModel.*{tmp_path}") as error:
        SavedModelSession(tmp_path)
    assert error.value.code == 5


def test_threads_run_one_session(echo):
    wrong = []

    def ask(k):
        for _ in range(50):
            value = np.full((3, 2), k, np.int64)
            if (echo.run("int64", {"value": value})["value"] != value).any():
                wrong.append(k)
            text = [[bytes([k]) * 1000] * 2]
            if echo.run("string", {"value": text})["value"].tolist() != text:
                wrong.append(k)

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.slow
def test_memory_is_given_back(echo):
    numbers = {"value": np.zeros((1_000_000, 2), np.float32)}  # 8 MB
    texts = {"value": [[b"x" * 4_000_000, b"y" * 4_000_000]]}

    def ask():
        echo.run("float32", numbers)
        echo.run("string", texts)
        with pytest.raises(TensorFlowError):
            echo.run("float32", {"value": np.zeros((2_000_000, 1), np.float32)})
        gc.collect()

    for _ in range(3):
        ask()
    before = resident()
    for _ in range(12):  # a tensor lost at each would be 96 MB
        ask()
    assert resident() - before < 50e6


def test_a_closed_session_answers_no_more(tmp_path):
    module = tf.Module()
    module.f = tf.function(lambda x: {"x": x}, [tf.TensorSpec([None], name="x")])
    tf.saved_model.save(module, tmp_path / "1", {"f": module.f})
    session = SavedModelSession(tmp_path / "1")
    session.close()
    session.close()
    with pytest.raises(ValueError, match="closed"):
        session.run("f", {"x": np.zeros(1, np.float32)})
