"""Settings of the networks of `few_shot`. Nothing here needs TensorFlow."""

import dataclasses

from oasis_tf.settings.fields import check_fields, setting
from oasis_tf.systems.few_shot import biggan_sizes as sizes

NETWORKS = ("stylegan2", "biggan")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The networks: which, of which size and width.

    Fields without a flag follow from the pictures or from the source.

    Raises:
        ValueError: a field is outside its limits, or the fields contradict each other.
    """

    network: str = setting(
        "Generator and discriminator: StyleGAN2 (Karras et al. 2020) or BigGAN (Brock et al. "
        "2019).",
        "stylegan2",
        choices=NETWORKS,
    )
    size: int = setting("Side of images, a power of two.", 256, minimum=8)
    channel_multiplier: float = setting(
        "StyleGAN2: width of 64x64 and above, in units of 256 at 64x64. At most 512 everywhere.",
        2.0,
        above=0,
    )
    channels: tuple[int, ...] | None = setting(
        "StyleGAN2: widths at 4x4, 8x8, … up to the size of images. (default: the published table)",
        None,
        minimum=1,
    )
    style_dim: int = setting("StyleGAN2: length of latents and styles.", 512, minimum=1)
    num_mlp: int = setting("StyleGAN2: layers of the mapping network.", 8, minimum=1)
    stddev_group: int = setting(
        "StyleGAN2: images that are compared by the minibatch standard deviation.", 4, minimum=1
    )
    clamp: float = setting(
        "StyleGAN2: largest output of an activated convolution, of either sign; 0: no limit. 256 "
        "is that of NVIDIA's later release.",
        0.0,
        minimum=0,
    )
    ch: int = setting("BigGAN: filter rate.", 96, minimum=1)
    dim_z: int = setting(
        "BigGAN: length of latents, which is shared evenly by the first layer and the blocks; a "
        "remainder is left out.",
        140,
        minimum=1,
    )
    shared_dim: int = setting("BigGAN: length of the shared class embedding.", 128, minimum=1)
    attention: tuple[int, ...] = setting(
        "BigGAN: sides of the maps of the generator that have attention; 0: none.", (64,), minimum=0
    )
    attention_d: tuple[int, ...] = setting(
        "BigGAN: the same of the discriminator.", (64,), minimum=0
    )
    bn_eps: float = setting(
        "BigGAN: epsilon of the conditional batch norms; 1e-4 in the weights of TF-Hub.",
        1e-5,
        above=0,
    )
    sn_eps: float = setting("BigGAN: epsilon of spectral norms.", 1e-6, above=0)
    standing_statistics: bool = setting(
        "BigGAN: whether batch norms can accumulate standing statistics for evaluation.", False
    )
    num_classes: int = setting(
        "BigGAN: classes of the embeddings; 0 with StyleGAN2.", 0, minimum=0, flag=False
    )
    projection: bool = setting(
        "BigGAN: whether the discriminator looks at the class. Adaptation removes it.",
        True,
        flag=False,
    )
    has_discriminator: bool = setting(
        "Whether the model directory holds a discriminator.", True, flag=False
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.size & (self.size - 1):
            below = 1 << (self.size.bit_length() - 1)
            raise ValueError(
                f"`size` must be a power of two. Received: size={self.size}. Nearest valid: "
                f"{below} or {2 * below}."
            )
        if self.network == "biggan" and self.size not in sizes.RESOLUTIONS:
            raise ValueError(
                f"`size` must be one of {', '.join(map(str, sizes.RESOLUTIONS))} with "
                f"network=biggan. Received: size={self.size}."
            )
        wanted = len(self.resolutions)
        if self.channels is not None and len(self.channels) != wanted:
            raise ValueError(
                f"`channels` must be {wanted} widths, of {', '.join(map(str, self.resolutions))}. "
                f"Received: channels={','.join(map(str, self.channels))}."
            )

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Returns the sides of the maps: 4, 8, … up to the size of images."""
        return tuple(1 << k for k in range(2, self.size.bit_length()))

    @property
    def widths(self) -> dict[int, int]:
        """Returns the channels of StyleGAN2 by the side of the map."""
        if self.channels is not None:
            return dict(zip(self.resolutions, self.channels, strict=True))
        multiplier = self.channel_multiplier
        return {
            side: 512 if side < 64 else max(min(512, int(256 * 64 / side * multiplier)), 1)
            for side in self.resolutions
        }

    @property
    def latent_dim(self) -> int:
        """Returns the length of what an image is generated from: z; of BigGAN z and embedding."""
        if self.network == "stylegan2":
            return self.style_dim
        return sizes.used_dim_z(self.size, self.dim_z) + self.shared_dim

    def feature_channels(self, side: int) -> int:
        """Returns the channels of the generator's last features of a resolution.

        Raises:
            ValueError: the generator has no features of this side.
        """
        found = self.widths
        if self.network == "biggan":
            found = {x.side: x.out_channels for x in sizes.generator_blocks(self.size, self.ch)}
        if side not in found:
            raise ValueError(
                "The generator's features have sides "
                f"{', '.join(map(str, found))}. Received: {side}."
            )
        return found[side]
