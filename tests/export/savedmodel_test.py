"""The SavedModel: whole, without Keras or this package, and bit for bit the images of the model."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from export import savedmodel

SEEDS = np.array([3, 2**40, 0])
SIZES = [(32, 32), (64, 64), (64, 128)]

# Loads and runs the artefact with TensorFlow alone.
CONSUMER = '''
import sys

finders = list(sys.meta_path)

class AllBut:
    """Finds every module but those that must not be needed."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("keras", "tf_keras", "oasis_tf", "export"):
            return None
        specs = (finder.find_spec(name, path, target) for finder in finders)
        return next((spec for spec in specs if spec), None)

sys.meta_path[:] = [AllBut()]
import numpy as np
import tensorflow as tf

path, inputs, outputs = sys.argv[1:]
serve = tf.saved_model.load(path).signatures["serving_default"]
inputs = np.load(inputs)
image = serve(label_map=tf.constant(inputs["label_map"]), seed=tf.constant(inputs["seed"]))["image"]
np.save(outputs, image.numpy())
assert not {"keras", "oasis_tf", "export"} & set(sys.modules)
'''


def label_maps(height, width, batch=3):
    return np.random.default_rng(height + width).integers(0, 5, (batch, height, width), np.int32)


def export_and_load(model, folder):
    path = savedmodel.version_path(folder)
    savedmodel.export(model, path)
    signature = tf.saved_model.load(path).signatures["serving_default"]

    def serve(label_map, seed):
        label_map, seed = tf.constant(label_map, tf.int32), tf.constant(seed, tf.int64)
        return signature(label_map=label_map, seed=seed)["image"].numpy()

    return path, serve


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    return export_and_load(model, tmp_path_factory.mktemp("export") / "oasis")


@pytest.mark.parametrize("size", SIZES)
def test_same_seed_same_image_as_the_model(model, exported, size):
    label_map = label_maps(*size)
    image = exported[1](label_map, SEEDS)
    assert image.shape == (3, *size, 3)
    assert image.dtype == np.float32
    assert 0.05 < np.abs(image).mean() < 0.9
    np.testing.assert_array_equal(image, model.generate(label_map, seed=SEEDS))


@pytest.mark.parametrize("size", SIZES)
def test_an_image_does_not_depend_on_its_batch(exported, size):
    label_map, (_, serve) = label_maps(*size), exported
    batch = serve(label_map, SEEDS)
    for i in range(3):
        np.testing.assert_array_equal(serve(label_map[i : i + 1], SEEDS[i : i + 1])[0], batch[i])


def test_seeds_matter(exported):
    label_map = np.repeat(label_maps(32, 32, batch=1), 2, axis=0)
    first, second = exported[1](label_map, [1, 2])
    assert np.abs(first - second).max() > 0.01


def test_runs_without_keras_and_without_this_package(model, exported, tmp_path):
    label_map = label_maps(64, 128)
    np.savez(tmp_path / "inputs.npz", label_map=label_map, seed=SEEDS)
    arguments = [exported[0], tmp_path / "inputs.npz", tmp_path / "image.npy"]
    subprocess.run([sys.executable, "-c", CONSUMER, *map(str, arguments)], check=True, cwd=tmp_path)
    image = np.load(tmp_path / "image.npy")
    np.testing.assert_array_equal(image, model.generate(label_map, seed=SEEDS))


def test_calls_change_nothing_in_the_artefact_or_the_model(model, exported):
    before = [variable.numpy() for variable in model.generator_ema.variables]
    first = exported[1](label_maps(32, 32), SEEDS)
    for _ in range(2):
        np.testing.assert_array_equal(exported[1](label_maps(32, 32), SEEDS), first)
    for old, variable in zip(before, model.generator_ema.variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())


def test_folded_weights_are_stored_once_and_nothing_else(model, exported):
    engine = model.inference_engine()
    wanted = sorted((tuple(w.shape), w.numpy().tobytes()) for w in engine.weights.values())
    weights = tf.saved_model.load(exported[0]).weights
    assert sorted((tuple(w.shape), w.numpy().tobytes()) for w in weights) == wanted
    total = sum(w.numpy().nbytes for w in weights)
    assert total == 4 * sum(np.prod(v.shape) for v in model.generator.trainable_variables)
    folder = os.path.join(exported[0], "variables")
    stored = sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder))
    assert total <= stored < 1.1 * total
    names = [name for name, _ in tf.train.list_variables(os.path.join(folder, "variables"))]
    assert sum("VARIABLE_VALUE" in name for name in names) == len(weights)


def test_signature_is_what_the_docs_say(exported):
    signature = tf.saved_model.load(exported[0]).signatures["serving_default"]
    inputs = signature.structured_input_signature[1]
    assert inputs["label_map"].shape.as_list() == [None, None, None]
    assert inputs["label_map"].dtype == tf.int32
    assert inputs["seed"].shape.as_list() == [None]
    assert inputs["seed"].dtype == tf.int64
    output = signature.structured_outputs["image"]
    assert output.shape.as_list() == [None, None, None, 3]
    assert output.dtype == tf.float32


@pytest.mark.parametrize(
    ("label_map", "seed", "message"),
    [
        (np.zeros((1, 48, 64)), [0], r"multiples of 32:\] \[48 64\]"),
        (np.zeros((1, 0, 32)), [0], r"positive multiples of 32:\] \[0 32\]"),
        (np.full((1, 32, 32), 5), [0], r"model ids in 0\.\.4.*\[5\]"),
        (np.full((1, 32, 32), -1), [0], r"model ids in 0\.\.4.*\[-1\]"),
        (np.zeros((2, 32, 32)), [0], r"same batch size:\] \[2\] \[1\]"),
        (np.zeros((32, 32)), [0], r"label_map \[32,32\] is not compatible .* \[\?,\?,\?\]"),
    ],
)
def test_bad_inputs_get_a_readable_answer(exported, label_map, seed, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        exported[1](label_map, seed)


def test_model_without_noise_exports(model_without_noise, tmp_path):
    label_map = label_maps(32, 64)
    image = export_and_load(model_without_noise, tmp_path)[1](label_map, SEEDS)
    np.testing.assert_array_equal(image, model_without_noise.generate(label_map))


def test_a_failed_export_leaves_nothing(model, tmp_path, monkeypatch):
    def fails(module, path, **kwargs):
        os.makedirs(os.path.join(path, "variables"))
        raise OSError("disk full")

    monkeypatch.setattr(tf.saved_model, "save", fails)
    with pytest.raises(OSError, match="disk full"):
        savedmodel.export(model, str(tmp_path / "1"))
    assert os.listdir(tmp_path) == []


def test_versions_count_up_and_are_never_replaced(tmp_path):
    output = tmp_path / "new"
    assert savedmodel.version_path(output) == str(output / "1")
    assert not output.exists()
    for name in ("2", "10", ".11.123.tmp", "notes"):
        (output / name).mkdir(parents=True)
    assert savedmodel.version_path(output) == str(output / "11")
    assert savedmodel.version_path(output, 3) == str(output / "3")
    with pytest.raises(ValueError, match="Version 10 exists: .*leave out --version"):
        savedmodel.version_path(output, 10)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        savedmodel.version_path(tmp_path / "file")
