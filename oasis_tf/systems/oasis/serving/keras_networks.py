"""Networks of an `OASIS` that are written as Keras files."""


def network(model, name):
    """A network that Keras can save.

    Args:
        model: `OASIS` with its `config`.
        name: `generator`, the averaged one with re-estimated batch statistics, or `discriminator`.

    Raises:
        ValueError: another name, or a model without a discriminator.
    """
    if name == "generator":
        return model.generator_ema
    if name != "discriminator":
        raise ValueError(f"`network` must be generator or discriminator. Received: network={name}.")
    model.config.model.check_discriminator("be written as a Keras file")
    return model.discriminator
