"""Flags that several commands share, and what their values mean."""

from absl import flags


def define_checkpoint_flag(flag_values: flags.FlagValues) -> None:
    """Defines --checkpoint for commands that use a trained model; `checkpoint` reads it."""
    flags.DEFINE_string(
        "checkpoint",
        None,
        "Checkpoint to use: a step, or best by the evaluations while training (default: the "
        "newest).",
        flag_values=flag_values,
    )


def define_label_format_flag(flag_values: flags.FlagValues) -> None:
    """Defines `--label_format` for commands that read label PNGs."""
    flags.DEFINE_enum(
        "label_format",
        "auto",
        ["auto", "ids", "colors"],
        "What label PNGs hold. auto: colours in RGB and RGBA files, raw ids in others.",
        flag_values=flag_values,
    )


def checkpoint(text: str | None) -> int | str | None:
    """Returns what `OASIS.load` takes for a value of --checkpoint.

    Raises:
        ValueError: neither a step nor "best".
    """
    if text in (None, "best"):
        return text
    if not text.isdecimal():
        raise ValueError(f"`checkpoint` must be a step or best. Received: checkpoint={text}.")
    return int(text)
