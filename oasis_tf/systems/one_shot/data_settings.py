"""Settings of the data of `one_shot`. Nothing here needs TensorFlow."""

import dataclasses

from oasis_tf.settings.fields import check_fields, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The training pictures: where they lie, how large they are in training, what masks mean.

    `data_dir` is None only in a model directory that was not trained here.

    Raises:
        ValueError: a field is outside its limits.
    """

    data_dir: str | None = setting(
        "One picture; a folder of frames; or a folder with image/ and, of the same names, mask/.",
        None,
        changeable=True,
        path=True,
    )
    max_size: int = setting("Most pixels of a side in training.", 1024, minimum=1)
    frame_step: int = setting("Take every frame of this number, from the first on.", 1, minimum=1)
    num_pictures: int = setting(
        "Take this many pictures, the first ones by name; 0: all.", 0, minimum=0
    )
    masks: bool = setting("Whether to use masks, if there are any.", True)
    mask_values: str = setting(
        "What masks hold: ids of classes, 0 the background; or binary, the share of the one object "
        "in 0..255. auto: ids in palettes and where no value reaches 30, otherwise binary.",
        "auto",
        choices=("auto", "ids", "binary"),
    )

    def __post_init__(self) -> None:
        check_fields(self)
