"""What the networks of this system return beside an image or logits."""

from typing import Any, NamedTuple


class Made(NamedTuple):
    """What a generator makes.

    Attributes:
        image: float [B, H, W, 3], nominally in [-1, 1]; None if the pass stopped before it.
        features: list of float [B, h, w, C], smallest first: of StyleGAN2 the outputs of all styled
            convolutions, of BigGAN those of all blocks.
    """

    image: Any
    features: list


class Judged(NamedTuple):
    """What a discriminator computes.

    Attributes:
        blocks: list of float [B, h, w, C], largest first: of StyleGAN2 the outputs of all residual
            blocks, of BigGAN of all but the last.
        convs: StyleGAN2: dict from (number of a block, "conv1" or "conv2") to the output
            [B, h, w, C] of this convolution, before the skip is added; those that were asked for.
        hidden: float [B, C], what the last linear layer takes.
        logits: float [B, 1].
    """

    blocks: list
    convs: dict
    hidden: Any
    logits: Any
