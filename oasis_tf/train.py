"""Command: train a model, or continue the run of a model directory.

    python -m oasis_tf.train --flagfile=ade.flags --data_dir=DIR --model_dir=DIR

A flagfile name is searched in the working directory, then among the shipped ones. `--system`
chooses the kind of model. To continue a run, name its model directory: config.json gives the values
of flags that are left out. A restart may change steps or epochs, the steps between log lines,
images, checkpoints and evaluations, --strategy, --jit_compile and the folder of the data. Most
other settings are fixed, and an attempt to change one is refused.
"""

import os

from absl import flags

from oasis_tf.cli import system_runner
from oasis_tf.settings import setting_flags
from oasis_tf.settings.run_config import CONFIG_FILE, RunConfig
from oasis_tf.systems.system import System

ESSENTIAL = (
    *("flagfile", "data_dir", "model_dir", "crop_height", "crop_width"),
    *("batch_size", "steps", "epochs", "eval_every", "dry_run"),
)


def define_flags(system: System, flag_values: flags.FlagValues) -> None:
    """Defines the flags that this command has with a system."""
    setting_flags.define_train_flags(system.config, flag_values)


def main(argv: list[str], system: System) -> None:
    """Resolves the configuration, then trains; with --dry_run, prints a description instead."""
    del argv
    config = resolve_config(system, flags.FLAGS.model_dir)
    if flags.FLAGS.dry_run:
        print(system.describe(config))
        return
    from oasis_tf.training import loop  # here: bad flags answer without TensorFlow

    loop.train(config, flags.FLAGS.model_dir, system.make_task)


def resolve_config(system: System, model_dir: str | None) -> RunConfig:
    """Returns the configuration that follows from flags, model directory and data.

    Raises:
        ValueError: a directory is missing, a setting is invalid, or flags contradict the model
            directory or its data.
        OSError: the data cannot be read.
    """
    given = setting_flags.given_flags(system.config)
    if not model_dir and not flags.FLAGS.dry_run:
        raise ValueError("`model_dir` must be given: --model_dir=DIR, a new or an existing run.")
    previous = None
    if model_dir and os.path.exists(os.path.join(model_dir, CONFIG_FILE)):
        previous = system.config.load(model_dir)
    return system.resolve(given, previous)


if __name__ == "__main__":
    system_runner.run(main, define_flags, essential=ESSENTIAL)
