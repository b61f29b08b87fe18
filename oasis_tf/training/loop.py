"""The training loop: one step after another, watched, and saved so that nothing is lost.

It knows a model by its ``Task`` alone. A run that is stopped and repeated continues exactly where
it was: the data position and all random numbers follow from the step.

With several workers each runs this loop. The chief alone writes, and locks the model directory
against a second training; all read its checkpoints, so they share the model directory. They agree
on settings and step when they start, and after every step on whether one of them was told to stop.
"""

import contextlib
import json
import os
import signal
import sys
import zlib

import numpy as np
import tensorflow as tf

from oasis_tf.data import damage
from oasis_tf.io import files
from oasis_tf.training import loggers
from oasis_tf.training.clock import Clock
from oasis_tf.training.directory_lock import DirectoryLock
from oasis_tf.training.metrics_file import MetricsFile, check_best
from oasis_tf.training.pending_metrics import PendingMetrics
from oasis_tf.training.store import CheckpointStore, assign_all
from oasis_tf.training.strategies import Workers, check_batch_size, make_strategy
from oasis_tf.training.symptoms import Watch
from oasis_tf.training.writer import SummaryWriter

NONFINITE_FOLDER = "nonfinite"


def train(config, model_dir, make_task):
    """Trains to ``config.training.steps``, from the newest checkpoint of ``model_dir`` if any.

    Args:
        config: ``RunConfig`` whose section ``training`` has the ``LoopSettings``.
        model_dir: str, made when needed.
        make_task: function(config, strategy) -> ``Task``, whose model is made under the scope of
            the ``tf.distribute`` strategy.

    Raises:
        ValueError: another process trains in this directory, the batch does not fit the devices,
            a checkpoint does not fit the model, all checkpoints are damaged, the task refuses its
            settings, a logger is not installed, or workers were given different settings or
            checkpoints.
        OSError: the directory cannot be written or a checkpoint not be read, or (ConnectionError)
            a worker is lost.
        FloatingPointError: a loss is not finite; the last checkpoint is as it was, and the batch
            lies in ``nonfinite/``.
        SystemExit: a signal (SIGTERM, SIGINT) stopped the run after saving.
    """
    loggers.check(config.training.loggers)
    if config.training.deterministic:
        tf.config.experimental.enable_op_determinism()  # of the whole process
    batch_size = config.training.batch_size if config.training.AUTO_FALLS_BACK else None
    strategy = make_strategy(config.training.strategy, batch_size)
    check_batch_size(strategy, config.training.batch_size)
    workers = Workers(strategy)
    with (
        workers.loss_explained(lambda: _restart_hint(model_dir)),
        damage.plain_errors(),
        DirectoryLock(model_dir) as lock,
    ):
        _check_same_settings(config, workers)
        if workers.chief and os.path.isdir(model_dir):
            lock.take()  # before the model takes memory that a running training has
        task = make_task(config, strategy)  # refuses what cannot work before anything is written
        if workers.chief:
            lock.take()
            config.save(model_dir)
        _Run(config, model_dir, task, workers).run()


def _check_same_settings(config, workers):
    digests = workers.gather(zlib.crc32(json.dumps(config.shared_json()).encode()))
    others = [str(index) for index, digest in enumerate(digests) if digest != digests[0]]
    if others:
        raise ValueError(
            "All workers must be given the same flags and the same --model_dir. Received: other "
            f"settings on worker {', '.join(others)} than on worker 0. Start all again alike."
        )


def _restart_hint(model_dir):
    steps = CheckpointStore(model_dir).steps()
    where = f"continue from checkpoint {steps[-1]}" if steps else "begin again, nothing is saved"
    return f"Start all workers again: they {where}."


