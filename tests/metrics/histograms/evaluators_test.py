"""Colour and texture evaluators against the statistics of all images at once."""

import dataclasses
import json
import sys

import numpy as np
import pytest

from oasis_tf.metrics import evaluation
from oasis_tf.metrics.evaluator import EvaluationContext, padded_batches
from oasis_tf.metrics.histograms import colour, texture

CLASSES = ("red", "green", "blue")
PREFIXES = {"colour": "colour_emd", "texture": "texture_chi2"}
MODULES = {
    "colour": (colour.ColourStatistics, colour.distances),
    "texture": (texture.TextureStatistics, texture.distances),
}
both = pytest.mark.parametrize("name", list(PREFIXES))


@pytest.fixture
def context(colour_dataset):
    return EvaluationContext(
        dataset=colour_dataset, model_dir="", height=16, width=16, sampler=generated, batch_size=2
    )


def scenes(count=5, seed=0):
    """Real images, label maps without the class blue, and a sampler of other images."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (count, 16, 16, 3), np.uint8)
    label_map = rng.integers(0, 3, (count, 16, 16))
    return image, label_map


def generated(label_map, seed):
    """Stands in for a `Sampler`: dark and smooth, by seed and class."""
    grey = (10 * label_map + seed[:, None, None] % 7)[..., None]
    return np.repeat(grey / 127.5 - 1, 3, axis=-1)


def batches_of(image, label_map, sampler, batch_size=2):
    parts = [slice(k, k + batch_size) for k in range(0, len(image), batch_size)]
    return padded_batches([(image[p], label_map[p]) for p in parts], sampler, batch_size, seed=3)


def measure(context, name, sampler=generated, workers=1):
    states, image_and_labels = [], scenes()
    for worker in range(workers):
        one = evaluation.evaluator_class(name)(context)
        for k, batch in enumerate(batches_of(*image_and_labels, sampler)):
            if k % workers == worker:
                one.update(batch)
        states.append(one.state())
    return one.result(states)


def to_image(values):
    return np.round((values + 1) * 127.5).astype(np.uint8)


@both
def test_values_are_those_of_all_images_at_once_without_padding(context, name):
    statistics, distances = MODULES[name]
    image, label_map = scenes()
    real, fake = statistics(4, 0), statistics(4, 0)
    real.update(image, label_map)
    fake.update(to_image(generated(label_map, np.arange(3, 8))), label_map)
    expected = distances(real, fake)
    result = measure(context, name)
    prefix = PREFIXES[name]
    assert list(result.values) == [f"{prefix}/{key}" for key in ("mean", *CLASSES)]
    assert [result.values[f"{prefix}/{c}"] for c in CLASSES[:2]] == expected[1:3].tolist()
    assert result.values[f"{prefix}/mean"] == expected[1:3].mean() > 0.1
    np.testing.assert_array_equal(result.arrays["real"], real.histograms())
    np.testing.assert_array_equal(result.arrays["generated"], fake.histograms())


@both
def test_a_class_without_pixels_has_no_distance(context, name):
    values = measure(context, name).values
    assert [key for key, v in values.items() if np.isnan(v)] == [f"{PREFIXES[name]}/blue"]


@both
def test_equal_images_have_distance_zero(context, name):
    image, label_map = scenes()
    one = evaluation.evaluator_class(name)(context)
    for batch in batches_of(image, label_map, lambda label_map, seed: image[seed - 3] / 127.5 - 1):
        if batch.valid.all():  # the sampler knows no padding
            one.update(batch)
    values = one.result([one.state()]).values
    assert [v for v in values.values() if not np.isnan(v)] == [0.0] * 3


@both
def test_workers_change_no_bit(context, name):
    alone = measure(context, name)
    for workers in (2, 3, 4):
        shared = measure(context, name, workers=workers)
        np.testing.assert_equal(shared.values, alone.values)
        np.testing.assert_equal(shared.arrays, alone.arrays)


def test_colours_that_are_shifted_are_that_far_apart(context):
    image, label_map = np.full((2, 16, 16, 3), 119, np.uint8), np.ones((2, 16, 16), int)
    one = evaluation.evaluator_class("colour")(context)
    dark = lambda label_map, seed: np.full((*label_map.shape, 3), 0 / 127.5 - 1)  # noqa: E731
    [batch] = batches_of(image, label_map, dark)
    one.update(batch)
    # Grey of 119 has the lightness 50.03 (CIE), black 0; a and b are 0 for both.
    assert one.result([one.state()]).values["colour_emd/red"] == pytest.approx(50 / 3, abs=0.1)


@both
def test_class_zero_counts_where_none_is_unknown(context, name):
    space = context.dataset.label_space
    space = dataclasses.replace(space, has_unknown=False, class_names=("grey", *CLASSES))
    dataset = dataclasses.replace(context.dataset, label_space=space)
    values = measure(dataclasses.replace(context, dataset=dataset), name).values
    assert values[f"{PREFIXES[name]}/grey"] > 0


@both
def test_the_protocol_tells_conventions_and_counts(context, name):
    protocol = measure(context, name).protocol
    assert json.loads(json.dumps(protocol)) == protocol
    assert (protocol["num_real"], protocol["num_generated"], protocol["num_classes"]) == (5, 5, 2)
    words = {"colour": "LAB", "texture": "binary patterns"}
    assert words[name] in protocol["conventions"]


@both
def test_a_missing_extra_is_refused_first(context, name, monkeypatch):
    check = evaluation.evaluator_class(name).check
    check(context.settings, context.dataset.label_space)
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(ValueError, match=r"scikit-image.*oasis-tf\[eval\]"):
        check(context.settings, context.dataset.label_space)
