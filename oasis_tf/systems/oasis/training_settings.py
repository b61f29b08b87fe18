"""Settings of the training of OASIS. Nothing here needs TensorFlow."""

import dataclasses

from oasis_tf.settings.fields import setting
from oasis_tf.training.settings import LoopSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig(LoopSettings):
    """Losses, optimizers, average and memory, beside what every loop needs.

    Raises:
        ValueError: a field is outside its limits.
    """

    lr_g: float = setting("Learning rate of the generator.", 1e-4, above=0)
    lr_d: float = setting("Learning rate of the discriminator.", 4e-4, above=0)
    beta_1: float = setting("Adam's decay of the mean gradient.", 0.0, minimum=0, below=1)
    beta_2: float = setting("Adam's decay of the squared gradient.", 0.999, minimum=0, below=1)
    init_gain: float = setting("Gain of the Xavier-normal initial kernels.", 0.02, above=0)
    consistency: str | None = setting(
        "What D must be consistent with: images mixed by class (labelmix) or by a box (cutmix), or "
        "nothing (default: labelmix where D segments, else none).",
        None,
        choices=("none", "cutmix", "labelmix"),
    )
    lambda_labelmix: float = setting(
        "Weight of LabelMix or CutMix consistency; 0: none of it.", 10.0, minimum=0
    )
    labelmix_bits: str = setting(
        "Whether LabelMix draws a fair bit per class for the whole batch or for every image.",
        "batch",
        choices=("batch", "image"),
    )
    lambda_feature_matching: float = setting(
        "Weight of the generator's loss on D's features of real and generated images; 0: none.",
        0.0,
        minimum=0,
    )
    lambda_vgg: float = setting(
        "Weight of the generator's loss on features of VGG-19; 0: none. Needs --vgg19.",
        0.0,
        minimum=0,
    )
    vgg19: str | None = setting(
        "Weights of VGG-19 for --lambda_vgg: Keras' .h5 or torchvision's .pth file.",
        None,
        changeable=True,
    )
    lambda_kld: float = setting(
        "Weight of the KL divergence of the encoder's latents from the normal distribution.",
        0.05,
        minimum=0,
    )
    ema_decay: float = setting(
        "Decay of the generator's moving average; 0: no average, the weights themselves.",
        0.9999,
        minimum=0,
        below=1,
    )
    remat: bool = setting(
        "Compute the activations inside blocks again for their gradient instead of keeping them: "
        "less memory, more time, the same numbers.",
        False,
        changeable=True,
    )
    chunk_logits: bool = setting(
        "Never write out the N + 1 logits of all pixels of a discriminator that segments, but "
        "compute losses and gradients in chunks: for thousands of classes much less memory, some "
        "more time, the same numbers to rounding.",
        False,
        changeable=True,
    )
    statistics_batches: int = setting(
        "Training batches from which the averaged generator's batch statistics are re-estimated.",
        51,
        minimum=1,
    )
