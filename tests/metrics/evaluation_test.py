"""Evaluators over the validation split: names, padding, seeds, and values computed another way."""

import dataclasses
import json
import os
import shutil
import types
from pathlib import Path

import numpy as np
import pytest

from oasis_tf.data import pipeline
from oasis_tf.data.datasets import folder_label_space
from oasis_tf.data.tfrecord import PreparedDataset
from oasis_tf.metrics import evaluation, names
from oasis_tf.metrics.evaluator import (
    EvaluationContext,
    Evaluator,
    Result,
    finite_uint8,
    padded_batches,
)
from oasis_tf.metrics.features import networks
from oasis_tf.metrics.features.frechet import frechet_distance
from oasis_tf.metrics.pictures import evaluation as of_pictures
from oasis_tf.metrics.reports import evaluation_file
from oasis_tf.metrics.sampler import Capabilities, Capability, Sampler
from oasis_tf.metrics.segmentation import compact_segmenter
from oasis_tf.metrics.segmentation.confusion import ConfusionMatrix
from oasis_tf.metrics.settings import EvaluationConfig

COLOURS = np.array([(90, 90, 90), (230, 40, 40), (40, 230, 40), (40, 40, 230)])


def nearest_colour(image):
    """A fair segmenter of the colour data set: model ids 1..3 by the nearest colour."""
    distance = np.abs(image[..., None, :].astype(int) - COLOURS[1:]).sum(-1)
    return np.argmin(distance, axis=-1).astype(np.int32) + 1


def segment(image):
    """Stands in for a model's own segmentation: a bad one."""
    predicted = nearest_colour(image)
    return np.where(predicted == 2, 3, predicted)


