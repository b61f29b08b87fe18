"""Command: train a list of ablations on one data set, evaluate all alike, print a table.

    python -m oasis_tf.ablate --variants=spade_plus,oasis --data_dir=DATA --output=DIR \\
        --common=small.flags

Variants are flagfiles: shipped ones (configs/ablations) by name, or your own by path. Flags of
--common override those of all variants, so that widths, sizes and steps are equal. Each variant
trains in DIR/NAME. After an interruption the same command continues. The table also has the
published scores; it is written to DIR/ablations.md.
"""

import os

from absl import flags

from oasis_tf.settings import path_flags


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    flags.DEFINE_list(
        "variants", None, "Comma list: flagfiles of the variants.", required=True, **where
    )
    path_flags.define_path("data_dir", None, "Prepared data set.", required=True, **where)
    path_flags.define_path("output", None, "Folder of the runs.", required=True, **where)
    flags.DEFINE_string(
        "common", None, "Flagfile whose flags override those of all variants.", **where
    )
    flags.DEFINE_bool(
        "untrained",
        False,
        "Add a row for comparison: the first variant after a single step.",
        **where,
    )
    flags.DEFINE_list(
        "metrics",
        ["fid", "alignment", "diversity"],
        "Comma list: metrics, as in the evaluate command.",
        **where,
    )
    flags.DEFINE_integer(
        "diversity_maps",
        20,
        "Label maps that the diversity metrics use, spread over the validation split.",
        lower_bound=1,
        **where,
    )


def main(argv):
    """Checks all flags, trains, evaluates, prints and writes the table."""
    del argv
    args = flags.FLAGS
    # Here: flags are checked before TensorFlow is loaded.
    from oasis_tf.io import files
    from oasis_tf.systems.oasis.experiments import ablation_table, ablations

    runs = ablations.plan(args.variants, args.data_dir, args.output, args.common, args.untrained)
    settings = [f"--diversity_maps={args.diversity_maps}"]
    failed = ablations.execute(runs, args.metrics, settings)
    text = ablation_table.markdown(runs)
    print(text)
    path = os.path.join(args.output, "ablations.md")
    with files.written_aside(path) as aside, open(aside, "w", encoding="utf-8") as file:
        file.write(f"{text}\n")
    if failed:
        raise ValueError(
            f"These runs failed: {', '.join(failed)}; their errors are printed above. The same "
            "command tries them again."
        )
