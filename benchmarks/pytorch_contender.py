"""The peer that ships, a system in plain PyTorch (`pytorch_peer`), as its own process.

    python -m benchmarks.pytorch_contender --mode=best

Started by `benchmarks.step` and `benchmarks.generate`, for the CPU, and by `benchmarks.gpu`;
answers as `contender.py` says.
"""

import functools
import importlib.util
import os
import shutil

import numpy as np
from absl import flags

from benchmarks import contender
from benchmarks.settings import module_of, names
from oasis_tf.cli import runner

# What is done to the networks in each mode.
MODES = {
    "eager": set(),
    "compiled": {"compile"},
    "channels_last": {"channels_last"},
    "bfloat16": {"bfloat16"},
    "best": {"compile", "channels_last", "bfloat16"},
}


def check(mode):
    """Raises ValueError if this machine lacks what a mode needs."""
    if importlib.util.find_spec("torch") is None:
        raise ValueError(
            f'`--peer={mode}` needs PyTorch: pip install "oasis-tf[bench]"; or leave the peer out '
            "with --peer=none."
        )
    compiler = os.environ.get("CXX", "g++")
    if "compile" in MODES[mode] and shutil.which(compiler) is None:
        raise ValueError(
            f"`--peer={mode}` needs a C++ compiler for torch.compile. Received: {compiler}, which "
            "is not there. Install g++, or name another in the environment variable CXX."
        )


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    flags.DEFINE_enum("mode", "eager", list(MODES), "How to run it.", **where)
    flags.DEFINE_enum("system", "oasis", names(), "System that is measured.", **where)


def main(argv):
    """Answers requests until standard input ends."""
    del argv
    mode = flags.FLAGS.mode
    check(mode)
    side = module_of(flags.FLAGS.system, "torch_runs")
    make = functools.partial(_make, side, changes=MODES[mode])
    contender.serve(lambda: importlib.import_module(side.LIBRARIES), make)


def _make(side, setup, changes):
    import torch

    torch.set_num_threads(setup["threads"])
    torch.manual_seed(0)
    device = setup.get("device", "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        device = "cpu"
    with np.load(setup["inputs"]) as inputs:
        arrays = {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
    if "compile" in changes and setup["task"] == "step":
        _leave_spectral_norm_uncompiled()
    prepare = functools.partial(_change, changes=changes)
    with torch.device(device):
        run, state = side.RUNS[setup["task"]](setup, arrays, changes, prepare)
    facts = {
        "state_bytes": sum(tensor.nbytes for tensor in state),
        "versions": {"torch": torch.__version__},
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
    }
    return run, facts


def _change(network, changes):
    """Makes a network run as its mode says, in place."""
    import torch

    if "channels_last" in changes:
        network.to(memory_format=torch.channels_last)
    if "bfloat16" in changes:
        network.forward = _in_bfloat16(network.forward)
    if "compile" in changes:
        network.compile()


def _leave_spectral_norm_uncompiled():
    """Graphs break around spectral norm.

    Compiled, it keeps u and v themselves for the gradient, not copies as it does otherwise, and the
    discriminator's later passes overwrite them: PyTorch refuses to go back through the first ones.
    """
    import torch
    from torch.nn.utils.spectral_norm import SpectralNorm

    SpectralNorm.__call__ = torch.compiler.disable(SpectralNorm.__call__)


def _in_bfloat16(forward):
    """A forward pass under autocast; what it hands out, and so every loss, stays float32."""
    import torch
    from torch.utils import _pytree

    def autocast_forward(*inputs):
        with torch.autocast(inputs[0].device.type, torch.bfloat16):
            return _pytree.tree_map(lambda x: x.float(), forward(*inputs))

    return autocast_forward


if __name__ == "__main__":
    runner.run(main, define_flags)
