"""Settings of the networks of `one_shot`. Nothing here needs TensorFlow."""

import dataclasses

from oasis_tf.settings.fields import check_fields, setting
from oasis_tf.systems.one_shot.sizes import ImageSize

_GENERATOR_WIDTHS = (8, 8, 8, 8, 8, 8, 8, 4, 2, 1)
_DISCRIMINATOR_WIDTHS = (1, 2, 4, 8, 8, 8, 8, 8, 8)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig(ImageSize):
    """The networks: widths, depths and branches.

    Fields without a flag follow from the pictures (`sizes.py`).

    Raises:
        ValueError: a field is outside its limits, or the fields contradict each other.
    """

    grid_height: int = setting("Height of the first map.", minimum=1, flag=False)
    grid_width: int = setting("Width of the first map.", minimum=1, flag=False)
    blocks_g: int = setting("Blocks of the generator.", minimum=2, flag=False)
    blocks_d: int = setting("Blocks of the discriminator.", minimum=2, flag=False)
    blocks_d0: int = setting("Low-level blocks among them.", minimum=1, flag=False)
    num_classes: int = setting(
        "Classes of the masks, the background included; 0: no masks.", 0, minimum=0, flag=False
    )
    has_discriminator: bool = setting(
        "Whether the model directory holds a discriminator.", True, flag=False
    )
    ch_g: int = setting("Filter rate of the generator.", 32, minimum=1)
    ch_d: int = setting("Filter rate of the discriminator.", 32, minimum=4)
    noise_dim: int = setting("Length of a latent.", 64, minimum=1)
    num_blocks_g: int = setting(
        "Blocks of the generator; 0: by the size of the pictures.", 0, minimum=0, below=10
    )
    num_blocks_d: int = setting(
        "Blocks of the discriminator; 0: by those of the generator.", 0, minimum=0
    )
    num_blocks_d0: int = setting(
        "Low-level blocks among those of the discriminator; 0: by the blocks of the generator.",
        0,
        minimum=0,
    )
    latent: str = setting(
        "How a latent becomes the first map: learned, by a layer that knows its size; broadcast, "
        "the same everywhere, as in the paper.",
        "learned",
        choices=("learned", "broadcast"),
    )
    norm_g: str = setting(
        "Normalisation before each activation of the generator.",
        "none",
        choices=("none", "batch"),
    )
    norm_d: str = setting(
        "Normalisation before each activation of the discriminator.",
        "none",
        choices=("none", "batch"),
    )
    content_branch: bool = setting("Whether the discriminator has its content branch.", True)
    layout_branch: bool = setting(
        "Whether the discriminator has its layout branch. Without both branches it is a plain "
        "discriminator of the same depth.",
        True,
    )
    layout_squeeze: str = setting(
        "What makes one channel for the layout branch: block, its first block; conv, a 1x1 "
        "convolution before it, as in the paper.",
        "block",
        choices=("block", "conv"),
    )
    mask_supervision: str = setting(
        "How the discriminator sees masks. attention: masked content attention; concat: as "
        "channels of the image; projection: by an inner product with its last low-level features; "
        "discriminator: in a second one, whose gradient reaches the mask's layer alone.",
        "attention",
        choices=("attention", "concat", "projection", "discriminator"),
    )
    content_widths: str = setting(
        "Width of the inner content blocks with masked content attention. plain, as in the paper, "
        "is that without masks.",
        "doubled",
        choices=("doubled", "plain"),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.num_classes == 1:
            raise ValueError("`num_classes` must be 0 or at least 2. Received: num_classes=1.")
        if self.mask_supervision == "attention" and self.num_classes and not self.content_branch:
            raise ValueError(
                "`mask_supervision=attention` works in the content branch. Received: "
                "content_branch=false. Leave --nocontent_branch out, or choose another "
                "--mask_supervision."
            )

    @property
    def attends(self) -> bool:
        """Returns whether the content branch attends to the objects of masks."""
        return self.num_classes > 0 and self.mask_supervision == "attention"

    @property
    def generator_widths(self) -> tuple[int, ...]:
        """Returns the channels before and after every block of the generator."""
        widths = _GENERATOR_WIDTHS[-self.blocks_g - 1 :]
        return tuple(int(width * self.ch_g) for width in widths)

    @property
    def discriminator_widths(self) -> tuple[int, ...]:
        """Returns the channels before and after every block of low-level and layout branches."""
        return tuple(int(w * self.ch_d) for w in _DISCRIMINATOR_WIDTHS[: self.blocks_d + 1])

    @property
    def content_channels(self) -> tuple[int, ...]:
        """Returns the channels before and after every content block."""
        first, *inner, last = self.discriminator_widths[self.blocks_d0 :]
        factor = 2 if self.attends and self.content_widths == "doubled" else 1
        return (first, *(factor * width for width in inner), last)
