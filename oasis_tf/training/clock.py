"""How fast a run is, how long it waits for data, what an evaluation costs; the progress line."""

import contextlib
import sys
import time

from tqdm import tqdm

from oasis_tf.metrics.names import is_summary


class Clock:
    """Speed, waiting and the progress line of one process.

    Args:
        step: int, where the run starts.
        settings: ``LoopSettings``.

    Attributes:
        evaluation_seconds: float, of the last evaluation.
    """

    def __init__(self, step, settings):
        self._settings = settings
        self._step = step
        self._lap_step, self._lap_start, self._waited = step, time.monotonic(), 0.0
        self._bar = None
        self.evaluation_seconds = 0.0

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

    @contextlib.contextmanager
    def waiting(self):
        """Counts the block as time spent waiting for data."""
        start = time.monotonic()
        yield
        self._waited += time.monotonic() - start

    @contextlib.contextmanager
    def evaluating(self):
        """Counts the block as an evaluation, not as training."""
        start = time.monotonic()
        yield
        self.evaluation_seconds = time.monotonic() - start
        self._lap_start += self.evaluation_seconds

    def tick(self):
        """Counts a step."""
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
        """Shows losses and speed."""
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

    def show_evaluation(self, values):
        """Shows the values of an evaluation, but those of single classes, and what it cost."""
        shown = {name: value for name, value in values.items() if is_summary(name)}
        text = " ".join(f"{name} {value:.4g}" for name, value in shown.items())
        tqdm.write(
            f"evaluated step {self._step} in {self.evaluation_seconds:.1f} s: {text}",
            file=sys.stdout,
        )
        sys.stdout.flush()
