"""Settings of the data of a run. Nothing here needs TensorFlow."""

import dataclasses

from oasis_tf.settings.fields import check_fields, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The training data: its folder, and how images are resized, cropped and mirrored.

    `resize_height` and `resize_width` default to the size of the crop. `data_dir` is None only in a
    model directory that was not trained here, such as a converted one.

    Raises:
        ValueError: a field is outside its limits, or the crop does not fit into the resized image.
    """

    data_dir: str | None = setting(
        "Prepared data set, written by python -m oasis_tf.prepare.",
        None,
        changeable=True,
        path=True,
    )
    crop_height: int = setting("Height of training images in pixels.", 256, minimum=1)
    crop_width: int = setting("Width of training images in pixels.", 256, minimum=1)
    resize_height: int | None = setting(
        "Height of images before the random crop. (default: --crop_height; 286 for ADE20K and "
        "COCO-Stuff at 256, 143 for LVIS at 128)",
        None,
        minimum=1,
    )
    resize_width: int | None = setting(
        "Width of images before the random crop. (default: --crop_width, with the exceptions of "
        "--resize_height)",
        None,
        minimum=1,
    )
    flip: bool = setting("Mirror half of the training images, chosen at random.", True)
    skip_corrupt: bool = setting(
        "Skip records of the data set that cannot be read or decoded. All records are checked once "
        "at the start, and those skipped are counted and reported. Without this flag, such a "
        "record stops the run when it is read.",
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
                    f"`resize_{side}` must be at least `crop_{side}`, because crops are taken from "
                    f"the resized image. Received: resize_{side}={resize}, crop_{side}={crop}."
                )
