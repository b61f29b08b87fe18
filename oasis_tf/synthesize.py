"""Command: paint images from label PNGs.

    python -m oasis_tf.synthesize --model_dir=DIR --labels=FILE|DIR --output=DIR

Label PNGs hold raw ids. Each is resized, nearest neighbour, to the training crop or to
`--height`/`--width`, and painted once for each of the seeds `--seed`, …, `--seed` + `--num_samples`
- 1 into `STEM_seedSEED.png`. The same label map and seed always give the same image.
"""

from absl import flags

from oasis_tf import commandline


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    flags.DEFINE_string("model_dir", None, "Model directory.", required=True, **where)
    flags.DEFINE_string(
        "labels",
        None,
        "Label PNG, or folder of label PNGs (with subfolders); one channel of raw ids.",
        required=True,
        **where,
    )
    flags.DEFINE_string(
        "output", None, "Folder for the images, made when needed.", required=True, **where
    )
    commandline.define_checkpoint_flag(flag_values)
    flags.DEFINE_integer("seed", 0, "First noise seed.", lower_bound=0, **where)
    flags.DEFINE_integer(
        "num_samples",
        1,
        "Images for each label map: seeds --seed, --seed + 1, …",
        lower_bound=1,
        **where,
    )
    flags.DEFINE_integer(
        "height", None, "Image height, with --width; default: the training crop's.", **where
    )
    flags.DEFINE_integer(
        "width", None, "Image width, with --height; default: the training crop's.", **where
    )
    flags.DEFINE_integer("batch_size", 8, "Images painted at a time.", lower_bound=1, **where)
    flags.DEFINE_bool("overwrite", False, "Replace files that exist; default: refuse.", **where)
    flags.DEFINE_string(
        "grid",
        None,
        "Also write a contact sheet to this PNG file: label colours, then the samples, one row for "
        "each of the first 16 label files.",
        **where,
    )


def main(argv):
    """Checks everything, loads the model, paints."""
    del argv
    from oasis_tf import synthesis  # here: bad flags answer without TensorFlow
    from oasis_tf.config import Config

    args = flags.FLAGS
    plan = synthesis.plan_synthesis(
        Config.load(args.model_dir),
        args.labels,
        args.output,
        seed=args.seed,
        num_samples=args.num_samples,
        height=args.height,
        width=args.width,
        grid=args.grid,
        overwrite=args.overwrite,
    )
    from oasis_tf import OASIS

    model = OASIS.load(args.model_dir, commandline.checkpoint(args.checkpoint))
    written = synthesis.synthesize(model, plan, batch_size=args.batch_size)
    print(f"Wrote {len(written)} files to {args.output}")


if __name__ == "__main__":
    commandline.run(main, define_flags)
