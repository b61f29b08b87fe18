"""The training loop: one step after another, watched, and saved so that nothing is lost.

It knows a model only through ``Task``. A run that is stopped and repeated continues exactly where
it was: the data position and all random numbers follow from the step.
"""

import json
import math
import os
import signal
import sys
import time

import numpy as np
from tqdm import tqdm

from oasis_tf import files
from oasis_tf.data.tfrecord import PreparedDataset
from oasis_tf.training import memory
from oasis_tf.training.build import build_model
from oasis_tf.training.checkpoints import CheckpointStore, assign_all
from oasis_tf.training.strategies import check_batch_size, is_chief, make_strategy
from oasis_tf.training.summaries import SummaryWriter
from oasis_tf.training.task import OASISTask

METRICS_FILE = "metrics.jsonl"


def train(config, model_dir):
    """Trains to ``config.training.steps``, from the newest checkpoint of ``model_dir`` if any.

    Args:
        config: ``Config``.
        model_dir: str, made when needed.

    Raises:
        ValueError: the batch does not fit the devices, a checkpoint does not fit the model.
        OSError: the directory cannot be written.
        FloatingPointError: a loss is not finite; the last checkpoint is as it was.
        SystemExit: a signal (SIGTERM, SIGINT) stopped the run after saving.
    """
    strategy = make_strategy(config.training.strategy)
    check_batch_size(strategy, config.training.batch_size)
    chief = is_chief(strategy)
    if chief:
        config.save(model_dir)
    _Run(config, model_dir, OASISTask(config, strategy), chief).run()


def describe(config):
    """What ``--dry_run`` prints: configuration, parameter counts and a memory estimate."""
    model = build_model(config)
    lines = [config.to_text(), ""]
    networks = (model.generator, model.discriminator)
    counts = [sum(math.prod(v.shape) for v in n.trainable_variables) for n in networks]
    lines += [
        f"{n.name}: {c:,} trainable parameters" for n, c in zip(networks, counts, strict=True)
    ]
    return "\n".join([*lines, memory.describe(config, counts)])


class _Run:
    """One process' share of a run."""

    def __init__(self, config, model_dir, task, chief):
        self._settings = config.training
        self._task = task
        self._chief = chief
        self._path = os.path.join(model_dir, METRICS_FILE)
        self._store = CheckpointStore(
            model_dir, config.training.max_to_keep, config.training.keep_every
        )
        self._writer = SummaryWriter(model_dir) if chief else None
        self._pending = []  # metrics of the steps since the last line, not yet averaged
        self._step = self._restore()
        if chief:
            _truncate_metrics(self._path, self._step)
            self._writer.text("configuration", config.to_json(), self._step)
            self._writer.scalars(self._class_frequencies(config), self._step)

    def run(self):
        """Steps, until done or stopped."""
        if self._step >= self._settings.steps:
            print(
                f"Nothing to do: step {self._step} of {self._settings.steps} is reached. To train "
                "on, give larger --steps or --epochs."
            )
            return
        batches = iter(self._task.batches(self._step))
        clock = _Clock(self._step, self._settings)
        with _StopSignals() as signals, clock.progress_bar():
            while self._step < self._settings.steps:
                with clock.waiting():
                    batch = next(batches)
                self._pending.append(self._task.train_step(batch))
                self._step += 1
                clock.tick()
                self._after_step(clock)
                if signals.received:
                    self._stop(signals.received)
            if self._step != self._saved:
                self._save()
            if self._step % self._settings.image_every:
                self._draw()
        print(f"Done: {self._step} steps. Checkpoint: {self._store.path(self._step)}")

    def _after_step(self, clock):
        settings, step = self._settings, self._step
        if step % settings.log_every == 0:
            self._log(clock)
        if step % settings.checkpoint_every == 0:
            self._save()
        if step % settings.image_every == 0:
            self._draw()

    def _draw(self):
        pictures = self._task.pictures(self._step)  # on every worker: batch statistics are shared
        if self._chief:
            self._writer.pictures(pictures, self._step)

    # === State ===

    def _restore(self):
        found = self._store.newest()
        self._saved = 0
        if found is None:
            return 0
        step, arrays = found
        assign_all(self._task.variables(), arrays, self._store.path(step))
        names = [str(name) for name in arrays.get("pending/names", [])]
        values = arrays.get("pending/values", [])
        self._pending = [dict(zip(names, row, strict=True)) for row in values]
        self._saved = step
        print(f"Continuing from step {step} ({self._store.path(step)}).")
        return step

    def _save(self, for_use=True):
        self._check_finite(self._averages())
        # Every worker takes part: reading distributed state may need all of them.
        arrays = {name: variable.numpy() for name, variable in self._task.variables().items()}
        bad = [name for name, array in arrays.items() if not np.isfinite(array).all()]
        if bad:
            raise FloatingPointError(
                f"After step {self._step} these weights are not finite: {', '.join(bad[:10])} "
                f"({len(bad)} in all). {self._remedy()}"
            )
        inference = self._task.inference_arrays(self._step)
        if self._chief:
            self._store.save(self._step, arrays | self._pending_arrays(), inference)
        self._saved = self._step

    def _pending_arrays(self):
        """The metrics of an unfinished line, so that a restarted run writes the same line."""
        self._fetch()
        if not self._pending:
            return {}
        names = list(self._pending[0])
        values = np.array([[row[name] for name in names] for row in self._pending], np.float32)
        return {"pending/names": np.array(names), "pending/values": values}

    def _stop(self, number):
        if self._step != self._saved:
            self._save()
        print(
            f"Stopped by {signal.Signals(number).name} after step {self._step}, saved. "
            "Repeat the command to continue.",
            file=sys.stderr,
        )
        raise SystemExit(128 + number)

    # === Metrics ===

    def _fetch(self):
        self._pending = [
            {name: np.float32(value) for name, value in row.items()} for row in self._pending
        ]

    def _averages(self):
        self._fetch()
        names = self._pending[0] if self._pending else ()
        return {
            n: float(np.mean([row[n] for row in self._pending], dtype=np.float64)) for n in names
        }

    def _check_finite(self, averages):
        bad = [name for name, value in averages.items() if not math.isfinite(value)]
        if bad:
            raise FloatingPointError(
                f"{', '.join(bad)} stopped being finite between steps "
                f"{self._step - len(self._pending) + 1} and {self._step}. {self._remedy()}"
            )

    def _remedy(self):
        return (
            f"The checkpoint of step {self._saved} is as it was. Lower the learning rates or use "
            "float32."
        )

    def _log(self, clock):
        averages = self._averages()
        self._check_finite(averages)
        self._pending = []
        speed = clock.lap()
        if not self._chief:
            return
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": self._step, **averages}) + "\n")
        self._writer.scalars(averages | speed | self._task.scalars(), self._step)
        clock.show(averages, speed)

    def _class_frequencies(self, config):
        frequencies = PreparedDataset.load(config.data.data_dir).class_frequency
        names = config.label_space.class_names
        return {f"class_frequency/{n}": f for n, f in zip(names, frequencies, strict=True)}


