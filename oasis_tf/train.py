"""Command: train a model, or continue the run of a model directory.

    python -m oasis_tf.train --flagfile=ade.flags --data_dir=DIR --model_dir=DIR

A bare flagfile name is looked up in the working directory, then among the shipped ones. `--system`
chooses what is trained; flagfiles set it. Flags not given come from config.json of the model
directory if there is one, else from the defaults. Steps or epochs, cadences, --strategy,
--jit_compile and the place of the data may change on a restart; other settings may not.
"""

import os

from absl import flags

from oasis_tf.cli import system_runner
from oasis_tf.settings import setting_flags
from oasis_tf.settings.run_config import CONFIG_FILE, RunConfig
from oasis_tf.systems.system import System


def define_flags(system: System, flag_values: flags.FlagValues) -> None:
    """Defines the flags of this command with a system."""
    setting_flags.define_train_flags(system.config, flag_values)


def main(argv: list[str], system: System) -> None:
    """Resolves the configuration, then trains or describes."""
    del argv
    config = resolve_config(system, flags.FLAGS.model_dir)
    if flags.FLAGS.dry_run:
        print(system.describe(config))
        return
    from oasis_tf.training import loop  # here: bad flags answer without TensorFlow

    loop.train(config, flags.FLAGS.model_dir, system.make_task)


def resolve_config(system: System, model_dir: str | None) -> RunConfig:
    """Returns the configuration that flags, model directory and data decide together.

    Raises:
        ValueError: a directory is missing, a setting impossible, or flags contradict the model
            directory or its data.
        OSError: the data cannot be read.
    """
    given = setting_flags.given_flags(system.config)
    if not model_dir and not flags.FLAGS.dry_run:
        raise ValueError("`model_dir` must be given: --model_dir=DIR, new or to be continued.")
    previous = None
    if model_dir and os.path.exists(os.path.join(model_dir, CONFIG_FILE)):
        previous = system.config.load(model_dir)
    return system.resolve(given, previous)


if __name__ == "__main__":
    system_runner.run(main, define_flags)
