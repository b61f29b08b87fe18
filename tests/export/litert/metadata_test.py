"""Descriptions inside TFLite files."""

import flatbuffers
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from tensorflow.lite.python import schema_py_generated as schema

from export.litert import metadata


@pytest.fixture(scope="module")
def contents():
    """A file of one matrix of 7x3 and one of 3x5."""
    rng = np.random.default_rng(0)
    a, b = (tf.constant(rng.standard_normal(shape, np.float32)) for shape in ((7, 3), (3, 5)))

    @tf.function(input_signature=[tf.TensorSpec([1, 7], name="x")])
    def multiply(x):
        return {"y": tf.nn.relu(x @ a) @ b}

    concrete = multiply.get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete], tf.Module()).convert()


DESCRIPTION = {"network": "generator", "height": None, "classes": [{"id": 0, "name": "Straße"}]}


def test_a_description_comes_back(contents):
    with pytest.raises(ValueError, match="no metadata named oasis_tf"):
        metadata.read(contents)
    assert metadata.read(metadata.embed(contents, DESCRIPTION)) == DESCRIPTION


def test_nothing_else_changes(contents):
    x = np.random.default_rng(1).standard_normal((1, 7), np.float32)
    described = metadata.embed(contents, DESCRIPTION)
    assert described[4:8] == b"TFL3"
    results = [
        Interpreter(model_content=c).get_signature_runner("serving_default")(x=x)["y"]
        for c in (contents, described)
    ]
    np.testing.assert_array_equal(*results)
    old, new = (schema.Model.GetRootAs(c) for c in (contents, described))
    assert new.MetadataLength() == old.MetadataLength() + 1
    for i in range(old.BuffersLength()):
        ours, theirs = (model.Buffers(i).DataAsNumpy() for model in (new, old))
        np.testing.assert_array_equal(ours, theirs)


def test_constants_are_aligned(contents):
    described = metadata.embed(contents, DESCRIPTION)
    model = schema.Model.GetRootAs(described)
    vector = flatbuffers.number_types.UOffsetTFlags.py_type(4)  # field `data` of a Buffer
    starts = []
    for i in range(model.BuffersLength()):
        table = model.Buffers(i)._tab
        field = table.Offset(vector)
        if field:
            starts.append(table.Vector(field))
    assert len(starts) >= 3
    assert [start % 16 for start in starts] == [0] * len(starts)


def test_a_model_is_described(model):
    found = metadata.describe(model, "generator", "float16", 64, 96)
    assert found.pop("classes") == model.label_space.classes()
    assert found == {
        "format_version": 1,
        "system": "oasis",
        "network": "generator",
        "quantize": "float16",
        "height": 64,
        "width": 96,
        "size_multiple": 32,
        "noise_channels": 8,
        "dataset": "folder",
        "step": 0,
        "has_unknown": True,
    }
    found = metadata.describe(model, "segmenter", "none", None, None)
    assert (found["size_multiple"], found["noise_channels"], found["height"]) == (64, 0, None)
