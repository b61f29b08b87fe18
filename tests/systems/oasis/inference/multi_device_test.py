"""The sampler of metrics: the bits of `OASIS.generate`, on any number of devices."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import oasis_tf
from oasis_tf.layers import by_device
from oasis_tf.systems.oasis.inference.multi_device import DeviceSampler

MAIN = Path(__file__).with_name("multi_device_main.py")
make_model, make_maps, randomise, SEEDS, CLASSES = (
    runpy.run_path(str(MAIN))[name]
    for name in ("make_model", "make_maps", "randomise", "SEEDS", "CLASSES")
)


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def sampler(model):
    return DeviceSampler(model)


def test_the_bits_of_generate(model, sampler):
    images = sampler(make_maps(5), SEEDS)
    assert (images.dtype, images.shape) == (np.float32, (5, 16, 32, 3))
    np.testing.assert_array_equal(images, model.generate(make_maps(5), SEEDS))
    assert np.abs(images).max() <= 1
    assert images.std() > 0.1


def test_images_follow_their_own_seed_alone(sampler):
    images = sampler(make_maps(5), SEEDS)
    for k in (0, 4):
        alone = sampler(make_maps(5)[k : k + 1], SEEDS[k : k + 1])[0]
        np.testing.assert_array_equal(alone, images[k])
    other = sampler(make_maps(5), SEEDS + 1)
    assert (np.abs(other - images).max((1, 2, 3)) > 0.01).all()


def test_noise_by_region(model, sampler):
    label_map = make_maps(3)
    vectors = np.random.default_rng(0).normal(size=(3, CLASSES, 3)).astype(np.float32)
    images = sampler.from_field(label_map, label_map, vectors)
    assert images.dtype == np.float32
    spread = np.stack([one[index] for one, index in zip(vectors, label_map, strict=True)])
    np.testing.assert_allclose(images, model.generate(label_map, noise=spread), atol=1e-5)
    vector = sampler.noise(SEEDS[:3])[:, None]
    whole = sampler.from_field(label_map, np.zeros_like(label_map), vector)
    np.testing.assert_allclose(whole, sampler(label_map, SEEDS[:3]), atol=1e-5)


def test_noise_is_that_of_the_seeds(model, sampler):
    noise = sampler.noise(SEEDS)
    assert noise.shape == (5, 3)
    np.testing.assert_array_equal(noise, model.sample_noise(SEEDS, 5).numpy())


def test_a_generator_without_noise():
    model = make_model(noise_channels=0)
    sampler = DeviceSampler(model)
    images = sampler(make_maps(3), SEEDS[:3])
    np.testing.assert_array_equal(images, model.generate(make_maps(3)))
    np.testing.assert_array_equal(images, sampler(make_maps(3), SEEDS[2:]))


def test_weights_are_those_of_the_moment(model, sampler):
    before = sampler(make_maps(2), SEEDS[:2])
    weights = model.generator_ema.get_weights()
    try:
        randomise(model, 1)
        assert np.abs(model.generate(make_maps(2), SEEDS[:2]) - before).max() > 0.01
        np.testing.assert_array_equal(sampler(make_maps(2), SEEDS[:2]), before)
        sampler.refresh()
        after = sampler(make_maps(2), SEEDS[:2])
        np.testing.assert_array_equal(after, model.generate(make_maps(2), SEEDS[:2]))
    finally:
        model.generator_ema.set_weights(weights)
        sampler.refresh()


def test_weights_are_taken_at_the_first_use():
    """A context may hold the sampler before there is anything to generate."""
    model = make_model()
    first, second = DeviceSampler(model), DeviceSampler(model)
    second.refresh()
    randomise(model, 1)
    want = model.generate(make_maps(2), SEEDS[:2])
    np.testing.assert_array_equal(first(make_maps(2), SEEDS[:2]), want)
    assert np.abs(second(make_maps(2), SEEDS[:2]) - want).max() > 0.01


def test_on_a_gpu_batches_stay_batches(model, sampler, monkeypatch):
    """What a GPU computes by default, computed here: equal to rounding."""
    label_map, seeds = make_maps(3), SEEDS[:3]
    vectors = np.random.default_rng(0).normal(size=(3, 2, 3)).astype(np.float32)
    photographs = model.generate(label_map, seeds)

    def results(model, sampler):
        return [
            model.generate(label_map, seeds),
            sampler(label_map, seeds),
            sampler.from_field(label_map, label_map % 2, vectors),
            model.segment(photographs),
        ]

    want, own = results(model, sampler), make_model()
    own.generator_ema.set_weights(model.generator_ema.get_weights())
    own.discriminator.set_weights(model.discriminator.get_weights())
    monkeypatch.setattr(by_device, "on_gpu", lambda: True)
    for got, exact in zip(results(own, DeviceSampler(own)), want, strict=True):
        np.testing.assert_allclose(got, exact, rtol=0, atol=3e-5)  # float32; 1.6e-5 was seen
    engines = own.inference_engine(), own.segmentation_engine(), model.inference_engine("image")
    assert [engine.batching for engine in engines] == ["dense", "dense", "image"]


def test_two_devices_share_an_odd_batch_and_change_no_bit(tmp_path):
    source = str(Path(oasis_tf.__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, str(MAIN), str(tmp_path / "images.npz")],
        env=os.environ | {"PYTHONPATH": source},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "images.npz") as arrays:
        found = dict(arrays)
    assert [name.partition("device:")[2] for name in found["devices"].ravel()] == ["CPU:0", "CPU:1"]
    np.testing.assert_array_equal(found["together"], found["alone"])
    np.testing.assert_array_equal(found["one_row"], found["alone"][:1])
    np.testing.assert_array_equal(found["field_together"], found["field_alone"])
