"""What a Keras user does with an `OASIS`: fit, evaluate, predict, call, save."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from oasis_tf import OASIS
from oasis_tf.data.datasets import folder_label_space, published_label_space
from oasis_tf.systems.oasis.models import Discriminator, Generator
from oasis_tf.training.optimizer import Adam

CLASSES, NOISE, SIDE = 4, 3, 16
SPACE = folder_label_space(CLASSES, 0, ["sky", "tree", "road"])


def make_model(compiled=True, **options):
    model = OASIS(
        Generator(CLASSES, NOISE, 1, 4, widths=(2, 2, 1)),
        Discriminator(CLASSES, 1, widths=(2, 2)),
        **{"has_unknown": True, "ema_decay": 0.5, "seed": 5} | options,
    )
    if compiled:
        model.compile(Adam(1e-3), Adam(1e-3), run_eagerly=True)
    return model


def batch(count=2, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (count, SIDE, SIDE, 3)).astype(np.uint8)
    return image, rng.integers(0, CLASSES, (count, SIDE, SIDE)).astype(np.int32)


def state(model):
    return [variable.numpy() for variable in model.variables]


@pytest.fixture(scope="module")
def model():
    """A model after a few steps, which no test changes."""
    model = make_model(label_space=SPACE)
    for step in range(3):
        model.train_step(batch(seed=step))
    return model


# === evaluate ===


def test_evaluate_gives_mean_losses_and_changes_nothing(model):
    before = state(model)
    image, label_map = batch(3)
    got = model.evaluate(image, label_map, batch_size=2, verbose=0, return_dict=True)
    assert set(got) == set(model.metric_names)
    for old, new in zip(before, state(model), strict=True):
        np.testing.assert_array_equal(old, new)
    parts = [
        model.evaluate(image[rows], label_map[rows], verbose=0, return_dict=True)
        for rows in (slice(2), slice(2, 3))
    ]
    for name, value in got.items():
        mean = (2 * parts[0][name] + parts[1][name]) / 3
        assert value == pytest.approx(mean, rel=1e-5), name
    again = model.evaluate(image, label_map, batch_size=2, verbose=0, return_dict=True)
    assert again == got


def test_evaluate_is_of_the_networks_in_use(model):
    """Against losses computed from the images of `call` and D's logits outside training."""
    image, label_map = batch()
    got = model.evaluate(image, label_map, verbose=0, return_dict=True)
    seen = {}
    call = model.generator_ema.call
    model.generator_ema.call = lambda *a, **k: seen.setdefault("fake", call(*a, **k))
    try:
        model.losses_in_use(image / np.float32(127.5) - 1, label_map)
    finally:
        del model.generator_ema.call
    logits = model.discriminator(image / np.float32(127.5) - 1, training=False).numpy()
    accuracy = (logits.argmax(-1) == label_map + 1).mean()
    assert got["accuracy_real"] == pytest.approx(accuracy, abs=1e-6)
    fake = model.discriminator(seen["fake"], training=False).numpy()
    fake -= np.log(np.exp(fake).sum(-1, keepdims=True))
    assert got["loss_d_fake"] == pytest.approx(-fake[..., 0].mean(), rel=1e-4)


def test_fit_measures_validation_data():
    model, other = make_model(), make_model()
    other.set_weights(model.get_weights())
    data = tf.data.Dataset.from_tensors(batch())
    history = model.fit(data, validation_data=data, verbose=0).history
    other.fit(*batch(), shuffle=False, verbose=0)
    for mine, its in zip(state(model), state(other), strict=True):
        np.testing.assert_array_equal(mine, its)  # validation changes no bit of training
    want = model.evaluate(data, verbose=0, return_dict=True)
    for name in model.metric_names:
        assert history[f"val_{name}"] == [pytest.approx(want[name], rel=1e-6)]
    one = make_model()
    split = one.fit(*batch(4), validation_data=batch(), batch_size=2, verbose=0).history
    assert set(split) == set(history)


@pytest.mark.slow
def test_in_a_graph(model):
    """`evaluate` and `predict` also as Keras traces them."""
    again = make_model(compiled=False)
    again.set_weights(model.get_weights())
    again.compile(Adam(1e-3), Adam(1e-3))
    image, label_map = batch(3)
    got = again.evaluate(image, label_map, batch_size=2, verbose=0, return_dict=True)
    want = model.evaluate(image, label_map, batch_size=2, verbose=0, return_dict=True)
    assert got == pytest.approx(want, rel=1e-4, abs=1e-5)
    images = again.predict(label_map, batch_size=2, verbose=0)
    np.testing.assert_allclose(images, model.generate(label_map), atol=1e-5)


# === predict, call, export ===


def test_predict_and_calls_are_generate(model):
    label_map = batch(3)[1]
    want = model.generate(label_map)
    np.testing.assert_allclose(model.predict(label_map, verbose=0), want, atol=1e-5)
    np.testing.assert_allclose(model(label_map), want, atol=1e-5)
    data = tf.data.Dataset.from_tensors(label_map)
    np.testing.assert_allclose(model.predict(data, verbose=0), want, atol=1e-5)
    seeds = [7, 2**40, 9]
    np.testing.assert_allclose(
        model(label_map, seed=seeds), model.generate(label_map, seed=seeds), atol=1e-5
    )


def test_a_symbolic_call(model):
    inputs = keras.Input((SIDE, SIDE), dtype="int32")
    label_map = batch()[1]
    wrapped = keras.Model(inputs, model(inputs))
    np.testing.assert_allclose(wrapped(label_map), model.generate(label_map), atol=1e-5)


