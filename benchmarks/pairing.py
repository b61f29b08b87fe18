"""Paired measurement: contenders take turns, and ratios are formed within a round.

What disturbs a machine for a while disturbs all contenders of a round, so that it leaves their
ratio alone. One contender computes at a time.
"""

import dataclasses
import statistics


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What a contender took.

    Attributes:
        seconds: tuple of floats, of one iteration, by round.
        peaks: tuple of ints, bytes, by round.
        facts: dict, what it said of itself.
        warmup_seconds: float, of all iterations before the first round (compilation among them).
    """

    seconds: tuple
    peaks: tuple
    facts: dict
    warmup_seconds: float

    @property
    def median(self):
        """Median seconds of an iteration."""
        return statistics.median(self.seconds)

    @property
    def peak(self):
        """The highest peak of all rounds in bytes."""
        return max(self.peaks)

    @property
    def activations(self):
        """The peak without weights and optimizer state in bytes."""
        return max(0, self.peak - self.facts["state_bytes"])


@dataclasses.dataclass(frozen=True)
class Ratio:
    """Median, smallest and largest of the ratios of all rounds."""

    median: float
    low: float
    high: float


def ratio(of, to):
    """How many times as long ``of`` takes as ``to``, round by round: `Ratio` of measurements."""
    found = [a / b for a, b in zip(of.seconds, to.seconds, strict=True)]
    return Ratio(statistics.median(found), min(found), max(found))


def measure(contenders, message, *, rounds, iterations, warmup, progress):
    """Sets contenders up in order, then has them take turns.

    Args:
        contenders: list of `processes.Contender`.
        message: dict, their setup.
        rounds, iterations, warmup: ints: rounds, iterations of a contender in each, and iterations
            of each before the first round.
        progress: function(text), called for whoever waits.

    Returns:
        dict from names to `Measurement`.
    """
    facts, warmups = {}, {}
    for contender in contenders:
        progress(f"{contender.name}: starting")
        facts[contender.name] = contender.setup(message)
        progress(f"{contender.name}: warming up")
        warmups[contender.name] = contender.run(warmup)[0]
    runs = {contender.name: [] for contender in contenders}
    for number in range(1, rounds + 1):
        for contender in contenders:
            seconds, peak = contender.run(iterations)
            runs[contender.name].append((seconds / iterations, peak))
            progress(f"round {number}/{rounds}: {contender.name} {seconds / iterations:.3f} s")
    return {
        name: Measurement(*zip(*runs[name], strict=True), facts[name], warmups[name])
        for name in runs
    }
