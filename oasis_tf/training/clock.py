"""How fast a run is, how long it waits for data, what an evaluation costs; the progress line."""

import contextlib
import sys
import time

from tqdm import tqdm

from oasis_tf.metrics.names import is_summary


class Clock:
    """Speed, waiting and the progress line of one process.

    Speed and ETA are those of steps alone: compiling, pictures, checkpoints and evaluations do not
    count.

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
        self._turn_start, self._turn_waited = self._lap_start, 0.0  # of the step under way
        self._announced = set()
        self._bar = None
        self.evaluation_seconds = 0.0

    def progress_bar(self):
        """A bar on a terminal; in a log, ``show`` prints plain lines instead."""
        self._lap_start = time.monotonic()
        self._bar = tqdm(
            total=self._settings.steps,
            initial=self._step,
            unit="it",
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
        )
        return self._bar

    def say(self, text, file=None):
        """Prints a line beside the bar; by default on standard output."""
        tqdm.write(text, file=file or sys.stdout)
        (file or sys.stdout).flush()

    def announce(self, work):
        """Says what is about to take long, the first time only."""
        if work not in self._announced:
            self._announced.add(work)
            self.say(f"{work} …")

    @contextlib.contextmanager
    def waiting(self):
        """Counts the block as time spent waiting for data; a step begins with it."""
        self._turn_start = time.monotonic()
        yield
        self._turn_waited = time.monotonic() - self._turn_start
        self._waited += self._turn_waited

    @contextlib.contextmanager
    def aside(self, work):
        """Counts the block as other work than training, which is announced."""
        self.announce(work)
        start = time.monotonic()
        yield
        self._leave_out(time.monotonic() - start)

    @contextlib.contextmanager
    def evaluating(self):
        """Counts the block as an evaluation, not as training."""
        start = time.monotonic()
        with self.aside("Evaluating (the first time also compiles)"):
            yield
        self.evaluation_seconds = time.monotonic() - start

    def tick(self, compiled=False):
        """Counts a step. One that was compiled is no measure of speed."""
        self._step += 1
        if compiled:
            self._lap_step += 1
            self._waited -= self._turn_waited
            self._leave_out(time.monotonic() - self._turn_start, steps=1)
        else:
            self._bar.update()

    def _leave_out(self, seconds, steps=0):
        self._lap_start += seconds
        bar = self._bar
        if not bar.disable:  # it measures its own speed, for its own ETA
            bar.start_t += seconds
            bar.last_print_t += seconds
            bar.n, bar.initial = bar.n + steps, bar.initial + steps
            bar.last_print_n += steps
            bar.refresh()

    def lap(self):
        """Speed since the last lap: steps/s, images/s and the share of time spent on waiting.

        Nothing if no step of the lap is a measure of it.
        """
        now = time.monotonic()
        if self._step == self._lap_step:
            self._lap_start = now
            return {}
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
        values = " ".join(f"{name} {value:.3f}" for name, value in averages.items())
        images = f"{speed['speed/images_per_second']:.1f} images/s " if speed else ""
        if not self._bar.disable:
            self._bar.set_postfix_str(f"{images}{values}")
            return
        pace = ""
        if speed:
            rate = speed["speed/steps_per_second"]
            left = time.gmtime((self._settings.steps - self._step) / rate)
            days = f"{left.tm_yday - 1}d " if left.tm_yday > 1 else ""
            pace = f"{rate:.2f} it/s {images}ETA {days}{time.strftime('%H:%M:%S', left)} "
        print(f"step {self._step}/{self._settings.steps} {pace}{values}", flush=True)

    def show_evaluation(self, values):
        """Shows the values of an evaluation, but those of single classes, and what it cost."""
        shown = {name: value for name, value in values.items() if is_summary(name)}
        text = " ".join(f"{name} {value:.4g}" for name, value in shown.items())
        self.say(f"evaluated step {self._step} in {self.evaluation_seconds:.1f} s: {text}")
