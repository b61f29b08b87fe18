"""What the networks of this system return beside an image or logits."""

from typing import Any, NamedTuple


class Made(NamedTuple):
    """What a generator makes.

    Attributes:
        image: float [B, H, W, 3]; None if the pass stopped before it.
        features: list of float [B, h, w, C], in order: of StyleGAN2 the outputs of all styled
            convolutions, of BigGAN those of all blocks.
    """

    image: Any
    features: list


class Judged(NamedTuple):
    """What a discriminator computes.

    Attributes:
        blocks: list of float [B, h, w, C], outputs of all blocks that logits of their own can be
            computed from; the last logits are ``logits``.
        convs: dict from (block, "conv1" or "conv2") to outputs of single convolutions.
        hidden: float [B, C], what the last linear layer takes.
        logits: float [B, 1].
    """

    blocks: list
    convs: dict
    hidden: Any
    logits: Any
