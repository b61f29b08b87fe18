"""The peer's side for StyleGAN2 and its adaptation."""

import itertools
import random

LIBRARIES = "benchmarks.few_shot.pytorch_peer"


def _sizes(setup):
    """(side, widths by side)."""
    widths = {4 << k: width for k, width in enumerate(setup["widths"])}
    return setup["height"], widths


def _generator(setup):
    from benchmarks.few_shot import pytorch_peer as peer

    return peer.Generator(*_sizes(setup), setup["noise_channels"], setup["layers"])


def _step(setup, arrays, changes, prepare):
    """(run, tensors of weights and optimizers) of training."""
    from benchmarks.few_shot import pytorch_peer as peer

    if "compile" in changes:
        raise ValueError("PyTorch compiles no gradients of gradients: give --peer=eager.")
    random.seed(0)
    networks = _generator(setup), peer.Discriminator(*_sizes(setup))
    for network in networks:
        prepare(network)
    model = peer.StyleGAN2(
        *networks,
        smooth_side=setup["smoothness"] or None,
        heads=peer.new_heads(*_sizes(setup)[::-1]) if setup["all_blocks"] else None,
        path_every=setup["path_every"],
    )
    image = arrays["images"].permute(0, 3, 1, 2).float() / 127.5 - 1
    if "channels_last" not in changes:
        image = image.contiguous()

    def run(index):
        float(model.iteration(index, image)["d"])

    trained = (model.generator, model.judges)
    # Adam keeps two moments of every parameter.
    moments = [parameter for network in trained for parameter in network.parameters()] * 2
    kept = [*trained, model.average, *([model.source] if model.source else [])]
    states = (network.state_dict().values() for network in kept)
    return run, [*moments, *itertools.chain(*states)]


def _generate(setup, arrays, changes, prepare):
    """(run, tensors of weights) of sampling."""
    import torch

    del changes
    generator, latents = _generator(setup).requires_grad_(False), arrays["latents"]
    prepare(generator.eval())

    def run(index):
        with torch.inference_mode():
            rows = generator.rows(latents[index % len(latents)])
            generator(rows, generator.fixed_noise()).cpu().numpy()

    return run, list(generator.state_dict().values())


RUNS = {"step": _step, "generate": _generate}