class _Run:
    """One process' share of a run."""

    def __init__(self, config, model_dir, task, workers):
        self._settings = config.training
        self._task = task
        self._workers = workers
        self._model_dir = model_dir
        self._metrics = MetricsFile(model_dir)
        self._store = CheckpointStore(
            model_dir, config.training.max_to_keep, config.training.keep_every
        )
        self._pending = PendingMetrics()
        self._compiled = set()  # steps that were compiled, by the names of their metrics
        self._watch = Watch()
        self._answer = None  # what the workers said after the step before; see _told_to_stop
        self._step = self._restore()
        self._check_same_step()
        self._clock = Clock(self._step, self._settings)
        if workers.chief:
            with self._writing():
                self._metrics.truncate(self._step)
                for line in self._metrics.averages():
                    self._watch.take(line[0], task.symptom(*line))
                to = loggers.start(self._settings.loggers, model_dir, config.to_json(), self._step)
                self._writer = SummaryWriter(model_dir, to)
                self._writer.text("configuration", config.to_json(), self._step)
                self._writer.facts(task.facts(), self._step)

    def run(self):
        """Steps, until done or stopped."""
        if self._step >= self._settings.steps:
            print(
                f"Nothing to do: step {self._step} of {self._settings.steps} is reached. To train "
                "on, give larger --steps or --epochs."
            )
            self._close()
            return
        if self._settings.eval_every:
            self._task.prepare_measuring(self._model_dir, self._workers)
        batches = iter(self._task.batches(self._step))
        with _StopSignals() as signals, self._clock.progress_bar():
            while self._step < self._settings.steps:
                with self._clock.waiting():
                    batch = next(batches)
                self._train_step(batch)
                self._after_step()
                if received := self._told_to_stop(signals.received):
                    self._stop(received)
            if self._step != self._saved:
                self._save()
            if self._step % self._settings.image_every:
                self._draw()
        self._close()
        self._workers.gather()  # an early leaver may make a cluster manager end the chief
        print(f"Done: {self._step} steps. Checkpoint: {self._store.path(self._step)}")

    def _close(self):
        if self._workers.chief:
            with self._writing():
                self._writer.close()

    def _train_step(self, batch):
        """One step. The first that has these metrics is compiled, and no measure of speed."""
        self._clock.announce("Compiling the training step (about a minute)")
        metrics = self._task.train_step(batch)
        self._pending.append(metrics)
        self._step += 1
        compiled = frozenset(metrics) not in self._compiled
        if compiled:
            self._compiled.add(frozenset(metrics))
            self._pending.rows()  # waits until the devices have done it
        self._clock.tick(compiled)

    def _told_to_stop(self, received):
        """The signal, if any, that ends the run after this step, the same on every worker.

        Of several workers, each learns of the others' signals one step late: the answer to the
        question of this step would keep it waiting for the devices.
        """
        if self._workers.count == 1:
            return received
        before, self._answer = self._answer, self._workers.ask(received)
        return 0 if before is None else int(max(before.numpy()))

    def _after_step(self):
        settings, step = self._settings, self._step
        evaluated = settings.eval_every and step % settings.eval_every == 0
        if step % settings.log_every == 0:
            self._log()
        values = self._evaluate() if evaluated else {}
        if evaluated or step % settings.checkpoint_every == 0:
            self._save()
        if values:  # those of the chief; saved before, so that nothing of the run is lost
            check_best(settings.best_metric, values, step)
        if step % settings.image_every == 0:
            self._draw()

    def _draw(self):
        self._pending.rows()  # steps that devices are still at are not part of the drawing
        with self._clock.aside("Drawing pictures (the first time also compiles)"):
            # On every worker: batch statistics are shared.
            pictures = self._task.pictures(self._step)
            if self._workers.chief:
                with self._writing():
                    self._writer.pictures(pictures, self._step)

    # === State ===

    def _restore(self):
        found = self._store.newest()
        self._saved = 0
        if found is None:
            start = self._task.start()
            if start is None:
                return 0
            if self._workers.chief:
                self._store.save(0, *start)
            self._workers.gather()  # nobody reads before the chief has written
            found = self._store.load()
        step, arrays = found
        assign_all(self._task.variables(), arrays, self._store.path(step))
        self._pending = PendingMetrics(arrays)
        self._saved = step
        print(f"Continuing from step {step} ({self._store.path(step)}).")
        return step

    def _check_same_step(self):
        steps = self._workers.gather(self._step)
        if len(set(steps)) > 1:
            found = (f"worker {index}: {step or 'none'}" for index, step in enumerate(steps))
            raise ValueError(
                f"All workers must continue from the same checkpoint. Found in {self._model_dir}: "
                f"{', '.join(found)}. Give all of them one --model_dir on a file system they "
                "share, then start all again."
            )

    def _finite_arrays(self):
        """The state of the run by name; raises FloatingPointError if something is not finite."""
        self._check_losses()
        # Every worker takes part: reading distributed state may need all of them.
        arrays = {name: variable.numpy() for name, variable in self._task.variables().items()}
        bad = [name for name, array in arrays.items() if not np.isfinite(array).all()]
        if bad:
            names = f"{', '.join(bad[:10])} ({len(bad)} in all)"
            raise self._diverged(self._step, f"These weights are not finite: {names}")
        return arrays

    def _save(self):
        arrays = self._finite_arrays()
        with self._clock.aside("Saving a checkpoint (the first time also compiles)"):
            inference = self._task.inference_arrays(self._step)
            if self._workers.chief:
                arrays |= self._pending.arrays()
                self._store.save(self._step, arrays, inference, self._best)
        self._saved = self._step

    def _best(self, steps):
        return self._metrics.best_step(self._settings.best_metric, steps)

    def _stop(self, number):
        if self._step != self._saved:
            self._save()
        self._close()
        self._workers.gather()  # nobody leaves before the chief has written
        print(
            f"Stopped by {signal.Signals(number).name} after step {self._step}, saved. "
            "Repeat the command to continue.",
            file=sys.stderr,
        )
        raise SystemExit(128 + number)

    # === Metrics ===

    def _check_losses(self):
        """Raises FloatingPointError for the first step since the last line with a bad loss."""
        rows = self._pending.rows()
        for step, row in enumerate(rows, self._step - len(rows) + 1):
            bad = [f"{name} is {value}" for name, value in row.items() if not np.isfinite(value)]
            if bad:
                raise self._diverged(step, ", ".join(bad), row)

    def _diverged(self, step, problem, metrics=None):
        """The error to raise on every worker; the chief keeps the batch of the step."""
        batch = self._keep_batch(step, metrics or {}) if self._workers.chief else ""
        self._workers.gather()  # nobody leaves before the chief has written
        saved = f"the checkpoint of step {self._saved} is as it was" if self._saved else "none yet"
        return FloatingPointError(
            f"{problem} at step {step}. {batch}Saved: {saved}. The same command would end at the "
            f"same step: train in another --model_dir {self._task.divergence_advice}."
        )

    def _keep_batch(self, step, metrics):
        """Writes the batch of a step and its metrics; returns a sentence that says where."""
        batch = self._task.global_batch(step)
        if not batch:
            return ""
        path = os.path.join(self._model_dir, NONFINITE_FOLDER, f"step_{step:08d}.npz")
        try:
            with files.written_aside(path) as aside:
                np.savez(aside, step=step, **batch, **metrics)
        except OSError as error:
            return f"Its batch could not be written ({error}). "
        return f"Its batch is in {path}. "

    def _log(self):
        self._check_losses()
        averages = self._pending.averages()
        self._pending = PendingMetrics()
        speed = self._clock.lap()
        if not self._workers.chief:
            return
        with self._writing():
            self._metrics.append({"step": self._step, **averages})
            self._writer.scalars(averages | speed | self._task.scalars(), self._step)
        self._clock.show(averages, speed)
        symptom = self._task.symptom(self._step, averages)
        if self._watch.take(self._step, symptom):
            self._clock.say(f"WARNING: step {self._step}: {symptom}", sys.stderr)

    def _evaluate(self):
        """Measures on the validation split; before saving, so that a checkpoint has its line.

        Returns:
            values by name on the chief, nothing on other workers.
        """
        self._finite_arrays()
        with self._clock.evaluating():
            values = self._task.measure(self._step)
        if not self._workers.chief:
            return {}
        with self._writing():
            self._metrics.append_evaluation(self._step, values)
            scalars = {f"evaluation/{name}": value for name, value in values.items()}
            seconds = {"speed/evaluation_seconds": self._clock.evaluation_seconds}
            self._writer.scalars(scalars | seconds, self._step)
        self._clock.show_evaluation(values)
        return values

    @contextlib.contextmanager
    def _writing(self):
        """Says of an error in writing what to do about it."""
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise OSError(
                f"Cannot write into {self._model_dir}: {reason}. Make room or mend the "
                f"permissions, then repeat the command: it continues from step {self._saved}."
            ) from error


class _StopSignals:
    """Notes SIGTERM and SIGINT so that the loop can save first; a second one acts at once."""

    def __enter__(self):
        self.received = 0
        self._before = {n: signal.signal(n, self._note) for n in (signal.SIGTERM, signal.SIGINT)}
        return self

    def _note(self, number, _):
        self.received = number
        signal.signal(number, self._before[number])

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)
