"""Diversity against closed forms, for samplers whose images are known."""

import dataclasses
import functools
import itertools
import json

import hypothesis
import hypothesis.extra.numpy as npst
import hypothesis.strategies as st
import numpy as np
import pytest

from oasis_tf.data import pipeline
from oasis_tf.metrics import evaluation
from oasis_tf.metrics.diversity import evaluators
from oasis_tf.metrics.evaluator import EvaluationContext, padded_batches
from oasis_tf.metrics.settings import EvaluationConfig

LAST_OF_THREE = 0.3001 / (0.0448 + 0.2856 + 0.3001)  # weight of the coarsest scale at 64×64
C1 = (0.01 * 255) ** 2
DIVERSITY = ("diversity/ms_ssim_3scales", "diversity/lpips_squares")
CLASSES = ("red", "green", "blue")


class Squares:
    """Stands in for LPIPS: the mean square of the difference, of colours in [0, 1]."""

    name = "lpips_squares"
    digest = "5e"

    @staticmethod
    def distances(image, pairs):
        image = image / 255
        return np.array([np.square(image[i] - image[j]).mean() for i, j in pairs])


class ColourSampler:
    """Gives every pixel the colour that its noise vector holds; keeps what it was asked."""

    def __init__(self):
        self.seeds = []
        self.rows = []
        self.fields = []

    def noise(self, seed):
        return np.array([np.random.default_rng(int(s)).uniform(-1, 1, 3) for s in seed], "f4")

    def __call__(self, label_map, seed):
        self.seeds += seed.tolist()
        self.rows.append(len(seed))
        index = np.zeros(label_map.shape, int)
        return self._images(index, self.noise(seed)[:, None])

    def from_field(self, label_map, noise_index, vectors):
        assert label_map.shape == noise_index.shape and len(vectors) == len(label_map)
        self.rows.append(len(vectors))
        self.fields += list(zip(label_map, noise_index, vectors, strict=True))
        return self._images(noise_index, vectors)

    @staticmethod
    def _images(index, vectors):
        return np.stack([v[i] for i, v in zip(index, vectors, strict=True)])


class RandomSampler(ColourSampler):
    """Every pixel of every image is a uniform 8-bit value of its own."""

    def __init__(self):
        super().__init__()
        self._rng = np.random.default_rng(0)

    def _images(self, index, vectors):
        return self._rng.integers(0, 256, (*index.shape, 3)) / 127.5 - 1


class DeafSampler(ColourSampler):
    """Hears nothing of noise: its image is one and the same."""

    def _images(self, index, vectors):
        image = np.random.default_rng(0).uniform(-1, 1, (*index.shape[1:], 3))
        return np.broadcast_to(image, (*index.shape, 3))


@pytest.fixture
def context(colour_dataset, monkeypatch, tmp_path):
    monkeypatch.setattr(evaluators.perceptual, "lpips", lambda backbone, heads: Squares())
    return context_of(colour_dataset, tmp_path)


def context_of(dataset, tmp_path, **settings):
    return EvaluationContext(
        dataset=dataset,
        model_dir=str(tmp_path),
        height=64,
        width=64,
        sampler=None,  # the batches bring it
        label_space=dataset.label_space,
        batch_size=4,
        settings=EvaluationConfig(**{"diversity_samples": 4} | settings),
    )


def changed(context, **settings):
    settings = dataclasses.replace(context.settings, **settings)
    return dataclasses.replace(context, settings=settings)


def measure(context, sampler, name="diversity", workers=1, seed=10):
    """Values of a metric, its batches shared between workers, whose states come in reverse."""
    states = []
    for worker in reversed(range(workers)):
        one = evaluation.evaluator_class(name)(context)
        batches = padded_batches(splits(context), sampler, context.batch_size, seed)
        for batch in itertools.islice(batches, worker, None, workers):
            one.update(batch)
        states.append(one.state())
    return one.result(states)


def splits(context):
    """The validation split in parts of a batch."""
    image, label_map = read_split(context.dataset.data_dir)
    for start in range(0, len(image), context.batch_size):
        end = start + context.batch_size
        yield image[start:end], label_map[start:end]


@functools.cache
def read_split(data_dir):
    batches = pipeline.evaluation_batches(data_dir, "val", height=64, width=64, batch_size=9)
    return next(batches.as_numpy_iterator())


