"""Exports as the tests use them: loaded and run by TensorFlow's public API."""

import os
from typing import NamedTuple

import numpy as np
import tensorflow as tf


class Info(NamedTuple):
    """An input or output: NumPy dtype (object: bytes) and shape (-1: any)."""

    dtype: np.dtype
    shape: tuple


class Signature(NamedTuple):
    """Dicts of `Info` by name."""

    inputs: dict
    outputs: dict


class LoadedModel:
    """A SavedModel; threads may run it at the same time.

    Attributes:
        signatures: dict from names to `Signature`.
    """

    def __init__(self, path):
        self._functions = dict(tf.saved_model.load(path).signatures)
        self.signatures = {
            name: Signature(_infos(self.specs(name)), _infos(function.structured_outputs))
            for name, function in sorted(self._functions.items())
        }

    def specs(self, name):
        """Dict of `tf.TensorSpec`s by input."""
        return self._functions[name].structured_input_signature[1]

    def run(self, name, inputs):
        """Outputs of a signature, a dict of arrays; strings are arrays of bytes objects."""
        infos = self.signatures[name].inputs
        tensors = {key: tf.constant(inputs[key], infos[key].dtype) for key in infos}
        return {key: value.numpy() for key, value in self._functions[name](**tensors).items()}


def _infos(specs):
    return {
        name: Info(
            np.dtype(spec.dtype.as_numpy_dtype),
            tuple(-1 if side is None else side for side in spec.shape),
        )
        for name, spec in sorted(specs.items())
    }


def meta_graph(path):
    """The `MetaGraphDef` of a SavedModel, from its file."""
    from tensorflow.core.protobuf import saved_model_pb2

    with open(os.path.join(path, "saved_model.pb"), "rb") as file:
        (found,) = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs
    return found
