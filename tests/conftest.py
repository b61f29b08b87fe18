"""What all tests share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read when TensorFlow is first imported

import oasis_tf


@pytest.fixture
def run_module(tmp_path):
    """Runs `python -m MODULE ARGUMENTS…` in a process of its own, outside the repository.

    Returns:
        function(module, *arguments, cwd=tmp_path, timeout=300) -> CompletedProcess with text in
        `stdout` and `stderr`. The `oasis_tf` and `export` under test are the ones found, whether
        installed or not.
    """
    source = str(Path(oasis_tf.__file__).resolve().parents[1])

    def run(module, *arguments, cwd=tmp_path, timeout=300):
        return subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            cwd=cwd,
            env=os.environ | {"PYTHONPATH": source},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run
