"""The load test: what it asks, and what it makes of the answers."""

import json

import numpy as np
import pytest
from absl import flags

from benchmarks import serving_load
from benchmarks.serving_load import Load
from export.serving import connections

UNAVAILABLE = "UNAVAILABLE"


def connect(server):
    return connections.RestConnection(server.url, 20, retries=0)


def test_every_request_has_another_map_and_seed():
    load = Load("serving_default", 40, 64, 5, requests=3, concurrency=1, seed=1)
    first, second, again = load.inputs(0), load.inputs(1), load.inputs(0)
    np.testing.assert_array_equal(first["label_map"], again["label_map"])
    assert (first["label_map"] != second["label_map"]).any()
    assert (first["seed"].tolist(), second["seed"].tolist()) == ([0], [1])
    assert first["label_map"].shape == (1, 40, 64)
    assert set(np.unique(first["label_map"])) <= set(range(5))
    assert (first["label_map"][0, :16, :16] == first["label_map"][0, 0, 0]).all()


def test_all_are_asked_with_as_many_in_flight(served_stand_in, stand_in):
    with connect(served_stand_in) as connection:
        report = serving_load.measure(connection, Load("png", 32, 32, 5, 40, 4))
    assert (report["answered"], report["errors"], stand_in.asked) == (40, {}, 41)
    assert stand_in.most <= 4
    latency = report["latency_ms"]
    assert list(latency) == ["p50", "p90", "p95", "p99", "max", "mean"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"]
    assert report["requests_per_second"] == 40 / report["seconds"]


def test_percentiles():
    load = Load("png", 32, 32, 5, 101, 1)
    report = serving_load._report(load, [k / 1000 for k in range(101)], {"X": 2}, 10.0)
    assert report["latency_ms"] == pytest.approx(
        {"p50": 50, "p90": 90, "p95": 95, "p99": 99, "max": 100, "mean": 50}
    )
    assert report["requests_per_second"] == 10.1
    assert "101 answered in 10.0 s, 10.10 per second, 2 X\np50 50 ms" in serving_load.as_text(
        report
    )


def test_errors_are_counted_by_kind_and_nothing_is_repeated(served_stand_in, stand_in):
    stand_in.failures = [None, *[UNAVAILABLE] * 3]
    with connect(served_stand_in) as connection:
        report = serving_load.measure(connection, Load("png", 32, 32, 9, 20, 2))
    assert stand_in.asked == 21
    assert report["errors"]["UNAVAILABLE"] == 3
    assert report["errors"]["INVALID_ARGUMENT"] > 0  # ids that the stand-in has not
    assert report["answered"] + sum(report["errors"].values()) == 20


def test_the_time_is_bounded(served_stand_in, stand_in):
    with connect(served_stand_in) as connection:
        report = serving_load.measure(connection, Load("png", 32, 32, 5, 10**6, 2, max_seconds=0.2))
    assert 0 < report["answered"] < 10**6


def test_the_command(monkeypatch, capsys, served_stand_in, tmp_path):
    values = flags.FlagValues()
    serving_load.define_flags(values)
    monkeypatch.setattr(flags, "FLAGS", values)
    common = ["load", f"--url={served_stand_in.url}", "--requests=5", "--num_classes=5"]
    values([*common, "--size=32x64", f"--json={tmp_path / 'out.json'}"])
    serving_load.main([])
    assert capsys.readouterr().out.startswith("png, 32x64, 8 in flight: 5 answered in ")
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["answered"] == 5
    assert report["load"]["signature"] == "png"
    for wrong, message in (
        ("--size=crop", "HEIGHTxWIDTH"),
        ("--retries=2", "leave out --retries"),
        ("--url=http://127.0.0.1:9/v1/models/oasis", "cannot be asked: UNAVAILABLE"),
        ("--num_classes=99", "Nothing was answered"),
    ):
        values = flags.FlagValues()
        serving_load.define_flags(values)
        monkeypatch.setattr(flags, "FLAGS", values)
        values([*common, wrong])
        with pytest.raises(ValueError, match=message):
            serving_load.main([])