@pytest.mark.parametrize(
    ("label_map", "message"),
    [
        (batch()[1][0], r"`predict` takes label maps \[B, H, W\]; `generate` takes a single"),
        (batch()[0], "must be integers"),
        (batch()[1] + 1, "model ids 0..3. Received: values from 1 to 4"),
        (batch()[1] / 2, "must be integers"),
    ],
)
def test_predict_refuses(model, label_map, message):
    with pytest.raises(ValueError, match=message):
        model.predict(label_map, verbose=0)


def test_export_says_what_to_call(model, tmp_path):
    with pytest.raises(ValueError, match="save_model_dir.*export.savedmodel"):
        model.export(tmp_path / "saved")
    assert not any(tmp_path.iterdir())


# === Photographs ===


def test_photographs_of_any_integers_are_segmented_alike(model):
    image = batch()[0]
    want = model.segment(image)
    for other in (image.astype(np.int64), tf.constant(image, tf.int32), image / 127.5 - 1):
        np.testing.assert_array_equal(model.segment(other), want)
    logits = model.class_logits(image)
    np.testing.assert_array_equal(model.class_logits(image.astype(np.int64)), logits)
    np.testing.assert_array_equal(model.recreate(image.astype(np.int16)), model.recreate(image))
    inside = tf.function(model.class_logits)(tf.constant(image, tf.int64))
    np.testing.assert_allclose(inside, logits, atol=1e-5)


def test_photographs_of_other_ranges_are_refused(model):
    image, label_map = batch()
    for wrong in (image.astype(np.float32), image.astype(np.int32) * 257):
        for use in (
            model.segment,
            model.class_logits,
            model.recreate,
            lambda image: model.labelmix(image, label_map),
        ):
            with pytest.raises(ValueError, match="must lie in"):
                use(wrong)


class Batches(keras.utils.PyDataset):
    def __init__(self, *batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


FORMS = {
    "arrays": lambda image, label_map: {"x": image, "y": label_map, "shuffle": False},
    "dataset": lambda *pair: {"x": tf.data.Dataset.from_tensors(pair)},
    "generator": lambda *pair: {"x": (one for one in [pair])},
    "py_dataset": lambda *pair: {"x": Batches(pair)},
}


@pytest.mark.parametrize("form", FORMS)
def test_fit_scales_and_refuses_photographs(form):
    image, label_map = batch()
    start, ends = make_model().get_weights(), []
    for same in (image, image.astype(np.int64)):
        model = make_model()
        model.set_weights(start)
        model.fit(**FORMS[form](same, label_map), verbose=0)
        ends.append(model.generator.get_weights())
    for mine, its in zip(*ends, strict=True):
        np.testing.assert_array_equal(mine, its)
    for wrong in (image.astype(np.float32), image.astype(np.int32) * 257):
        with pytest.raises(ValueError, match="`image` of .* must lie in"):
            model.fit(**FORMS[form](wrong, label_map), verbose=0)
    wrong = {k: v for k, v in FORMS[form](image.astype(np.float32), label_map).items() if k in "xy"}
    with pytest.raises(ValueError, match="`image` of .* must lie in"):
        model.evaluate(**wrong, verbose=0)


def test_a_right_dataset_is_not_touched():
    from oasis_tf.systems.oasis.models.keras_data import CheckedData

    data = tf.data.Dataset.from_tensors(batch())
    assert CheckedData()(data) == (data, None)


@pytest.mark.parametrize(
    ("image", "label_map", "message"),
    [
        (batch()[0], np.eye(CLASSES, dtype=np.float32)[batch()[1]], r"not one-hot.*16, 16, 4\)"),
        (batch()[0], batch()[1].astype(np.float32), "`label_map` must be integers.*float32"),
        (batch()[0][..., 0], batch()[1], r"`image` must be \[B, H, W, 3\]"),
    ],
)
def test_fit_refuses_other_batches(image, label_map, message):
    model = make_model()
    with pytest.raises(ValueError, match=message):
        model.fit(image, label_map, verbose=0)
    with pytest.raises(ValueError, match="Received: 3 parts"):
        model.train_step((*batch(), np.ones(2)))


# === Files ===


def test_a_keras_file_keeps_classes_and_training(tmp_path):
    model = make_model(label_space=SPACE)
    model.train_step(batch())
    path = tmp_path / "model.keras"
    model.save(path)
    again = keras.saving.load_model(path)
    assert again.label_space == SPACE and again.class_ids(["road"]) == [3]
    for one in (model, again):
        one.fit(*batch(seed=1), shuffle=False, verbose=0)
    for mine, its in zip(state(model), state(again), strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-6)
    assert int(again.step.numpy()) == 2


def test_a_keras_file_of_an_earlier_release(tmp_path):
    model = make_model(label_space=SPACE)
    config = keras.saving.serialize_keras_object(model)
    del config["config"]["label_space"]
    del config["compile_config"]["discriminator_optimizer"]
    again = keras.saving.deserialize_keras_object(config)
    assert again.label_space is None
    with pytest.raises(ValueError, match="this model has none. Call `compile"):
        again.fit(*batch(), verbose=0)


def test_a_label_space_of_other_classes_is_refused():
    with pytest.raises(ValueError, match="12 classes for networks of 4"):
        make_model(label_space=published_label_space("shapes"))
