"""Command: measure how much a segmentation network gains from generated images.

    python -m oasis_tf.augment_segmentation --data_dir=DATA --model_dirs=SPADE,OASIS

Trains one network on the real training images alone, and one for each model on real and synthetic
images in equal parts, all for the same number of steps. Prints the mIoU on the real validation
images and the published values (thesis, section 4.3.5). Writes all values to --json.
"""

from absl import flags

from oasis_tf import pretrained
from oasis_tf.cli import common_flags
from oasis_tf.settings import path_flags


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    path_flags.define_path("data_dir", None, "Prepared data set.", required=True, **where)
    path_flags.define_paths(
        "model_dirs", None, "Comma list: model directories.", required=True, **where
    )
    common_flags.define_segmenter_flags(flag_values)
    flags.DEFINE_integer("steps", 1000, "Training steps of each network.", lower_bound=1, **where)
    flags.DEFINE_integer("batch_size", 8, "Real images per step.", lower_bound=1, **where)
    flags.DEFINE_list(
        "seeds", ["0"], "Comma list: seeds; all networks are trained once per seed.", **where
    )
    path_flags.define_path("json", None, "File to write all values to.", **where)


def main(argv):
    """Checks all flags, trains, prints and writes the values."""
    del argv
    args = flags.FLAGS
    # Here: flags are checked before TensorFlow is loaded.
    from oasis_tf.systems.oasis.experiments import augmentation_report

    plan = augmentation_report.plan(
        args.data_dir,
        [pretrained.find(path) for path in args.model_dirs],
        network=args.network,
        backbone_weights=args.backbone_weights,
        steps=args.steps,
        batch_size=args.batch_size,
        seeds=args.seeds,
        json_path=args.json,
    )
    contents = augmentation_report.run(plan)
    print(augmentation_report.table(contents))
