"""Synthetic twins of a training split and LabelMix figures, by small random networks."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from oasis_tf.data import pipeline, preparation, random_access
from oasis_tf.data.datasets import published_label_space
from oasis_tf.data.examples import ShapesScene
from oasis_tf.data.tfrecord import PreparedDataset
from oasis_tf.io.images import to_uint8
from oasis_tf.io.label_files import write_label_map
from oasis_tf.systems.oasis import losses, noise
from oasis_tf.systems.oasis.build import build_model
from oasis_tf.systems.oasis.config import Config, DataConfig, ModelConfig, TrainingConfig
from oasis_tf.systems.oasis.synthesis import augmentation, labelmix

SPACE = published_label_space("shapes")
GAP = 2


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Three scenes to train on, of a size that does not divide, and two to evaluate with."""
    path = str(tmp_path_factory.mktemp("data") / "shapes")
    splits = {
        "train": [ShapesScene(f"a/{k}", 0, k, 40, 72) for k in range(3)],
        "val": [ShapesScene(f"b/{k}", 1, k, 64, 64) for k in range(2)],
    }
    preparation.prepare(splits, SPACE, path, num_workers=1, num_shards=2)
    return path


@pytest.fixture(scope="module")
def config(data_dir):
    return Config(
        model=ModelConfig(
            num_classes=12,
            has_unknown=False,
            noise_channels=4,
            generator_channels=2,
            discriminator_channels=2,
            spade_channels=4,
        ),
        data=DataConfig(data_dir=data_dir, crop_height=64, crop_width=64),
        training=TrainingConfig(steps=2, init_gain=1.0),
        label_space=SPACE,
    )


@pytest.fixture(scope="module")
def model(config):
    model = build_model(config)
    model.label_space = SPACE
    return model


def twins(folder):
    places = random_access.record_places(PreparedDataset.load(folder), "train")
    return {key: (image, labels) for key, image, labels in (place.read() for place in places)}


def test_a_twin_has_the_label_maps_and_generated_images(config, model, data_dir, tmp_path):
    out = str(tmp_path / "twin")
    plan = augmentation.plan_augmentation(config, None, out, seed=5, num_samples=2)
    assert "3 of 3 inputs are padded" in plan.notes[0]
    twin = augmentation.augment(model, plan, "some/model")
    real, found = list(twins(data_dir).items()), twins(out)
    assert len(found) == 6
    for sample in (0, 1):
        for place, (key, (_, labels)) in enumerate(real):
            seed = 5 + place + 3 * sample
            image, same = found[f"{key}_seed{seed}"]
            np.testing.assert_array_equal(same, labels)
            padded = np.pad(labels, ((0, 24), (0, 24)), mode="edge")
            want = to_uint8(model.generate(padded, seed=seed))[:40, :72]
            np.testing.assert_array_equal(image, want)
    told = json.loads((tmp_path / "twin" / "dataset.json").read_text())["synthetic"]
    assert told["seed"] == 5
    assert told["num_samples"] == 2
    assert told["step"] == 0
    assert told["model_dir"] == os.path.abspath("some/model")
    assert told["data_dir"] == data_dir
    assert twin.synthetic == told
    pixels = np.array(PreparedDataset.load(data_dir).splits["train"].class_pixels)
    np.testing.assert_array_equal(twin.splits["train"].class_pixels, 2 * pixels)
    batches = pipeline.evaluation_batches(out, "train", height=64, width=64, batch_size=2)
    assert next(batches.as_numpy_iterator())[0].shape == (2, 64, 64, 3)
    assert PreparedDataset.load(data_dir).synthetic is None


def test_an_interrupted_twin_goes_on(config, model, tmp_path, monkeypatch):
    monkeypatch.setattr(augmentation, "EXAMPLES_PER_SHARD", 1)
    whole, broken = str(tmp_path / "whole"), str(tmp_path / "broken")

    def run(folder, **options):
        plan = augmentation.plan_augmentation(config, None, folder, size="crop", **options)
        return augmentation.augment(model, plan, "model")

    run(whole)
    encode, painted = augmentation._Twin.encode, []

    def dies(self, label_space):
        painted.append(self.key)
        if len(painted) == 3:
            raise KeyboardInterrupt
        return encode(self, label_space)

    with monkeypatch.context() as patch:
        patch.setattr(augmentation._Twin, "encode", dies)
        with pytest.raises(KeyboardInterrupt):
            run(broken)
        assert not os.path.exists(os.path.join(broken, "dataset.json"))
        run(broken)
    assert len(painted) == 4  # two that were finished are kept
    for name in os.listdir(whole):
        with (
            open(os.path.join(whole, name), "rb") as one,
            open(os.path.join(broken, name), "rb") as other,
        ):
            assert one.read() == other.read(), name
    assert {labels.shape for _, labels in twins(whole).values()} == {(64, 64)}
    with pytest.raises(ValueError, match="holds a prepared data set already.*--overwrite"):
        run(broken)
    before = {key.rsplit("_", 1)[0] for key in twins(broken)}
    run(broken, seed=9, overwrite=True)
    assert {key.rsplit("_", 1)[0] for key in twins(broken)} == before
    assert all(int(key.rsplit("_seed", 1)[1]) >= 9 for key in twins(broken))


