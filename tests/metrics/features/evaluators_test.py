"""FID, KID, precision and recall over a split, against the mathematics on all images at once."""

import dataclasses
import os

import numpy as np
import pytest

from oasis_tf.metrics import evaluation
from oasis_tf.metrics.evaluator import EvaluationContext, padded_batches
from oasis_tf.metrics.features import evaluators, networks
from oasis_tf.metrics.features.kernel_distance import kernel_distance
from oasis_tf.metrics.features.precision_recall import precision_recall
from oasis_tf.metrics.settings import EvaluationConfig

NAMES = ["fid", "kid", "precision_recall"]


class PixelNetwork:
    """A network of which everything is known: the first pixels are the features."""

    def __init__(self, dimension=3, name="pixels", digest="d"):
        self.name, self.dimension, self.digest = name, dimension, digest
        self.calls = 0

    def __call__(self, image):
        self.calls += 1
        return image.reshape(len(image), -1)[:, : self.dimension].astype(np.float32)


@pytest.fixture
def network(monkeypatch):
    network = PixelNetwork()
    monkeypatch.setattr(evaluators, "_loaded", lambda load, path: network)
    return network


@pytest.fixture
def context(colour_dataset, tmp_path, monkeypatch):
    """Of 40 images, kept statistics in `tmp_path`."""
    monkeypatch.setattr(EvaluationContext, "num_images", 40)
    dataset = dataclasses.replace(colour_dataset, data_dir=str(tmp_path / "data"))
    return EvaluationContext(
        dataset=dataset,
        model_dir=str(tmp_path / "model"),
        height=4,
        width=4,
        sampler=None,  # the batches bring it
        label_space=dataset.label_space,
        batch_size=8,
    )


def images(count=40, seed=0, shift=0):
    rng = np.random.default_rng(seed)
    return rng.integers(50, 150, (count, 4, 4, 3), np.uint8) + np.uint8(shift)


def batches(real, generated, batch_size=8):
    """Batches of real images, whose sampler gives the generated ones in the same order."""

    def sampler(label_map, seed):
        return generated[np.minimum(seed, len(generated) - 1)] / 127.5 - 1

    label_map = np.zeros(real.shape[:3], np.uint8)
    parts = [slice(k, k + batch_size) for k in range(0, len(real), batch_size)]
    return padded_batches([(real[p], label_map[p]) for p in parts], sampler, batch_size, seed=0)


def measure(context, name, real, generated, workers=1, batch_size=8):
    made = [evaluation.evaluator_class(name)(context) for _ in range(workers)]
    for k, batch in enumerate(batches(real, generated, batch_size)):
        made[k % workers].update(batch)
    return made[0].result([one.state() for one in made])


def flat(image):
    return image.reshape(len(image), -1)[:, :3].astype(np.float64)


def test_fid_is_that_of_all_features_at_once(context, network):
    from scipy import linalg

    real, generated = images(), images(seed=1, shift=20)
    a, b = flat(real), flat(generated)
    root = linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    wanted = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
    found = measure(context, "fid", real, generated)
    assert found.values == {"fid_pixels": pytest.approx(wanted, rel=1e-9)}
    assert (found.protocol["num_real"], found.protocol["num_generated"]) == (40, 40)
    assert (found.protocol["network"], found.protocol["network_digest"]) == ("pixels", "d")
    assert found.protocol["notes"] == []


def test_gaussians_through_the_identity_have_their_analytic_distance(context, network, monkeypatch):
    """Images of independent normal values: (difference of means)² + Σ (difference of spreads)²."""
    rng = np.random.default_rng(0)
    count = 40_000
    monkeypatch.setattr(EvaluationContext, "num_images", count)
    first, second = ([10, 20, 30], [100, 120, 140]), ([15, 20, 10], [110, 120, 100])

    def normal(spread, mean):
        values = np.zeros((count, 1, 1, 3))
        values[:, 0, 0] = np.clip(np.round(rng.normal(mean, spread, (count, 3))), 0, 255)
        return values.astype(np.uint8)

    found = measure(context, "fid", normal(*first), normal(*second), batch_size=5000)
    wanted = sum(((np.array(a) - b) ** 2).sum() for a, b in zip(first, second, strict=True))
    assert found.values["fid_pixels"] == pytest.approx(wanted, rel=0.02)


def test_fid_of_identical_sets_is_zero(context, network):
    real = images()
    assert measure(context, "fid", real, real).values["fid_pixels"] == pytest.approx(0, abs=1e-9)


def test_kid_precision_and_recall_are_those_of_all_features_at_once(context, network):
    real, generated = images(), images(seed=1, shift=20)
    a, b = flat(real), flat(generated)
    kid = measure(context, "kid", real, generated)
    assert kid.values == {"kid_pixels": pytest.approx(kernel_distance(a, b).mean, rel=1e-12)}
    assert (kid.protocol["subsets"], kid.protocol["subset_size"]) == (1, 40)
    found = measure(context, "precision_recall", real, generated).values
    precision, recall = precision_recall(a, b)
    assert precision != recall
    assert found == {"precision_pixels": precision, "recall_pixels": recall}


