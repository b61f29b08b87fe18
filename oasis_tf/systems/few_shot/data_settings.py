"""Settings of the data of `few_shot`. Nothing here needs TensorFlow."""

import dataclasses

from oasis_tf.settings.fields import check_fields, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The training pictures: where they lie, and whether they are mirrored.

    `data_dir` is None only in a model directory that was not trained here.

    Raises:
        ValueError: a field is outside its limits.
    """

    data_dir: str | None = setting(
        "A folder of pictures of any sizes, also in folders of it. For --network=biggan without "
        "--source, one folder for each class.",
        None,
        changeable=True,
        path=True,
    )
    held_out: str | None = setting(
        "A folder of other pictures, on which --eval_every measures the model. (default: none)",
        None,
        changeable=True,
        path=True,
    )
    num_pictures: int = setting(
        "Take this many pictures, the first ones by name; 0: all.", 0, minimum=0
    )
    flip: bool = setting("Whether half of the pictures of a batch, by draw, are mirrored.", True)

    def __post_init__(self) -> None:
        check_fields(self)
