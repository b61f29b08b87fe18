"""Evaluators of segmentation scores: names, protocol, groups, workers, segmenters from files."""

import dataclasses
import json
import types

import keras
import numpy as np
import pytest

from oasis_tf.data.datasets import published_label_space
from oasis_tf.metrics.evaluator import EvaluationBatch, EvaluationContext
from oasis_tf.metrics.segmentation import compact_segmenter, evaluators
from oasis_tf.metrics.segmentation.confusion import NO_CLASS, ConfusionMatrix
from oasis_tf.metrics.segmentation.evaluators import AlignmentEvaluator, SegmentationEvaluator
from oasis_tf.metrics.segmentation.segmenter_labels import read_usage
from oasis_tf.metrics.settings import EvaluationConfig

COLOURS = np.array([(230, 40, 40), (40, 230, 40), (40, 40, 230)], np.float32)


def nearest_colour(image):
    """Model ids 1..3 of colours."""
    return np.abs(image[..., None, :] - COLOURS).sum(-1).argmin(-1).astype(np.int32) + 1


def sample(label_map, seed):
    """Stands in for a `Sampler`: class colours at random."""
    images = [np.random.default_rng(s).choice(COLOURS, label_map.shape[1:]) for s in seed]
    return np.array(images) / 127.5 - 1


@pytest.fixture
def context(colour_dataset, tmp_path, monkeypatch):
    compact = types.SimpleNamespace(
        segment=nearest_colour, name="compact", classes=[1, 2, 3], protocol={}, notes=("note",)
    )
    monkeypatch.setattr(compact_segmenter, "cached_segmenter", lambda *args: compact)
    return EvaluationContext(
        dataset=colour_dataset,
        model_dir=str(tmp_path),
        height=16,
        width=16,
        sampler=sample,
        label_space=colour_dataset.label_space,
        segment=nearest_colour,
        batch_size=4,
    )


def make_batches(count=3):
    """Batches of four rows, of which the last has two of padding."""
    rng = np.random.default_rng(3)
    for k in range(count):
        valid = np.arange(4) < (2 if k == count - 1 else 4)
        label_map = rng.integers(0, 4, (4, 16, 16)).astype(np.int32)
        image = rng.choice(COLOURS, (4, 16, 16)).astype(np.uint8)
        index = 4 * k + np.arange(4)
        yield EvaluationBatch(sample, image, label_map, index, index, valid)


def state_of(one, batches):
    for batch in batches:
        one.update(batch)
    return one.state()


def counted(batches, answer, images, ignored=(0,)):
    """A matrix of the valid rows alone, the images one by one."""
    matrix = ConfusionMatrix(4, ignored)
    for batch in batches:
        for k in np.flatnonzero(batch.valid):
            matrix.update(batch.label_map[k], answer(getattr(batch, images)[k : k + 1])[0])
    return matrix


# === Values ===


def test_names_and_values(context):
    batches = list(make_batches())
    one = AlignmentEvaluator(context)
    result = one.result([state_of(one, batches)])
    for prefix, images in (("alignment_compact", "generated"), ("segmenter_compact", "image")):
        matrix = counted(batches, nearest_colour, images)
        assert result.values[f"{prefix}/miou"] == matrix.mean_iou()
        assert result.values[f"{prefix}/pixel_accuracy"] == matrix.pixel_accuracy()
        assert result.values[f"{prefix}/iou/green"] == matrix.class_iou()[2]
        np.testing.assert_array_equal(result.arrays[f"{prefix}/class_iou"], matrix.class_iou())
    assert len(result.values) == 2 * (2 + 3 + 3)
    one = SegmentationEvaluator(context)
    result = one.result([state_of(one, batches)])
    assert (
        result.values["segmentation/miou"] == counted(batches, nearest_colour, "image").mean_iou()
    )
    assert {name.partition("/")[0] for name in result.values} == {"segmentation"}


@pytest.mark.parametrize("kind", [AlignmentEvaluator, SegmentationEvaluator])
def test_workers_together_give_what_one_gives(kind, context):
    alone = kind(context)
    want = alone.result([state_of(alone, make_batches(4))])
    workers = [kind(context) for _ in range(3)]
    states = [state_of(one, list(make_batches(4))[k::3]) for k, one in enumerate(workers)]
    got = workers[0].result(states)
    assert got.values == want.values
    assert got.protocol == want.protocol


def test_results_do_not_change_what_was_collected(context):
    one = SegmentationEvaluator(context)
    state = state_of(one, make_batches())
    assert (
        one.result([state]).values == one.result([state]).values == one.result([one.state()]).values
    )


def test_groups_go_by_the_training_pixels(context, colour_dataset):
    train = dataclasses.replace(colour_dataset.splits["train"], class_pixels=(50, 30, 10, 60))
    splits = colour_dataset.splits | {"train": train}
    dataset = dataclasses.replace(colour_dataset, splits=splits)
    one = SegmentationEvaluator(dataclasses.replace(context, dataset=dataset))
    result = one.result([state_of(one, make_batches())])
    assert result.protocol["groups"] == [
        {"ids": [3], "classes": ["blue"], "training_share": 0.6},
        {"ids": [1], "classes": ["red"], "training_share": pytest.approx(0.3)},
        {"ids": [2], "classes": ["green"], "training_share": pytest.approx(0.1)},
    ]
    by_group = [result.values[f"segmentation/miou_group_{k}"] for k in (1, 2, 3)]
    iou = [result.values[f"segmentation/iou/{name}"] for name in ("blue", "red", "green")]
    assert by_group == iou


