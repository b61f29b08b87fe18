"""On JAX, the networks of `one_shot` compute what they compute on TensorFlow."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import oasis_tf


@pytest.mark.slow
def test_jax(tmp_path):
    pytest.importorskip("jax")
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
        np.testing.assert_allclose(found["jax"][name], array, rtol=1e-7, atol=1e-9, err_msg=name)
