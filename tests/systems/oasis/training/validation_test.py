"""Evaluation while training: what is refused, what is measured, how workers share it."""

import dataclasses
import errno
import functools
import os
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.data import pipeline
from oasis_tf.data.tfrecord import PreparedDataset
from oasis_tf.metrics import evaluation
from oasis_tf.metrics.reports import evaluation_file
from oasis_tf.metrics.settings import EvaluationConfig
from oasis_tf.systems.oasis import task as task_module
from oasis_tf.systems.oasis.evaluation import context_of
from oasis_tf.systems.oasis.inference.multi_device import DeviceSampler
from oasis_tf.training import loop, validation
from oasis_tf.training.strategies import Workers

METRICS = "fid,kid,segmentation"


# === Refused before the first step ===


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """function(config, message): `loop.train` refuses it, before it makes or writes anything."""

    def check(config, message, error=ValueError):
        monkeypatch.setattr(task_module, "build_for_training", lambda *_: pytest.fail("built"))
        with pytest.raises(error, match=message):
            loop.train(config, str(tmp_path / "model"), task_module.OASISTask)
        assert not (tmp_path / "model").exists()

    return check


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"eval_metrics": "fid,speed"}, "Unknown metrics: speed. Known metrics: fid, kid, "),
        ({"eval_metrics": "fid, kid"}, "Unknown metrics:  kid. Known metrics: fid, kid, "),
        ({"eval_metrics": "fid,fid"}, "may be named once. Received: fid, fid"),
        (
            {"best_metric": "kid_seeded64/std", "eval_metrics": "kid"},
            "best_metric=kid_seeded64/std, which does not tell how good",
        ),
        ({"best_metric": "miou"}, "best_metric=miou, eval_metrics=fid, whose values .* fid_…"),
        ({"eval_train_images": 4}, "`eval_train_images` is of .*: segmentation and alignment"),
        (
            {"best_metric": "fid_seeded64", "eval_metrics": "precision_recall,alignment"},
            "of `eval_metrics`. Received: best_metric=fid_seeded64, .* are called precision_…, "
            "recall_…, alignment_…, segmenter_…",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(make_config, refused, settings, message):
    refused(make_config(eval_every=5, **settings), message)


def test_missing_files_are_refused_at_once(make_config, refused, tmp_path):
    config = make_config(eval_every=5)
    for name, metric in (("inception", "fid"), ("vgg16", "precision_recall")):
        path = str(tmp_path / "absent.pth")
        settings = EvaluationConfig(**{name: path})
        training = dataclasses.replace(config.training, eval_metrics=metric)
        changed = dataclasses.replace(config, evaluation=settings, training=training)
        refused(changed, re.escape(path), (ValueError, OSError))


def test_a_data_set_without_validation_images_is_refused_at_once(
    make_config, refused, data_dir, tmp_path
):
    copy = shutil.copytree(data_dir, tmp_path / "data")
    dataset = PreparedDataset.load(str(copy))
    dataclasses.replace(dataset, splits={"train": dataset.splits["train"]}).save()
    config = make_config(eval_every=5)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, data_dir=str(copy)))
    refused(config, "no split 'val'")


def test_without_evaluations_nothing_of_them_is_looked_at(make_config):
    task_module._check_evaluations(make_config(eval_metrics="speed", best_metric="speed"))
    later = make_config(eval_every=5, best_metric="fid_of_a_network_known_later")
    task_module._check_evaluations(later)


# === What is measured ===


class Colleagues(Workers):
    """One of several workers; all run one after the other, the chief last.

    Args:
        index, count: of the worker.
        told: dict of worker -> bytes that it gave.
    """

    def __init__(self, index, count, told):
        self.index, self.count, self.chief = index, count, index == 0
        self._told = told

    def gather(self, number=0):
        return [number] * self.count

    def gather_bytes(self, data):
        self._told[self.index] = data
        return [self._told.get(k, data) for k in range(self.count)]


def randomise(model, seed):
    rng = np.random.default_rng(seed)
    for network in (model.generator, model.discriminator):
        for variable in network.trainable_variables:
            variable.assign(rng.normal(0, 0.3, variable.shape))
    model.generator_ema.set_weights(model.generator.get_weights())


@functools.cache
def one_sampler(model):
    """The sampler of all contexts of a model, so that its graphs are traced once."""
    return DeviceSampler(model)


@pytest.fixture
def validate(task, make_config, tmp_path):
    """function(index, count, told, folder): a `Validation` by batches of one image.

    The weights are random: a new generator gives the same image for all label maps.
    """
    randomise(task.model, 0)
    dataset = PreparedDataset.load(make_config().data.data_dir)

    def make(index=0, count=1, told=None, folder="model", metrics=METRICS, training_images=0):
        context = context_of(task.model, str(tmp_path / folder), dataset=dataset, batch_size=1)
        context = dataclasses.replace(context, sampler=one_sampler(task.model))
        workers = Colleagues(index, count, {} if told is None else told)
        return validation.Validation(context, metrics.split(","), workers, training_images)

    return make


