"""On JAX, the networks of `one_shot` compute what they compute on TensorFlow."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import oasis_tf


@pytest.mark.slow
def test_jax(tmp_path):
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    found = {}
    for backend in ("tensorflow", "jax"):
        environment = {"KERAS_BACKEND": backend, "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}
        environment["PYTHONPATH"] = str(Path(oasis_tf.__file__).parents[1])
        output = tmp_path / f"{backend}.npz"
        main = Path(__file__).with_name("backends_main.py")
        subprocess.run([sys.executable, main, output], env=os.environ | environment, check=True)
        with np.load(output) as arrays:
            found[backend] = dict(arrays)
    assert found["jax"].keys() == found["tensorflow"].keys()
    for name, array in found["tensorflow"].items():
        # On JAX, Keras computes means in float32 even for float64.
        tolerance = 3e-6 * np.abs(array).max(initial=0)
        np.testing.assert_allclose(found["jax"][name], array, rtol=0, atol=tolerance, err_msg=name)
