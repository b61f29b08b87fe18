"""Recordings of the PyTorch peer in the format of tests/golden/oasis_square.npz.

`tests/golden/README.md` lists the entries. Where that file holds some arrays in full and of the
others the norms alone, a recording made here holds both for every array.
"""

import numpy as np

from benchmarks.golden_files import part, prefixed
from benchmarks.oasis import pytorch_peer as peer
from benchmarks.oasis.pytorch_peer import torch
from benchmarks.oasis.recordings import HISTORY, HISTORY_ENTRY, STEPS, Settings

INPUTS = ("meta", "label", "image", "z", "z3d_local", "labelmix_bits")
# Kernels are drawn with a gain of 0.4: with the published 0.02 one step of Adam is a large part of
# these narrow networks' weights, and training runs away (docs/results.md). The discriminator's last
# layer gets more; otherwise its logits, and with them all gradients, would be close to zero.
GAIN, LOGITS_GAIN = 0.4, 4.0


def record(settings):
    """Draws weights and inputs from a seed and records what the peer computes with them.

    Args:
        settings: ``recordings.Settings``.

    Returns:
        dict from names to NumPy arrays; on one machine a function of the settings.
    """
    draws = torch.Generator().manual_seed(settings.seed)
    start = {}
    for prefix, network in _networks(settings).items():
        _draw_weights(network, draws)
        _find_singular_vectors(network)
        start |= prefixed(f"{prefix}0", network.state_dict())
    return replay(_draw_inputs(settings, draws) | _as_arrays(start))


def replay(recording):
    """Computes a recording again from its inputs and starting weights.

    Args:
        recording: dict from names to NumPy arrays. Only ``INPUTS``, ``G0/`` and ``D0/`` are used.

    Returns:
        dict of the same format: these entries as they are, all others by the peer.
    """
    settings, networks = Settings.of(recording), {}
    given = {name: recording[name] for name in INPUTS}
    for which, network in _networks(settings).items():
        weights = part(recording, f"{which}0")
        network.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
        given |= prefixed(f"{which}0", weights)
        networks[which] = network
    inputs = {name: torch.tensor(recording[name]) for name in INPUTS if name != "meta"}
    inputs |= {name: inputs[name].long() for name in ("label", "labelmix_bits")}
    found = _evaluation(networks, inputs, settings) | _training(networks, inputs, settings)
    return given | _as_arrays(found)


# === The starting point ===


def _networks(settings):
    classes, dtype = settings.num_classes, getattr(torch, settings.dtype)
    return {
        "G": peer.Generator(classes, settings.noise_channels, settings.channels).to(dtype),
        "D": peer.Discriminator(classes, settings.discriminator_channels).to(dtype),
    }


@torch.no_grad()
def _draw_weights(network, draws):
    """Random weights in which no zero or one hides anything."""
    peer.xavier_(network, GAIN, draws)
    if isinstance(network, peer.Discriminator):
        torch.nn.init.xavier_normal_(network.layer_up_last.weight, LOGITS_GAIN, generator=draws)
    state = network.state_dict()
    for name, value in state.items():
        if name.endswith(("bias", "running_mean")):
            value.normal_(0, 0.1, generator=draws)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 1.5, generator=draws)
    for name, value in state.items():
        if ".norm_s.first_norm." in name:  # it sees the same tensor as norm_0
            value.copy_(state[name.replace("norm_s", "norm_0")])


def _find_singular_vectors(network):
    """Sets u and v as a long training would have left them."""
    state = network.state_dict()
    for name, kernel in state.items():
        if name.endswith("weight_orig"):
            u, _, v = torch.linalg.svd(kernel.flatten(1), full_matrices=False)
            state[name.replace("_orig", "_u")].copy_(u[:, 0])
            state[name.replace("_orig", "_v")].copy_(v[0])