CITYSCAPES = [
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
]


def test_the_19_classes_of_cityscapes_are_expressed_by_the_label_file(tmp_path):
    space = published_label_space("cityscapes")
    values = {
        "input": {"range": [0, 1]},
        "output": "logits",
        "classes": {str(k): name for k, name in enumerate(CITYSCAPES)},
    }
    (tmp_path / "labels.json").write_text(json.dumps(values))
    usage = read_usage(str(tmp_path / "labels.json"), space)
    frequency = tuple(np.random.default_rng(0).dirichlet(np.ones(35)))
    dataset = types.SimpleNamespace(label_space=space, class_frequency=frequency)
    scores = evaluators._LabelScores("alignment_drn", dataset, usage.classes)
    protocol = scores.protocol()
    assert sorted(protocol["scored_classes"]) == sorted(CITYSCAPES)
    assert len(protocol["ignored_classes"]) == 35 - 19
    assert [len(group["ids"]) for group in protocol["groups"]] == [3, 4, 4, 4, 4]
    assert sum(group["training_share"] for group in protocol["groups"]) == pytest.approx(1)


def test_protocol(context):
    one = AlignmentEvaluator(context)
    protocol = one.result([state_of(one, make_batches())]).protocol
    assert json.loads(json.dumps(protocol)) == protocol
    assert (protocol["num_generated"], protocol["num_real"]) == (5, 5)
    assert protocol["scored_classes"] == ["red", "green", "blue"]
    assert protocol["ignored_classes"] == ["unknown"]
    assert protocol["notes"] == ["note"]


def test_compact_segmenter_by_the_settings(context, monkeypatch):
    asked = []
    monkeypatch.setattr(compact_segmenter, "cached_segmenter", lambda *args: asked.append(args))
    evaluators._compact(context)
    settings = EvaluationConfig(segmenter_steps=7)
    evaluators._compact(dataclasses.replace(context, settings=settings, skip_corrupt=True))
    assert [recipe.steps for _, recipe, _ in asked] == [400, 7]
    assert [recipe.skip_corrupt for _, recipe, _ in asked] == [False, True]
    assert {(recipe.height, recipe.width) for _, recipe, _ in asked} == {(16, 16)}


# === Segmenters from files ===


def colour_network():
    """Logits of the nearest colour, for values 0..255."""
    inputs = keras.Input((None, None, 3))
    conv = keras.layers.Conv2D(3, 1)
    model = keras.Model(inputs, conv(inputs))
    conv.set_weights([2 * COLOURS.T[None, None], -(COLOURS**2).sum(1)])
    return model


@pytest.fixture
def with_file(context, tmp_path):
    """function(classes) -> the context with a Keras file as segmenter."""

    def make(classes):
        colour_network().save(tmp_path / "deep net.keras")
        usage = {"input": {"range": [0, 255]}, "output": "logits", "classes": classes}
        (tmp_path / "usage.json").write_text(json.dumps(usage))
        settings = EvaluationConfig(
            segmenter=str(tmp_path / "deep net.keras"),
            segmenter_labels=str(tmp_path / "usage.json"),
        )
        return dataclasses.replace(context, settings=settings)

    return make


def test_a_segmenter_from_a_file(with_file):
    context = with_file({"0": "red", "1": "green", "2": "blue"})
    batches = list(make_batches())
    one = AlignmentEvaluator(context)
    result = one.result([state_of(one, batches)])
    for prefix, images in (("alignment_deep_net", "generated"), ("segmenter_deep_net", "image")):
        matrix = counted(batches, nearest_colour, images)
        assert result.values[f"{prefix}/miou"] == matrix.mean_iou()
    assert result.protocol["notes"] == []
    assert result.protocol["segmenter"]["usage"]["classes"]["1"] == "green"
    assert json.loads(json.dumps(result.protocol)) == result.protocol


def test_classes_without_an_output_are_left_out_of_the_truth(with_file):
    context = with_file({"0": "red", "1": None, "2": "blue"})
    batches = list(make_batches())
    one = AlignmentEvaluator(context)
    result = one.result([state_of(one, batches)])

    def answer(image):
        predicted = nearest_colour(image)
        return np.where(predicted == 2, NO_CLASS, predicted)

    matrix = counted(batches, answer, "generated", ignored=(0, 2))
    assert result.values["alignment_deep_net/miou"] == matrix.mean_iou()
    assert result.values["alignment_deep_net/pixel_accuracy"] == matrix.pixel_accuracy()
    assert "alignment_deep_net/iou/green" not in result.values
    assert result.protocol["scored_classes"] == ["red", "blue"]
    assert result.protocol["ignored_classes"] == ["unknown", "green"]
    assert sum(group["training_share"] for group in result.protocol["groups"]) == pytest.approx(1)
    assert "1 classes" in result.protocol["notes"][0]


def test_what_does_not_fit_is_refused_before_images_are_generated(with_file, colour_dataset):
    context = with_file({"0": "red", "1": "green"})
    AlignmentEvaluator.check(context.settings, colour_dataset.label_space)
    with pytest.raises(ValueError, match=r"must give floats \[B,h,w,2\].*\[4, 16, 16, 3\]"):
        AlignmentEvaluator(context)
    context = with_file({"0": "red", "1": "green", "2": "yellow"})
    with pytest.raises(ValueError, match=r'does not have .*"yellow"'):
        AlignmentEvaluator.check(context.settings, colour_dataset.label_space)
