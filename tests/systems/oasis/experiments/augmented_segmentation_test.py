"""Segmenters trained with and without synthetic images, on the same real images."""

import json

import numpy as np
import pytest

from oasis_tf import OASIS
from oasis_tf.data.tfrecord import PreparedDataset
from oasis_tf.io.images import to_uint8
from oasis_tf.metrics.segmentation import architectures
from oasis_tf.systems.oasis.config import Config
from oasis_tf.systems.oasis.experiments import (
    augmentation_report,
    augmented_segmentation,
)

SMALL = {"generator_channels": 2, "discriminator_channels": 2, "spade_channels": 4}


@pytest.fixture(scope="module")
def data_dir(write_shapes):
    return write_shapes(6, 3)


@pytest.fixture(scope="module")
def model_dir(write_model, data_dir):
    return write_model(data_dir, noise_channels=4, **SMALL)


@pytest.fixture(scope="module")
def model(model_dir):
    return OASIS.load(model_dir)


def label_maps(count):
    return np.random.default_rng(0).integers(0, 12, (count, 64, 64), np.uint8)


def recipe(**changes):
    settings = {"height": 64, "width": 64, "steps": 2, "batch_size": 2} | changes
    return augmented_segmentation.Recipe(architectures.architecture("compact"), **settings)


def test_half_of_a_batch_is_synthetic_and_has_the_labels_of_the_real_half(model):
    image = np.random.default_rng(1).integers(0, 256, (3, 64, 64, 3), np.uint8)
    synthesizer = augmented_segmentation.Synthesizer(model, 5)
    images, labels = augmented_segmentation.with_synthetic(image, label_maps(3), synthesizer, 12)
    np.testing.assert_array_equal(images[:3], image)
    np.testing.assert_array_equal(labels, np.concatenate([label_maps(3)] * 2))
    seeds = [np.random.default_rng([5, 12 + k]).integers(2**63) for k in range(3)]
    np.testing.assert_array_equal(images[3:], to_uint8(model.generate(label_maps(3), seeds)))


def test_every_position_has_its_own_noise(model):
    synthesizer = augmented_segmentation.Synthesizer(model, 0)
    once, again = synthesizer(label_maps(1), 0), synthesizer(label_maps(1), 1)
    assert (once != again).any()
    np.testing.assert_array_equal(once, synthesizer(label_maps(1), 0))


def test_latents_of_an_encoder_are_sampled_as_noise(write_model, data_dir):
    """A model whose encoder feeds the first features generates a style per position, too."""
    widths = SMALL | {"encoder_channels": 2, "latent_channels": 4}
    model = OASIS.load(write_model(data_dir, noise_channels=0, encoder="stem", **widths))
    synthesizer = augmented_segmentation.Synthesizer(model, 0)
    once, again = synthesizer(label_maps(1), 0), synthesizer(label_maps(1), 1)
    assert (once != again).any()
    seeds = [np.random.default_rng([0, 0]).integers(2**63)]
    np.testing.assert_array_equal(once, to_uint8(model.generate(label_maps(1), seeds)))


def test_without_a_synthesizer_a_batch_is_unchanged():
    image = np.zeros((2, 64, 64, 3), np.uint8)
    images, labels = augmented_segmentation.with_synthetic(image, label_maps(2), None, 0)
    assert images.shape == image.shape
    np.testing.assert_array_equal(labels, label_maps(2))


def test_synthetic_images_are_generated_for_every_batch(data_dir):
    seen = []

    def synthesizer(label_map, first):
        seen.append((first, label_map.copy()))
        return np.zeros((*label_map.shape, 3), np.uint8)

    augmented_segmentation.train(PreparedDataset.load(data_dir), recipe(), synthesizer)
    assert [first for first, _ in seen] == [0, 2]
    assert all(label_map.shape == (2, 64, 64) for _, label_map in seen)


@pytest.mark.exhaustive
def test_a_network_learns_from_its_synthetic_images(data_dir):
    """Synthetic images that show their labels as grey levels teach a network grey levels."""
    dataset = PreparedDataset.load(data_dir)

    def grey(label_map, first):
        return np.repeat((label_map * 20).astype(np.uint8)[..., None], 3, axis=-1)

    wanted = recipe(steps=60, seed=1)
    batch = label_maps(1) * 0 + np.repeat(np.arange(4, dtype=np.uint8) * 3, 16)[None, :, None]
    image = grey(batch, 0).astype(np.float32) / 127.5 - 1
    networks = [augmented_segmentation.train(dataset, wanted, p) for p in (None, grey)]
    right = [np.mean(n.predict_on_batch(image).argmax(-1) == batch) for n in networks]
    assert right[1] > right[0]


