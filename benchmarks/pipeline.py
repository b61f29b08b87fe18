"""How fast does the input pipeline make batches, and is it ever what a training step waits for?

    python -m benchmarks.pipeline --model_dir=DIR
    python -m benchmarks.pipeline --data_dir=DATA --crop_height=256 --crop_width=256

Takes the configuration and the data set of a model directory, or a data set and sizes, and prints

    images_per_second           of decoding, resizing, cropping and mirroring alone
    core_ms_per_image           processor time that this takes, of all cores together
    images_per_second_training  of training steps on these batches
    data_wait_fraction          share of a step spent waiting for its batch

as medians over rounds, the last two of a model directory alone. Without training, the pipeline is
drained without a pause: what prefetching had ready is used up before the clock starts, and from
then on a batch is taken as soon as it is made.
"""

import dataclasses
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
    path_flags.define_path("model_dir", None, "Model directory, for its settings.", **where)
    path_flags.define_path("data_dir", None, "Prepared data set, instead of a model.", **where)
    for name in ("crop_height", "crop_width", "resize_height", "resize_width"):
        flags.DEFINE_integer(name, None, "With --data_dir: as in training.", **where)
    flags.DEFINE_integer("batch_size", 8, "With --data_dir.", lower_bound=1, **where)
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
    args = flags.FLAGS
    if (args.model_dir is None) == (args.data_dir is None):
        raise ValueError(
            "Either --model_dir or --data_dir must be given. Received: "
            f"--model_dir={args.model_dir}, --data_dir={args.data_dir}."
        )
    measure = _of_model if args.model_dir else _of_data
    settings, figures = measure(args)
    for name, value in figures.items():
        print(f"{name:30s} {value:.4g}")
    if args.json:
        settings = {"rounds": args.rounds} | settings
        contents = {"benchmark": "pipeline", "environment": environment(), "settings": settings}
        tables.write_json(contents | {"figures": figures}, args.json)


def _of_model(args):
    """Settings and figures of a model directory: its batches, and training on them."""
    from oasis_tf.systems.oasis.config import Config

    config = Config.load(args.model_dir)
    config.model.check_discriminator("be trained")
    _begin(args)

    import tensorflow as tf

    from oasis_tf.systems.oasis.task import OASISTask

    task = OASISTask(config, tf.distribute.get_strategy())
    size = config.training.batch_size
    figures = _alone(task.batches(0), size, args)
    _say("training")
    trained = train(task, args.rounds, args.batches)
    figures |= {
        "images_per_second_training": size / statistics.median(s for s, _ in trained),
        "data_wait_fraction": statistics.median(waited / s for s, waited in trained),
    }
    return {"config": config.to_json()}, figures


def _of_data(args):
    """Settings and figures of a data set alone."""
    from oasis_tf.data.settings import DataConfig

    names = ("data_dir", "crop_height", "crop_width", "resize_height", "resize_width")
    given = {name: args[name].value for name in names if args[name].value is not None}
    data = dataclasses.asdict(DataConfig(**given))
    _begin(args)

    from oasis_tf.data.pipeline import training_batches

    settings = {name: data[name] for name in names} | {"batch_size": args.batch_size}
    return settings, _alone(training_batches(**settings, seed=0), args.batch_size, args)


def _begin(args):
    tables.check_paths(args.json, None)
    print(as_text(environment()))


def _alone(batches, size, args):
    _say("draining the pipeline")
    rounds = drain(batches, args.rounds, args.drain_seconds)
    return {
        "images_per_second": size * statistics.median(rate for rate, _ in rounds),
        "core_ms_per_image": 1e3 / size * statistics.median(cores for _, cores in rounds),
    }


def drain(batches, rounds, seconds):
    """(batches a second, processor seconds of a batch) of an iterable, by round: list of pairs.

    Args:
        batches: endless iterable.
        rounds: int.
        seconds: float, how long a round lasts at least. As much is drained before the first one.
    """
    batches, clock = iter(batches), time.perf_counter
    found = []
    for _ in range(rounds + 1):
        start, used, count = clock(), time.process_time(), 0
        while clock() - start < seconds:
            next(batches)
            count += 1
        found.append((count / (clock() - start), (time.process_time() - used) / count))
    return found[1:]


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