def test_values_and_report_are_those_of_the_evaluate_command(validate, task, make_config, tmp_path):
    values = validate().measure(4)
    contents = evaluation_file.read(evaluation_file.default_path(str(tmp_path / "model"), 4))
    assert contents["step"] == 4 and contents["seed"] == 0 and contents["num_images"] == 2
    assert contents["metrics"] == pytest.approx(values, nan_ok=True)
    assert set(contents["protocols"]) == set(METRICS.split(","))
    dataset = PreparedDataset.load(make_config().data.data_dir)
    context = context_of(task.model, str(tmp_path), dataset=dataset, batch_size=16)
    found = evaluation.evaluate(context, METRICS.split(","))
    want = {name: v for one in found.values() for name, v in one.values.items()}
    assert list(values) == list(want)
    assert values == pytest.approx(want, rel=1e-9, nan_ok=True)


def test_training_images_are_measured_beside_the_validation_split(validate, task, tmp_path):
    """Three of seven, spread evenly: D's scores by hand. The report has validation alone."""
    assert validation._of_training(METRICS.split(",")) == ["segmentation"]
    plain = validate(folder="plain", metrics="segmentation").measure(4)
    values = validate(metrics="segmentation", training_images=3).measure(4)
    assert {name: values[name] for name in plain} == pytest.approx(plain, nan_ok=True)
    assert list(values) == [*plain, *(f"train/{name}" for name in plain)]
    path = evaluation_file.default_path(str(tmp_path / "model"), 4)
    assert set(evaluation_file.read(path)["metrics"]) == set(plain)
    batches = pipeline.evaluation_batches(
        task._config.data.data_dir, "train", height=32, width=32, batch_size=3, at=[1, 3, 5]
    )
    image, label_map = next(iter(batches))
    right = task.model.segment(image.numpy()) == label_map.numpy()
    assert values["train/segmentation/pixel_accuracy"] == pytest.approx(right.mean())


def test_a_second_evaluation_starts_from_nothing(validate, task, tmp_path):
    """Of other weights; with another `Validation`, as after a restart, it is the same."""
    going_on = validate()
    first = going_on.measure(1)
    randomise(task.model, 1)
    second = going_on.measure(2)
    again = validate(folder="restarted").measure(2)
    np.testing.assert_equal(second, again)
    for name in ("fid_seeded64", "kid_seeded64", "segmentation/pixel_accuracy"):
        assert second[name] != first[name], name


def test_workers_share_the_images_and_the_chief_alone_writes(validate, tmp_path):
    """Three workers for two batches: one has nothing to do."""
    alone = validate(folder="alone").measure(3)
    told, values = {}, []
    for index in (2, 1, 0):
        values.append(validate(index, 3, told, f"worker_{index}").measure(3))
    assert values[:2] == [{}, {}] and list(values[2]) == list(alone)
    assert values[2] == pytest.approx(alone, rel=1e-9, nan_ok=True)
    assert sorted(os.listdir(tmp_path)) == ["alone", "worker_0"]
    assert os.listdir(tmp_path / "worker_0") == ["evaluations"]
    sent = [validation._unpacked(told[index]) for index in range(3)]
    assert len({len(data) for data in told.values()}) > 1
    for states in sent:
        assert len(states) == 3
        assert states[2]["segmentation"].dtype == np.int64
    counts = [states[2]["segmentation"].sum() for states in sent]
    assert counts == [32 * 32, 32 * 32, 0]


def test_the_chief_prepares_before_the_others(validate, monkeypatch):
    """What is trained for an evaluator is found by the others then."""
    order = []
    monkeypatch.setattr(Colleagues, "gather", lambda self, number=0: order.append("gather"))
    monkeypatch.setattr(
        evaluation, "make_evaluators", lambda context, names: order.append("made") or {}
    )
    validate()
    assert order == ["made", "gather"]
    order.clear()
    validate(1, 2)
    assert order == ["gather", "made"]


def test_a_report_that_cannot_be_written_says_what_to_do(validate, monkeypatch):
    def full(contents, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(evaluation_file, "write", full)
    message = "Cannot write .*step_00000004.json: No space left on device. Make room .*last check"
    with pytest.raises(OSError, match=message):
        validate(metrics="segmentation").measure(4)


def test_a_lost_worker_is_not_taken_for_something_else(validate, monkeypatch):
    error = tf.errors.UnavailableError(None, None, "task 1 is gone")

    def lost(self, data):
        raise error

    monkeypatch.setattr(Colleagues, "gather_bytes", lost)
    with pytest.raises(tf.errors.UnavailableError) as caught:
        validate(0, 2, metrics="segmentation").measure(4)
    assert caught.value is error
