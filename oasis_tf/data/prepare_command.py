"""The command `prepare` of the systems that train on images with label maps."""

import os
import sys

from absl import flags

from oasis_tf.data.datasets import DATASETS
from oasis_tf.io import label_files
from oasis_tf.settings import path_flags


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags of this command on `flag_values`."""

    def string(name, text):
        flags.DEFINE_string(name, None, text, flag_values=flag_values)

    def path(name, text):
        path_flags.define_path(name, None, text, flag_values=flag_values)

    def integer(name, text, default=None):
        flags.DEFINE_integer(name, default, text, flag_values=flag_values)

    flags.DEFINE_enum("dataset", None, DATASETS, "Data set.", flag_values=flag_values)
    path(
        "source",
        "Folder of the unpacked data set. With --dataset=folder, the folders that are given one by "
        "one are relative to it; without them it must hold train/images and train/labels, and may "
        "hold val/images and val/labels.",
    )
    path("output", "Folder for the prepared data set.")
    integer("num_shards", "Files per split; 0 chooses by size.", 0)
    integer("num_workers", "Processes that read and check files; 0 chooses.", 0)
    flags.DEFINE_boolean(
        "overwrite", False, "Replace the data set in --output.", flag_values=flag_values
    )
    integer(
        "resize_height",
        "Height at which training images are stored, as --resize_height of training has it "
        "(default: as they are). Training then decodes less and resizes nothing.",
    )
    integer("resize_width", "Width at which training images are stored.")
    path(
        "label_files",
        "Folder for a copy of the validation label maps, to generate images from. They are palette "
        "PNGs of raw ids, named like their images.",
    )
    path("image_dir", "folder: training images (JPEG, PNG, …).")
    path("label_dir", "folder: label files of class ids or colours, named like the images.")
    path("val_image_dir", "folder: validation images.")
    path("val_label_dir", "folder: label files of the validation images.")
    string(
        "image_suffix",
        "folder: end of the names of images, such as .jpg or _leftImg8bit.png; several with commas "
        "between (default: every format).",
    )
    string(
        "label_suffix",
        "folder: end of the names of label files, such as _L.png; what precedes the suffixes must "
        "be equal (default: .png, .bmp, .tif, .tiff).",
    )
    flags.DEFINE_float(
        "val_fraction",
        None,
        "folder: share of the training examples that becomes the validation split, such as 0.1.",
        flag_values=flag_values,
    )
    integer("num_classes", "folder: number of classes, the unknown class included.")
    string(
        "raw_ids",
        "folder: the values of the classes in label files, such as 0,255, in the order of the "
        "model's classes; instead of --num_classes.",
    )
    path(
        "classes",
        "folder: CSV file of the classes, with the header id,name or id,name,red,green,blue; "
        "instead of --num_classes. Equal names are one class. Label files may hold the colours, "
        "and they become the model's.",
    )
    flags.DEFINE_enum(
        "label_format",
        None,
        label_files.FORMATS,
        "folder: contents of label files. auto: class ids, or colours if --classes has some; a "
        "file that could be either is refused.",
        flag_values=flag_values,
    )
    integer("unknown_label", "folder: raw id of pixels without a class, if there are any.")
    path(
        "class_names",
        "folder: file with one class name per line in the order of the raw ids, with or without "
        "the unknown class.",
    )
    path("scene_list", "ade_outdoors: file with one scene name of sceneCategories.txt per line.")
    integer("num_train", "shapes: number of training scenes (default: 2000).")
    integer("num_val", "shapes: number of validation scenes (default: 200).")
    integer("height", "shapes: height of the scenes (default: 64).")
    integer("width", "shapes: width of the scenes (default: 64).")
    integer("seed", "shapes: seed of the data set; folder: seed of --val_fraction (default: 0).")


def main(argv: list[str]) -> None:
    """Prepares the data set that the flags describe, and says what it holds."""
    del argv
    values = flags.FLAGS
    if not values.dataset or not values.output:
        raise ValueError("--dataset and --output must be given; --help explains all flags.")
    training_size = values.resize_height, values.resize_width
    if training_size.count(None) == 1:
        raise ValueError(
            "--resize_height and --resize_width must be given together. Received: "
            f"--resize_height={training_size[0]}, --resize_width={training_size[1]}."
        )
    from oasis_tf.data import layouts, overview, preparation  # here: flags need no TensorFlow

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
        training_size=None if None in training_size else training_size,
    )
    counts = ", ".join(f"{prepared.num_examples(split)} {split}" for split in prepared.splits)
    print(overview.class_table(prepared))
    rare = overview.rare_classes(prepared)
    if rare:
        print(f"WARNING: {rare}", file=sys.stderr)
    sheet = os.path.join(values.output, preparation.SHEET_FILE)
    print(f"Look at {sheet}: images, label maps, and both laid over each other.")
    print(f"{values.output}: {label_space.num_classes} classes, {counts} images.")
