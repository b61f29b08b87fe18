"""`benchmarks.pipeline`: what is drained, and the command from end to end."""

import itertools
import json
import time

import numpy as np
import pytest

from benchmarks import pipeline
from oasis_tf.data.datasets import published_label_space
from oasis_tf.systems.oasis.config import Config, DataConfig, ModelConfig, TrainingConfig


def test_drain_does_not_count_what_was_ready(monkeypatch):
    """100 batches lie ready, then each takes 0.1 s of two cores on a clock of our own."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(time, "process_time", lambda: 2 * now[0])

    def batches():
        for index in itertools.count():
            now[0] += 0.1 if index >= 100 else 1e-6
            yield index

    found = pipeline.drain(batches(), rounds=3, seconds=2)
    np.testing.assert_allclose(found, [(10, 0.2)] * 3)


def test_train_tells_waiting_from_computing(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    class Task:
        steps = 0

        def batches(self, start_step):
            assert start_step == 0
            while True:
                now[0] += 0.25
                yield "batch"

        def train_step(self, batch):
            assert batch == "batch"
            now[0] += 100 if self.steps == 0 else 0.75  # the first call traces
            self.steps += 1
            return {"loss_g": 1.0}

    for found in pipeline.train(Task(), rounds=2, steps=4):
        assert found == pytest.approx((1.0, 0.25))


@pytest.mark.slow
def test_command(run_module, data_dir, tmp_path):
    config = Config(
        model=ModelConfig(
            num_classes=12,
            has_unknown=False,
            noise_channels=2,
            generator_channels=1,
            discriminator_channels=1,
            spade_channels=2,
        ),
        data=DataConfig(data_dir=data_dir, crop_height=64, crop_width=64),
        training=TrainingConfig(steps=1, batch_size=2),
        label_space=published_label_space("shapes"),
    )
    config.save(tmp_path)
    options = ["--rounds=2", "--batches=2", "--drain_seconds=0.2", "--json=report.json"]
    done = run_module("benchmarks.pipeline", f"--model_dir={tmp_path}", *options)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["settings"]["config"] == config.to_json()
    assert report["environment"]["python"]
    figures = report["figures"]
    assert figures["images_per_second"] > 0 < figures["images_per_second_training"]
    assert 0 <= figures["data_wait_fraction"] < 1
    assert list(figures) == [line.split()[0] for line in done.stdout.splitlines()[-4:]]
    sizes = ["--crop_height=32", "--crop_width=48", "--batch_size=4"]
    done = run_module("benchmarks.pipeline", f"--data_dir={data_dir}", *sizes, *options)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    settings = {"crop_width": 48, "resize_width": 48, "batch_size": 4, "data_dir": data_dir}
    assert settings.items() <= report["settings"].items()
    assert report["figures"].keys() == {"images_per_second", "core_ms_per_image"}
    assert min(report["figures"].values()) > 0
    done = run_module("benchmarks.pipeline")
    assert done.returncode == 1 and "Either --model_dir or --data_dir" in done.stderr
