"""Keeps back the lines that TensorFlow's libraries log while they are loaded and look for devices.

They greet every command with the processor's abilities and with GPUs that are not there, and
`TF_CPP_MIN_LOG_LEVEL` comes too late for them. Standard error passes through a small process while
TensorFlow is imported. If the import fails, even by a crash, everything is shown. Otherwise notes
and warnings of the libraries are left out, and errors that say that there is no GPU.
"""

import contextlib
import importlib.abc
import importlib.machinery
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType

_DONE = b"\0"
_SIEVE = r"""
import os, re, sys
text = b""
while not text.endswith(b"\0") and (more := os.read(0, 65536)):
    text += more
if text.endswith(b"\0"):
    notes = rb"WARNING: All log messages before|[IW]\d{4} \d\d:|[-\d]+ [:.\d]+: [IW] |To enable "
    none = rb"UNKNOWN ERROR .303|CUDA_ERROR_NO_DEVICE|no CUDA-capable device|Unable to register cu"
    text = re.sub(rb"(?m)^((" + notes + rb").*|.*(" + none + rb").*)\n?", b"", text[:-1])
os.write(2, text)
"""


def install() -> None:
    """Has the first import of TensorFlow be quiet, unless the user asks for its log messages."""
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "tensorflow" not in sys.modules and level not in ("0", "1"):
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "tensorflow":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_quietly(module: ModuleType) -> None:
                if self in sys.meta_path:
                    sys.meta_path.remove(self)
                with _sieved_stderr():
                    load(module)
                    module.config.list_physical_devices()  # GPUs that are not there are logged now

            spec.loader.exec_module = load_quietly
        return spec


@contextlib.contextmanager
def _sieved_stderr() -> Iterator[None]:
    command = [sys.executable, "-I", "-S", "-c", _SIEVE]
    try:
        kept = os.dup(2)
        sieve = subprocess.Popen(command, stdin=subprocess.PIPE)
    except OSError:  # standard error is closed, or no process can be started
        yield
        return
    os.dup2(sieve.stdin.fileno(), 2)
    try:
        yield
        sys.stderr.flush()
        os.write(2, _DONE)
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        sieve.stdin.close()
        sieve.wait()