def test_bad_twins_are_refused(config, data_dir, tmp_path):
    with pytest.raises(ValueError, match="another folder"):
        augmentation.plan_augmentation(config, None, data_dir, overwrite=True)
    with pytest.raises(FileNotFoundError, match="not a prepared data set"):
        augmentation.plan_augmentation(config, str(tmp_path), str(tmp_path / "out"))
    with pytest.raises(ValueError, match="at least 1"):
        augmentation.plan_augmentation(config, None, str(tmp_path / "out"), num_samples=0)


# === LabelMix ===


def tiles_of(path, count=7):
    sheet = np.asarray(Image.open(path))
    return [sheet[:, k * (64 + GAP) : k * (64 + GAP) + 64] for k in range(count)]


def test_labelmix_figures_show_what_is_mixed(config, model, data_dir, tmp_path):
    grid = str(tmp_path / "grid.png")
    plan = labelmix.plan_labelmix(config, str(tmp_path / "out"), seed=3, grid=grid)
    written = labelmix.labelmix_figures(model, plan)
    names = [os.path.basename(path) for path in written]
    assert names == ["b_0_seed3_labelmix.png", "b_1_seed3_labelmix.png", "grid.png"]
    place = random_access.record_places(PreparedDataset.load(data_dir), "val")[1]
    _, image, labels = place.read()
    colours, real, fake, mask, mixed, of_mix, mix_of = tiles_of(written[1])
    np.testing.assert_array_equal(colours, SPACE.colorize(labels))
    np.testing.assert_array_equal(real, image)
    np.testing.assert_array_equal(fake, to_uint8(model.generate(labels, seed=3)))
    inside = mask == 255
    assert set(np.unique(mask)) == {0, 255}
    for class_id in np.unique(labels):
        assert len(np.unique(mask[labels == class_id])) == 1
    np.testing.assert_array_equal(mixed, np.where(inside, real, fake))
    painted = model.generate(labels[None], seed=3)
    real_float = image[None] / np.float32(127.5) - 1
    mixture = np.where(inside[None], real_float, painted)
    colours = np.array([(0, 0, 0), *SPACE.palette], np.uint8)
    of_mixture, of_real, of_fake = (
        colours[np.argmax(model.discriminator(x, training=False)[0], axis=-1)]
        for x in (mixture, real_float, painted)
    )
    assert (of_mix == of_mixture).mean() > 0.999
    assert (mix_of == np.where(inside, of_real, of_fake)).mean() > 0.999
    assert np.asarray(Image.open(grid)).shape == (2 * 66 - 2, 7 * 66 - 2, 3)


def test_labelmix_of_files_keeps_what_is_there(config, model, data_dir, tmp_path):
    for k, place in enumerate(random_access.record_places(PreparedDataset.load(data_dir), "val")):
        _, image, labels = place.read()
        for folder in ("photos", "labels"):
            (tmp_path / folder).mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "photos" / f"s{k}.png")
        write_label_map(tmp_path / "labels" / f"s{k}.png", labels, SPACE)
    files = {"labels": tmp_path / "labels", "from_images": tmp_path / "photos"}

    def plan(**options):
        return labelmix.plan_labelmix(config, str(tmp_path / "out"), **options)

    written = labelmix.labelmix_figures(model, plan(**files))
    records = labelmix.plan_labelmix(config, str(tmp_path / "other"))
    for one, other in zip(written, labelmix.labelmix_figures(model, records), strict=True):
        np.testing.assert_array_equal(Image.open(one), Image.open(other))
    os.remove(written[1])
    os.utime(written[0], ns=(5, 5))
    labelmix.labelmix_figures(model, plan(**files, skip_existing=True))
    assert os.path.exists(written[1])
    assert os.stat(written[0]).st_mtime_ns == 5
    with pytest.raises(ValueError, match="1 of 1|2 of 2 output files exist"):
        plan(**files)
    with pytest.raises(ValueError, match="Received: --labels alone"):
        plan(labels=tmp_path / "labels")
    os.remove(tmp_path / "photos" / "s1.png")
    with pytest.raises(ValueError, match="Without a counterpart.*: s1"):
        plan(**files, overwrite=True)


def test_the_mask_parts_real_from_fake_wherever_it_can():
    label_map = np.zeros((1, 4, 4), np.int32)
    label_map[0, 2:] = 1
    first = set()
    for seed in range(8):
        mask = labelmix.draw_mask(label_map, seed, 12)
        assert mask.min() < mask.max()
        bits = noise.labelmix_bits(seed, 0, 12)
        first.add(bool((np.asarray(losses.labelmix_mask(label_map, bits)) == mask).all()))
    assert first == {True, False}  # the first draw is taken only where it parts
    assert labelmix.draw_mask(0 * label_map, 0, 12).shape == (1, 4, 4, 1)