def colours(sampler, seed):
    """8-bit colour of the image of one seed: float [3]."""
    return np.round((sampler.noise([seed])[0] + np.float32(1)) * np.float32(127.5)).astype(float)


def sample_colours(sampler, seed, count):
    return [colours(sampler, seed + j * 4294967296) for j in range(count)]


def scores_of_flat_images(samples):
    """Mean MS-SSIM and mean square of all pairs of images of one colour each: closed forms."""
    similarity, square = [], []
    for x, y in itertools.combinations(samples, 2):
        luminance = (2 * x * y + C1) / (x**2 + y**2 + C1)
        similarity.append(np.mean(luminance**LAST_OF_THREE))
        square.append(np.mean((x - y) ** 2) / 255**2)
    return np.mean(similarity), np.mean(square)


def test_values_are_means_over_pairs_then_over_maps(context):
    sampler = ColourSampler()
    values = measure(context, sampler).values
    per_map = [scores_of_flat_images(sample_colours(sampler, 10 + i, 4)) for i in range(5)]
    assert tuple(values) == DIVERSITY
    assert 0.3 < values[DIVERSITY[0]] < 0.9
    np.testing.assert_allclose(list(values.values()), np.mean(per_map, axis=0), rtol=1e-9)


def test_seeds_of_samples_are_apart_by_2_to_the_32_and_nothing_is_generated_twice(context):
    sampler = ColourSampler()
    measure(context, sampler, seed=7)
    wanted = [7 + i + j * 2**32 for i in range(5) for j in range(4)]
    assert sampler.seeds == wanted


def test_the_first_sample_is_the_image_that_other_metrics_see(context):
    label_map = np.full((64, 64), 1)
    other = batch_of(label_map[None], seed=5).generated
    for name in ("diversity", "class_diversity"):
        [samples] = samples_of(name, context, ColourSampler(), label_map)
        assert len(samples) == 4
        np.testing.assert_array_equal(samples[:1], other)
        assert (samples[1:] != other).any(axis=(1, 2, 3)).all()


def samples_of(name, context, sampler, label_map):
    """What an evaluator compares for one label map, seed 5: a list of uint8 [S,H,W,3]."""
    one, seen = evaluation.evaluator_class(name)(context), []
    one._compare = lambda samples: seen.append(samples) or (0.0, 0.0)
    one.update(batch_of(label_map[None], sampler, seed=5))
    return seen


def batch_of(label_map, sampler=None, seed=0):
    image = np.zeros((*label_map.shape, 3), np.uint8)
    size = len(label_map)
    (batch,) = padded_batches([(image, label_map)], sampler or ColourSampler(), size, seed)
    return batch


@pytest.mark.parametrize("name", ["diversity", "class_diversity"])
def test_workers_and_batches_change_no_bit(context, name):
    alone = measure(context, ColourSampler(), name).values
    assert not any(np.isnan(value) for value in alone.values())
    for workers, batch_size in [(2, 4), (3, 1), (2, 2)]:
        other = dataclasses.replace(context, batch_size=batch_size)
        assert measure(other, ColourSampler(), name, workers).values == alone


def test_a_worker_without_batches_adds_nothing(context):
    assert measure(context, ColourSampler(), workers=4).values == (
        measure(context, ColourSampler()).values
    )


@pytest.mark.parametrize("name", ["diversity", "class_diversity"])
def test_no_more_than_a_batch_is_generated_at_a_time(context, name):
    sampler = ColourSampler()
    measure(dataclasses.replace(context, batch_size=2), sampler, name)
    assert max(sampler.rows) == 2


@pytest.mark.parametrize("name", ["diversity", "class_diversity"])
def test_equal_images_have_no_diversity(colour_dataset, tmp_path, name):
    context = context_of(colour_dataset, tmp_path)
    values = measure(context, DeafSampler(), name).values
    for key, value in values.items():
        assert value == pytest.approx(float("ms_ssim" in key), abs=1e-12), key
    assert any("lpips_seeded64" in key for key in values)


def test_independent_pixels_have_the_moments_of_the_uniform_distribution(context):
    values = measure(changed(context, diversity_samples=20), RandomSampler()).values
    variance = (256**2 - 1) / 12
    assert values[DIVERSITY[1]] == pytest.approx(2 * variance / 255**2, rel=0.005)
    assert values[DIVERSITY[0]] < 0.1


