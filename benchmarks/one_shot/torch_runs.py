"""The peer's side for SIV-GAN."""

import itertools
import random

LIBRARIES = "benchmarks.one_shot.pytorch_peer"


def _generator(setup):
    from benchmarks.one_shot import pytorch_peer as peer

    sizes = (setup["grid"], setup["blocks_g"], setup["channels"], setup["noise_channels"])
    return peer.Generator(*sizes)


def _step(setup, arrays, changes, prepare):
    """(run, tensors of weights and optimizers) of training."""
    from benchmarks.one_shot import pytorch_peer as peer

    random.seed(0)
    depths = setup["blocks_d"], setup["blocks_d0"]
    model = peer.SIVGAN(_generator(setup), peer.Discriminator(*depths, setup["channels"]))
    networks = (model.generator, model.discriminator)
    for network in networks:
        prepare(network)
    image = arrays["image"].permute(2, 0, 1).float() / 127.5 - 1
    image = image.expand(setup["batch_size"], -1, -1, -1).clone()
    if "channels_last" not in changes:
        image = image.contiguous()
    latents = arrays["latents"]

    def run(index):
        z_g, z_d = (latents[k % len(latents)] for k in (2 * index, 2 * index + 1))
        float(model.iteration(image, z_g, z_d)["fake_low"])

    # Adam keeps two moments of every parameter.
    moments = [parameter for network in networks for parameter in network.parameters()] * 2
    states = (network.state_dict().values() for network in (*networks, model.average))
    return run, [*moments, *itertools.chain(*states)]


def _generate(setup, arrays, changes, prepare):
    """(run, tensors of weights) of sampling."""
    import torch

    del changes
    generator, latents = _generator(setup).requires_grad_(False), arrays["latents"]
    generator(latents[0])  # as ours: one power iteration, then fixed norms
    prepare(generator.eval())

    def run(index):
        with torch.inference_mode():
            images, _ = generator(latents[index % len(latents)])
            images[-1].cpu().numpy()

    return run, list(generator.state_dict().values())


RUNS = {"step": _step, "generate": _generate}
