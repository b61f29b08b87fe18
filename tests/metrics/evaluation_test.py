"""Evaluators over the validation split: names, padding, seeds, and values computed another way."""

import dataclasses
import json
import shutil
import types
from pathlib import Path

import numpy as np
import pytest

from oasis_tf.data import pipeline
from oasis_tf.data.tfrecord import PreparedDataset
from oasis_tf.metrics import evaluation, names
from oasis_tf.metrics.evaluator import (
    EvaluationContext,
    Evaluator,
    Result,
    finite_uint8,
    padded_batches,
)
from oasis_tf.metrics.reports import evaluation_file
from oasis_tf.metrics.segmentation import compact_segmenter
from oasis_tf.metrics.segmentation.confusion import ConfusionMatrix
from oasis_tf.systems.oasis.config import EvaluationConfig, ModelConfig

COLOURS = np.array([(90, 90, 90), (230, 40, 40), (40, 230, 40), (40, 40, 230)])

MODEL = ModelConfig(num_classes=4, has_unknown=True)


def nearest_colour(image):
    """A fair segmenter of the colour data set: model ids 1..3 by the nearest colour."""
    distance = np.abs(image[..., None, :].astype(int) - COLOURS[1:]).sum(-1)
    return np.argmin(distance, axis=-1).astype(np.int32) + 1


class ColourModel:
    """Stands in for `OASIS`: segments badly; `painted` are the seeds of what was painted of it."""

    def __init__(self, label_space):
        data = types.SimpleNamespace(crop_height=64, crop_width=64)
        self.config = types.SimpleNamespace(data=data)
        self.label_space = label_space
        self.painted = []

    def segment(self, image):
        predicted = nearest_colour(image)
        return np.where(predicted == 2, 3, predicted)


class ColourPainter:
    """Stands in for `Painter`: paints class colours, wrong ones for odd seeds."""

    def __init__(self, model):
        self.model = model

    def __call__(self, label_map, seed):
        self.model.painted.append(seed.tolist())
        odd = (seed % 2 == 1)[:, None, None]
        shown = np.where(odd & (label_map > 0), label_map % 3 + 1, label_map)
        return (COLOURS[shown] / 127.5 - 1).astype(np.float32)


class NearestColourSegmenter:
    name, classes, protocol, notes = "compact", [1, 2, 3], {"name": "compact"}, ()

    def segment(self, image):
        assert image.dtype == np.uint8
        return nearest_colour(image)


@pytest.fixture
def context(colour_dataset, monkeypatch, tmp_path):
    monkeypatch.setattr(evaluation, "Painter", ColourPainter)
    monkeypatch.setattr(
        compact_segmenter, "cached_segmenter", lambda *args: NearestColourSegmenter()
    )
    model = ColourModel(colour_dataset.label_space)
    return EvaluationContext(
        model, colour_dataset, str(tmp_path), batch_size=4, settings=EvaluationConfig()
    )


def values_of(found):
    """All values of all metrics, by name."""
    return {name: value for one in found.values() for name, value in one.values.items()}


def validation_split(dataset):
    batches = pipeline.evaluation_batches(
        dataset.data_dir, "val", height=64, width=64, batch_size=100
    )
    return next(batches.as_numpy_iterator())


def scores_of(label_map, prediction):
    matrix = ConfusionMatrix(4, ignored_classes=(0,))
    matrix.update(label_map, prediction)
    return matrix


def test_values_are_those_of_the_whole_split_without_padding(context, colour_dataset):
    found = evaluation.evaluate(context, ["segmentation", "alignment"], seed=10)
    assert list(found) == ["segmentation", "alignment"]
    values = values_of(found)
    image, label_map = validation_split(colour_dataset)
    assert len(image) == 5  # by 4: the second batch is three quarters padding
    expected = scores_of(label_map, context.model.segment(image))
    assert values["segmentation/miou"] == expected.mean_iou()
    assert values["segmentation/pixel_accuracy"] == expected.pixel_accuracy()
    assert values["segmentation/iou/green"] == 0.0
    painted = ColourPainter(context.model)(label_map, np.arange(10, 15))
    expected = scores_of(label_map, nearest_colour(painted * 127.5 + 127.5))
    assert values["alignment_compact/miou"] == expected.mean_iou()
    assert 0.3 < expected.mean_iou() < 0.7
    expected = scores_of(label_map, nearest_colour(image))
    assert values["segmenter_compact/miou"] == expected.mean_iou()
    assert not any("unknown" in name for name in values)


