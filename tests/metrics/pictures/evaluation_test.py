"""Metrics of a model of one picture: values by name, what is refused, the report."""

import itertools

import numpy as np
import pytest

from oasis_tf.metrics import evaluation as of_splits
from oasis_tf.metrics.diversity import ms_ssim
from oasis_tf.metrics.names import higher_is_better, metric_of
from oasis_tf.metrics.pictures import evaluation, sifid
from oasis_tf.metrics.pictures.context import PicturesContext
from oasis_tf.metrics.pictures.spatial_features import spatial_features
from oasis_tf.metrics.settings import PicturesEvaluationConfig

SAMPLES = 4


def random_images(seed, count):
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 6, 8, 3), np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


def sampler(seeds):
    images = np.concatenate([random_images(int(seed), 1) for seed in seeds])
    return images / np.float32(127.5) - 1, (images[..., 0] > 128).astype(np.uint8)


@pytest.fixture(scope="module")
def context():
    picture = random_images(100, 1)
    return PicturesContext(
        model_dir="MODEL",
        step=7,
        data_dir="PICTURE",
        images=picture,
        masks=(picture[..., 0] > 128).astype(np.uint8),
        num_classes=2,
        sampler=sampler,
        augmented=lambda count: np.concatenate([random_images(2, 1)] * count),
        seed=2,
        settings=PicturesEvaluationConfig(
            evaluation_samples=SAMPLES, evaluation_views=2, mask_steps=2
        ),
    )


def samples():
    return np.concatenate([random_images(2 + k, 1) for k in range(SAMPLES)])


def test_values_and_their_names(context):
    found = evaluation.evaluate(context, ["sifid", "sample_diversity", "training_distance"])
    np.testing.assert_array_equal(context.samples[0], samples())
    table = sifid.scores(spatial_features(), samples(), context.images)
    values = found["sifid"].values
    for k in range(4):
        assert values[f"sifid_stage{k}_seeded64"] == pytest.approx(table[:, k].mean())
        assert values[f"best_sifid_stage{k}_seeded64"] == pytest.approx(table[:, k].min())
    values = found["sample_diversity"].values
    pairs = list(itertools.combinations(range(SAMPLES), 2))
    similar = ms_ssim.similarities(samples(), np.array(pairs))
    assert values["sample_ms_ssim_3scales"] == pytest.approx(similar.mean())
    assert found["sample_diversity"].protocol["pairs"] == len(pairs) == 6
    both = np.concatenate([samples(), context.images])
    distances = context.lpips.distances(both, np.array([[k, SAMPLES] for k in range(SAMPLES)]))
    values = found["training_distance"].values
    assert values["distance_plain_lpips_seeded64"] == pytest.approx(distances.mean(), rel=1e-5)
    # The first sample is one of the augmented views; the others are as far as the nearer one.
    to_view = context.lpips.distances(samples(), np.array([[k, 0] for k in range(SAMPLES)]))
    nearest = np.minimum(distances, to_view)
    assert nearest[0] == 0
    augmented = values["distance_augmented_lpips_seeded64"]
    assert augmented == pytest.approx(nearest.mean(), rel=1e-5)
    for name, one in found.items():
        assert {metric_of(value) for value in one.values} == {name}
    assert not higher_is_better("best_sifid64_inception_v3")
    assert higher_is_better("distance_plain_lpips_alex")


def test_a_report(context):
    contents = of_splits.make_report(context, {}, seed=2, seconds=0.04)
    wanted = {"data_dir": "PICTURE", "split": "train", "num_images": 4, "height": 48, "width": 64}
    assert {name: contents[name] for name in wanted} == wanted
    assert contents["dataset"] == "1 training pictures" and contents["step"] == 7


def test_which_metrics():
    scene = {"training", "scene", "views", "masks"}
    assert evaluation.chosen(None, scene) == list(
        ("sifid", "sample_diversity", "training_distance", "mask_score")
    )
    assert "mask_score" not in evaluation.chosen(None, scene - {"masks"})
    with pytest.raises(ValueError, match="mask_score scores masks .* trained without masks"):
        evaluation.chosen(["sifid", "mask_score"], scene - {"masks"})
    with pytest.raises(ValueError, match="fid needs pictures that the model was not trained on"):
        evaluation.chosen(["fid"], scene)
    with pytest.raises(ValueError, match="Unknown metrics: kid. Known metrics: fid"):
        evaluation.chosen(["kid"], scene)


def test_missing_files_are_refused_before_work(tmp_path):
    for name, text in (
        ("inception", "inception_v3_google"),
        ("resnet18", "resnet18-f37072fd.pth"),
        ("lpips_heads", "both --lpips_backbone and"),
    ):
        settings = PicturesEvaluationConfig(**{name: str(tmp_path / "absent.pth")})
        with pytest.raises(ValueError, match=text):
            evaluation.check(settings, evaluation.METRICS)


@pytest.mark.slow
def test_mask_scores(context):
    found = evaluation.evaluate(context, ["mask_score"])["mask_score"]
    name = "resnet18_seeded_2steps"
    assert set(found.values) == {
        f"{start}_{name}/{score}"
        for start in ("masks", "masks_reverse")
        for score in ("miou", "thresholded_iou", "pixel_accuracy")
    }
    assert all(0 <= value <= 1 for value in found.values.values())
    assert len(found.protocol["reverse_miou_by_sample"]) == SAMPLES
