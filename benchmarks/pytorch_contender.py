"""The peer that ships, OASIS in plain PyTorch (`pytorch_peer`), as its own process.

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
from oasis_tf.cli import runner

# What is done to the networks in each mode.
MODES = {
    "eager": set(),
    "compiled": {"compile"},
    "channels_last": {"channels_last"},
    "bfloat16": {"bfloat16"},
    "best": {"compile", "channels_last", "bfloat16"},
}
_SETTLING_PASSES, _SETTLING_SIDE = 3, 64


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
    flags.DEFINE_enum("mode", "eager", list(MODES), "How to run it.", flag_values=flag_values)


def main(argv):
    """Answers requests until standard input ends."""
    del argv
    mode = flags.FLAGS.mode
    check(mode)
    make = functools.partial(_make, changes=MODES[mode])
    contender.serve(lambda: importlib.import_module("benchmarks.oasis.pytorch_peer"), make)


def _make(setup, changes):
    import torch

    torch.set_num_threads(setup["threads"])
    torch.manual_seed(0)
    device = setup.get("device", "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        device = "cpu"
    with np.load(setup["inputs"]) as inputs:
        arrays = {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
    of_task = {"step": _step, "generate": _generate}[setup["task"]]
    with torch.device(device):
        run, state_bytes = of_task(setup, arrays, changes)
    facts = {"state_bytes": state_bytes, "versions": {"torch": torch.__version__}}
    return run, facts | {"device": torch.cuda.get_device_name() if device == "cuda" else device}


def _generator(setup):
    from benchmarks.oasis import pytorch_peer as peer

    sizes = (setup["num_classes"], setup["noise_channels"], setup["channels"])
    generator = peer.Generator(*sizes, setup["spade_channels"])
    peer.xavier_(generator)
    return generator


def _step(setup, arrays, changes):
    """(run, bytes of weights and optimizers) of training."""
    from benchmarks.oasis import pytorch_peer as peer

    if "compile" in changes:
        _leave_spectral_norm_uncompiled()
    discriminator = peer.Discriminator(setup["num_classes"], setup["channels"])
    peer.xavier_(discriminator)
    model = peer.OASIS(_generator(setup), discriminator, setup["has_unknown"])
    for network in (model.generator, model.discriminator):
        _change(network, changes)

    def run(index):
        index %= len(arrays["image"])
        image = arrays["image"][index].permute(0, 3, 1, 2).float() / 127.5 - 1
        if "channels_last" not in changes:
            image = image.contiguous()
        names = ("label_map", "noise", "discriminator_noise", "labelmix_bits")
        label_map, *noise, bits = (arrays[name][index] for name in names)
        noise = noise if setup["noise_channels"] else (None, None)
        float(model.iteration(image, label_map.long(), *noise, bits.long())["loss_d"])

    trained = (model.generator, model.discriminator)
    # Adam keeps two moments of every parameter.
    moments = 2 * sum(_bytes(network.parameters()) for network in trained)
    return run, moments + sum(map(_state_bytes, (*trained, model.average)))


def _generate(setup, arrays, changes):
    """(run, bytes of weights) of generating."""
    import torch

    generator = _generator(setup).requires_grad_(False)
    label_maps, noise = arrays["label_map"], arrays["noise"]
    if not setup["noise_channels"]:
        noise = [None] * len(label_maps)
    # Gives fresh weights a sane scale: spectral norms need to have seen a few passes.
    small = label_maps[0][:, :_SETTLING_SIDE, :_SETTLING_SIDE].long()
    for _ in range(_SETTLING_PASSES):
        generator(small, noise[0])
    _change(generator.eval(), changes)

    def run(index):
        index %= len(label_maps)
        with torch.inference_mode():
            generator(label_maps[index].long(), noise[index]).cpu().numpy()

    return run, _state_bytes(generator)


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

    def autocast_forward(*inputs):
        with torch.autocast(inputs[0].device.type, torch.bfloat16):
            return forward(*inputs).float()

    return autocast_forward


def _state_bytes(network):
    return _bytes(network.state_dict().values())


def _bytes(tensors):
    return sum(tensor.nbytes for tensor in tensors)


if __name__ == "__main__":
    runner.run(main, define_flags)
