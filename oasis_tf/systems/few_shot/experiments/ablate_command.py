"""Command: adapt one source to the same pictures in several ways, evaluate all, print a table.

    python -m oasis_tf.ablate --system=few_shot --variants=few_shot_final,few_shot_all \\
        --source=MODEL --data_dir=PICTURES --held_out=OTHERS --output=DIR --common=small.flags

Variants are flagfiles: shipped ones (configs/ablations) by name, or your own by path; those of
one_shot (SIV-GAN) too, which have neither source nor FID. Flags of --common override those of all
variants. Each variant trains in DIR/NAME. After an interruption the same command continues. The
table also has the published scores; it is written to DIR/ablations.md.
"""

from absl import flags

from oasis_tf.ablations import command
from oasis_tf.ablations.table import Column
from oasis_tf.settings import path_flags

_SYSTEM = "few_shot"

COLUMNS = [
    Column(None, r"fid_.+", "↓", 1, 2),
    Column(None, r"intra_lpips_.+", "↑", 1, 4),
    Column(None, r"path_roughness.*", "↓", 1, 2),
    Column(None, r"sample_lpips_.+", "↑", 1, 4),
]


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    command.define_flags(
        flag_values, "Folder of the training pictures.", metrics=["fid", "intra_lpips"]
    )
    where = {"flag_values": flag_values}
    path_flags.define_path("source", None, "Model that all variants adapt.", **where)
    path_flags.define_path(
        "held_out", None, "Folder of pictures for FID, none of them trained on.", **where
    )


def main(argv):
    """Checks all flags, trains, evaluates, prints and writes the table."""
    del argv
    args = flags.FLAGS
    # Here: flags are checked before TensorFlow is loaded.
    from oasis_tf.ablations import runs

    of_all = {"data_dir": args.data_dir} | ({"source": args.source} if args.source else {})
    planned = runs.plan(
        args.variants, args.output, of_all, args.common, args.untrained, system=_SYSTEM
    )

    def metrics_of(run):
        return metrics(run.config, args.metrics, args.held_out)

    def flags_of(run):
        own = run.config.SYSTEM == _SYSTEM and args.held_out
        return [f"--data_dir={args.held_out}"] if own else []

    failed = runs.execute(planned, metrics_of, flags_of)
    command.finish(planned, COLUMNS, args.output, failed)


def metrics(config, wanted, held_out):
    """Returns those of the wanted metrics that can be computed for the model of a run.

    Args:
        config: of the run, of this system or of one_shot.
        wanted: names of metrics.
        held_out: folder of pictures, or None.
    """
    from oasis_tf import systems
    from oasis_tf.metrics.pictures import evaluation

    ability = systems.get(config.SYSTEM).ability("evaluate")
    has = ability.has(config, held_out if config.SYSTEM == _SYSTEM else None)
    able = evaluation.chosen(None, has)
    return [name for name in wanted if name in able]