def _truncate_metrics(path, step):
    """Drops the lines behind ``step``, which the run is about to write again."""
    if not os.path.exists(path):
        return
    with open(path, encoding="utf-8") as file:
        lines = [line for line in file if line.endswith("\n") and json.loads(line)["step"] <= step]
    with files.written_aside(path) as aside, open(aside, "w", encoding="utf-8") as file:
        file.writelines(lines)


class _Clock:
    """Speed, waiting and the progress line."""

    def __init__(self, step, settings):
        self._settings = settings
        self._step = step
        self._lap_step, self._lap_start, self._waited = step, time.monotonic(), 0.0
        self._bar = None

    def progress_bar(self):
        """A bar on a terminal; in a log, ``show`` prints plain lines instead."""
        self._bar = tqdm(
            total=self._settings.steps,
            initial=self._step,
            unit="it",
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
        )
        return self._bar

    def waiting(self):
        return _Stopwatch(self)

    def add_waiting(self, seconds):
        self._waited += seconds

    def tick(self):
        self._step += 1
        self._bar.update()

    def lap(self):
        """Speed since the last lap: steps/s, images/s and the share of time spent on waiting."""
        now = time.monotonic()
        seconds = max(now - self._lap_start, 1e-9)
        rate = (self._step - self._lap_step) / seconds
        speed = {
            "speed/steps_per_second": rate,
            "speed/images_per_second": rate * self._settings.batch_size,
            "speed/data_wait_fraction": self._waited / seconds,
        }
        self._lap_step, self._lap_start, self._waited = self._step, now, 0.0
        return speed

    def show(self, averages, speed):
        rate = speed["speed/steps_per_second"]
        values = " ".join(f"{name} {value:.3f}" for name, value in averages.items())
        images = speed["speed/images_per_second"]
        if not self._bar.disable:
            self._bar.set_postfix_str(f"{images:.1f} images/s {values}")
            return
        left = time.gmtime((self._settings.steps - self._step) / rate)
        days = f"{left.tm_yday - 1}d " if left.tm_yday > 1 else ""
        print(
            f"step {self._step}/{self._settings.steps} {rate:.2f} it/s {images:.1f} images/s "
            f"ETA {days}{time.strftime('%H:%M:%S', left)} {values}",
            flush=True,
        )


class _Stopwatch:
    def __init__(self, clock):
        self._clock = clock

    def __enter__(self):
        self._start = time.monotonic()

    def __exit__(self, *_):
        self._clock.add_waiting(time.monotonic() - self._start)


class _StopSignals:
    """Notes SIGTERM and SIGINT so that the loop can save first; a second one acts at once."""

    def __enter__(self):
        self.received = None
        self._before = {n: signal.signal(n, self._note) for n in (signal.SIGTERM, signal.SIGINT)}
        return self

    def _note(self, number, _):
        self.received = number
        signal.signal(number, self._before[number])

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)
