"""Command: write a network as a Keras file.

    python -m export.keras_file --model_dir=DIR --output=FILE.keras [--network=discriminator]

The averaged generator with re-estimated batch statistics, as it is used, or the discriminator.
Keras loads it where this package is installed, and gets the bits of the model's own network:

    import keras
    import oasis_tf.models  # tells Keras the classes

    generator = keras.models.load_model("FILE.keras")
    image = generator(label_map, noise)
"""

import os

from absl import flags

from oasis_tf.cli import common_flags, runner
from oasis_tf.io import files

NETWORKS = ("generator", "discriminator")


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    flags.DEFINE_string("model_dir", None, "Model directory.", required=True, **where)
    common_flags.define_checkpoint_flag(flag_values)
    flags.DEFINE_string("output", None, "File to write, of suffix .keras.", required=True, **where)
    flags.DEFINE_enum(
        "network",
        "generator",
        NETWORKS,
        "generator: the averaged one, as it is used; discriminator: as training left it.",
        **where,
    )
    flags.DEFINE_boolean("overwrite", False, "Replace a file that exists.", **where)


def check_output(path, overwrite):
    """Refuses a file that must not be written.

    Raises:
        ValueError: another suffix than .keras, or a file that exists and may not be replaced.
    """
    if not path.endswith(".keras"):
        raise ValueError(f"`output` must end with .keras. Received: output={path}.")
    if os.path.exists(path) and not (overwrite and os.path.isfile(path)):
        raise ValueError(
            f"{path} exists. Nothing was written. Choose another name, or replace a file with "
            "--overwrite."
        )


def export(model, path, network="generator"):
    """Writes a Keras file that is whole or absent.

    Args:
        model: `OASIS` with its `config`.
        path: str, of the file.
        network: one of `NETWORKS`.

    Raises:
        ValueError: the model has no discriminator.
    """
    if network == "discriminator":
        model.config.model.check_discriminator("be written as a Keras file")
    chosen = {"generator": model.generator_ema, "discriminator": model.discriminator}[network]
    with files.written_aside(path) as aside:
        chosen.save(aside)


def main(argv):
    """Checks the target, loads the model, writes."""
    del argv
    args = flags.FLAGS
    check_output(args.output, args.overwrite)
    from oasis_tf import OASIS

    model = OASIS.load(args.model_dir, common_flags.checkpoint(args.checkpoint))
    export(model, args.output, args.network)
    print(f"Wrote the {args.network} to {args.output}")


if __name__ == "__main__":
    runner.run(main, define_flags)
