"""OASIS as a whole: training steps, the average, generating, segmenting, configuration."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from oasis_tf import OASIS
from oasis_tf.systems.oasis import editing
from oasis_tf.systems.oasis.losses import labelmix_mask
from oasis_tf.systems.oasis.models import Discriminator, Generator
from oasis_tf.systems.oasis.models.oasis import METRICS, to_float_image
from oasis_tf.systems.oasis.noise import (
    DISCRIMINATOR_STEP,
    GENERATOR_STEP,
    labelmix_bits,
    training_noise,
)
from oasis_tf.training.optimizer import Adam

CLASSES, NOISE = 4, 3


def make_model(
    noise_channels=NOISE, classes=CLASSES, generator=(2, 2, 1), discriminator=None, **options
):
    """A small model; few widths leave out most blocks, so that it compiles in seconds."""
    widths = {"widths": discriminator} if discriminator else {}
    return OASIS(
        Generator(classes, noise_channels, 1, 4, name="generator", widths=generator),
        Discriminator(CLASSES, 1, name="discriminator", **widths),
        **{"has_unknown": True, "ema_decay": 0.9, "seed": 5} | options,
    )


def make_batch(seed=0, low=0, high=CLASSES):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    return image, rng.integers(low, high, (2, 64, 64)).astype(np.uint8)


def trainable(**options):
    """A shallow model with its optimizers."""
    model = make_model(discriminator=(2, 2), **options)
    model.compile(Adam(1e-3), Adam(1e-3))
    return model


def randomised(model):
    """Random weights with the batch statistics and spectral vectors that belong to them."""
    rng = np.random.default_rng(0)
    for network in (model.generator, model.discriminator):
        for variable in network.trainable_variables:
            fan_in = np.prod(variable.shape[:-1]) if len(variable.shape) == 4 else 4
            variable.assign(rng.normal(0, fan_in**-0.5, variable.shape))
    image, label_map = make_batch()
    for _ in range(10):
        model.generator(label_map, rng.normal(size=(2, NOISE)).astype(np.float32), training=True)
        model.discriminator(image / np.float32(127.5) - 1, training=True)
    model.generator_ema.set_weights(model.generator.get_weights())
    return model


def as_arrays(network):
    return {v.path.split("/", 1)[1]: v.numpy() for v in network.variables}


@pytest.fixture(scope="module")
def model():
    """A model that no test changes."""
    return randomised(make_model())


# === Training ===


@pytest.fixture(scope="module")
def fitted():
    """A model after four steps of `fit`, its starting weights, and the losses of every step."""
    model = trainable()
    start, rows = model.get_weights(), []
    batches = tf.data.Dataset.from_tensors(make_batch()).repeat(4)

    def keep(batch, logs):
        rows.append(dict(logs))

    keep = keras.callbacks.LambdaCallback(on_train_batch_end=keep)
    model.fit(batches, epochs=1, verbose=0, callbacks=[keep])
    return model, start, rows


def test_fit_trains_both_networks(fitted):
    model, start, logs = fitted
    assert int(model.step.numpy()) == len(logs) == 4
    assert set(logs[0]) == set(METRICS)
    assert all(np.isfinite(list(row.values())).all() for row in logs)
    assert logs[-1]["loss_d"] < logs[0]["loss_d"]
    for row in logs:
        parts = row["loss_d_fake"] + row["loss_d_real"] + row["loss_labelmix"]
        assert row["loss_d"] == pytest.approx(parts, rel=1e-5)
        assert 0 <= row["accuracy_real"] <= 1 and 0 <= row["accuracy_fake"] <= 1
    moved = sum((a != b).any() for a, b in zip(start, model.get_weights(), strict=True))
    # Only u of a convolution with a single filter stays what it is.
    assert moved >= len(start) - 16


def test_train_step_draws_by_seed_and_step(monkeypatch):
    """`train_step` is `iteration` on noise and bits keyed on (seed, step) alone."""
    model, seen = trainable(seed=5), []
    monkeypatch.setattr(model, "iteration", lambda *arguments: seen.append(arguments) or {})
    image, label_map = make_batch()
    for step in range(2):
        model.train_step((image, label_map))
        got_image, got_map, *got_noise, bits, views = seen[step]
        assert views is None  # nothing is augmented
        np.testing.assert_allclose(got_image, image / 127.5 - 1, atol=1e-6)
        np.testing.assert_array_equal(got_map, label_map)
        assert got_map.dtype == tf.int32
        for stream, got in zip((GENERATOR_STEP, DISCRIMINATOR_STEP), got_noise, strict=True):
            np.testing.assert_array_equal(got, training_noise(5, step, stream, 2, NOISE))
        np.testing.assert_array_equal(bits, labelmix_bits(5, step, CLASSES))


def test_average_follows_every_part_of_the_generator():
    model = trainable()
    for decay in (0.75, 0.0):
        model.ema_decay = decay
        before = as_arrays(model.generator_ema)
        model.train_step(make_batch())
        after, value = as_arrays(model.generator_ema), as_arrays(model.generator)
        for name in before:
            want = decay * before[name] + (1 - decay) * value[name]
            np.testing.assert_allclose(after[name], want, rtol=1e-6, atol=1e-7, err_msg=name)
    assert any((before[name] != after[name]).any() for name in before if name.endswith("/u"))
    for name in before:
        np.testing.assert_array_equal(after[name], value[name], err_msg=name)


def test_a_batch_of_unknown_pixels_trains_on():
    model = trainable()
    logs = model.train_step(make_batch(high=1))
    assert float(logs["loss_g"]) == 0 and float(logs["loss_d_real"]) == 0
    assert float(logs["loss_d_fake"]) > 0
    for variable in model.variables:
        assert np.isfinite(variable.numpy()).all(), variable.path


def test_without_noise_and_without_labelmix():
    model = trainable(noise_channels=0, lambda_labelmix=0.0, has_unknown=False)
    logs = model.train_step(make_batch())
    assert float(logs["loss_labelmix"]) == 0
    assert model.generate(make_batch()[1]).shape == (2, 64, 64, 3)


def test_average_starts_as_a_copy():
    model = make_model()
    for name, value in as_arrays(model.generator).items():
        np.testing.assert_array_equal(as_arrays(model.generator_ema)[name], value)
    assert not model.generator_ema.trainable_variables
    count = len(model.generator.trainable_variables) + len(model.discriminator.trainable_variables)
    assert len(model.trainable_variables) == count


def test_to_float_image():
    image = to_float_image(np.array([0, 128, 255], np.uint8)).numpy()
    np.testing.assert_allclose(image, [-1, 128 / 127.5 - 1, 1], atol=1e-7)
    np.testing.assert_array_equal(to_float_image(np.array([-0.5, 1.0])).numpy(), [-0.5, 1.0])


# === Use ===


def test_generate(model):
    label_map = make_batch()[1]
    images = model.generate(label_map, seed=3)
    assert images.shape == (2, 64, 64, 3) and images.dtype == np.float32
    assert isinstance(images, np.ndarray) and np.abs(images).max() <= 1 and images.std() > 0.05
    np.testing.assert_array_equal(model.generate(label_map, seed=3), images)
    assert (model.generate(label_map, seed=4) != images).any()


def test_generate_gives_an_image_its_own_seed(model):
    label_map = np.concatenate([make_batch()[1], make_batch(1)[1][:1]])
    together = model.generate(label_map, seed=[1, 2**40, 3])
    for k, seed in enumerate([1, 2**40, 3]):
        alone = model.generate(label_map[k], seed=seed)
        assert alone.shape == (64, 64, 3)
        np.testing.assert_allclose(alone, together[k], rtol=0, atol=1e-6)


def test_several_images_of_a_map(model):
    label_map = make_batch()[1]
    want = model.generate(label_map[:1].repeat(3, 0), seed=[4, 5, 6])
    for one in (label_map[0], label_map[:1]):
        np.testing.assert_array_equal(model.generate(one, seed=[4, 5, 6]), want)
        np.testing.assert_array_equal(model.generate(one, seed=4, num_samples=3), want)
    np.testing.assert_array_equal(model.generate(label_map[0], seed=[4]), want[:1])
    both = model.generate(label_map, seed=4, num_samples=2)
    np.testing.assert_array_equal(both[:2], want[:2])
    np.testing.assert_array_equal(both[2:], model.generate(label_map[1], seed=[4, 5]))
    image = make_batch()[0]
    recreated = model.recreate(image[0], seed=4, num_samples=2)
    np.testing.assert_array_equal(recreated, model.generate(model.segment(image[0]), seed=[4, 5]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_samples": 0}, "num_samples=0"),
        ({"num_samples": 2, "seed": [1, 2]}, "num_samples=2, 2 seeds"),
        ({"num_samples": 2, "noise": np.ones(NOISE)}, "Give one of them"),
    ],
)
def test_samples_that_contradict_are_refused(model, options, message):
    with pytest.raises(ValueError, match=message):
        model.generate(make_batch()[1][0], **options)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int64"])
def test_generate_takes_any_integers(model, dtype):
    label_map = make_batch()[1]
    want = model.generate(label_map.astype(np.int32))
    np.testing.assert_array_equal(model.generate(label_map.astype(dtype)), want)


def test_generate_with_given_noise(model):
    label_map = make_batch()[1]
    vectors = model.sample_noise([8, 9], 2).numpy()
    want = model.generate(label_map, seed=[8, 9])
    np.testing.assert_array_equal(model.generate(label_map, noise=vectors), want)
    field = np.broadcast_to(vectors[:, None, None], (2, 64, 64, NOISE))
    np.testing.assert_allclose(model.generate(label_map, noise=field), want, atol=1e-5)
    for noise in (vectors, field):  # a single map takes a single noise
        single = model.generate(label_map[0], noise=noise[0])
        np.testing.assert_allclose(single, want[0], atol=1e-5)


def test_generate_takes_sides_of_32(model):
    assert model.generate(np.ones((32, 96), np.int32)).shape == (32, 96, 3)


@pytest.mark.parametrize(
    ("label_map", "options", "message"),
    [
        (np.ones((2, 32, 32)), {}, r"must be integers \[B, H, W\] or \[H, W\]. .*dtype=float64"),
        (np.ones((1, 2, 32, 32), int), {}, r"Received: dtype=int64, shape=\(1, 2, 32, 32\)"),
        (np.full((32, 32), 4), {}, r"must hold model ids 0..3. Received: values from 4 to 4"),
        (np.full((32, 32), -1), {}, r"must hold model ids 0..3. Received: values from -1 to -1"),
        (np.ones((32, 41), int), {}, r"width of a label map .* Received: width=41. .*40 or 42"),
        (np.ones((2, 32, 32), int), {"seed": [1, 2, 3]}, r"one int per image. .*shape=\(3,\)"),
        (np.ones((32, 32), int), {"noise": np.ones(4)}, r"\(1, 3\). Received: \(1, 4\)"),
        (np.ones((2, 32, 32), int), {"noise": np.ones((1, 3))}, r"\(2, 3\). Received: \(1, 3\)"),
    ],
)
def test_generate_refuses(model, label_map, options, message):
    with pytest.raises(ValueError, match=message):
        model.generate(label_map, **options)


@pytest.mark.parametrize("has_unknown", [True, False])
def test_segment_takes_the_likeliest_known_class(model, has_unknown, monkeypatch):
    monkeypatch.setattr(model, "has_unknown", has_unknown)
    image = make_batch()[0]
    segmentation = model.segment(image)
    assert segmentation.shape == (2, 64, 64) and segmentation.dtype == np.int32
    logits = model.discriminator(image / np.float32(127.5) - 1).numpy()
    first = 1 if has_unknown else 0
    want = logits[..., 1 + first :].argmax(-1) + first
    assert (segmentation == want).mean() > 0.999  # but for rounding
    assert segmentation.min() >= first and segmentation.max() < CLASSES
    np.testing.assert_array_equal(model.segment(image[0]), segmentation[0])


def test_segment_never_answers_unknown(model):
    logits = np.zeros((1, 2, 2, CLASSES + 1), np.float32)
    logits[..., :2] = 100  # "fake" and unknown
    logits[..., 3] = 1
    np.testing.assert_array_equal(model.known_argmax(logits), np.full((1, 2, 2), 2))


def test_segment_refuses_other_channels(model):
    with pytest.raises(ValueError, match="3 channels. Received: .*64, 64, 4"):
        model.segment(np.zeros((1, 64, 64, 4), np.float32))


def test_segment_refuses_sizes_that_do_not_divide(model):
    with pytest.raises(ValueError, match="height of an image .* Received: height=32. .*: 64"):
        model.segment(np.zeros((32, 64, 3)))


# === Edit ===


def regions(seed=0):
    """A label map of a few regions, int [64, 64]."""
    return np.random.default_rng(seed).integers(0, CLASSES, (4, 4)).repeat(16, 0).repeat(16, 1)


def make_fields(label_map):
    """One noise field of every kind."""
    size, image = label_map.shape, editing.image_noise(*label_map.shape, 1, NOISE)
    segments = editing.segment_noise(label_map, 2, NOISE)
    return {
        "image": image,
        "class": editing.class_noise(label_map, 2, NOISE),
        "segment": segments,
        "pixel": editing.pixel_noise(*size, 2, NOISE),
        "region": editing.resample(image, label_map == label_map[0, 0], 5),
        "between": editing.interpolate(image, segments, 0.3, region=np.eye(*size) > 0),
    }


def test_fields_are_painted_as_their_dense_noise(model):
    label_map = regions()
    fields = make_fields(label_map)
    label_maps = np.stack([label_map] * len(fields))
    got = model.generate(label_maps, noise=list(fields.values()))
    assert got.shape == (len(fields), 64, 64, 3) and got.dtype == np.float32
    dense = np.stack([field.dense() for field in fields.values()])
    want = model.generator_ema(label_maps, dense, training=False)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(model.generate(label_maps, noise=dense), got)
    assert all((a != b).any() for a, b in zip(got, got[1:], strict=False))
    for image, field in zip(got, fields.values(), strict=True):  # alone, the very same bits
        np.testing.assert_array_equal(model.generate(label_map, noise=field), image)


def test_one_field_for_all_label_maps(model):
    label_maps = np.stack([regions(), regions(1)])
    field = make_fields(regions())["segment"]
    got = model.generate(label_maps, noise=field)
    np.testing.assert_array_equal(got, model.generate(label_maps, noise=[field, field]))
    assert model.generate(label_maps[:0], noise=field).shape == (0, 64, 64, 3)


def test_edits_of_nothing_and_of_everything(model):
    label_map = regions()
    whole = np.ones(label_map.shape, bool)
    field = editing.resample(make_fields(label_map)["segment"], whole, 2**40)
    want = model.generate(label_map, seed=2**40)
    np.testing.assert_array_equal(model.generate(label_map, noise=field), want)
    field = editing.resample(field, ~whole, 3)
    np.testing.assert_array_equal(model.generate(label_map, noise=field), want)


def test_an_edit_ends_where_the_network_sees_no_further():
    model = randomised(make_model())
    label_map = np.tile(regions(), (1, 3))
    base = editing.image_noise(*label_map.shape, 1, NOISE)
    region = np.zeros(label_map.shape, bool)
    region[:, :16] = True
    images = [
        model.generate(label_map, noise=field)
        for field in (base, editing.resample(base, region, 2))
    ]
    inside, outside = editing.change(*images, region)
    assert inside > 0.01 and 0 < outside < inside
    np.testing.assert_allclose(images[0][:, 96:], images[1][:, 96:], rtol=0, atol=1e-6)


def test_generate_refuses_fields_that_do_not_fit(model):
    label_map = regions()
    label_maps = np.stack([label_map] * 2)
    field, other = make_fields(label_map)["class"], editing.image_noise(64, 32, 0, NOISE)
    for maps, noise, message in [
        (label_map, other, r"size of the label map, \(64, 64\). Received: \(64, 32\)"),
        (label_map, editing.image_noise(64, 64, 0, NOISE + 1), "one length. Received: 4 and 3"),
        (label_map, [field], "A single label map takes a single noise field"),
        (label_maps, [field], "Received: 1 fields for 2 label maps"),
        (label_maps, [field, np.ones(NOISE)], "only noise fields, or only numbers. .* 1 .* 2"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.generate(maps, noise=noise)
    with pytest.raises(ValueError, match="has no noise to edit"):
        make_model(noise_channels=0).generate(label_map, noise=field)


def test_recreate_paints_what_it_segments(model):
    image = make_batch()[0]
    label_map = model.segment(image)
    got = model.recreate(image, seed=[4, 5])
    np.testing.assert_array_equal(got, model.generate(label_map, seed=[4, 5]))
    again = model.recreate(image[0], 4)
    assert again.shape == (64, 64, 3) and again.dtype == np.float32
    np.testing.assert_array_equal(again, model.generate(model.segment(image[0]), 4))
    field = editing.pixel_noise(64, 64, 0, NOISE)
    want = model.generate(label_map, noise=field)
    np.testing.assert_array_equal(model.recreate(image, noise=field), want)


def test_recreate_needs_a_discriminator():
    model = OASIS(make_model().generator, None, has_unknown=True)
    with pytest.raises(ValueError, match="discriminator"):
        model.recreate(make_batch()[0])


def test_labelmix_takes_every_class_from_one_side(model):
    image, label_map = make_batch()
    mixed, mask, generated = model.labelmix(image, label_map, seed=[3, 2**40])
    np.testing.assert_array_equal(generated, model.generate(label_map, seed=[3, 2**40]))
    for k, seed in enumerate([3, 2**40]):
        bits = labelmix_bits(seed, 0, CLASSES)
        np.testing.assert_array_equal(mask[k], labelmix_mask(label_map[k], bits))
    assert set(np.unique(mask)) == {0, 1} and mixed.dtype == mask.dtype == np.float32
    want = np.where(mask == 1, image / np.float32(127.5) - 1, generated)
    np.testing.assert_allclose(mixed, want, atol=1e-6)
    single = model.labelmix(image[1], label_map[1], seed=2**40)
    for part, batch in zip(single, (mixed, mask, generated), strict=True):
        np.testing.assert_array_equal(part, batch[1])


def test_labelmix_refuses_images_of_another_size(model):
    image, label_map = make_batch()
    with pytest.raises(ValueError, match=r"like their label maps. Received: \(2, 32, 64, 3\)"):
        model.labelmix(image[:, :32], label_map)


# === Configuration ===


def test_config_round_trip(model):
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    again = keras.saving.deserialize_keras_object(config)
    assert isinstance(again, OASIS)
    assert again.get_config() == model.get_config()
    again.set_weights(model.get_weights())
    label_map = make_batch()[1]
    np.testing.assert_array_equal(again.generate(label_map), model.generate(label_map))


def test_refuses_networks_of_other_classes():
    with pytest.raises(ValueError, match="same number of classes. Received: 7 and 4"):
        make_model(classes=7)


def test_load_refuses_what_is_no_model_directory(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a model directory"):
        OASIS.load(str(tmp_path))
