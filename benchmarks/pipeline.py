"""How fast does the input pipeline make batches, and is it ever what a training step waits for?

    python -m benchmarks.pipeline --model_dir=DIR

Takes the configuration and the data set of a model directory and prints

    images_per_second           of decoding, resizing, cropping and mirroring alone
    images_per_second_training  of training steps on these batches
    data_wait_fraction          share of a step spent waiting for its batch

as medians over rounds. Alone, the pipeline is drained without a pause: what prefetching had ready
is used up before the clock starts, and from then on a batch is taken as soon as it is made.
"""

import statistics
import sys
import time

from absl import flags

from benchmarks import tables
from benchmarks.environment import as_text, environment
from oasis_tf.cli import runner
from oasis_tf.settings import path_flags


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    path_flags.define_path(
        "model_dir", None, "Model directory, for its settings.", required=True, **where
    )
    flags.DEFINE_integer("rounds", 5, "Rounds.", lower_bound=1, **where)
    flags.DEFINE_integer("batches", 20, "Training steps in a round.", lower_bound=1, **where)
    flags.DEFINE_float(
        "drain_seconds",
        5,
        "Seconds in a round of the pipeline alone, and before its first round.",
        lower_bound=0.1,
        **where,
    )
    path_flags.define_path("json", None, "Also write the figures to this file.", **where)


def main(argv):
    """Measures and prints."""
    del argv
    from oasis_tf.systems.oasis.config import Config

    args = flags.FLAGS
    config = Config.load(args.model_dir)
    config.model.check_discriminator("be trained")
    tables.check_paths(args.json, None)
    machine = environment()
    print(as_text(machine))

    import tensorflow as tf

    from oasis_tf.systems.oasis.task import OASISTask

    task = OASISTask(config, tf.distribute.get_strategy())
    size = config.training.batch_size
    _say("draining the pipeline")
    alone = [size * rate for rate in drain(task.batches(0), args.rounds, args.drain_seconds)]
    _say("training")
    trained = train(task, args.rounds, args.batches)
    figures = {
        "images_per_second": statistics.median(alone),
        "images_per_second_training": size / statistics.median(s for s, _ in trained),
        "data_wait_fraction": statistics.median(waited / s for s, waited in trained),
    }
    for name, value in figures.items():
        print(f"{name:30s} {value:.4g}")
    if args.json:
        settings = {"rounds": args.rounds, "config": config.to_json()}
        contents = {"benchmark": "pipeline", "environment": machine, "settings": settings}
        tables.write_json(contents | {"figures": figures}, args.json)


def drain(batches, rounds, seconds):
    """Batches a second of an iterable, by round: list of floats.

    Args:
        batches: endless iterable.
        rounds: int.
        seconds: float, how long a round lasts at least. As much is drained before the first one.
    """
    batches, clock = iter(batches), time.perf_counter
    rates = []
    for _ in range(rounds + 1):
        start, count = clock(), 0
        while clock() - start < seconds:
            next(batches)
            count += 1
        rates.append(count / (clock() - start))
    return rates[1:]


def train(task, rounds, steps):
    """(seconds a step, seconds of it waited for the batch), by round: list of pairs."""
    batches = iter(task.batches(0))
    task.train_step(next(batches))  # traces the step
    return [_train(task, batches, steps) for _ in range(rounds)]


def _train(task, batches, steps):
    start, waited = time.perf_counter(), 0.0
    for _ in range(steps):
        asked = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - asked
        float(task.train_step(batch)["loss_g"])
    return (time.perf_counter() - start) / steps, waited / steps


def _say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    runner.run(main, define_flags)
