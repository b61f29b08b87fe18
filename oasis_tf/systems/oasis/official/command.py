"""Command: convert checkpoints of the authors' PyTorch release to model directories, and back.

    python -m oasis_tf.convert --checkpoint=best_EMA.pth --dataset=ade20k --model_dir=DIR
    python -m oasis_tf.convert --checkpoint=latest_net_G.pth --dataset=ade20k --model_dir=DIR
    python -m oasis_tf.convert --model_dir=DIR --to_official=FOLDER

The names of the weights tell OASIS (first line) from SPADE (second line), whatever their prefix
(`module.`) and the key under which they lie in the file. Widths and class counts are inferred from
the shapes of the weights. Settings of training are those of the data set's flagfile, and flags
override them (except the number of steps, which the train command sets). A model converted without
--discriminator can generate, be evaluated and exported. With it, the model can also segment and be
trained further. PyTorch is needed: `pip install "oasis-tf[convert]"`.
"""

from absl import flags

from oasis_tf import pretrained
from oasis_tf.cli import common_flags
from oasis_tf.data.datasets import DATASETS
from oasis_tf.settings import path_flags, setting_flags
from oasis_tf.systems.oasis.config import Config
from oasis_tf.systems.oasis.model_settings import PARTS

_TOLD = tuple(name for name in PARTS if name != "upsampling")  # what the weights tell


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`, the settings included."""
    where = {"flag_values": flag_values}
    # The weights tell the parts, and three flags below have the names of three of them.
    setting_flags.define_setting_flags(Config, flag_values, without=_TOLD)
    common_flags.define_conversion_flags(
        flag_values,
        checkpoint="Official file of the averaged generator, …_EMA.pth; or SPADE's generator, "
        "latest_net_G.pth.",
        generator="Official file of the generator itself, …_G.pth, to train further. (default: the "
        "averaged generator)",
        discriminator="Official file of the discriminator, …_D.pth.",
        encoder="SPADE's image encoder, latest_net_E.pth, if its generator was trained with one.",
        to_official="Folder for the networks of --model_dir as official files latest_G.pth, "
        "latest_EMA.pth and latest_D.pth.",
    )
    flags.DEFINE_bool(
        "drop_edges",
        False,
        "Leave out the channel of instance edges that a generator of SPADE may take beside the "
        "classes: edges are taken as absent.",
        **where,
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
    path_flags.define_path(
        "class_names", None, "folder: file with one class name per line.", **where
    )


def main(argv):
    """Checks everything, then writes."""
    del argv
    from oasis_tf.systems.oasis.official import conversion

    args = flags.FLAGS
    common_flags.check_conversion(args.checkpoint, args.to_official)
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
        encoder=args.encoder,
        drop_edges=args.drop_edges,
        dataset=args.dataset,
        num_classes=args.num_classes,
        unknown_label=args.unknown_label,
        class_names=args.class_names,
        settings=setting_flags.given_settings(Config, without=_TOLD),
    )
    for note in plan.notes:
        print(note)
    conversion.convert(plan)
    print(f"Wrote {args.model_dir}. {_abilities(plan.config)}")


def _abilities(config):
    if config.model.generator == "spade":
        return "The model can generate, be evaluated and exported."
    if config.model.has_discriminator:
        return "The model can generate, segment, be evaluated, exported and trained further."
    return (
        "The model can generate, be evaluated and exported. To segment and to be trained further "
        "it needs --discriminator."
    )
