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
from oasis_tf.metrics import evaluation, segmentation_evaluators
from oasis_tf.metrics.evaluator import EvaluationContext, padded_batches
from oasis_tf.metrics.segmentation import ConfusionMatrix

COLOURS = np.array([(90, 90, 90), (230, 40, 40), (40, 230, 40), (40, 40, 230)])


def nearest_colour(image):
    """A fair segmenter of the colour data set: model ids 1..3 by the nearest colour."""
    distance = np.abs(image[..., None, :].astype(int) - COLOURS[1:]).sum(-1)
    return np.argmin(distance, axis=-1).astype(np.int32) + 1


class ColourModel:
    """Stands in for `OASIS`: paints class colours, wrong ones for odd seeds; segments badly."""

    def __init__(self, label_space):
        data = types.SimpleNamespace(crop_height=64, crop_width=64)
        self.config = types.SimpleNamespace(data=data)
        self.label_space = label_space
        self.seeds = []

    def generate(self, label_map, seed):
        self.seeds.append(seed.tolist())
        odd = (seed % 2 == 1)[:, None, None]
        shown = np.where(odd & (label_map > 0), label_map % 3 + 1, label_map)
        return (COLOURS[shown] / 127.5 - 1).astype(np.float32)

    def segment(self, image):
        predicted = nearest_colour(image)
        return np.where(predicted == 2, 3, predicted)


class NearestColourSegmenter:
    def segment(self, image):
        assert image.dtype == np.uint8
        return nearest_colour(image)


@pytest.fixture
def context(colour_dataset, monkeypatch, tmp_path):
    monkeypatch.setattr(
        segmentation_evaluators.segmenter,
        "cached_segmenter",
        lambda dataset, recipe, model_dir: NearestColourSegmenter(),
    )
    model = ColourModel(colour_dataset.label_space)
    return EvaluationContext(model, colour_dataset, str(tmp_path), batch_size=4)


def validation_split(dataset):
    batches = pipeline.evaluation_batches(
        dataset.data_dir, "val", height=64, width=64, batch_size=100
    )
    return next(batches.as_numpy_iterator())


def scores_of(label_map, prediction):
    matrix = ConfusionMatrix(4, ignored_class=0)
    matrix.update(label_map, prediction)
    return matrix


def test_values_are_those_of_the_whole_split_without_padding(context, colour_dataset):
    values = evaluation.evaluate(context, ["segmentation", "alignment"], seed=10)
    image, label_map = validation_split(colour_dataset)
    assert len(image) == 5  # by 4: the second batch is three quarters padding
    expected = scores_of(label_map, context.model.segment(image))
    assert values["segmentation/miou"] == expected.mean_iou()
    assert values["segmentation/pixel_accuracy"] == expected.pixel_accuracy()
    assert values["segmentation/iou/green"] == 0.0
    painted = context.model.generate(label_map, np.arange(10, 15))
    expected = scores_of(label_map, nearest_colour(painted * 127.5 + 127.5))
    assert values["alignment/miou"] == expected.mean_iou()
    assert 0.3 < expected.mean_iou() < 0.7
    assert values["segmenter/miou"] == scores_of(label_map, nearest_colour(image)).mean_iou()
    assert not any("unknown" in name for name in values)


def test_image_i_has_seed_plus_i_and_is_painted_once(context):
    evaluation.evaluate(context, ["alignment"], seed=10)
    assert context.model.seeds == [[10, 11, 12, 13], [14, 15, 16, 17]]


def test_a_batch_is_painted_once_for_all_metrics(context, colour_dataset):
    image, label_map = validation_split(colour_dataset)
    (batch,) = padded_batches([(image, label_map)], context.model, 5, seed=0)
    assert batch.generated is batch.generated
    assert batch.generated.dtype == np.uint8


def test_values_do_not_depend_on_the_batch_size(context, colour_dataset):
    by_one = EvaluationContext(context.model, colour_dataset, context.model_dir, batch_size=1)
    names = ["segmentation", "alignment"]
    assert evaluation.evaluate(by_one, names) == evaluation.evaluate(context, names)


def test_nothing_is_painted_for_metrics_of_real_images(context):
    evaluation.evaluate(context, ["segmentation"])
    assert context.model.seeds == []


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
    ("names", "message"),
    [
        (["fid", "alignment", "speed"], "Unknown metrics: fid, speed. Known metrics: segmentation"),
        ([], "At least one metric.*Known metrics: segmentation, alignment"),
        (["alignment", "alignment"], "once. Received: alignment, alignment"),
    ],
)
def test_bad_metric_names_are_refused(context, names, message):
    with pytest.raises(ValueError, match=message):
        evaluation.evaluate(context, names)


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


def test_report_writes_null_for_values_that_do_not_exist(tmp_path):
    report = {"seed": 3, "metrics": {"segmentation/miou": 0.5, "segmentation/iou/sea": np.nan}}
    evaluation.write_report(report, tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == {
        "seed": 3,
        "metrics": {"segmentation/miou": 0.5, "segmentation/iou/sea": None},
    }


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
    assert got["segmentation/miou"] == pytest.approx(want)
