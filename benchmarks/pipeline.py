"""Is the input pipeline ever what a training step waits for?

    python -m benchmarks.pipeline --model_dir=DIR

Runs training steps on the configuration of a model directory and prints the median of its rounds:
images per second, and the share of a step spent waiting for its batch. (Timing batches without
training between them would measure the prefetch buffer.)
"""

import json
import statistics
import time

from absl import flags

from oasis_tf import commandline


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    flags.DEFINE_string(
        "model_dir",
        None,
        "Model directory, for its settings.",
        required=True,
        flag_values=flag_values,
    )
    flags.DEFINE_integer("rounds", 5, "Rounds.", lower_bound=1, flag_values=flag_values)
    flags.DEFINE_integer("batches", 20, "Steps a round.", lower_bound=1, flag_values=flag_values)
    flags.DEFINE_string("json", None, "Also write the figures here.", flag_values=flag_values)


def main(argv):
    """Measures and prints."""
    del argv
    import tensorflow as tf

    from oasis_tf.config import Config
    from oasis_tf.training.task import OASISTask

    args = flags.FLAGS
    config = Config.load(args.model_dir)
    task = OASISTask(config, tf.distribute.get_strategy())
    batches = iter(task.batches(0))
    task.train_step(next(batches))  # traces the step
    rounds = [_train(task, batches, args.batches) for _ in range(args.rounds)]
    figures = {
        "images_per_second": config.training.batch_size / statistics.median(s for s, _ in rounds),
        "data_wait_fraction": statistics.median(waited / s for s, waited in rounds),
    }
    for name, value in figures.items():
        print(f"{name:30s} {value:.4g}")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=2)


def _train(task, batches, count):
    """(seconds a step, seconds of it waited for the batch)."""
    start, waited = time.perf_counter(), 0.0
    for _ in range(count):
        asked = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - asked
        float(task.train_step(batch)["loss_g"])
    return (time.perf_counter() - start) / count, waited / count


if __name__ == "__main__":
    commandline.run(main, define_flags)
