"""Command: train a list of ablations on one data set, evaluate all alike, print a table.

    python -m oasis_tf.ablate --variants=spade_plus,oasis --data_dir=DATA --output=DIR \\
        --common=small.flags

Variants are flagfiles: shipped ones (configs/ablations) by name, or your own by path. Flags of
--common override those of all variants, so that widths, sizes and steps are equal. Each variant
trains in DIR/NAME. After an interruption the same command continues. The table also has the
published scores; it is written to DIR/ablations.md.
"""

from absl import flags

from oasis_tf.ablations import command
from oasis_tf.ablations.table import Column

# mIoU is that of generated images under the segmenter, "rare" that of the rarest fifth of the
# classes.
COLUMNS = [
    Column(None, r"fid_.+", "↓", 1, 2),
    Column("mIoU", r"alignment_[^/]+/miou", "↑", 100, 1),
    Column("rare mIoU", r"alignment_[^/]+/miou_group_\d+", "↑", 100, 1),
    Column("D's mIoU", r"segmentation/miou", "↑", 100, 1),
    Column("MS-SSIM", r"diversity/ms_ssim_\d+scales", "↓", 1, 3),
    Column("LPIPS", r"diversity/lpips_\w+", "↑", 1, 4),
]


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    command.define_flags(
        flag_values, "Prepared data set.", metrics=["fid", "alignment", "diversity"]
    )
    flags.DEFINE_integer(
        "diversity_maps",
        20,
        "Label maps that the diversity metrics use, spread over the validation split.",
        lower_bound=1,
        flag_values=flag_values,
    )


def main(argv):
    """Checks all flags, trains, evaluates, prints and writes the table."""
    del argv
    args = flags.FLAGS
    # Here: flags are checked before TensorFlow is loaded.
    from oasis_tf.ablations import runs

    of_all = {"data_dir": args.data_dir}
    planned = runs.plan(args.variants, args.output, of_all, args.common, args.untrained)
    settings = [f"--diversity_maps={args.diversity_maps}"]
    failed = runs.execute(
        planned, lambda run: metrics(run.config, args.metrics), lambda run: settings
    )
    command.finish(planned, COLUMNS, args.output, failed)


def metrics(config, wanted):
    """Returns those of the wanted metrics that can be computed for the model of a `Config`."""
    model = config.model
    cannot = set() if model.vector_channels else {"diversity"}
    cannot |= set() if model.local_noise else {"class_diversity"}
    cannot |= set() if model.segments else {"segmentation"}
    return [metric for metric in wanted if metric not in cannot]