class ColourSampler(Sampler):
    """Generates class colours, wrong ones for odd seeds; keeps the seeds."""

    def __init__(self):
        self.seeds = []

    def refresh(self):
        pass

    def __call__(self, label_map, seed):
        self.seeds.append(seed.tolist())
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
    monkeypatch.setattr(
        compact_segmenter, "cached_segmenter", lambda *args: NearestColourSegmenter()
    )
    return EvaluationContext(
        dataset=colour_dataset,
        model_dir=str(tmp_path),
        height=64,
        width=64,
        sampler=ColourSampler(),
        step=40,
        label_space=colour_dataset.label_space,
        segment=segment,
        batch_size=4,
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
    expected = scores_of(label_map, segment(image))
    assert values["segmentation/miou"] == expected.mean_iou()
    assert values["segmentation/pixel_accuracy"] == expected.pixel_accuracy()
    assert values["segmentation/iou/green"] == 0.0
    generated = ColourSampler()(label_map, np.arange(10, 15))
    expected = scores_of(label_map, nearest_colour(generated * 127.5 + 127.5))
    assert values["alignment_compact/miou"] == expected.mean_iou()
    assert 0.3 < expected.mean_iou() < 0.7
    expected = scores_of(label_map, nearest_colour(image))
    assert values["segmenter_compact/miou"] == expected.mean_iou()
    assert not any("unknown" in name for name in values)


def test_image_i_has_seed_plus_i_and_is_generated_once(context):
    evaluation.evaluate(context, ["alignment"], seed=10)
    assert context.sampler.seeds == [[10, 11, 12, 13], [14, 15, 16, 17]]


def test_a_batch_is_generated_once_for_all_metrics(colour_dataset):
    image, label_map = validation_split(colour_dataset)
    sampler = ColourSampler()
    (batch,) = padded_batches([(image, label_map)], sampler, 5, seed=0)
    assert batch.generated is batch.generated
    assert batch.generated.dtype == np.uint8
    assert len(sampler.seeds) == 1


def test_features_are_computed_once_and_of_valid_rows_alone(colour_dataset):
    image, label_map = validation_split(colour_dataset)
    (batch,) = padded_batches([(image, label_map)], ColourSampler(), 8, seed=0)
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
        context.sampler.seeds.clear()
        evaluators = [evaluation.make_evaluators(context, metrics) for _ in range(workers)]
        states = [
            evaluation.collect(context, one, seed=3, worker=k, workers=workers)
            for k, one in enumerate(evaluators)
        ]
        found = evaluation.results(evaluators[0], states)
        assert values_of(found) == values_of(want)
        assert found["alignment"].protocol == want["alignment"].protocol
        assert sorted(context.sampler.seeds) == [[3, 4], [5, 6], [7, 8]]


def test_nothing_is_generated_for_metrics_of_real_images(context):
    evaluation.evaluate(context, ["segmentation"])
    assert context.sampler.seeds == []


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
    states = evaluation.collect(context, evaluators)
    assert evaluation.results(evaluators, [states])["lvis"].values == {"lvis/map": 0.5}


def broken_stream():
    def batches():
        raise AssertionError("not to be read")
        yield

    return types.SimpleNamespace(as_numpy_iterator=batches)


def test_images_that_are_not_finite_are_refused(context):
    class Diverged(ColourSampler):
        def __call__(self, label_map, seed):
            image = super().__call__(label_map, seed)
            image[0, 0, 0, 0] = np.nan
            return image

    context = dataclasses.replace(context, sampler=Diverged())
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
    other = folder_label_space(2, class_names=["sky", "sea"])
    context = dataclasses.replace(context, label_space=other)
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
    assert set(names.PREFIXES) == {*evaluation.METRICS, *of_pictures.METRICS}


def test_settings_are_checked_before_work(colour_dataset, tmp_path):
    able = Capabilities(set(Capability), colour_dataset.label_space)
    settings = EvaluationConfig(segmenter=str(tmp_path / "none.keras"))
    evaluation.check(["segmentation"], settings, able)
    with pytest.raises(ValueError, match="--segmenter must be auto.*none.keras"):
        evaluation.check(["segmentation", "alignment"], settings, able)
    with pytest.raises(ValueError, match="Unknown metrics: speed"):
        evaluation.check(["speed"], settings, able)


# === Models that cannot do everything ===


@pytest.mark.parametrize(
    ("has", "possible"),
    [
        (set(), "fid,kid,precision_recall"),
        ({Capability.NOISE}, "fid,kid,precision_recall,diversity"),
        ({Capability.LABEL_MAPS}, "fid,kid,precision_recall,alignment,colour,texture"),
        (
            set(Capability) - {Capability.SEGMENTATION},
            "fid,kid,precision_recall,alignment,diversity,class_diversity,colour,texture",
        ),
    ],
    ids=["nothing", "noise", "label maps", "no segmentation"],
)
def test_a_metric_that_a_model_cannot_have_is_refused_by_name(colour_dataset, has, possible):
    space = colour_dataset.label_space if Capability.LABEL_MAPS in has else None
    able = Capabilities(has, space)
    evaluation.check(possible.split(","), EvaluationConfig(), able)
    for name in set(evaluation.METRICS) - {*possible.split(","), "lvis"}:
        with pytest.raises(ValueError, match=f"The metric {name} .* Leave it out"):
            evaluation.check([*possible.split(","), name], EvaluationConfig(), able)


def test_a_system_says_why_its_model_cannot(colour_dataset):
    reasons = {Capability.NOISE: "This model is deterministic."}
    able = Capabilities({Capability.LABEL_MAPS}, colour_dataset.label_space, reasons)
    message = "diversity compares images of different noise. This model is deterministic. Leave"
    with pytest.raises(ValueError, match=message):
        evaluation.check(["diversity"], EvaluationConfig(), able)
    with pytest.raises(ValueError, match="segmentation scores .* A model of this kind has none"):
        evaluation.check(["segmentation"], EvaluationConfig(), able)


class SeedSampler(ColourSampler):
    """Stands in for a system without label maps: images of one random colour each."""

    def __call__(self, label_map, seed):
        self.seeds.append(seed.tolist())
        colours = [np.random.default_rng(int(s)).uniform(-1, 1, 3) for s in seed]
        return np.broadcast_to(np.array(colours)[:, None, None], (len(seed), 64, 64, 3))


def without_label_maps(context, **changes):
    return dataclasses.replace(
        context, sampler=SeedSampler(), label_space=None, segment=None, **changes
    )


def test_a_model_without_label_maps_is_measured_by_its_seeds(context, colour_dataset):
    settings = EvaluationConfig(diversity_samples=2)
    context = without_label_maps(context, settings=settings)
    metrics = ["fid", "kid", "precision_recall", "diversity"]
    found = evaluation.evaluate(context, metrics, seed=10)
    assert [10, 11, 12, 13] in context.sampler.seeds
    assert all(np.isfinite(value) for value in values_of(found).values())
    want = "one generated image for each validation image"
    assert found["fid"].protocol["images"] == want
    image, _ = validation_split(colour_dataset)
    generated = SeedSampler()(None, np.arange(10, 15))
    network = networks.feature_network()
    features = (network(image), network(finite_uint8(generated)))
    moments = [(x.mean(0), np.cov(x.T)) for x in map(np.float64, features)]
    fid = found["fid"].values["fid_seeded64"]
    assert fid == pytest.approx(frechet_distance(*moments[0], *moments[1]), rel=1e-6)


def test_data_without_label_maps(context):
    images = [np.full((n, 64, 64, 3), 50 * n, np.uint8) for n in (4, 1)]
    context = without_label_maps(context, settings=EvaluationConfig(diversity_samples=2))
    evaluators = evaluation.make_evaluators(context, ["fid", "diversity"])
    batches = padded_batches([(one, None) for one in images], context.sampler, 4, seed=0)
    for batch in batches:
        assert batch.label_map is None
        for one in evaluators.values():
            one.update(batch)
    found = evaluation.results(evaluators, [[one.state() for one in evaluators.values()]])
    assert all(np.isfinite(value) for value in values_of(found).values())
    assert found["diversity"].protocol["num_maps"] == 5


def test_a_report_holds_values_and_what_they_depend_on(context, tmp_path):
    found = evaluation.evaluate(context, ["segmentation", "alignment"], seed=3)
    contents = evaluation.make_report(context, found, seed=3, seconds=1.26)
    path = tmp_path / "report.json"
    evaluation_file.write(contents, path)
    read = json.loads(path.read_text())
    assert read["metrics"] == values_of(found)
    assert read["protocols"] == {name: dict(one.protocol) for name, one in found.items()}
    expected = {"step": 40, "seed": 3, "num_images": 5, "height": 64, "width": 64, "seconds": 1.3}
    assert {name: read[name] for name in expected} == expected


# === Model directories ===


@pytest.fixture
def measure(context, colour_dataset, monkeypatch):
    """function(**options of `evaluate_model`) -> report of the context's model."""
    config = types.SimpleNamespace(
        evaluation=EvaluationConfig(), data=types.SimpleNamespace(data_dir=colour_dataset.data_dir)
    )
    able = Capabilities(set(Capability), colour_dataset.label_space)
    ability = types.SimpleNamespace(
        capabilities=lambda config: able, context=lambda *_, **__: context
    )
    system = types.SimpleNamespace(
        ability=lambda name: ability, config=types.SimpleNamespace(load=lambda path: config)
    )
    monkeypatch.setattr(evaluation.systems, "of_model_dir", lambda path: system)
    return lambda **options: evaluation.evaluate_model(
        context.model_dir, None, ["segmentation"], **options
    )


def test_a_second_file_does_not_take_the_place_of_the_report(measure, context, tmp_path):
    path = tmp_path / "new" / "second.json"
    contents = measure(json_path=str(path))
    for place in (context.model_dir, path):
        np.testing.assert_equal(evaluation_file.read(place)["metrics"], contents["metrics"])


def test_values_are_shown_before_a_file_that_cannot_be_written_is_an_error(
    measure, context, tmp_path, caplog
):
    """As in a model directory that may only be read."""
    (tmp_path / "evaluations").write_text("a file in the place of the folder")
    shown = []
    with pytest.raises(OSError, match="Cannot write .*step_00000040.json: .*in no file. .*--json"):
        measure(show=shown.append)
    assert shown[0]["metrics"]["segmentation/miou"] > 0
    path = tmp_path / "second.json"
    assert measure(json_path=str(path))["metrics"] == evaluation_file.read(path)["metrics"]
    assert "step_00000040.json: " in caplog.text and "in the other file" in caplog.text


def test_a_second_file_that_cannot_be_written_is_refused_before_measuring(
    measure, context, tmp_path, monkeypatch
):
    monkeypatch.setattr(evaluation, "evaluate", lambda *_, **__: pytest.fail("measured"))
    with pytest.raises(OSError, match=f"Cannot write {tmp_path}: .*folder: name a file"):
        measure(json_path=str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, mode: path != str(tmp_path))
    with pytest.raises(
        OSError, match="Cannot write .*second.json: Permission denied. Make it writable"
    ):
        measure(json_path=str(tmp_path / "second.json"))


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
    want = scores_of(label_map[sound], segment(image[sound])).mean_iou()
    got = evaluation.evaluate(skipping, ["segmentation"])
    assert got["segmentation"].values["segmentation/miou"] == pytest.approx(want)
    assert got["segmentation"].protocol["num_real"] == 4
