"""FreezeD (Mo et al. 2020): only the last stages of the discriminator are trained."""

from oasis_tf.training.named_weights import named_weights


def trained_variables(discriminator, last_stages):
    """Trainable variables of a discriminator's last stages.

    Args:
        discriminator: of StyleGAN2 or BigGAN. Its blocks are ``block_K`` and ``attention_K``; what
            follows them is one stage, what precedes them another.
        last_stages: int; 0: all.
    """
    weights = {k: v for k, v in named_weights(discriminator).items() if v.trainable}
    if not last_stages:
        return list(weights.values())
    numbers = sorted({n for n in map(_number, weights) if n is not None})
    kept = set(numbers[max(len(numbers) + 1 - last_stages, 0) :])
    every = last_stages > len(numbers) + 1
    return [
        variable
        for name, variable in weights.items()
        if every or (_number(name) in kept or (_number(name) is None and not _is_first(name)))
    ]


def _number(name):
    """The number of the block that a variable belongs to, or None."""
    kind, _, number = name.split("/")[0].rpartition("_")
    return int(number) if kind in ("block", "attention") else None


def _is_first(name):
    return name.startswith("from_rgb")