def test_image_i_has_seed_plus_i_and_is_painted_once(context):
    evaluation.evaluate(context, ["alignment"], seed=10)
    assert context.model.painted == [[10, 11, 12, 13], [14, 15, 16, 17]]


def test_a_batch_is_painted_once_for_all_metrics(context, colour_dataset):
    image, label_map = validation_split(colour_dataset)
    painter = ColourPainter(context.model)
    (batch,) = padded_batches([(image, label_map)], painter, 5, seed=0)
    assert batch.generated is batch.generated
    assert batch.generated.dtype == np.uint8
    assert len(context.model.painted) == 1


def test_features_are_computed_once_and_of_valid_rows_alone(context, colour_dataset):
    image, label_map = validation_split(colour_dataset)
    (batch,) = padded_batches([(image, label_map)], ColourPainter(context.model), 8, seed=0)
    calls = []

    def network(images):
        calls.append(len(images))
        return images.mean((1, 2))

    network.digest = "means"
    np.testing.assert_array_equal(batch.features(network, "image"), image.mean((1, 2)))
    assert batch.features(network, "image") is batch.features(network, "image")
    of_generated = batch.features(network, "generated")
    np.testing.assert_array_equal(of_generated, batch.generated[:5].mean((1, 2)))
    assert calls == [8, 8]


def test_values_do_not_depend_on_the_batch_size(context, colour_dataset):
    by_one = dataclasses.replace(context, batch_size=1)
    metrics = ["segmentation", "alignment"]
    found, want = (values_of(evaluation.evaluate(one, metrics)) for one in (by_one, context))
    assert found == want


def test_values_do_not_depend_on_the_number_of_workers(context):
    context = dataclasses.replace(context, batch_size=2)  # three batches, the last one of one row
    metrics = ["segmentation", "alignment"]
    want = evaluation.evaluate(context, metrics, seed=3)
    for workers in (2, 4):
        context.model.painted.clear()
        evaluators = [evaluation.make_evaluators(context, metrics) for _ in range(workers)]
        painter = ColourPainter(context.model)
        states = [
            evaluation.collect(context, one, painter, seed=3, worker=k, workers=workers)
            for k, one in enumerate(evaluators)
        ]
        found = evaluation.results(evaluators[0], states)
        assert values_of(found) == values_of(want)
        assert found["alignment"].protocol == want["alignment"].protocol
        assert sorted(context.model.painted) == [[3, 4], [5, 6], [7, 8]]


def test_nothing_is_painted_for_metrics_of_real_images(context):
    evaluation.evaluate(context, ["segmentation"])
    assert context.model.painted == []


class FileEvaluator(Evaluator):
    """A metric that needs no images."""

    needs_images = False

    def update(self, batch):
        raise AssertionError("not to be called")

    def state(self):
        return {}

    def result(self, states):
        return Result({"lvis/map": 0.5})


def test_no_image_is_read_for_metrics_that_need_none(context, monkeypatch):
    monkeypatch.setattr(evaluation.pipeline, "evaluation_batches", lambda *a, **k: broken_stream())
    evaluators = {"lvis": FileEvaluator()}
    states = evaluation.collect(context, evaluators, ColourPainter(context.model))
    assert evaluation.results(evaluators, [states])["lvis"].values == {"lvis/map": 0.5}


def broken_stream():
    def batches():
        raise AssertionError("not to be read")
        yield

    return types.SimpleNamespace(as_numpy_iterator=batches)


def test_images_that_are_not_finite_are_refused(context, monkeypatch):
    class Diverged(ColourPainter):
        def __call__(self, label_map, seed):
            image = super().__call__(label_map, seed)
            image[0, 0, 0, 0] = np.nan
            return image

    monkeypatch.setattr(evaluation, "Painter", Diverged)
    with pytest.raises(ValueError, match="must be finite. Received: 1 of 49152 .*--checkpoint"):
        evaluation.evaluate(context, ["alignment"])
    with pytest.raises(ValueError, match="2 of 3 values"):
        finite_uint8(np.array([np.inf, 0.0, -np.inf]))


