"""What a figure was measured on: machine, system, versions, commit."""

import importlib
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
_PACKAGES = ("tensorflow", "keras", "jax", "torch", "numpy")
# Those that decide which matrix products a CPU has.
_CPU_FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_tile")


def use_jax():
    """Has Keras run on JAX in this process, which must not have imported Keras yet.

    Importing `oasis_tf` chooses TensorFlow for a process that has not; here it has been imported.
    """
    os.environ["KERAS_BACKEND"] = "jax"
    # One process computes at a time: JAX may have nearly all of the GPU's memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.95")
    importlib.import_module("keras")


def environment():
    """Machine, system, versions and commit: a dict for JSON."""
    return {
        "cpu": _cpu("model name") or platform.processor() or platform.machine(),
        "cpu_flags": [flag for flag in _CPU_FLAGS if flag in _cpu("flags").split()],
        "cores": usable_cores(),
        "memory_bytes": _memory_bytes(),
        "os": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "commit": _commit(),
    }


def as_text(found):
    """An `environment` as lines to print."""
    packages = ", ".join(f"{name} {version or '–'}" for name, version in found["packages"].items())
    memory = found["memory_bytes"]
    memory = f", {memory / 2**30:.0f} GiB" if memory else ""
    return (
        f"{found['cpu']}, {found['cores']} cores{memory} ({' '.join(found['cpu_flags'])})\n"
        f"{found['os']}, Python {found['python']}, {packages}\n"
        f"commit {found['commit'] or 'unknown'}"
    )


def usable_cores():
    """Cores that this process may use, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu(field):
    """A field of the first CPU in /proc/cpuinfo, "" where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    values = (line.partition(":")[2] for line in lines if line.split(":")[0].strip() == field)
    return next(values, "").strip()


def _memory_bytes():
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit():
    """Commit of this checkout, with "+changes" if files differ from it; None if unknown."""
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "-uno")
    return commit and commit + ("+changes" if changes else "")


def _git(*arguments):
    command = ["git", "-C", str(REPOSITORY), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
