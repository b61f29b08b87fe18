"""Networks of an `OASIS` that are written as Keras files, with the label space in them."""


def network(model, name):
    """A network that Keras can save.

    Args:
        model: `OASIS` with its `config`.
        name: `generator`, the averaged one with re-estimated batch statistics, or `discriminator`.

    Raises:
        ValueError: another name, or a model without a discriminator.
    """
    if name not in ("generator", "discriminator"):
        raise ValueError(f"`network` must be generator or discriminator. Received: network={name}.")
    if name == "discriminator":
        model.config.model.check_discriminator("be written as a Keras file")
    network = model.generator_ema if name == "generator" else model.discriminator
    network.label_space = model.label_space
    return network
