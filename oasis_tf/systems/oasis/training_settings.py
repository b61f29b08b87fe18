"""Settings of the data of a run and of its training. Nothing here needs TensorFlow."""

import dataclasses

from oasis_tf.settings.fields import check_fields, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where training images come from and how they are cut.

    `resize_height` and `resize_width` are the crop's own size if None. `data_dir` is None only
    where the weights came from elsewhere.

    Raises:
        ValueError: a field is outside its limits, or the crop does not fit into the resized image.
    """

    data_dir: str | None = setting(
        "Prepared data set, written by python -m oasis_tf.prepare.", None, changeable=True
    )
    crop_height: int = setting("Height of training images in pixels.", 256, minimum=1)
    crop_width: int = setting("Width of training images in pixels.", 256, minimum=1)
    resize_height: int | None = setting(
        "Height images are resized to before the random crop (default: --crop_height; 286 for "
        "ADE20K and COCO-Stuff at 256, 143 for LVIS at 128).",
        None,
        minimum=1,
    )
    resize_width: int | None = setting(
        "Width images are resized to before the random crop (default: as --resize_height).",
        None,
        minimum=1,
    )
    flip: bool = setting("Mirror every second training image, chosen at random.", True)
    skip_corrupt: bool = setting(
        "Do without records of the data set that cannot be read or decoded: they are looked for "
        "once at the start, counted and reported. Otherwise such a record stops the run when it "
        "is met.",
        False,
        changeable=True,
    )

    def __post_init__(self) -> None:
        for side in ("height", "width"):
            if getattr(self, f"resize_{side}") is None:
                object.__setattr__(self, f"resize_{side}", getattr(self, f"crop_{side}"))
        check_fields(self)
        for side in ("height", "width"):
            crop, resize = getattr(self, f"crop_{side}"), getattr(self, f"resize_{side}")
            if resize < crop:
                raise ValueError(
                    f"`resize_{side}` must be at least `crop_{side}`: crops are cut from the "
                    f"resized image. Received: resize_{side}={resize}, crop_{side}={crop}."
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Batch, duration, losses, optimizers, precision, devices and cadences.

    Raises:
        ValueError: a field is outside its limits.
    """

    batch_size: int = setting("Images in a step, over all devices.", 32, minimum=1)
    steps: int = setting(
        "Steps to train for, counted from the very first; instead of --epochs.",
        changeable=True,
        minimum=0,
    )
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
    seed: int = setting("Seed of every random choice.", 0, minimum=0, below=2**63)
    mixed_precision: str = setting(
        "Type of the arithmetic in between; weights and losses stay float32.",
        "none",
        choices=("none", "bfloat16", "float16"),
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
    strategy: str = setting(
        "Devices. auto: all GPUs of this machine, multi_worker if TF_CONFIG is set; none: one "
        "device.",
        "auto",
        choices=("auto", "none", "mirrored", "multi_worker"),
        changeable=True,
    )
    jit_compile: bool = setting("Compile the step with XLA.", False, changeable=True)
    log_every: int = setting(
        "Steps between lines of losses and speed.", 100, minimum=1, changeable=True
    )
    image_every: int = setting("Steps between sample images.", 1000, minimum=1, changeable=True)
    checkpoint_every: int = setting("Steps between checkpoints.", 1000, minimum=1, changeable=True)
    keep_every: int = setting(
        "Keep for good the first checkpoint in every so many steps; 0: none.",
        10000,
        minimum=0,
        changeable=True,
    )
    max_to_keep: int = setting("Latest checkpoints kept.", 2, minimum=1, changeable=True)
    statistics_batches: int = setting(
        "Training batches from which the averaged generator's batch statistics are re-estimated.",
        51,
        minimum=1,
    )

    eval_every: int = setting(
        "Steps between evaluations on the validation split; 0: none.",
        0,
        minimum=0,
        changeable=True,
    )
    eval_metrics: str = setting(
        "Comma list: metrics of those evaluations, as --metrics of the evaluate command.",
        "fid",
        changeable=True,
    )
    best_metric: str | None = setting(
        "Value by which the best checkpoint is chosen and kept, such as fid_inception2015 or "
        "alignment_compact/miou (default: the first value of the evaluation).",
        None,
        changeable=True,
    )

    def __post_init__(self) -> None:
        check_fields(self)