def test_only_the_last_batch_is_padded():
    batches = [(np.full((n, 2, 3, 3), n, np.uint8), np.full((n, 2, 3), n)) for n in (4, 3)]
    first, last = padded_batches(batches, None, 4, seed=7)
    assert first.valid.all()
    assert last.valid.tolist() == [True, True, True, False]
    assert last.image.shape == (4, 2, 3, 3)
    assert (last.label_map == 3).all()
    assert first.seed.tolist() == [7, 8, 9, 10]
    assert last.seed.tolist() == [11, 12, 13, 14]


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["fad", "alignment", "speed"], "Unknown metrics: fad, speed. Known metrics: fid, kid"),
        ([], "At least one metric.*Known metrics: .*segmentation, alignment"),
        (["alignment", "alignment"], "once. Received: alignment, alignment"),
    ],
)
def test_bad_metric_names_are_refused(context, metrics, message):
    with pytest.raises(ValueError, match=message):
        evaluation.evaluate(context, metrics)


def test_a_data_set_of_other_classes_is_refused(context):
    context.model.label_space = types.SimpleNamespace(
        class_names=("sky", "sea"), has_unknown=False, num_classes=2, dataset="folder"
    )
    with pytest.raises(ValueError, match="same classes.*model of 2 classes.*data set of 4 classes"):
        evaluation.evaluate(context, ["segmentation"])


def test_a_missing_validation_split_is_refused(context):
    only_train = {"train": context.dataset.splits["train"]}
    dataset = dataclasses.replace(context.dataset, splits=only_train)
    with pytest.raises(ValueError, match="no split 'val'"):
        evaluation.evaluate(dataclasses.replace(context, dataset=dataset), ["segmentation"])


def test_every_metric_has_its_evaluator_and_its_names():
    for name in evaluation.METRICS:
        one = evaluation.evaluator_class(name)
        assert issubclass(one, Evaluator)
        assert not one.__abstractmethods__
        assert names.PREFIXES[name]
    assert set(names.PREFIXES) == set(evaluation.METRICS)


def test_settings_are_checked_before_work(colour_dataset, tmp_path):
    space = colour_dataset.label_space
    settings = EvaluationConfig(segmenter=str(tmp_path / "none.keras"))
    evaluation.check(["segmentation"], settings, MODEL, space)
    with pytest.raises(ValueError, match="--segmenter must be auto.*none.keras"):
        evaluation.check(["segmentation", "alignment"], settings, MODEL, space)
    with pytest.raises(ValueError, match="Unknown metrics: speed"):
        evaluation.check(["speed"], settings, MODEL, space)


def test_a_model_without_discriminator_cannot_segment(colour_dataset):
    model = dataclasses.replace(MODEL, has_discriminator=False)
    space = colour_dataset.label_space
    evaluation.check(["alignment"], EvaluationConfig(), model, space)
    with pytest.raises(ValueError, match="be measured by the metric segmentation"):
        evaluation.check(["alignment", "segmentation"], EvaluationConfig(), model, space)


def test_a_report_holds_values_and_what_they_depend_on(context, tmp_path):
    found = evaluation.evaluate(context, ["segmentation", "alignment"], seed=3)
    contents = evaluation.make_report(context, found, seed=3, step=40, seconds=1.26)
    path = tmp_path / "report.json"
    evaluation_file.write(contents, path)
    read = json.loads(path.read_text())
    assert read["metrics"] == values_of(found)
    assert read["protocols"] == {name: dict(one.protocol) for name, one in found.items()}
    expected = {"step": 40, "seed": 3, "num_images": 5, "height": 64, "width": 64, "seconds": 1.3}
    assert {name: read[name] for name in expected} == expected


def test_damaged_records_are_refused_or_left_out_and_counted(context, colour_dataset, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(colour_dataset.data_dir, copy)
    dataset = PreparedDataset.load(str(copy))
    shard = Path(dataset.shard_paths("val")[0])
    contents = bytearray(shard.read_bytes())
    contents[len(contents) // 2] ^= 1  # in the middle one of five records
    shard.write_bytes(contents)
    context = dataclasses.replace(context, dataset=dataset)
    with pytest.raises(ValueError, match=f"^Damaged record: {shard}, record 2 "):
        evaluation.evaluate(context, ["segmentation"])

    skipping = dataclasses.replace(context, skip_corrupt=True)
    assert skipping.num_images == 4
    image, label_map = validation_split(colour_dataset)
    sound = [0, 1, 3, 4]
    want = scores_of(label_map[sound], context.model.segment(image[sound])).mean_iou()
    got = evaluation.evaluate(skipping, ["segmentation"])
    assert got["segmentation"].values["segmentation/miou"] == pytest.approx(want)
    assert got["segmentation"].protocol["num_real"] == 4
