"""What the commands `ablate` of all systems share: flags, and the table at the end."""

import os

from absl import flags

from oasis_tf.settings import path_flags

TABLE_FILE = "ablations.md"


def define_flags(flag_values, data, metrics):
    """Defines the flags that all systems have.

    Args:
        flag_values: where to define them.
        data: help of --data_dir.
        metrics: list of str, default of --metrics.
    """
    where = {"flag_values": flag_values}
    flags.DEFINE_list(
        "variants", None, "Comma list: flagfiles of the variants.", required=True, **where
    )
    path_flags.define_path("data_dir", None, data, required=True, **where)
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
        "metrics", metrics, "Comma list: metrics, as in the evaluate command.", **where
    )


def finish(runs, columns, output, failed):
    """Prints and writes the table of an ablation.

    Args:
        runs: list of `runs.Run`.
        columns: list of `table.Column`.
        output: folder of the runs.
        failed: names of the runs that failed.

    Raises:
        ValueError: a run failed.
        OSError: the table cannot be written.
    """
    from oasis_tf.ablations import table
    from oasis_tf.io import files

    text = table.markdown(runs, columns)
    print(text)
    path = os.path.join(output, TABLE_FILE)
    with files.written_aside(path) as aside, open(aside, "w", encoding="utf-8") as file:
        file.write(f"{text}\n")
    if failed:
        raise ValueError(
            f"These runs failed: {', '.join(failed)}; their errors are printed above. The same "
            "command tries them again."
        )
