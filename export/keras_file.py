"""Command: write a network as a Keras file.

    python -m export.keras_file --model_dir=DIR --output=FILE.keras [--network=discriminator]

A network by the name that its system gives it; of OASIS the averaged generator with re-estimated
batch statistics, as it is used, or the discriminator. Keras loads it where this package is
installed, and gets the bits of the model's own network:

    import keras
    import oasis_tf.models  # tells Keras the classes

    generator = keras.models.load_model("FILE.keras")
    image = generator(label_map, noise)
    print(generator.label_space.class_names)
"""

import os

from absl import flags

from oasis_tf import systems
from oasis_tf.cli import common_flags, runner
from oasis_tf.io import files
from oasis_tf.io.write_errors import check_writable
from oasis_tf.settings import path_flags


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    common_flags.define_model_dir_flag(flag_values)
    common_flags.define_checkpoint_flag(flag_values)
    path_flags.define_path(
        "output", None, "File to write, of suffix .keras.", required=True, **where
    )
    flags.DEFINE_string(
        "network",
        "generator",
        "Network of the system. OASIS: generator, the averaged one, or discriminator, as training "
        "left it.",
        **where,
    )
    flags.DEFINE_boolean("overwrite", False, "Replace a file that exists.", **where)


def check_output(path, overwrite):
    """Refuses a file that must not be written.

    Raises:
        ValueError: another suffix than .keras, or a file that exists and may not be replaced.
        NotWritten: its folder cannot be made or written into.
    """
    if not path.endswith(".keras"):
        raise ValueError(f"`output` must end with .keras. Received: output={path}.")
    if os.path.exists(path) and not (overwrite and os.path.isfile(path)):
        raise ValueError(
            f"{path} exists. Nothing was written. Choose another name, or replace a file with "
            "--overwrite."
        )
    check_writable(path)


def export(model, path, network="generator"):
    """Writes a Keras file that is whole or absent.

    Args:
        model: a model with its `config`.
        path: str, of the file.
        network: name that the system's ability `keras_file` has for it.

    Raises:
        ValueError: the system writes no Keras files, or the model has no such network.
    """
    chosen = systems.get(model.config.SYSTEM).ability("keras_file").network(model, network)
    with files.written_aside(path) as aside:
        chosen.save(aside)


def main(argv):
    """Checks the target, loads the model, writes."""
    del argv
    args = flags.FLAGS
    check_output(args.output, args.overwrite)
    system = systems.of_model_dir(args.model_dir)
    system.ability("keras_file")  # or the reason why not, before the model is loaded
    model = system.load(args.model_dir, common_flags.checkpoint(args.checkpoint))
    export(model, args.output, args.network)
    print(f"Wrote the {args.network} to {args.output}")


if __name__ == "__main__":
    runner.run(main, define_flags)
