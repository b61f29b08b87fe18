"""Settings of the networks: the parts of a model, and their sizes.

There are parts of OASIS, of SPADE and of ablations in the papers; a baseline is a choice of parts.
The consequences of a choice (strides, abilities of the discriminator) are properties here, so that
other modules need not know the names of parts. Nothing here needs TensorFlow.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from oasis_tf.settings.fields import as_text, check_fields, setting

GENERATOR_WIDTHS = {"oasis": (16, 16, 16, 8, 4, 2, 1), "spade": (16, 16, 16, 16, 8, 4, 2, 1)}
DISCRIMINATOR_WIDTHS = (2, 2, 4, 4, 8, 8)
# Discriminators that keep the resolution of the image and so have logits for every pixel.
U_NETS = ("oasis", "oasis_x2")
PATCH_GANS = ("patch", "ms_patch")
# Label encodings with a logit for every class. A discriminator with one of them segments.
_SEGMENTING = ("balanced", "n_plus_1")
_STEM_LATENT = 256
_OF_ENCODER = ("encoder_channels", "encoder_size")

# Settings that choose parts. The official release does not have this choice.
PARTS = (
    "generator",
    "upsampling",
    "encoder",
    "latent_channels",
    *_OF_ENCODER,
    "discriminator",
    "label_encoding",
    "patch_layers",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Parts and sizes of the networks.

    Some settings that are None are replaced by a default: ``generator_widths`` by that of the
    generator, ``label_encoding`` by that of the discriminator, ``latent_channels`` by that of the
    encoder (0 without one). ``noise=none`` and ``noise_channels=0`` each imply the other.

    Raises:
        ValueError: a field is outside its limits, or parts cannot be combined.
    """

    num_classes: int = setting("Number of classes N, the unknown label included.", flag=False)
    has_unknown: bool = setting("Whether model id 0 is the unknown label.", flag=False)
    has_discriminator: bool = setting(
        "Whether the model has a discriminator, without which it can neither segment nor be "
        "trained.",
        True,
        flag=False,
    )
    generator: str = setting(
        "Generator. oasis has six residual blocks, spade seven.",
        "oasis",
        choices=("oasis", "spade"),
    )
    upsampling: str = setting(
        "Number of upsamplings of --generator=spade. normal: none between its second and third "
        "block; more: one there as well.",
        "normal",
        choices=("normal", "more"),
    )
    noise_channels: int = setting("Channels of the 3D noise; 0: no noise.", 64, minimum=0)
    noise: str = setting(
        "Sampling of the 3D noise in training. image: one vector per image; region: one per class "
        "of an image; pixel: one per pixel; mix: image or region, with equal probability in every "
        "step; none: no noise, the same as --noise_channels=0.",
        "image",
        choices=("none", "image", "region", "pixel", "mix"),
    )
    encoder: str = setting(
        "Image encoder, trained together with the generator. stem: the generator starts from the "
        "encoder's latent, as in SPADE, instead of the label map (needs --noise=none); noise: the "
        "latent replaces the 3D noise; beside_noise: the latent is appended to the 3D noise.",
        "none",
        choices=("none", "stem", "noise", "beside_noise"),
    )
    latent_channels: int | None = setting(
        f"Channels of the encoder's latent. (default: {_STEM_LATENT} with --encoder=stem, "
        "otherwise the value of --noise_channels)",
        None,
        minimum=0,
    )
    encoder_channels: int = setting("Unit of the encoder's widths.", 64, minimum=1)
    encoder_size: int = setting(
        "Height and width to which the encoder resizes images, a power of 2.", 256, minimum=8
    )
    discriminator: str = setting(
        "Discriminator. oasis: U-Net; oasis_x2: two U-Nets at scales 1 and 0.5; patch: PatchGAN; "
        "ms_patch: two PatchGANs at scales 1 and 0.5; resnet_patch: the encoder of the U-Net.",
        "oasis",
        choices=(*U_NETS, *PATCH_GANS, "resnet_patch"),
    )
    label_encoding: str | None = setting(
        "Way in which the discriminator uses the label map. balanced: as target of a loss over "
        "N + 1 classes, weighted against class imbalance; n_plus_1: the same without weights; "
        "concat: as input; projection: as a projection before the logits. (default: balanced for "
        "U-Nets; concat, the only choice, for others)",
        None,
        choices=(*_SEGMENTING, "concat", "projection"),
    )
    patch_layers: int = setting("Convolutions of a PatchGAN before its last one.", 4, minimum=2)
    generator_channels: int = setting("Unit of the generator's widths.", 64, minimum=1)
    discriminator_channels: int = setting("Unit of the discriminator's widths.", 64, minimum=1)
    spade_channels: int = setting("Hidden channels of every SPADE norm.", 128, minimum=1)
    generator_widths: tuple[int, ...] | None = setting(
        "Comma list: widths of the generator from the input of its first residual block to the "
        "output of its last, in units of --generator_channels. Between two blocks the image is "
        "upsampled; --upsampling has an exception. (default: "
        + ", ".join(f"{as_text(widths)} for {name}" for name, widths in GENERATOR_WIDTHS.items())
        + ")",
        None,
        minimum=1,
    )
    discriminator_widths: tuple[int, ...] = setting(
        "Comma list: output widths of the down blocks of a U-Net or a resnet_patch discriminator, "
        "in units of --discriminator_channels. Every block halves the resolution.",
        DISCRIMINATOR_WIDTHS,
        minimum=1,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        for name, value in self._implied().items():
            object.__setattr__(self, name, value)
        if self.num_classes < 1 + self.has_unknown:
            raise ValueError(
                "`num_classes` must count at least one class besides the unknown label. "
                f"Received: num_classes={self.num_classes}, has_unknown={self.has_unknown}."
            )
        self._check_generator()
        self._check_noise()
        self._check_encoder()
        self._check_discriminator()

    def _implied(self) -> dict[str, Any]:
        """Returns the values of settings that other settings decide."""
        noise = with_implied({"noise": self.noise, "noise_channels": self.noise_channels})
        latents = {"none": 0, "stem": _STEM_LATENT}
        free = {
            "generator_widths": GENERATOR_WIDTHS[self.generator],
            "label_encoding": "balanced" if self.discriminator in U_NETS else "concat",
            "latent_channels": latents.get(self.encoder, noise["noise_channels"]),
        }
        return noise | {name: v for name, v in free.items() if getattr(self, name) is None}

    # === Contradictions ===

    def _check_generator(self) -> None:
        least = 4 if self.generator == "spade" else 2
        if len(self.generator_widths) < least:
            blocks = "three blocks" if least > 2 else "a block"
            raise ValueError(
                f"`generator_widths` must have at least {_NUMBERS[least]} entries: the input width "
                f"of the first block, then the output widths of at least {blocks}. "
                f"Received: generator_widths={as_text(self.generator_widths)}."
            )
        if self.upsampling == "more" and self.generator != "spade":
            raise ValueError(
                "`upsampling` decides about the upsampling between the second and the third block "
                "of --generator=spade; the generator of OASIS always has it. "
                f"Received: upsampling=more, generator={self.generator}. Leave --upsampling out."
            )

    def _check_noise(self) -> None:
        if self.noise in ("region", "pixel", "mix") and not self.noise_channels:
            raise ValueError(
                f"`noise={self.noise}` needs `noise_channels` of at least 1. "
                "Received: noise_channels=0, which means no noise."
            )

    def _check_encoder(self) -> None:
        if self.encoder == "none":
            given = [name for name in _OF_ENCODER if getattr(self, name) != _default(self, name)]
            given += ["latent_channels"] if self.latent_channels else []
            if given:
                raise ValueError(
                    f"`{given[0]}` is a setting of the encoder, and there is no encoder. Received: "
                    f"{given[0]}={getattr(self, given[0])}, encoder=none. Choose an --encoder, or "
                    f"leave --{given[0]} out."
                )
            return
        if self.latent_channels < 1:
            raise ValueError(
                "`latent_channels` must be at least 1 with an encoder. Received: "
                f"latent_channels={self.latent_channels}, encoder={self.encoder}, "
                f"noise_channels={self.noise_channels}. Give --latent_channels."
            )
        if self.encoder_size & (self.encoder_size - 1):
            raise ValueError(
                "`encoder_size` must be a power of 2: the encoder halves images down to 4x4. "
                f"Received: encoder_size={self.encoder_size}."
            )
        if self.encoder == "stem" and self.noise != "none":
            raise ValueError(
                "`encoder=stem` has no 3D noise: only the latent, from which the generator starts, "
                f"varies its images. Received: noise={self.noise}, "
                f"noise_channels={self.noise_channels}. Give --noise=none, or --encoder=noise or "
                "beside_noise."
            )
        if self.encoder == "noise" and self.noise in ("region", "pixel", "mix"):
            raise ValueError(
                "`encoder=noise` replaces the 3D noise with one latent for every image. "
                f"Received: noise={self.noise}. Leave --noise out, or give --encoder=beside_noise."
            )
        if self.encoder == "beside_noise" and not self.noise_channels:
            raise ValueError(
                "`encoder=beside_noise` needs 3D noise. Received: noise=none. Give "
                "--noise_channels, or --encoder=noise."
            )

    def _check_discriminator(self) -> None:
        if self.discriminator not in U_NETS and self.label_encoding != "concat":
            raise ValueError(
                "`label_encoding` is a choice of discriminators with logits for every pixel "
                f"({' and '.join(U_NETS)}); all others take the label map as input. Received: "
                f"label_encoding={self.label_encoding}, discriminator={self.discriminator}. Leave "
                "--label_encoding out."
            )
        if self.discriminator not in PATCH_GANS and self.patch_layers != 4:
            raise ValueError(
                f"`patch_layers` is a setting of a PatchGAN ({' and '.join(PATCH_GANS)}). "
                f"Received: patch_layers={self.patch_layers}, discriminator={self.discriminator}. "
                "Leave --patch_layers out."
            )

    # === Consequences ===

    def check_discriminator(self, purpose: str) -> None:
        """Raises ValueError if the model has no discriminator, which `purpose` needs."""
        if not self.has_discriminator:
            raise missing_discriminator(purpose)

    def check_segments(self, purpose: str) -> None:
        """Raises ValueError if the model cannot segment, which `purpose` needs."""
        self.check_discriminator(purpose)
        if not self.segments:
            raise not_segmenting(purpose)

    def check_noise(self, purpose: str) -> None:
        """Raises ValueError unless the generator has noise, which `purpose` needs."""
        if not self.vector_channels:
            raise ValueError(
                f"This model cannot {purpose}: it has no noise (noise_channels=0), so it generates "
                "one image for a label map. Leave these flags out."
            )

    @property
    def segments(self) -> bool:
        """Whether the model can segment: its discriminator predicts the class of every pixel."""
        return self.has_discriminator and self.label_encoding in _SEGMENTING

    @property
    def pixel_logits(self) -> bool:
        """Whether the discriminator has logits for every pixel, which consistency needs."""
        return self.discriminator in U_NETS

    @property
    def vector_channels(self) -> int:
        """Channels of the generator's noise vectors: 3D noise, latent, both, or neither (0)."""
        if self.encoder in ("stem", "noise"):
            return self.latent_channels
        return self.noise_channels + self.latent_channels

    @property
    def local_noise(self) -> bool:
        """Whether noise vectors can differ between pixels."""
        return self.local_channels > 0

    @property
    def local_channels(self) -> int:
        """Channels of noise vectors that can differ between pixels; 0 if they cannot."""
        return 0 if self.encoder == "stem" else self.vector_channels

    @property
    def generator_upsamples(self) -> tuple[bool, ...]:
        """For every block of the generator, whether there is an upsampling before it."""
        blocks = range(len(self.generator_widths) - 1)
        skipped = {0, 2} if self.generator == "spade" and self.upsampling == "normal" else {0}
        return tuple(block not in skipped for block in blocks)

    @property
    def generator_stride(self) -> int:
        """Sides of generated images are multiples of this (32 by default)."""
        return 2 ** sum(self.generator_upsamples)

    @property
    def discriminator_stride(self) -> int:
        """Sides of the discriminator's images are multiples of this (64 by default)."""
        if self.discriminator in PATCH_GANS:
            return 1
        return 2 ** (len(self.discriminator_widths) + (self.discriminator == "oasis_x2"))


_NUMBERS = {2: "two", 4: "four"}


def with_implied(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Adds to settings those that follow because something is off.

    `noise=none` implies no noise channels, no noise channels imply `noise=none`, and weight 0 of
    LabelMix implies no consistency.

    Args:
        settings: some or all settings by name.
    """
    settings = dict(settings)
    if settings.get("noise") == "none":
        settings["noise_channels"] = 0
    if settings.get("noise_channels") == 0 and settings.get("noise", "image") == "image":
        settings["noise"] = "none"
    if settings.get("lambda_labelmix") == 0:
        settings["consistency"] = "none"
    return settings


def missing_discriminator(purpose: str) -> ValueError:
    """Returns the error of a model without a discriminator, for a `purpose` like "segment"."""
    return ValueError(
        f"This model cannot {purpose}: it has no discriminator. It was converted from the weights "
        "of a generator alone; convert them again with --discriminator=FILE."
    )


def not_segmenting(purpose: str) -> ValueError:
    """Returns the error of a model whose discriminator does not segment."""
    return ValueError(
        f"This model cannot {purpose}: its discriminator tells real from fake and does not segment."
        f" U-Nets with --label_encoding={' or '.join(_SEGMENTING)} do."
    )


def missing_encoder(purpose: str) -> ValueError:
    """Returns the error of a model without an encoder."""
    return ValueError(
        f"This model cannot {purpose}: it has no image encoder. Train one with --encoder."
    )


def _default(config: Any, name: str) -> Any:
    return config.__dataclass_fields__[name].default
