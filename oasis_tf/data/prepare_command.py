"""Command: turns a data set into TFRecord shards and `dataset.json`.

    python -m oasis_tf.prepare --dataset=cityscapes --source=DIR --output=DIR
    python -m oasis_tf.prepare --dataset=folder --image_dir=DIR --label_dir=DIR \\
        --val_image_dir=DIR --val_label_dir=DIR --num_classes=12 --unknown_label=11 --output=DIR
    python -m oasis_tf.prepare --dataset=shapes --num_train=2000 --num_val=200 --output=DIR
"""

from absl import flags

from oasis_tf.cli import runner
from oasis_tf.data.datasets import DATASETS


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the command's flags."""

    def string(name, text):
        flags.DEFINE_string(name, None, text, flag_values=flag_values)

    def integer(name, text, default=None):
        flags.DEFINE_integer(name, default, text, flag_values=flag_values)

    flags.DEFINE_enum("dataset", None, DATASETS, "Data set.", flag_values=flag_values)
    string(
        "source",
        "Folder the data set was unpacked to. For `folder` it may hold train/images, "
        "train/labels, val/images, val/labels; folders given one by one are relative to it.",
    )
    string("output", "Folder for the prepared data set.")
    integer("num_shards", "Files of each split; 0: by size.", 0)
    integer("num_workers", "Processes that read and check; 0: what the machine has.", 0)
    flags.DEFINE_boolean(
        "overwrite", False, "Replace the data set that --output holds.", flag_values=flag_values
    )
    string(
        "label_files",
        "Also write the label maps of the validation split to this folder, as palette PNGs of raw "
        "ids named like their images: something to paint from.",
    )
    string("image_dir", "folder: training images (JPEG, PNG, …).")
    string("label_dir", "folder: label PNGs of raw class ids, named like the images.")
    string("val_image_dir", "folder: validation images.")
    string("val_label_dir", "folder: label PNGs of the validation images.")
    integer("num_classes", "folder: classes, counting the unknown one.")
    integer("unknown_label", "folder: raw id of pixels without a class, if there are any.")
    string(
        "class_names",
        "folder: file with one class name a line, in the order of the raw ids "
        "(with or without the unknown one).",
    )
    string(
        "scene_list", "ade_outdoors: file with one scene name a line, as in sceneCategories.txt."
    )
    integer("num_train", "shapes: training scenes (2000).")
    integer("num_val", "shapes: validation scenes (200).")
    integer("height", "shapes: height of the scenes (64).")
    integer("width", "shapes: width of the scenes (64).")
    integer("seed", "shapes: seed of the data set (0).")


def main(argv: list[str]) -> None:
    """Prepares the data set that the flags describe."""
    del argv
    values = flags.FLAGS
    if not values.dataset or not values.output:
        raise ValueError("--dataset and --output must be given; --help explains all flags.")
    # Imported here, so that worker processes, which import this module, stay without TensorFlow.
    from oasis_tf.data import layouts, preparation

    options = {
        name: values[name].value
        for name in sorted({name for names in layouts.OPTIONS.values() for name in names})
        if values[name].value is not None
    }
    splits, label_space = layouts.find_examples(values.dataset, values.source, **options)
    prepared = preparation.prepare(
        splits,
        label_space,
        values.output,
        num_shards=values.num_shards,
        num_workers=values.num_workers,
        overwrite=values.overwrite,
        label_files=values.label_files,
    )
    counts = ", ".join(f"{prepared.num_examples(split)} {split}" for split in prepared.splits)
    print(f"{values.output}: {label_space.num_classes} classes, {counts} images.")


if __name__ == "__main__":
    runner.run(main, define_flags)