# === Which maps ===


@hypothesis.given(st.integers(1, 3000), st.integers(1, 3000))
def test_chosen_maps_are_spread_evenly(num_images, num_maps):
    chosen = evaluators.chosen_maps(num_images, num_maps)
    count = min(num_images, num_maps)
    assert len(chosen) == count
    gaps = np.diff(chosen)
    assert gaps.size == 0 or (gaps.min() >= 1 and gaps.max() - gaps.min() <= 1)
    # As many before the first as after the last, give or take one.
    assert abs(chosen[0] - (num_images - 1 - chosen[-1])) <= 1
    assert chosen[0] >= 0


def test_chosen_maps_of_worked_examples():
    assert evaluators.chosen_maps(10, 3).tolist() == [1, 5, 8]
    assert evaluators.chosen_maps(2000, 1).tolist() == [1000]
    assert evaluators.chosen_maps(4).tolist() == [0, 1, 2, 3]
    assert evaluators.chosen_maps(4, 9).tolist() == [0, 1, 2, 3]


def test_only_chosen_maps_are_generated(context):
    sampler = ColourSampler()
    result = measure(changed(context, diversity_maps=2), sampler)
    assert sorted({seed % 2**32 for seed in sampler.seeds}) == [11, 13]
    per_map = [scores_of_flat_images(sample_colours(sampler, seed, 4)) for seed in (11, 13)]
    np.testing.assert_allclose(list(result.values.values()), np.mean(per_map, axis=0), rtol=1e-9)
    assert result.protocol["num_maps"] == 2
    assert "middle" in result.protocol["maps"]


@pytest.mark.parametrize("name", ["diversity", "class_diversity"])
def test_padding_is_not_measured(context, name):
    batch = batch_of(np.stack([striped(1), striped(2)]))
    one = evaluation.evaluator_class(name)(context)
    one.update(dataclasses.replace(batch, valid=np.array([False, True])))
    assert one.state()["place"][:, 0].tolist() == [1]


# === Noise of one class ===


