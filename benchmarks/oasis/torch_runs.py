"""The peer's side for OASIS."""

import itertools

LIBRARIES = "benchmarks.oasis.pytorch_peer"
_SETTLING_PASSES, _SETTLING_SIDE = 3, 64


def _generator(setup):
    from benchmarks.oasis import pytorch_peer as peer

    sizes = (setup["num_classes"], setup["noise_channels"], setup["channels"])
    generator = peer.Generator(*sizes, setup["spade_channels"])
    peer.xavier_(generator)
    return generator


def _step(setup, arrays, changes, prepare):
    """(run, tensors of weights and optimizers) of training."""
    from benchmarks.oasis import pytorch_peer as peer

    discriminator = peer.Discriminator(setup["num_classes"], setup["channels"])
    peer.xavier_(discriminator)
    model = peer.OASIS(_generator(setup), discriminator, setup["has_unknown"])
    for network in (model.generator, model.discriminator):
        prepare(network)

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
    moments = [parameter for network in trained for parameter in network.parameters()] * 2
    states = (network.state_dict().values() for network in (*trained, model.average))
    return run, [*moments, *itertools.chain(*states)]


def _generate(setup, arrays, changes, prepare):
    """(run, tensors of weights) of generating."""
    import torch

    del changes
    generator = _generator(setup).requires_grad_(False)
    label_maps, noise = arrays["label_map"], arrays["noise"]
    if not setup["noise_channels"]:
        noise = [None] * len(label_maps)
    # Gives fresh weights a sane scale: spectral norms need to have seen a few passes.
    small = label_maps[0][:, :_SETTLING_SIDE, :_SETTLING_SIDE].long()
    for _ in range(_SETTLING_PASSES):
        generator(small, noise[0])
    prepare(generator.eval())

    def run(index):
        index %= len(label_maps)
        with torch.inference_mode():
            generator(label_maps[index].long(), noise[index]).cpu().numpy()

    return run, list(generator.state_dict().values())


RUNS = {"step": _step, "generate": _generate}