def _draw_inputs(settings, draws):
    """Label maps of squares, images, noise, LabelMix bits; and the settings."""
    classes, images = settings.num_classes, settings.batch_size
    size, noise = (settings.height, settings.width), settings.noise_channels
    options = {"generator": draws, "dtype": getattr(torch, settings.dtype)}
    squares = torch.randint(classes, (images, *(side // 8 for side in size)), generator=draws)
    label = squares.repeat_interleave(8, dim=1).repeat_interleave(8, dim=2).numpy()
    bits = torch.randint(2, (STEPS, classes), generator=draws).numpy()
    tensors = {
        "image": 2 * torch.rand((images, 3, *size), **options) - 1,
        "z": torch.randn((2 * STEPS, images, noise), **options),
        "z3d_local": torch.randn((images, noise, *size), **options),
    }
    return _as_arrays(tensors) | {
        "meta": settings.to_meta(),
        "label": label.astype(np.min_scalar_type(classes - 1)),
        "labelmix_bits": bits.astype(np.int8),
    }


# === What the peer computes ===


@torch.no_grad()
def _evaluation(networks, inputs, settings):
    generator, discriminator = networks["G"].eval(), networks["D"].eval()
    label_map = inputs["label"]
    found = _with_blocks(generator, label_map, inputs["z"][0])
    found["G_eval_local"] = generator(label_map, inputs["z3d_local"])
    found["D_eval_real"] = discriminator(inputs["image"])
    found["D_eval_fake"] = discriminator(found["G_eval"])
    found["class_weight_map"] = peer.class_weight_map(
        label_map, settings.num_classes, settings.has_unknown, inputs["image"].dtype
    )
    for of in ("real", "fake"):
        logits = found[f"D_eval_{of}"]
        real = peer.real_loss(logits, label_map, found["class_weight_map"])
        found |= {f"loss_as_real_{of}": real, f"loss_as_fake_{of}": peer.fake_loss(logits)}
    return found


def _with_blocks(generator, label_map, noise):
    """The image and the output of every block."""
    outputs = []
    hooks = [
        block.register_forward_hook(lambda _block, _inputs, output: outputs.append(output))
        for block in generator.body
    ]
    image = generator(label_map, noise)
    for hook in hooks:
        hook.remove()
    return {"G_eval": image} | {f"G_eval_block{k}": output for k, output in enumerate(outputs)}


def _training(networks, inputs, settings):
    model = peer.OASIS(
        networks["G"],
        networks["D"],
        settings.has_unknown,
        # As single precision holds them, which is how Keras keeps them.
        float(np.float32(settings.lr_g)),
        float(np.float32(settings.lr_d)),
        settings.ema_decay,
        settings.lambda_labelmix,
    )
    history, found = [], {}
    for step in range(STEPS):
        noise, bits = inputs["z"][2 * step : 2 * step + 2], inputs["labelmix_bits"][step]
        losses = model.iteration(inputs["image"], inputs["label"], *noise, bits)
        history.append(torch.stack([losses[name] for name in HISTORY]))
        for which in networks if step == 0 else ():
            found |= _with_norms(f"grad{which}", _gradients(networks[which]))
    for which, network in (networks | {"EMA": model.average}).items():
        state = {k: v for k, v in network.state_dict().items() if v.is_floating_point()}
        found |= _with_norms(f"{which}{STEPS}", state)
    return found | {HISTORY_ENTRY: torch.stack(history)}


def _gradients(network):
    """Gradients of the last step, which stay until the next one begins."""
    return {name: parameter.grad.clone() for name, parameter in network.named_parameters()}


def _with_norms(prefix, tensors):
    norms = {name: torch.linalg.vector_norm(tensor) for name, tensor in tensors.items()}
    return prefixed(prefix, tensors) | prefixed(f"{prefix}_norm", norms)


def _as_arrays(tensors):
    return {name: tensor.detach().numpy() for name, tensor in tensors.items()}
