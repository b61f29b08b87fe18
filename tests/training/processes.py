"""Processes that train the toy; see `toy_main.py`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import oasis_tf

SOURCES = (Path(oasis_tf.__file__).parents[1], Path(__file__).parents[2])


def start(model_dir, settings, *flags, stderr=None, **environment):
    """Starts a run of the toy.

    Args:
        model_dir: as in the train command.
        settings: `LoopSettings` by name.
        *flags: further flags of `toy_main.py`.
        stderr: as in `Popen`.
        **environment: further variables.
    """
    command = [sys.executable, "-m", "tests.training.toy_main", f"--model_dir={model_dir}"]
    path = os.pathsep.join(map(str, SOURCES))
    return subprocess.Popen(
        [*command, f"--settings={json.dumps(settings)}", *flags],
        env=os.environ | {"PYTHONPATH": path} | environment,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        text=True,
    )
