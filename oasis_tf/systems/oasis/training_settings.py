"""Settings of the training of OASIS. Nothing here needs TensorFlow."""

import dataclasses

from oasis_tf.settings.fields import setting
from oasis_tf.training.settings import LoopSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig(LoopSettings):
    """Losses, optimizers, moving average and memory, in addition to the settings of the loop.

    Raises:
        ValueError: a field is outside its limits.
    """

    init_from: str | None = setting(
        "Model directory, or name of a shipped model, from whose weights a new run starts; flags "
        "for its networks may be left out. Weights of classes are carried over by name. A restart "
        "does not need it.",
        None,
        path=True,
    )
    init_classes: str = setting(
        "Weights of classes that --init_from carries over. names: those of classes that have the "
        "same name in both models; none: no class's. All others are drawn.",
        "names",
        choices=("names", "none"),
    )
    init_step: int | None = setting("Step of the checkpoint of `init_from`.", None, flag=False)
    lr_g: float = setting("Learning rate of the generator.", 1e-4, above=0)
    lr_d: float = setting("Learning rate of the discriminator.", 4e-4, above=0)
    beta_1: float = setting("Adam's decay of the mean gradient.", 0.0, minimum=0, below=1)
    beta_2: float = setting("Adam's decay of the squared gradient.", 0.999, minimum=0, below=1)
    init_gain: float = setting("Gain of the Xavier-normal initial kernels.", 0.02, above=0)
    consistency: str | None = setting(
        "Consistency loss of the discriminator, on mixed images. labelmix mixes by class, cutmix "
        "by a box. (default: labelmix if the discriminator segments, otherwise none)",
        None,
        choices=("none", "cutmix", "labelmix"),
    )
    lambda_labelmix: float = setting(
        "Weight of the LabelMix or CutMix consistency loss; 0: no such loss.", 10.0, minimum=0
    )
    labelmix_bits: str = setting(
        "Sampling of LabelMix masks, which take each class from the real or the generated image. "
        "batch: one fair bit per class for the whole batch; image: one per class of each image.",
        "batch",
        choices=("batch", "image"),
    )
    lambda_feature_matching: float = setting(
        "Weight of the generator's feature matching loss, on features of the discriminator; 0: no "
        "such loss.",
        0.0,
        minimum=0,
    )
    lambda_vgg: float = setting(
        "Weight of the generator's loss on features of VGG-19; 0: no such loss. Needs --vgg19.",
        0.0,
        minimum=0,
    )
    vgg19: str | None = setting(
        "Weights of VGG-19 for --lambda_vgg: Keras' .h5 or torchvision's .pth file.",
        None,
        changeable=True,
        path=True,
    )
    lambda_kld: float = setting(
        "Weight of the KL divergence of the encoder's latents from the normal distribution.",
        0.05,
        minimum=0,
    )
    ema_decay: float = setting(
        "Decay of the moving average of the generator's weights; 0: no average.",
        0.9999,
        minimum=0,
        below=1,
    )
    ema_warmup: bool = setting(
        "Let the decay of the average grow to --ema_decay, as the least of it and (1 + step) / "
        "(10 + step): the average is near the weights from the first steps on.",
        False,
    )
    augmentation: str = setting(
        "Differentiable augmentation of all that the discriminator sees, label maps included. "
        "basic: flip, translation, scale, colour, cut-out; full: the list of adaptive "
        "augmentation.",
        "none",
        choices=("none", "basic", "full"),
    )
    prob_augm: float = setting(
        "Probability of each augmentation, unless it is adapted.", 0.2, minimum=0, maximum=1
    )
    adaptive_augm: bool = setting(
        "Adapt the probability of augmentation, from 0 on, so that r = 2 share - 1 stays at "
        "--augm_target, with the share of real pixels that the discriminator does not call fake.",
        False,
    )
    augm_target: float = setting(
        "Value of r above which the probability of augmentation rises, and below which it falls.",
        0.6,
        minimum=-1,
        below=1,
    )
    augm_images: int = setting(
        "Images in which an adapted probability goes from 0 to 1 at most.", 500_000, minimum=1
    )
    modulation: str = setting(
        "SPADE's scale and shift. shared: once for equal surroundings; dense: for every pixel; "
        "auto: shared on CPUs, dense on GPUs and with --jit_compile. The numbers are the same up "
        "to rounding.",
        "auto",
        choices=("auto", "shared", "dense"),
        changeable=True,
    )
    remat: bool = setting(
        "Recompute the activations inside blocks for their gradients instead of keeping them: less "
        "memory, more time, the same numbers.",
        False,
        changeable=True,
    )
    chunk_logits: bool = setting(
        "Compute the N + 1 logits of a segmenting discriminator, their losses and gradients in "
        "chunks, never for all pixels at once. With thousands of classes this takes much less "
        "memory and a little more time; the numbers are the same up to rounding.",
        False,
        changeable=True,
    )
    statistics_batches: int = setting(
        "Number of training batches from which the batch statistics of the averaged generator are "
        "estimated again.",
        51,
        minimum=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.adaptive_augm and self.augmentation == "none":
            raise ValueError(
                "`adaptive_augm` adapts the probability of an augmentation. Received: "
                "augmentation=none, adaptive_augm=true. Give --augmentation=basic or full."
            )
