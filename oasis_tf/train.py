"""Trains OASIS on a prepared data set, or continues the run of a model directory.

    python -m oasis_tf.train --flagfile=ade.flags --data_dir=DIR --model_dir=DIR

A bare flagfile name is looked up in the working directory, then among the shipped ones. Flags not
given come from config.json of the model directory if there is one, else from the defaults. Steps or
epochs, cadences, --strategy, --jit_compile and the place of the data may change on a restart; other
settings may not.
"""

import os

from absl import flags

from oasis_tf.cli import runner
from oasis_tf.settings import setting_flags
from oasis_tf.systems.oasis import config as config_lib
from oasis_tf.systems.oasis import run_settings


def main(argv: list[str]) -> None:
    del argv
    config = resolve_config(flags.FLAGS.model_dir)
    # late: bad flags answer without loading TensorFlow
    from oasis_tf.systems.oasis.task import OASISTask, describe
    from oasis_tf.training import loop

    if flags.FLAGS.dry_run:
        print(describe(config))
    else:
        loop.train(config, flags.FLAGS.model_dir, OASISTask)


def resolve_config(model_dir: str | None) -> config_lib.Config:
    """Returns the configuration that flags, model directory and data set decide together.

    Raises:
        ValueError: a directory is missing, a setting impossible, or flags contradict the model
            directory or its data set, or its model has no discriminator.
        OSError: `--data_dir` is not a prepared data set.
    """
    given = setting_flags.given_flags()
    if not model_dir and not flags.FLAGS.dry_run:
        raise ValueError("`model_dir` must be given: --model_dir=DIR, new or to be continued.")
    previous = None
    if model_dir and os.path.exists(os.path.join(model_dir, config_lib.CONFIG_FILE)):
        previous = config_lib.Config.load(model_dir)
        previous.model.check_discriminator("be trained")
    data_dir = given.get("data_dir") or (previous and previous.data.data_dir)
    if not data_dir:
        raise ValueError("`data_dir` must be given: --data_dir=DIR of a prepared data set.")
    from oasis_tf.data.tfrecord import PreparedDataset

    skip_corrupt = given.get("skip_corrupt", previous is not None and previous.data.skip_corrupt)
    try:
        dataset = PreparedDataset.load(os.path.expanduser(data_dir), skip_corrupt=skip_corrupt)
    except (ValueError, OSError) as error:
        if "data_dir" in given:
            raise
        raise ValueError(f"{error} If the data set has moved, give its --data_dir.") from error
    return run_settings.resolve(
        given,
        label_space=dataset.label_space,
        num_examples=dataset.num_examples("train"),
        previous=previous,
    )


if __name__ == "__main__":
    runner.run(main, setting_flags.define_flags)
