"""Who computes when, and the arithmetic of medians and ratios."""

import statistics

import pytest

from benchmarks import pairing


class Recorded:
    """A contender whose iterations take the given seconds, one after the other."""

    def __init__(self, name, log, seconds, peaks=None):
        self.name, self.log = name, log
        self.seconds = iter(seconds)
        self.peaks = iter(peaks or [100] * 10)

    def setup(self, message):
        self.log.append((self.name, "setup", message))
        return {"state_bytes": 30}

    def run(self, count):
        self.log.append((self.name, "run", count))
        return sum(next(self.seconds) for _ in range(count)), next(self.peaks)


def measurement(*seconds, peaks=(100,), facts=None):
    return pairing.Measurement(seconds, peaks, facts or {}, 0.0)


def test_contenders_take_turns():
    log = []
    contenders = [Recorded("a", log, [9, 1, 3, 5, 7]), Recorded("b", log, [8, 2, 2, 4, 4])]
    found = pairing.measure(
        contenders, {"x": 1}, rounds=2, iterations=2, warmup=1, progress=lambda text: None
    )
    start = [(name, *what) for name in "ab" for what in (("setup", {"x": 1}), ("run", 1))]
    assert log == start + [(name, "run", 2) for name in "abab"]
    assert found["a"] == pairing.Measurement((2.0, 6.0), (100, 100), {"state_bytes": 30}, 9)
    assert found["b"].seconds == (2.0, 4.0)


def test_ratio_is_the_median_over_rounds_not_of_medians():
    peer, ours = measurement(10, 30, 4), measurement(8, 10, 2)
    assert pairing.ratio(peer, ours) == pairing.Ratio(2, 1.25, 3)  # 10 / 8 of the medians
    assert pairing.ratio(ours, ours) == pairing.Ratio(1, 1, 1)
    # All rounds but one are slow for both alike: their ratios do not notice.
    slow = [1, 50, 2, 7, 1]
    ratio = pairing.ratio(measurement(*(3 * s for s in slow)), measurement(*slow))
    assert ratio == pairing.Ratio(3, 3, 3)


def test_rounds_must_be_paired():
    with pytest.raises(ValueError, match="shorter"):
        pairing.ratio(measurement(1, 2), measurement(1))


def test_measurement():
    found = measurement(3, 1, 8, 2, peaks=(7, 50, 20), facts={"state_bytes": 15})
    assert found.median == statistics.median([3, 1, 8, 2])
    assert (found.peak, found.activations) == (50, 35)
    assert measurement(1, peaks=(7,), facts={"state_bytes": 15}).activations == 0
