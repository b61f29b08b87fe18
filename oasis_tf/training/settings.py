"""Settings of the training loop, the same for every system. Nothing here needs TensorFlow."""

import dataclasses
from typing import ClassVar

from oasis_tf.settings.fields import check_fields, setting
from oasis_tf.training.loggers import LOGGERS


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """Duration, batch, precision, devices, intervals and evaluations of a run.

    A system's section `training` is a subclass that adds its own settings.

    Class attributes:
        AUTO_FALLS_BACK: whether --strategy=auto takes one device where the batch does not divide by
            their number.

    Raises:
        ValueError: a field is outside its limits.
    """

    AUTO_FALLS_BACK: ClassVar = False

    batch_size: int = setting("Images per step, over all devices.", 32, minimum=1)
    steps: int = setting(
        "Total number of steps, counted from the start of the run; use it instead of --epochs.",
        changeable=True,
        minimum=0,
    )
    seed: int = setting("Seed of every random choice.", 0, minimum=0, below=2**63)
    mixed_precision: str = setting(
        "Type of activations and their arithmetic; weights and losses stay float32.",
        "none",
        choices=("none", "bfloat16", "float16"),
    )
    strategy: str = setting(
        "Devices to train on. auto: all GPUs of this machine, or multi_worker if TF_CONFIG is set. "
        "none: one device.",
        "auto",
        choices=("auto", "none", "mirrored", "multi_worker"),
        changeable=True,
    )
    jit_compile: bool = setting("Compile the training step with XLA.", False, changeable=True)
    deterministic: bool = setting(
        "Use deterministic operations alone, which are slower on GPUs: a run there can then be "
        "repeated bit by bit. Those on CPUs are deterministic as they are.",
        False,
        changeable=True,
    )
    log_every: int = setting(
        "Steps between log lines with losses and speed.", 100, minimum=1, changeable=True
    )
    image_every: int = setting("Steps between sample images.", 1000, minimum=1, changeable=True)
    checkpoint_every: int = setting("Steps between checkpoints.", 1000, minimum=1, changeable=True)
    keep_every: int = setting(
        "Keep the first checkpoint in each interval of this many steps permanently; 0: none.",
        10000,
        minimum=0,
        changeable=True,
    )
    max_to_keep: int = setting(
        "Number of newest checkpoints to keep.", 2, minimum=1, changeable=True
    )
    eval_every: int = setting(
        "Steps between evaluations on the validation split; 0: none.",
        0,
        minimum=0,
        changeable=True,
    )
    eval_metrics: str = setting(
        "Comma list: metrics of these evaluations, as in --metrics of the evaluate command.",
        "fid",
        changeable=True,
    )
    eval_train_images: int = setting(
        "Training images, spread evenly over their split, that the metrics segmentation and "
        "alignment of an evaluation are measured on as well, as train/NAME; 0: none.",
        0,
        minimum=0,
        changeable=True,
    )
    best_metric: str | None = setting(
        "Name of the value that chooses the best checkpoint, such as fid_inception2015 or "
        "alignment_compact/miou. (default: the first value of the evaluation)",
        None,
        changeable=True,
    )

    log_to: str | None = setting(
        "Comma list: where the values go besides TensorBoard and metrics.jsonl: csv (metrics.csv), "
        "wandb, mlflow (extras of these names). (default: nowhere)",
        None,
        changeable=True,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        unknown = [name for name in self.loggers if name not in LOGGERS]
        if unknown:
            raise ValueError(
                f"`log_to` must name loggers among {', '.join(LOGGERS)}. Received: "
                f"log_to={self.log_to}."
            )

    @property
    def loggers(self) -> list[str]:
        """Returns the names in `log_to`, each once."""
        names = (name.strip() for name in (self.log_to or "").split(","))
        return [name for name in dict.fromkeys(names) if name]
