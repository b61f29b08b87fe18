"""Command: generate images from label maps, edit them, recreate photographs.

    python -m oasis_tf.synthesize --model_dir=DIR --labels=FILE|DIR --output=DIR

generates an image of every label PNG for each of the seeds `--seed`, ..., `--seed` +
`--num_samples` - 1, in `STEM_seedSEED.png`. Label PNGs hold raw ids, or colours of the data set's
palette. The same label map and seed always give the same image. With

    --resample_classes=sky,tree   samples differ from the first only in these classes
    --region=MASK.png             samples differ from the first only inside the mask
    --interpolate=K               K frames from each seed to the next, also inside classes or a mask
    --style=FILE|DIR              in the style of images, by a model with an image encoder
    --from_images=FILE|DIR        photographs instead of labels: the discriminator segments them
    --segment_only                with --from_images: only label PNGs of raw ids, STEM.png
    --labelmix                    the figure of LabelMix: real, fake, mask, mixed, D's logits
    --augment                     a synthetic twin of a whole training split, prepared to train on

Names of files state the edit: `STEM_seed3_sky-tree_seed7.png` is the image of seed 3 with the sky
and the trees of seed 7. No file is replaced unless `--overwrite` is given; `--skip_existing`
continues with the missing files.
"""

from absl import flags

from oasis_tf.cli import common_flags
from oasis_tf.io.write_errors import NotWritten
from oasis_tf.settings import path_flags

_FORMS = ("label_format", "grid")
_SWITCHES = ("overwrite", "skip_existing", "segment_only", "labelmix", "augment")


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    common_flags.define_model_dir_flag(flag_values)
    path_flags.define_path(
        "output", None, "Folder for the outputs, made when needed.", required=True, **where
    )
    common_flags.define_checkpoint_flag(flag_values)
    _define_inputs(where)
    _define_samples(where)
    _define_other_work(where)
    _define_outputs(where)


def _define_inputs(where):
    path_flags.define_path(
        "labels",
        None,
        "Label PNG, or folder of label PNGs (with subfolders): raw ids in one channel or as "
        "indices of a palette, or exact colours of the data set's palette.",
        **where,
    )
    common_flags.define_label_format_flag(where["flag_values"])
    path_flags.define_path(
        "from_images",
        None,
        "Photograph, or folder of photographs: the discriminator segments them, the generator "
        "recreates the scene. With --labelmix: real images beside --labels.",
        **where,
    )
    flags.DEFINE_enum(
        "size",
        None,
        ["crop", "native"],
        "crop: everything is resized to the training crop, or to --height and --width. native: "
        "every file keeps its size; sides that the networks do not take are padded, and the images "
        "are cropped. Default: crop; native for --augment.",
        **where,
    )
    flags.DEFINE_integer(
        "height", None, "Image height, with --width; default: the training crop's.", **where
    )
    flags.DEFINE_integer(
        "width", None, "Image width, with --height; default: the training crop's.", **where
    )


def _define_samples(where):
    flags.DEFINE_integer("seed", 0, "First noise seed.", lower_bound=0, **where)
    flags.DEFINE_integer(
        "num_samples",
        1,
        "Images for each label map: seeds --seed, --seed + 1, ... With --interpolate: "
        "interpolations, each from one seed to the next.",
        lower_bound=1,
        **where,
    )
    path_flags.define_path(
        "style",
        None,
        "Photograph, or folder of photographs: samples take the style of each, by the image "
        "encoder of the model (STEM_style-NAME_seedSEED.png).",
        **where,
    )
    flags.DEFINE_list(
        "resample_classes",
        None,
        "Class names (or raw ids): the first sample is the base, the others differ only in these.",
        **where,
    )
    path_flags.define_path(
        "region",
        None,
        "Mask PNG of the label map's size, or folder of masks with the label files' stems: the "
        "first sample is the base, the others differ where the mask is not 0.",
        **where,
    )
    flags.DEFINE_integer(
        "interpolate", None, "Frames from each seed to the next.", lower_bound=2, **where
    )
    flags.DEFINE_enum(
        "interpolation", "linear", ["linear", "spherical"], "Path between noise vectors.", **where
    )
    flags.DEFINE_integer("batch_size", 8, "Images generated at a time.", lower_bound=1, **where)


