"""The flags and the output of commands that compare our networks with a recording."""

from absl import flags

from benchmarks import parity_rows
from oasis_tf.settings import path_flags


def define_flags(flag_values):
    """Defines `--golden` and `--dtype` on `flag_values`."""
    path_flags.define_path(
        "golden", None, "File to compare with.", required=False, flag_values=flag_values
    )
    flags.DEFINE_enum(
        "dtype", "float32", ["float32", "float64"], "Of our networks.", flag_values=flag_values
    )


def run(load, compare):
    """Compares, prints what is not compared and the table, and exits with 1 if a row fails.

    Args:
        load: function of a path -> recording.
        compare: function of a recording and a dtype -> (rows, reasons by the names of what is not
            compared).
    """
    if not flags.FLAGS.golden:
        raise ValueError("`golden` must be given: --golden=FILE.npz (tests/golden/README.md).")
    found, skipped = compare(load(flags.FLAGS.golden), flags.FLAGS.dtype)
    print("Not compared:")
    for reason in dict.fromkeys(skipped.values()):
        names = [name for name, why in skipped.items() if why == reason]
        print(f"  {reason}: {', '.join(names)}")
    parity_rows.report(found)