def test_score_is_the_miou_of_the_real_validation_images(data_dir):
    class Oracle:
        """Predicts class 0 everywhere."""

        def predict_on_batch(self, image):
            logits = np.zeros((*image.shape[:3], 12), np.float32)
            logits[..., 0] = 1
            return logits

    values = augmented_segmentation.score(Oracle(), PreparedDataset.load(data_dir), recipe())
    truth = _validation_labels(data_dir)
    present = np.unique(truth)
    assert values["miou"] == pytest.approx(np.mean(truth == 0) / len(present))
    assert values["pixel_accuracy"] == pytest.approx(np.mean(truth == 0))


def _validation_labels(data_dir):
    from oasis_tf.data.pipeline import evaluation_batches

    batches = evaluation_batches(data_dir, "val", height=64, width=64, batch_size=8)
    return np.concatenate([label_map.numpy() for _, label_map in batches])


@pytest.mark.exhaustive
def test_the_whole_experiment(run_module, data_dir, model_dir, tmp_path):
    flags = [f"--data_dir={data_dir}", f"--model_dirs={model_dir}", "--steps=2", "--seeds=0,1"]
    done = run_module("oasis_tf.augment_segmentation", *flags, "--json=values.json")
    assert done.returncode == 0, done.stderr
    contents = json.loads((tmp_path / "values.json").read_text())
    none, synthetic = contents["rows"].values()
    assert len(none) == len(synthetic) == 2
    assert all(0 <= row["miou"] <= 1 for row in none + synthetic)
    assert none[0]["miou"] != none[1]["miou"]
    lines = done.stdout.splitlines()
    assert lines[2].startswith("none ")
    assert f"{50 * (none[0]['miou'] + none[1]['miou']):.2f}" in lines[2]
    with pytest.raises(ValueError, match="values.json exists"):
        augmentation_report.plan(data_dir, [model_dir], json_path=str(tmp_path / "values.json"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": ["0", "0"]}, "different whole numbers"),
        ({"seeds": ["a"]}, "whole numbers.* Received: a"),
        ({"network": "unet"}, "one of compact, deeplab_v3"),
        (
            {"backbone_weights": "f.h5"},
            "a setting of --network=deeplab_v3. Received: --network=compact",
        ),
    ],
)
def test_refused(data_dir, model_dir, changes, message):
    with pytest.raises(ValueError, match=message):
        augmentation_report.plan(data_dir, [model_dir], **changes)


def test_models_of_other_sizes_or_classes_are_refused(data_dir, model_dir, tmp_path):
    config = Config.load(model_dir)
    contents = config.to_json()
    contents["data"] |= {"crop_height": 128, "resize_height": 128}
    Config.from_json(contents).save(tmp_path)
    with pytest.raises(ValueError, match="one size.*128x64, 64x64|one size.*64x64, 128x64"):
        augmentation_report.plan(data_dir, [model_dir, str(tmp_path)])
    with pytest.raises(ValueError, match="may be given only once"):
        augmentation_report.plan(data_dir, [model_dir, model_dir])


def test_the_table_ends_with_published_values():
    rows = {"none": [{"miou": 0.5}], "OASIS": [{"miou": 0.55}]}
    contents = {"dataset": "ade20k", "rows": rows, "network": "compact", "height": 8, "width": 8}
    text = augmentation_report.table(contents | {"steps": 1, "batch_size": 2, "seeds": [0]})
    assert "+5.00" in text
    assert "none 41.0, SPADE 41.6, OASIS 41.8" in text


@pytest.mark.slow
def test_deeplab_v3_trains():
    pytest.importorskip("keras_hub", reason="needs the extra `segmenter`")
    image = np.random.default_rng(0).uniform(-1, 1, (2, 64, 64, 3)).astype(np.float32)
    network = architectures.architecture("deeplab_v3").build(5, seed=0)
    again = architectures.architecture("deeplab_v3").build(5, seed=0)
    for weight, same in zip(network.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, same)
    assert network(image).shape == (2, 64, 64, 5)
    network.compile(
        architectures.architecture("deeplab_v3").optimizer(10), "sparse_categorical_crossentropy"
    )
    target = np.zeros((2, 64, 64), np.int32)
    assert np.isfinite(network.train_on_batch(image, target))