def _define_other_work(where):
    flags.DEFINE_bool(
        "segment_only", False, "With --from_images: write label PNGs, no images.", **where
    )
    flags.DEFINE_bool(
        "labelmix",
        False,
        "Write the figure of LabelMix for --labels with --from_images, or for validation images of "
        "--data_dir: label map, real, fake, mask, mixed, D of mixed, mix of D.",
        **where,
    )
    flags.DEFINE_bool(
        "augment",
        False,
        "Write a prepared data set: the label maps of the training split of --data_dir with "
        "generated images, --num_samples of each.",
        **where,
    )
    path_flags.define_path(
        "data_dir",
        None,
        "Prepared data set for --labelmix and --augment; default: the one trained on.",
        **where,
    )
    flags.DEFINE_integer(
        "num_scenes",
        8,
        "Validation images that --labelmix takes from a prepared data set.",
        lower_bound=1,
        **where,
    )


def _define_outputs(where):
    flags.DEFINE_bool("overwrite", False, "Replace files that exist; default: refuse.", **where)
    flags.DEFINE_bool(
        "skip_existing",
        False,
        "Keep files that exist and were made by the same request; make the missing ones.",
        **where,
    )
    path_flags.define_path(
        "grid",
        None,
        "Also write a contact sheet to this PNG file: (photograph and) label colours, then the "
        "samples or frames; the first 16 rows.",
        **where,
    )
    flags.DEFINE_list(
        "animation", None, "Also write each interpolation as gif, webp or both.", **where
    )
    flags.DEFINE_integer(
        "frame_ms", 100, "Milliseconds that a frame is shown.", lower_bound=10, **where
    )


def main(argv):
    """Checks the request, loads the model, does the work."""
    del argv
    from oasis_tf.systems.oasis.synthesis import modes

    args = flags.FLAGS
    mode = modes.choose_mode(_given(args, set.union(*modes.MODES.values())))

    from oasis_tf.systems.oasis.config import Config  # here: bad flags answer without TensorFlow

    plan, work, done = _WORK[mode](args, Config.load(args.model_dir))
    for note in plan.notes:
        print(note)
    from oasis_tf import OASIS

    model = OASIS.load(args.model_dir, common_flags.checkpoint(args.checkpoint))
    try:
        print(done(work(model, plan)))
    except NotWritten as error:
        if mode == "augment":
            raise
        raise OSError(f"{error} The files before it are whole: --skip_existing goes on.") from error


def _given(args, names):
    """Names of the given flags, without switches that are off."""
    given = {name for name in names if args[name].present}
    return given - {name for name in _SWITCHES if not args[name].value}


def _common(args, *names):
    return {name: args[name].value for name in ("height", "width", "overwrite", *names)}


def _wrote(args):
    return lambda written: f"Wrote {len(written)} files to {args.output}"


def _generate(args, config):
    from oasis_tf.systems.oasis.synthesis import generation

    plan = generation.plan_synthesis(
        config,
        args.labels,
        args.output,
        **_common(args, "from_images", "style", "seed", "num_samples", "region", *_FORMS),
        skip_existing=args.skip_existing,
        resample_classes=args.resample_classes or (),
        interpolate=args.interpolate or 0,
        spherical=args.interpolation == "spherical",
        animations=args.animation or (),
        frame_ms=args.frame_ms,
        size=args.size or "crop",
    )

    def work(model, plan):
        return generation.synthesize(model, plan, batch_size=args.batch_size)

    return plan, work, _wrote(args)


def _segment(args, config):
    from oasis_tf.systems.oasis.synthesis import segmentation

    plan = segmentation.plan_segmentation(
        config,
        args.from_images,
        args.output,
        **_common(args, "skip_existing"),
        size=args.size or "crop",
    )
    return plan, segmentation.segment_files, _wrote(args)


def _labelmix(args, config):
    from oasis_tf.systems.oasis.synthesis import labelmix

    names = ("labels", "from_images", "data_dir", "num_scenes", "seed", "num_samples")
    plan = labelmix.plan_labelmix(
        config,
        args.output,
        **_common(args, *names, "label_format", "grid", "skip_existing"),
        size=args.size or "crop",
    )
    print(f"Columns: {', '.join(labelmix.COLUMNS)}. Fake is black.")
    return plan, labelmix.labelmix_figures, _wrote(args)


def _augment(args, config):
    from oasis_tf.systems.oasis.synthesis import augmentation

    plan = augmentation.plan_augmentation(
        config,
        args.data_dir,
        args.output,
        **_common(args, "seed", "num_samples"),
        size=args.size or "crop" if args.height else args.size or "native",
    )

    def work(model, plan):
        return augmentation.augment(model, plan, args.model_dir)

    def done(prepared):
        return f"Wrote {prepared.num_examples('train')} synthetic examples to {args.output}"

    return plan, work, done


_WORK = {
    "labels": _generate,
    "from_images": _generate,
    "segment_only": _segment,
    "labelmix": _labelmix,
    "augment": _augment,
}
