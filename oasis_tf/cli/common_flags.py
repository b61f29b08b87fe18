"""Flags of several commands, and the meaning of their values."""

from collections.abc import Sequence

from absl import flags

from oasis_tf import pretrained
from oasis_tf.settings import path_flags, setting_flags


class _ModelParser(path_flags.PathParser):
    """Takes a model directory, or the name of a shipped model."""

    syntactic_help = "a model directory, or a shipped model"

    def parse(self, argument: str) -> str:
        return pretrained.find(argument)


def define_model_dir_flag(
    flag_values: flags.FlagValues, help_text: str = "Model directory.", required: bool = True
) -> None:
    """Defines --model_dir for commands that only read it: names of shipped models are taken."""
    path_flags.define_path(
        "model_dir",
        None,
        help_text,
        parser=_ModelParser(),
        flag_values=flag_values,
        required=required,
    )


def define_checkpoint_flag(flag_values: flags.FlagValues) -> None:
    """Defines --checkpoint for commands that use a trained model; `checkpoint` reads it."""
    flags.DEFINE_string(
        "checkpoint",
        None,
        "Checkpoint to use: a step, or best, which the evaluations during training chose. "
        "(default: the newest)",
        flag_values=flag_values,
    )


def define_label_format_flag(flag_values: flags.FlagValues) -> None:
    """Defines --label_format for commands that read label PNGs."""
    flags.DEFINE_enum(
        "label_format",
        "auto",
        ["auto", "ids", "colors"],
        "Contents of label files. auto: what all pixels have, raw ids or colours of classes; what "
        "could be either is refused.",
        flag_values=flag_values,
    )


def define_sampling_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags of commands that write an image of every seed.

    These are `--output`, `--seed`, `--num_samples`, `--grid`, `--walk`, `--frames`, `--overwrite`.
    """
    where = {"flag_values": flag_values}
    path_flags.define_path(
        "output", None, "Folder for the outputs, made when needed.", required=True, **where
    )
    flags.DEFINE_integer("seed", 0, "First seed.", lower_bound=0, **where)
    flags.DEFINE_integer("num_samples", 1, "Number of images.", lower_bound=1, **where)
    flags.DEFINE_bool("grid", False, "Also write grid.png, all images on one sheet.", **where)
    path_flags.define_path(
        "walk",
        None,
        "Animation (.gif or .webp) of a walk through the latents of the seeds.",
        **where,
    )
    flags.DEFINE_integer(
        "frames", 12, "Frames of --walk from a latent to the next.", lower_bound=1, **where
    )
    flags.DEFINE_bool("overwrite", False, "Replace files that exist.", **where)


def define_conversion_flags(flag_values, **texts):
    """Defines flags of the command `convert`, for files of other releases.

    These are `--model_dir`, and for each of ``texts`` a path, such as `--checkpoint` and
    `--to_official`, with its help.
    """
    path_flags.define_path(
        "model_dir",
        None,
        "New model directory to write; with --to_official, model directory to read.",
        required=True,
        flag_values=flag_values,
    )
    for name, text in texts.items():
        path_flags.define_path(name, None, text, flag_values=flag_values)


def run_conversion(conversion, config_class, told, abilities):
    """Does what the flags of the command `convert` ask for, and says what became of it.

    Args:
        conversion: module with `convert(model_dir, checkpoint, generator, discriminator, settings)`
            and `write_official(model_dir, folder)`, a list of paths.
        config_class: class of the configuration, whose settings are flags.
        told: names of the settings that the weights tell.
        abilities: function of a configuration: a sentence on what the model can do.

    Raises:
        ValueError, OSError: as both functions.
    """
    args = flags.FLAGS
    check_conversion(args.checkpoint, args.to_official)
    if args.to_official:
        paths = conversion.write_official(args.model_dir, args.to_official)
        print(f"Wrote {', '.join(paths)}")
        return
    settings = setting_flags.given_settings(config_class, without=told)
    config = conversion.convert(
        args.model_dir, args.checkpoint, args.generator, args.discriminator, settings
    )
    print(f"Wrote {args.model_dir}. {abilities(config)}")


def checkpoint(text: str | None) -> int | str | None:
    """Converts a value of --checkpoint to the argument of `oasis_tf.load`.

    Raises:
        ValueError: the value is neither a step nor "best".
    """
    if text in (None, "best"):
        return text
    if not text.isdecimal():
        raise ValueError(f"`checkpoint` must be a step or best. Received: checkpoint={text}.")
    return int(text)


def seeds(texts: Sequence[str | int]) -> list[int]:
    """The seeds of a comma list, as a list of int.

    Raises:
        ValueError: one is no whole number from 0 on, or is given twice.
    """
    try:
        found = [int(text) for text in texts]
    except ValueError:
        found = []
    if not found or min(found) < 0 or len(set(found)) < len(found):
        raise ValueError(
            "`seeds` must be different whole numbers, at least 0, separated by commas. "
            f"Received: {','.join(map(str, texts))}."
        )
    return found


def check_conversion(checkpoint: str | None, to_official: str | None) -> None:
    """Raises ValueError unless a conversion has one direction: from official files, or to them."""
    if (checkpoint is None) == (to_official is None):
        raise ValueError(
            "Give either --checkpoint=FILE, to write a model directory, or --to_official=FOLDER, "
            "to write official files. Received: "
            f"{'neither' if checkpoint is None else 'both'}."
        )


def define_segmenter_flags(flag_values: flags.FlagValues) -> None:
    """Defines `--network` and `--backbone_weights`, of experiments that train a segmenter."""
    flags.DEFINE_enum(
        "network",
        "compact",
        ["compact", "deeplab_v3"],
        "Segmentation network. compact: the U-Net of the evaluate command; deeplab_v3: DeepLabV3 "
        "with a ResNet-50 (extra `segmenter`).",
        flag_values=flag_values,
    )
    path_flags.define_path(
        "backbone_weights",
        None,
        "Weights file of DeepLabV3's ResNet-50, written by save_weights of keras-hub's backbone. "
        "(default: random weights; names of values say so)",
        flag_values=flag_values,
    )
