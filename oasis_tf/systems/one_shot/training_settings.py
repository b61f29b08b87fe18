"""Settings of the training of `one_shot`. Nothing here needs TensorFlow."""

import dataclasses
from typing import ClassVar

from oasis_tf.settings.fields import setting
from oasis_tf.training.settings import LoopSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig(LoopSettings):
    """Losses, optimizers, moving average and regularisers, in addition to the loop's settings.

    Raises:
        ValueError: a field is outside its limits.
    """

    AUTO_FALLS_BACK: ClassVar = True

    batch_size: int = setting("Images per step, over all devices.", 5, minimum=1)
    seed: int = setting("Seed of every random choice.", 22, minimum=0, below=2**63)
    lr_g: float = setting("Learning rate of the generator.", 2e-4, above=0)
    lr_d: float = setting("Learning rate of the discriminator.", 2e-4, above=0)
    beta_1: float = setting("Adam's decay of the mean gradient.", 0.5, minimum=0, below=1)
    beta_2: float = setting("Adam's decay of the squared gradient.", 0.999, minimum=0, below=1)
    ema_decay: float = setting(
        "Decay of the moving average of the generator's weights; 0: no average.",
        0.9999,
        minimum=0,
        below=1,
    )
    loss: str = setting(
        "Loss of logits that tell real from generated.", "bce", choices=("bce", "hinge", "wgan")
    )
    loss_weights: str = setting(
        "Weights of the branches. official: 1/n of every low-level block, half of it of every "
        "content and layout block, of n blocks in all; paper: 1, 1 and 2 of the means.",
        "official",
        choices=("official", "paper"),
    )
    low_level_loss: bool = setting("Whether low-level logits count.", True)
    diversity: str = setting(
        "What keeps samples apart: differences of features (DR) or of images; zcr: a small step of "
        "the latent must change the image; ds: change of the image by that of the latent.",
        "features",
        choices=("features", "images", "zcr", "ds", "none"),
    )
    lambda_dr: float = setting("Weight of --diversity; 0: none.", 0.15, minimum=0)
    dr_norm: str = setting(
        "Scale of DR. official: sums over pairs of samples divided by the number of pairs of "
        "blocks; paper: means over pairs of samples and over blocks.",
        "official",
        choices=("official", "paper"),
    )
    zcr_step: float = setting(
        "Standard deviation of the step of the latent of --diversity=zcr.", 0.05, above=0
    )
    ds_bound: float = setting("Largest ratio that --diversity=ds rewards.", 10.0, above=0)
    prob_fa_con: float = setting(
        "Probability of mixing and of dropping content features.", 0.4, minimum=0, maximum=1
    )
    prob_fa_lay: float = setting(
        "Probability of changes of layout features.", 0.4, minimum=0, maximum=1
    )
    layout_fa: str = setting(
        "What layout augmentation does with a rectangle of two images: swap it, or paste it into "
        "the first, as in the paper.",
        "swap",
        choices=("swap", "paste"),
    )
    augmentation: str = setting(
        "Differentiable augmentation of real and generated images. reduced: zoom, crop or "
        "rotation, flip, shifts; full: the list of adaptive augmentation.",
        "reduced",
        choices=("reduced", "full", "none"),
    )
    prob_augm: float = setting("Probability of each augmentation.", 0.7, minimum=0, maximum=1)
    augmentation_blur: bool = setting(
        "Whether the small scales pass through the full size also where no augmentation is drawn.",
        True,
    )
    bernoulli_warmup: int = setting(
        "Steps in which hard masks are drawn from the soft ones; after them they are the maxima.",
        15000,
        minimum=0,
    )
    bernoulli: str = setting(
        "What is drawn for itself: every channel of a position, or one class of every pixel, as in "
        "the paper.",
        "channel",
        choices=("channel", "pixel"),
    )
    hard_masks: str = setting(
        "Where masks of generated images become hard: small, at the size of the features; full, at "
        "that of the image, as in the paper.",
        "small",
        choices=("small", "full"),
    )
    object_weights: str = setting(
        "Areas that weigh the objects in the generator's loss: of the generated or, as in the "
        "paper, of the real masks.",
        "generated",
        choices=("generated", "real"),
    )
    fake_objects: str = setting(
        "Loss of objects of generated images in the discriminator: log_fake, -log D(fake); "
        "log_not_fake, -log(1 - D(fake)), as the paper prints it.",
        "log_fake",
        choices=("log_fake", "log_not_fake"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size < 2 and self.lambda_dr and self.diversity not in ("zcr", "none"):
            raise ValueError(
                f"`diversity={self.diversity}` compares images of one batch, so `batch_size` must "
                f"be at least 2. Received: batch_size={self.batch_size}. Or give --lambda_dr=0."
            )