def striped(*classes):
    """A label map of vertical stripes of equal width: int32 [64,64]."""
    return np.tile(np.repeat(classes, 64 // len(classes)), (64, 1)).astype(np.int32)


def class_values(context, maps, sampler):
    one = evaluators.ClassDiversityEvaluator(context)
    one.update(batch_of(np.stack(maps), sampler, seed=10))
    values = one.result([one.state()]).values
    prefix = "class_diversity/"
    assert all(key.startswith(prefix) for key in values)
    return {key.removeprefix(prefix): value for key, value in values.items()}


def mean_change_of_colours(samples):
    pairs = itertools.combinations(samples, 2)
    return np.mean([np.mean(np.abs(x - y)) for x, y in pairs]) / 255


def test_only_the_class_changes_and_absent_classes_have_no_value(context):
    sampler = ColourSampler()
    maps = [striped(0, 1, 2, 2), striped(1, 0), striped(2, 2), striped(0, 0)]
    values = class_values(context, maps, sampler)
    change = [mean_change_of_colours(sample_colours(sampler, 10 + i, 4)) for i in range(4)]
    squares = [scores_of_flat_images(sample_colours(sampler, 10 + i, 4))[1] for i in range(4)]
    expected = {
        "change_inside/red": (change[0] + change[1]) / 2,
        "change_inside/green": (change[0] + change[2]) / 2,
        "change_outside/red": 0,
        "change_outside/green": 0,  # of the first map alone: nothing is outside in the other
        "lpips_squares/red": (squares[0] / 4 + squares[1] / 2) / 2,
        "lpips_squares/green": (squares[0] / 2 + squares[2]) / 2,
    }
    for key, value in expected.items():
        assert values[key] == pytest.approx(value, rel=1e-12), key
    for score in ("ms_ssim_3scales", "lpips_squares", "change_inside", "change_outside"):
        assert np.isnan(values[f"{score}/blue"])
        both = values[f"{score}/red"], values[f"{score}/green"]
        assert values[f"{score}/mean"] == pytest.approx(np.mean(both), rel=1e-12)
    assert not any("unknown" in key for key in values)
    assert len(values) == 4 * 4


def test_a_class_that_fills_its_maps_has_no_outside(context):
    values = class_values(context, [striped(3), striped(3)], ColourSampler())
    assert np.isnan(values["change_outside/blue"]) and np.isnan(values["change_outside/mean"])
    assert values["change_inside/blue"] > 0.1


def test_other_classes_keep_the_first_samples_noise(context):
    sampler, label_map = ColourSampler(), striped(0, 1, 2, 3)
    class_values(context, [label_map], sampler)
    assert len(sampler.fields) == 3 * 3  # classes but the unknown, samples but the first
    for number, (seen, index, vectors) in enumerate(sampler.fields):
        k, sample = 1 + number // 3, 1 + number % 3
        np.testing.assert_array_equal(seen, label_map)
        np.testing.assert_array_equal(index, label_map == k)
        np.testing.assert_array_equal(vectors, sampler.noise([10, 10 + sample * 2**32]))
    assert sampler.seeds == [10]


def test_class_zero_is_a_class_where_none_is_unknown(context):
    space = dataclasses.replace(
        context.dataset.label_space, has_unknown=False, class_names=("grey", *CLASSES)
    )
    dataset = dataclasses.replace(context.dataset, label_space=space)
    context = dataclasses.replace(context, dataset=dataset)
    values = class_values(context, [striped(0, 1)], ColourSampler())
    assert values["change_inside/grey"] > 0.1


@hypothesis.given(
    npst.arrays(np.uint8, st.tuples(st.integers(2, 6), st.just(3), st.just(4), st.just(3))),
    npst.arrays(bool, (3, 4)),
)
def test_mean_change_is_that_of_all_pairs(samples, mask):
    got = evaluators.mean_change(samples, mask)
    pairs = itertools.combinations(samples.astype(float) / 255, 2)
    if mask.any():
        expected = np.mean([np.abs(x - y)[mask].mean() for x, y in pairs])
        assert got == pytest.approx(expected, rel=1e-12, abs=1e-15)
    else:
        assert np.isnan(got)


# === Protocol and refusals ===


@pytest.mark.parametrize("name", ["diversity", "class_diversity"])
def test_the_protocol_tells_all_that_decides_the_values(context, name):
    protocol = measure(context, ColourSampler(), name).protocol
    assert json.loads(json.dumps(protocol)) == protocol
    assert (protocol["samples"], protocol["pairs"], protocol["num_maps"]) == (4, 6, 5)
    assert (protocol["network"], protocol["network_digest"]) == ("lpips_squares", "5e")
    assert protocol["maps"] == "all" and protocol["ms_ssim_scales"] == 3
    assert "j * 2**32" in protocol["seeds"]
    of_class = name == "class_diversity"
    assert ("one class" in protocol["noise"]) == ("classes" in protocol["averaged"]) == of_class
    assert len(protocol["notes"]) == 3  # four images, three scales, no LPIPS


def test_notes_tell_what_makes_values_incomparable(colour_dataset, tmp_path):
    context = context_of(colour_dataset, tmp_path, diversity_samples=20, diversity_maps=1)
    one = evaluators.DiversityEvaluator(context)
    notes = one.result([one.state()]).protocol["notes"]
    assert notes[0] == "1 of 5 label maps."
    assert [note.split()[0] for note in notes[1:]] == ["MS-SSIM", "lpips_seeded64"]


@pytest.mark.parametrize("name", ["diversity", "class_diversity"])
def test_images_that_are_not_finite_are_refused(context, name):
    sampler = ColourSampler()
    sampler.noise = lambda seed: np.full((len(seed), 3), np.nan, np.float32)
    with pytest.raises(ValueError, match="must be finite"):
        measure(context, sampler, name)


@pytest.mark.parametrize("name", ["diversity", "class_diversity"])
def test_files_of_lpips_are_checked_first(name):
    check = evaluation.evaluator_class(name).check
    check(EvaluationConfig(), None)
    with pytest.raises(ValueError, match="both --lpips_backbone and --lpips_heads"):
        check(EvaluationConfig(lpips_backbone="alexnet.pth"), None)
    with pytest.raises(ValueError, match="no weight file nowhere.pth"):
        check(EvaluationConfig(lpips_backbone="nowhere.pth", lpips_heads="alex.pth"), None)


def test_no_map_no_value(context):
    for name in ("diversity", "class_diversity"):
        one = evaluation.evaluator_class(name)(context)
        assert all(np.isnan(value) for value in one.result([one.state()]).values.values())