def test_kid_of_more_images_than_a_subset_has_a_spread(context, network, monkeypatch):
    monkeypatch.setattr(evaluators, "_SUBSET_SIZE", 16)
    found = measure(context, "kid", images(), images(seed=1))
    assert found.values["kid_pixels/std"] > 0
    assert (found.protocol["subsets"], found.protocol["subset_size"]) == (100, 16)


@pytest.mark.parametrize("name", NAMES)
def test_neither_workers_nor_batches_change_a_value(context, network, name, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluators, "_SUBSET_SIZE", 16)  # which subsets, follows the order
    sides = images(37), images(37, seed=1, shift=5)
    whole = measure(context, name, *sides).values
    for number, (workers, batch_size) in enumerate([(3, 8), (2, 5), (7, 10)]):
        dataset = dataclasses.replace(context.dataset, data_dir=str(tmp_path / str(number)))
        object.__setattr__(context, "dataset", dataset)
        again = measure(context, name, *sides, workers=workers, batch_size=batch_size).values
        assert again == {k: pytest.approx(v, rel=1e-9, abs=1e-9) for k, v in whole.items()}


@pytest.mark.parametrize("name", NAMES)
def test_real_images_are_computed_once_for_a_data_set(context, network, name):
    real, generated = images(), images(seed=1)
    first = measure(context, name, real, generated).values
    (kept,) = os.listdir(os.path.join(context.dataset.data_dir, "feature_statistics"))
    kind = "moments" if name == "fid" else "features"
    assert kept.endswith(f"_pixels_{kind}.npz")
    network.calls = 0
    assert measure(context, name, images(seed=9), generated).values == first
    assert network.calls == 5  # the generated images of five batches alone

    wider = dataclasses.replace(context, width=8)
    assert measure(wider, name, images(seed=9), generated).values != first
    network.digest = "another"
    assert measure(context, name, images(seed=9), generated).values != first
    assert len(os.listdir(os.path.join(context.dataset.data_dir, "feature_statistics"))) == 3


def test_metrics_share_the_features_of_a_batch(context, network):
    made = [evaluation.evaluator_class(name)(context) for name in NAMES]
    (batch,) = batches(images(8), images(8, seed=1))
    for one in made:
        one.update(batch)
    assert network.calls == 2  # real and generated


def test_kept_statistics_that_cannot_be_read_are_named(context, network):
    measure(context, "fid", images(), images(seed=1))
    folder = os.path.join(context.dataset.data_dir, "feature_statistics")
    path = os.path.join(folder, os.listdir(folder)[0])
    with open(path, "r+b") as file:
        file.truncate(100)
    with pytest.raises(ValueError, match=rf"cannot be read: {path}.*Delete the file"):
        evaluation.evaluator_class("fid")(context)


def test_copies_of_the_data_that_differ_are_named(context, network):
    real, generated = images(), images(seed=1)
    chief = evaluation.evaluator_class("fid")(context)
    measure(context, "fid", real, generated)
    other = evaluation.evaluator_class("fid")(context)
    for one, batch in zip((chief, other), batches(real[:16], generated), strict=True):
        one.update(batch)
    with pytest.raises(ValueError, match=r"worker 1 has .*_pixels_moments.npz.*Delete the folder"):
        chief.result([chief.state(), other.state()])


def test_few_images_for_the_dimensions_are_said(context, network):
    network.dimension = 48
    notes = measure(context, "fid", images(), images(seed=1)).protocol["notes"]
    assert any("40 images in 48 dimensions" in note and "singular" in note for note in notes)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("seeded64", "never with published values"),
        ("keras_imagenet", "not the network of published values"),
        ("inception2015_unverified", "not the published one"),
    ],
)
def test_networks_that_are_not_the_papers_are_said(context, network, name, words):
    network.name = name
    for metric in NAMES:
        found = measure(context, metric, images(), images(seed=1))
        assert all(name in value for value in found.values)
        assert words in found.protocol["notes"][0]


def test_the_network_follows_the_settings(monkeypatch):
    asked = []
    monkeypatch.setattr(evaluators, "_loaded", lambda load, path: asked.append((load, path)))
    settings = EvaluationConfig(inception="i.pth", vgg16="v.pth")
    for name in NAMES:
        evaluation.evaluator_class(name)._load_network(settings)
    evaluation.evaluator_class(NAMES[2])._load_network(EvaluationConfig(inception="i.pth"))
    inception = (networks.feature_network, "i.pth")
    assert asked == [inception, inception, (networks.vgg16_network, "v.pth"), inception]


@pytest.mark.parametrize("flag", ["inception", "vgg16"])
def test_missing_weight_files_are_refused_with_the_place_to_get_them(flag, tmp_path):
    settings = EvaluationConfig(**{flag: str(tmp_path / "absent.pth")})
    kind = evaluation.evaluator_class("fid" if flag == "inception" else "precision_recall")
    with pytest.raises(ValueError, match=rf"no weight file .*absent.pth.*--{flag}=FILE:\n.*https?"):
        kind.check(settings, None)
