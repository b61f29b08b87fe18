"""Command: measure how much one-shot segmentation gains from generated pairs.

    python -m oasis_tf.augment_segmentation --model_dirs=MODEL --data_dir=FOLDER

Each model has learnt from one picture with its mask. Its generated pairs are ranked by SIFID, the
worst 15 % are dropped. Tasks:
    finetune: a segmenter is fine-tuned on the pair, with and without standard augmentation and
        generated pairs. Prints J&F on FOLDER: image/ and mask/, or DAVIS with --videos.
    repri: the classifier of RePRI with a support of 1 or 11 pairs. Prints the mIoU.
    pool: writes ten generated pairs in the layout of DAVIS to --output, for the memory of STM.
    scene: writes rendered scenes to --output, train/ and test/, where no data set is at hand.
"""

import dataclasses
import os

from absl import flags

from oasis_tf import pretrained
from oasis_tf.cli import common_flags
from oasis_tf.io import output_paths
from oasis_tf.settings import path_flags


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    path_flags.define_paths("model_dirs", None, "Comma list: model directories.", **where)
    flags.DEFINE_enum(
        "task", "finetune", ["finetune", "repri", "pool", "scene"], "What to do.", **where
    )
    path_flags.define_path(
        "data_dir",
        None,
        "Pairs to test on: a folder with image/ and mask/, or one of DAVIS, with JPEGImages/ and "
        "Annotations/.",
        **where,
    )
    flags.DEFINE_list(
        "videos",
        None,
        "Comma list: sequences of DAVIS, one for each model. (default: the names of the "
        "directories)",
        **where,
    )
    common_flags.define_segmenter_flags(flag_values)
    path_flags.define_path(
        "base_data",
        None,
        "Prepared data set of other classes that the compact network of repri is trained on. "
        "(default: random weights, and the names of the values say so)",
        **where,
    )
    _define_numbers(where)
    path_flags.define_path(
        "inception", None, "Weights that rank the pairs, as of the metric sifid.", **where
    )
    path_flags.define_path(
        "coco_list",
        None,
        "List of COCO-20i for repri: each line has the paths of an image and its annotation.",
        **where,
    )
    path_flags.define_path("coco_dir", None, "Folder of these paths.", **where)
    flags.DEFINE_list(
        "coco_classes", None, "Comma list: ids in these annotations, one a model.", **where
    )
    flags.DEFINE_integer(
        "coco_fold",
        None,
        "Fold of COCO-20i that these classes must be of. (default: not checked)",
        lower_bound=0,
        upper_bound=3,
        **where,
    )
    path_flags.define_path("output", None, "Folder for the files of pool and scene.", **where)
    path_flags.define_path("json", None, "File to write all values to.", **where)


def _define_numbers(where):
    flags.DEFINE_integer("steps", 500, "Steps of a fine-tuning.", lower_bound=1, **where)
    flags.DEFINE_integer("batch_size", 4, "Real pairs per step.", lower_bound=1, **where)
    flags.DEFINE_list("seeds", ["0", "1", "2"], "Comma list: seeds.", **where)
    flags.DEFINE_integer("pool_size", 100, "Pairs to generate.", lower_bound=2, **where)
    flags.DEFINE_float(
        "filter_rate",
        0.15,
        "Share of them that is dropped.",
        lower_bound=0,
        upper_bound=0.99,
        **where,
    )
    flags.DEFINE_list(
        "filter_depths",
        None,
        "Comma list: depths, 0 to 3, whose ranks are averaged. (default: all)",
        **where,
    )
    flags.DEFINE_integer(
        "queries", None, "Images of each class that repri is tested on.", lower_bound=1, **where
    )


def main(argv):
    """Checks all flags, does what the task is, prints and writes the values."""
    del argv
    args = flags.FLAGS
    if args.task in ("pool", "scene"):
        _check_output(args)
    seeds = common_flags.seeds(args.seeds)
    depths = _depths(args.filter_depths)
    # Here: flags are checked before TensorFlow is loaded.
    if args.task == "scene":
        from oasis_tf.systems.one_shot.segmentation import scenes

        scenes.write(args.output, seed=seeds[0])
        print(f"Wrote rendered scenes to {args.output}: one pair in train/, 20 in test/.")
        return
    from oasis_tf.systems.one_shot.segmentation import experiment

    names = {field.name for field in dataclasses.fields(experiment.Options)}
    given = {name: args[name].value for name in names if name in args}
    given |= {"seeds": seeds, "filter_depths": depths, "json_path": args.json}
    given["model_dirs"] = [pretrained.find(path) for path in args.model_dirs or ()]
    options = experiment.Options(**given)
    experiment.check(options, args.task)
    if args.task == experiment.POOL:
        for name, count in experiment.write_pools(options, args.output).items():
            print(f"Wrote {count} pairs of {name} to {args.output}.")
        return
    print(experiment.table(experiment.run(options, args.task)))


def _check_output(args):
    if not args.output:
        raise ValueError(f"`output` must be given for --task={args.task}: --output=FOLDER.")
    if os.path.isdir(args.output) and os.listdir(args.output):
        raise ValueError(f"`output` must be a new or an empty folder. Received: {args.output}.")
    output_paths.check_folder(args.output)


def _depths(texts):
    if texts is None:
        return None
    if not texts or not set(texts) <= set("0123") or len(set(texts)) < len(texts):
        raise ValueError(
            "`filter_depths` must be different ones of 0, 1, 2, 3, separated by commas. Received: "
            f"{','.join(texts)}."
        )
    return [int(text) for text in texts]
