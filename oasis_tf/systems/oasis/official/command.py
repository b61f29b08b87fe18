"""Command: convert checkpoints of the authors' PyTorch release to model directories, and back.

    python -m oasis_tf.convert --checkpoint=best_EMA.pth --dataset=ade20k --model_dir=DIR
    python -m oasis_tf.convert --model_dir=DIR --to_official=FOLDER

Widths and class counts are inferred from the shapes of the weights. Settings of training are those
of the data set's flagfile, and flags override them (except the number of steps, which the train
command sets). A model converted without --discriminator can generate, be evaluated and exported.
With it, the model can also segment and be trained further. PyTorch is needed:
`pip install "oasis-tf[convert]"`.
"""

from absl import flags

from oasis_tf import pretrained
from oasis_tf.data.datasets import DATASETS
from oasis_tf.settings import setting_flags
from oasis_tf.systems.oasis.config import Config
from oasis_tf.systems.oasis.model_settings import PARTS


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`, the settings included."""
    where = {"flag_values": flag_values}
    # The release has no choice of parts, and two flags below have the names of two of them.
    setting_flags.define_setting_flags(Config, flag_values, without=PARTS)
    flags.DEFINE_string(
        "model_dir",
        None,
        "New model directory to write; with --to_official, model directory to read.",
        required=True,
        **where,
    )
    flags.DEFINE_string(
        "checkpoint", None, "Official file of the averaged generator, …_EMA.pth.", **where
    )
    flags.DEFINE_string(
        "generator",
        None,
        "Official file of the generator itself, …_G.pth, to train further. (default: the averaged "
        "generator)",
        **where,
    )
    flags.DEFINE_string(
        "discriminator", None, "Official file of the discriminator, …_D.pth.", **where
    )
    flags.DEFINE_enum(
        "dataset",
        None,
        list(DATASETS),
        "Data set with the classes and settings of the model. (default: that of --data_dir)",
        **where,
    )
    flags.DEFINE_integer(
        "num_classes",
        None,
        "folder: number of classes, the unknown class included. (default: inferred from the "
        "shapes)",
        lower_bound=1,
        **where,
    )
    flags.DEFINE_integer(
        "unknown_label", None, "folder: raw value of the unknown label.", lower_bound=0, **where
    )
    flags.DEFINE_string("class_names", None, "folder: file with one class name per line.", **where)
    flags.DEFINE_string(
        "to_official",
        None,
        "Folder for the networks of --model_dir as official files latest_G.pth, latest_EMA.pth and "
        "latest_D.pth.",
        **where,
    )


def main(argv):
    """Checks everything, then writes."""
    del argv
    from oasis_tf.systems.oasis.official import conversion

    args = flags.FLAGS
    if (args.checkpoint is None) == (args.to_official is None):
        raise ValueError(
            "Give either --checkpoint=FILE, to write a model directory, or --to_official=FOLDER, "
            "to write official files. Received: "
            f"{'neither' if args.checkpoint is None else 'both'}."
        )
    if args.to_official:
        model_dir = pretrained.find(args.model_dir)
        paths = conversion.plan_official(model_dir, args.to_official)
        conversion.write_official(model_dir, paths)
        print(f"Wrote {', '.join(paths.values())}")
        return
    plan = conversion.plan_conversion(
        args.model_dir,
        args.checkpoint,
        generator=args.generator,
        discriminator=args.discriminator,
        dataset=args.dataset,
        num_classes=args.num_classes,
        unknown_label=args.unknown_label,
        class_names=args.class_names,
        settings=setting_flags.given_settings(Config, without=PARTS),
    )
    conversion.convert(plan)
    print(f"Wrote {args.model_dir}. {_abilities(plan.config)}")


def _abilities(config):
    if config.model.has_discriminator:
        return "The model can generate, segment, be evaluated, exported and trained further."
    return (
        "The model can generate, be evaluated and exported. To segment and to be trained further "
        "it needs --discriminator."
    )
