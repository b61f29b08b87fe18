"""On the other backends of Keras, the networks compute the same."""

import importlib.util
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import oasis_tf

MAIN = Path(__file__).with_name("backends_main.py")


# backend -> dtype (on PyTorch, these convolutions do not run in float64)
DTYPES = {"jax": "float64", "torch": "float32"}
# Relative to an array's largest number. On JAX, Keras computes means in float32 even for float64.
TOLERANCES = {"float64": 3e-6, "float32": 1e-3}
# Biases of conv_0 come before a batch norm: their true gradient is 0, and only rounding is left.
# That of `half` is a plain sum in bfloat16, which XLA on CPU does not compute in float32.
LEFT_OUT = {
    f"gradient/{name}/bias" for name in ("vector/conv_0", "field/conv_0", "one_hot/conv_0", "half")
}


@pytest.mark.slow
@pytest.mark.parametrize("backend", DTYPES)
def test_computes_and_learns_the_same(tmp_path, backend):
    """Outputs, gradients, statistics and spectral vectors: sharing work changes none of them."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    dtype, outcome = DTYPES[backend], tmp_path / "outcome.npz"
    source = str(Path(oasis_tf.__file__).resolve().parents[1])
    paths = os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])
    environment = {"KERAS_BACKEND": backend, "JAX_ENABLE_X64": "1", "PYTHONPATH": paths}
    subprocess.run(
        [sys.executable, MAIN, outcome, dtype],
        env=os.environ | environment,
        check=True,
        timeout=900,
    )
    ours = runpy.run_path(str(MAIN))["results"](dtype)
    with np.load(outcome) as theirs:
        assert set(theirs) == set(ours)
        assert sum(name.startswith("gradient/") for name in theirs) > 25
        for name in ours.keys() - LEFT_OUT:
            want = ours[name]
            tolerance = 2**-7 if "/half" in name else TOLERANCES[dtype]
            np.testing.assert_allclose(
                theirs[name], want, rtol=0, atol=tolerance * np.abs(want).max(), err_msg=name
            )
