"""Command: measure a model on the validation split of a prepared data set.

    python -m oasis_tf.evaluate --model_dir=DIR --data_dir=DIR --metrics=segmentation,alignment

Metrics:
    segmentation: the discriminator as a segmenter of the real validation images.
    alignment: one generated image for each validation label map, segmented by a compact network
        trained on the real training images; kept beside the data, so that it is trained once.
        `segmenter/…` are that network's scores on the real validation images.
"""

from absl import flags

from oasis_tf import commandline


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    flags.DEFINE_string("model_dir", None, "Model directory.", required=True, **where)
    flags.DEFINE_string(
        "data_dir", None, "Prepared data set; default: the one trained on.", **where
    )
    flags.DEFINE_list(
        "metrics",
        ["segmentation", "alignment"],
        "Metrics, separated by commas: segmentation, alignment.",
        **where,
    )
    flags.DEFINE_integer(
        "seed", 0, "The i-th image is generated with seed --seed + i.", lower_bound=0, **where
    )
    flags.DEFINE_integer("batch_size", 16, "Images at a time.", lower_bound=1, **where)
    flags.DEFINE_integer(
        "segmenter_steps",
        None,
        "Training steps of the segmenter for `alignment`; default: five epochs, at least 400.",
        lower_bound=1,
        **where,
    )
    flags.DEFINE_bool(
        "skip_corrupt",
        False,
        "Leave out records of the data set that cannot be read or decoded; they are reported.",
        **where,
    )
    flags.DEFINE_string("json", None, "Also write the values to this file.", **where)


def main(argv):
    """Checks the request, measures, prints and writes the values."""
    del argv
    from oasis_tf.metrics import evaluation  # here: bad flags answer without TensorFlow

    args = flags.FLAGS
    report = evaluation.evaluate_model(
        args.model_dir,
        args.data_dir,
        args.metrics,
        seed=args.seed,
        batch_size=args.batch_size,
        segmenter_steps=args.segmenter_steps,
        skip_corrupt=args.skip_corrupt,
        json_path=args.json,
    )
    for name, value in report["metrics"].items():
        print(f"{name:50s} {value:.4f}")


if __name__ == "__main__":
    commandline.run(main, define_flags)
