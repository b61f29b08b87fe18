"""Command: how much a segmentation network gains from a model's images.

    python -m oasis_tf.augment_segmentation --data_dir=DATA --model_dirs=SPADE,OASIS

Trains a network on the real training images alone, and once for each model with real and synthetic
images half and half, at equal steps; prints the mIoU on the real validation images beside the
published rows (thesis, section 4.3.5), and writes all values to --json.
"""

from absl import flags


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    flags.DEFINE_string("data_dir", None, "Prepared data set.", required=True, **where)
    flags.DEFINE_list(
        "model_dirs", None, "Model directories, separated by commas.", required=True, **where
    )
    flags.DEFINE_enum(
        "network",
        "compact",
        ["compact", "deeplab_v3"],
        "Segmentation network: the compact U-Net of `evaluate`, or DeepLabV3 on a ResNet-50 (extra "
        "`segmenter`).",
        **where,
    )
    flags.DEFINE_string(
        "backbone_weights",
        None,
        "Weights file of DeepLabV3's ResNet-50, as save_weights of keras-hub's backbone writes it; "
        "default: random.",
        **where,
    )
    flags.DEFINE_integer("steps", 1000, "Steps of each network.", lower_bound=1, **where)
    flags.DEFINE_integer("batch_size", 8, "Real images in a step.", lower_bound=1, **where)
    flags.DEFINE_list("seeds", ["0"], "Seeds; each trains all networks anew.", **where)
    flags.DEFINE_string("json", None, "File for all values.", **where)


def main(argv):
    """Checks everything, trains, prints and writes."""
    del argv
    args = flags.FLAGS
    # Here: bad flags answer without TensorFlow.
    from oasis_tf.systems.oasis.experiments import augmentation_report

    plan = augmentation_report.plan(
        args.data_dir,
        args.model_dirs,
        network=args.network,
        backbone_weights=args.backbone_weights,
        steps=args.steps,
        batch_size=args.batch_size,
        seeds=args.seeds,
        json_path=args.json,
    )
    contents = augmentation_report.run(plan)
    print(augmentation_report.table(contents))
