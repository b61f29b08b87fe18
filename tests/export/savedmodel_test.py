"""The SavedModel: whole, without Keras or this package, and bit for bit the images of the model."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from tensorflow.python.framework import op_def_registry

from export import savedmodel
from oasis_tf.systems.oasis import editing
from oasis_tf.systems.oasis.serving.signatures import (
    ALWAYS,
    NEED_LOCAL_NOISE,
    NEED_SEGMENTER,
    NEED_VECTOR,
    serving_module,
)
from tests.export.loading import LoadedModel, meta_graph

SEEDS, OTHERS = np.array([3, 2**40, 0]), np.array([-1, 7, 2**62])
SIZES = [(32, 32), (64, 64), (8, 96)]

# Runs every signature of an artefact with TensorFlow alone.
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
signatures, inputs = tf.saved_model.load(path).signatures, np.load(inputs)
found = {}
for name in {key.split("/")[0] for key in inputs}:
    signature = signatures[name]
    wanted = signature.structured_input_signature[1]
    given = {k: tf.constant(inputs[f"{name}/{k}"], spec.dtype) for k, spec in wanted.items()}
    found |= {f"{name}/{k}": value.numpy() for k, value in signature(**given).items()}
np.savez(outputs, **found)
assert not {"keras", "oasis_tf", "export"} & set(sys.modules)
'''
# The same in a session, which is how TensorFlow Serving runs it.
SESSION_CONSUMER = """
import sys
import numpy as np
import tensorflow as tf

path, inputs, outputs = sys.argv[1:]
inputs, found = np.load(inputs), {}
with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    signatures = tf.compat.v1.saved_model.load(session, ["serve"], path).signature_def
    for name in {key.split("/")[0] for key in inputs}:
        wanted, outs = signatures[name].inputs, signatures[name].outputs
        feeds = {info.name: inputs[f"{name}/{k}"] for k, info in wanted.items()}
        values = session.run({k: info.name for k, info in outs.items()}, feeds)
        found |= {f"{name}/{k}": value for k, value in values.items()}
np.savez(outputs, **found)
"""


def label_maps(height, width, batch=3):
    rng = np.random.default_rng(height + width)
    return rng.integers(0, 5, (batch, height // 4, width // 4)).repeat(4, 1).repeat(4, 2)


def inputs_of(session, rng, *size):
    """Inputs of three images for all signatures that take numbers."""
    values = {
        "label_map": label_maps(*size).astype(np.int32),
        "region": rng.integers(-1, 2, (3, *size), np.int32),
        "image": rng.uniform(-1, 1, (3, *size, 3)).astype(np.float32),
        "noise": rng.normal(size=(3, 8)).astype(np.float32),
        "seed": SEEDS,
        "region_seed": OTHERS,
    }
    return {
        name: {key: values[key] for key in signature.inputs}
        for name, signature in session.signatures.items()
        if set(signature.inputs) <= set(values)
    }


@pytest.fixture(scope="module")
def plain(shallow_plain_model, tmp_path_factory):
    """A model without noise and discriminator: its export's folder."""
    path = str(tmp_path_factory.mktemp("plain") / "1")
    savedmodel.export(shallow_plain_model, path)
    return path


# === The model's numbers ===


@pytest.mark.parametrize("size", SIZES)
def test_same_seed_same_bits_as_the_model(shallow_model, session, size):
    label_map = label_maps(*size).astype(np.int32)
    image = session.run("serving_default", {"label_map": label_map, "seed": SEEDS})["image"]
    assert (image.shape, image.dtype) == ((3, *size, 3), np.float32)
    assert 0.05 < np.abs(image).mean() < 0.9
    assert np.abs(image[0] - image[1]).max() > 0.01
    np.testing.assert_array_equal(image, shallow_model.generate(label_map, seed=SEEDS))


def test_without_a_seed_it_is_0(shallow_model, session):
    label_map = label_maps(32, 32).astype(np.int32)
    image = session.run("synthesize", {"label_map": label_map})["image"]
    np.testing.assert_array_equal(image, shallow_model.generate(label_map, seed=0))


def test_noise_of_ones_own(shallow_model, session):
    label_map = label_maps(32, 32).astype(np.int32)
    noise = shallow_model.sample_noise(SEEDS, 3).numpy()
    image = session.run("noise", {"label_map": label_map, "noise": noise})["image"]
    np.testing.assert_array_equal(image, shallow_model.generate(label_map, seed=SEEDS))
    image = session.run("noise", {"label_map": label_map, "noise": 2 * noise})["image"]
    np.testing.assert_array_equal(image, shallow_model.generate(label_map, noise=2 * noise))


def test_a_region_has_the_noise_of_its_seed(shallow_model, session):
    label_map = label_maps(32, 32).astype(np.int32)
    base, other = (shallow_model.generate(label_map, seed=s) for s in (SEEDS, OTHERS))

    def resampled(region):
        inputs = {"label_map": label_map, "seed": SEEDS, "region_seed": OTHERS}
        return session.run("resample", inputs | {"region": region.astype(np.int32)})["image"]

    nothing = np.zeros((3, 32, 32))
    np.testing.assert_array_equal(resampled(nothing), base)
    np.testing.assert_array_equal(resampled(nothing - 5), other)
    region = nothing.copy()
    region[:, :, 20:] = 2
    fields = [
        editing.resample(editing.image_noise(32, 32, int(seed), 8), part != 0, int(inside))
        for seed, inside, part in zip(SEEDS, OTHERS, region, strict=True)
    ]
    image = resampled(region)
    np.testing.assert_array_equal(image, shallow_model.generate(label_map, noise=fields))
    assert (image != base).any() and (image != other).any()


def test_segments_and_recreates_as_the_model(shallow_model, session):
    rng = np.random.default_rng(0)
    image = rng.uniform(-1, 1, (3, 16, 64, 3)).astype(np.float32)
    found = session.run("segment", {"image": image})
    want = shallow_model.segment(image)
    assert len(np.unique(want)) > 1
    np.testing.assert_array_equal(found["label_map"], want)
    logits = shallow_model.discriminator(image, training=False).numpy()
    shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(found["fake_probability"], shares[..., 0], rtol=1e-4)
    recreated = session.run("recreate", {"image": image, "seed": SEEDS})
    np.testing.assert_array_equal(recreated["label_map"], want)
    np.testing.assert_array_equal(recreated["image"], shallow_model.recreate(image, seed=SEEDS))


def test_an_image_does_not_depend_on_its_batch(session):
    for name, inputs in inputs_of(session, np.random.default_rng(1), 8, 64).items():
        batch = session.run(name, inputs)
        for k in range(3):
            one = session.run(name, {key: value[k : k + 1] for key, value in inputs.items()})
            for key, value in one.items():
                np.testing.assert_array_equal(value[0], batch[key][k], err_msg=f"{name} {key}")


def test_without_noise_and_discriminator(shallow_plain_model, plain):
    loaded = LoadedModel(plain)
    assert sorted(loaded.signatures) == sorted(ALWAYS)
    label_map = label_maps(32, 64).astype(np.int32)
    image = loaded.run("serving_default", {"label_map": label_map, "seed": SEEDS})["image"]
    np.testing.assert_array_equal(image, shallow_plain_model.generate(label_map))


def test_no_images_give_no_images(session):
    label_map = np.zeros((0, 32, 64), np.int32)
    found = session.run("serving_default", {"label_map": label_map, "seed": SEEDS[:0]})
    assert found["image"].shape == (0, 32, 64, 3)


@pytest.mark.slow
def test_dense_batches_equal_image_by_image(shallow_model, session, tmp_path):
    path = str(tmp_path / "1")
    savedmodel.export(shallow_model, path, batching="dense")
    loaded = LoadedModel(path)
    for name, inputs in inputs_of(session, np.random.default_rng(1), 16, 64).items():
        found = loaded.run(name, inputs)
        for key, value in session.run(name, inputs).items():
            np.testing.assert_allclose(found[key], value, atol=1e-5, err_msg=f"{name} {key}")
    generation = loaded.run("synthesize", {"label_map": np.zeros((0, 32, 64), np.int32)})
    assert generation["image"].shape == (0, 32, 64, 3)


def test_a_dense_batch_is_computed_without_a_loop(shallow_plain_model):
    module, _ = serving_module(shallow_plain_model, 64 * 64, "dense")
    label_map = label_maps(32, 64).astype(np.int32)
    image = module.synthesize(label_map)["image"]
    np.testing.assert_allclose(image, shallow_plain_model.generate(label_map), atol=1e-5)
    library = module.synthesize.get_concrete_function().graph.as_graph_def().library
    operations = {node.op for function in library.function for node in function.node_def}
    assert "Conv2D" in operations and not operations & {"While", "StatelessWhile"}


def test_a_batch_is_computed_image_by_image_by_default():
    values = flags.FlagValues()
    savedmodel.define_flags(values)
    assert values["batching"].default == "image"


# === Elsewhere ===


@pytest.mark.slow
def test_other_processes_and_loaders_give_the_same_bits(exported, session, tmp_path):
    """TensorFlow without Keras and this package, also in a session.

    With as many threads: on some processors the bits of convolutions depend on their number.
    """
    inputs = inputs_of(session, np.random.default_rng(2), 64, 64)
    found = {name: session.run(name, given) for name, given in inputs.items()}
    np.savez(tmp_path / "inputs.npz", **flat(inputs))
    for consumer in (CONSUMER, SESSION_CONSUMER):
        arguments = [exported, tmp_path / "inputs.npz", tmp_path / "outputs.npz"]
        subprocess.run(
            [sys.executable, "-c", consumer, *map(str, arguments)],
            check=True,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": source()},
        )
        with np.load(tmp_path / "outputs.npz") as outputs:
            assert set(outputs) == set(flat(found))
            for name, value in flat(found).items():
                np.testing.assert_array_equal(outputs[name], value, err_msg=name)


def flat(values):
    return {f"{name}/{key}": v for name, part in values.items() for key, v in part.items()}


def source():
    return os.path.dirname(os.path.dirname(savedmodel.__file__))


# === What is in it ===

MAP, IMAGE, SEED = ("int32", (-1, -1, -1)), ("float32", (-1, -1, -1, 3)), ("int64", (-1,))
FILES, SEED_LISTS = ("object", (-1,)), ("int64", (-1, -1))
CONTRACT = {
    "serving_default": ({"label_map": MAP, "seed": SEED}, {"image": IMAGE}),
    "synthesize": ({"label_map": MAP}, {"image": IMAGE}),
    "noise": ({"label_map": MAP, "noise": ("float32", (-1, 8))}, {"image": IMAGE}),
    "resample": (
        {"label_map": MAP, "seed": SEED, "region": MAP, "region_seed": SEED},
        {"image": IMAGE},
    ),
    "segment": (
        {"image": IMAGE},
        {"label_map": MAP, "fake_probability": ("float32", (-1, -1, -1))},
    ),
    "recreate": ({"image": IMAGE, "seed": SEED}, {"image": IMAGE, "label_map": MAP}),
    "png": ({"label_map_bytes": FILES, "seed": SEED}, {"image_bytes": FILES}),
    "png_edit": (
        {
            "label_map_bytes": FILES,
            "noise_index_bytes": FILES,
            "seed": SEED_LISTS,
            "other_seed": SEED_LISTS,
            "share": ("float64", (-1,)),
        },
        {"image_bytes": FILES},
    ),
    "png_resample": (
        {"label_map_bytes": FILES, "seed": SEED, "region_bytes": FILES, "region_seed": SEED},
        {"image_bytes": FILES},
    ),
    "png_segment": ({"image_bytes": FILES}, {"label_map_bytes": FILES}),
    "png_recreate": (
        {"image_bytes": FILES, "seed": SEED},
        {"image_bytes": FILES, "label_map_bytes": FILES},
    ),
}


def test_signatures_are_what_the_docs_say(session):
    found = {
        name: tuple(
            {key: (info.dtype.name, info.shape) for key, info in part.items()}
            for part in (signature.inputs, signature.outputs)
        )
        for name, signature in session.signatures.items()
    }
    assert found == CONTRACT
    assert set(found) == {*ALWAYS, *NEED_VECTOR, *NEED_LOCAL_NOISE, *NEED_SEGMENTER}


def test_rules_of_tensorflow_serving(exported, plain):
    for path in (exported, plain):
        found = meta_graph(path).signature_def
        del found["__saved_model_init_op"]
        assert set(found) >= set(ALWAYS)
        for signature in found.values():
            assert signature.method_name == "tensorflow/serving/predict"
            for info in (*signature.inputs.values(), *signature.outputs.values()):
                assert info.tensor_shape.dim[0].size == -1
            for name, info in signature.outputs.items():
                assert name.endswith("_bytes") == (info.dtype == tf.string.as_datatype_enum)


def test_operations_are_tensorflows_own(exported):
    graph = meta_graph(exported)
    assert list(graph.meta_info_def.tags) == ["serve"]
    functions = {function.signature.name for function in graph.graph_def.library.function}
    nodes = list(graph.graph_def.node)
    for function in graph.graph_def.library.function:
        nodes += function.node_def
    operations = {node.op for node in nodes} - functions
    assert {"Conv2D", "DecodePng", "StatelessRandomNormalV2"} <= operations
    assert not {name for name in operations if "PyFunc" in name or "Xla" in name}
    assert not [name for name in operations if op_def_registry.get(name) is None]


def test_folded_weights_are_stored_once_and_nothing_else(shallow_model, exported):
    engines = shallow_model.inference_engine(), shallow_model.segmentation_engine()
    wanted = sorted(
        (tuple(w.shape), w.numpy().tobytes()) for part in engines for w in part.weights.values()
    )
    stored = tf.train.load_checkpoint(os.path.join(exported, "variables", "variables"))
    names = [name for name in stored.get_variable_to_shape_map() if "VARIABLE_VALUE" in name]
    values = [stored.get_tensor(name) for name in names]
    assert sorted((value.shape, value.tobytes()) for value in values) == wanted
    networks = shallow_model.generator, shallow_model.discriminator
    total = sum(value.nbytes for value in values)
    assert total == 4 * sum(np.prod(v.shape) for n in networks for v in n.trainable_variables)
    folder = os.path.join(exported, "variables")
    size = sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder))
    assert total <= size < 1.1 * total + 5000


def test_calls_change_nothing_in_the_artefact_or_the_model(shallow_model, session):
    before = [variable.numpy() for variable in shallow_model.variables]
    inputs = inputs_of(session, np.random.default_rng(3), 32, 32)
    first = flat({name: session.run(name, given) for name, given in inputs.items()})
    again = flat({name: session.run(name, given) for name, given in inputs.items()})
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name], err_msg=name)
    for old, variable in zip(before, shallow_model.variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())


# === Refusals ===

LABEL_MAP = np.zeros((2, 32, 32), np.int32)
PHOTO = np.zeros((1, 32, 32, 3), np.float32)
TWO, ONE = np.array([1, 2]), np.array([1])
OTHER_SIZE = r"`region` must have the batch and size of `label_map`\. Received: \[2 32 16\]"


@pytest.mark.parametrize(
    ("signature", "inputs", "message"),
    [
        ("synthesize", [LABEL_MAP[:, :30]], r"`label_map` must be positive multiples of 4\. Rec.*: "
         r"height 30, width 32"),
        ("synthesize", [LABEL_MAP[:, :0]], r"positive multiples of 4.*height 0, width 32"),
        ("synthesize", [LABEL_MAP + 5], r"model ids 0\.\.4\. Received: values from 5 to 5"),
        ("synthesize", [LABEL_MAP - 1], r"model ids 0\.\.4\. Received: values from -1 to -1"),
        ("synthesize", [LABEL_MAP[0]], r"label_map.*\[32,32\] is not compat.* \[\?,\?,\?\]"),
        ("synthesize", [np.zeros((1, 64, 100), np.int32)], r"may have 6144 pixels at most.*"
         r"height 64, width 100\. Make it smaller"),
        ("serving_default", [LABEL_MAP, ONE], r"`label_map` and `seed` .*batch.*2 and 1"),
        ("noise", [LABEL_MAP, np.zeros((2, 7), np.float32)], r"noise.*\[2,7\].*\[\?,8\]"),
        ("noise", [LABEL_MAP, np.zeros((1, 8), np.float32)], r"`noise` .*batch.*2 and 1"),
        ("noise", [LABEL_MAP, np.full((2, 8), np.nan, np.float32)], r"`noise` must be finite"),
        ("noise", [LABEL_MAP, np.full((2, 8), 1e38, np.float32)], r"Received: 16 values that"),
        ("resample", [LABEL_MAP, TWO, LABEL_MAP[:, :, :16], TWO], OTHER_SIZE),
        ("resample", [LABEL_MAP, TWO, LABEL_MAP, ONE], r"`label_map` and `region_seed` .*batch"),
        ("segment", [PHOTO[:, :20]], r"`image` must be positive multiples of 8"),
        ("segment", [PHOTO[..., :1]], r"image.*\[1,32,32,1\].*\[\?,\?,\?,3\]"),
        ("segment", [PHOTO + 255], r"`image` must be in \[-1\.0, 1\.0\]\. Received: .*255"),
        ("segment", [PHOTO + np.nan], r"`image` must be in"),
        ("recreate", [PHOTO, TWO], r"`image` and `seed` .*batch.*1 and 2"),
    ],
)  # fmt: skip
def test_bad_inputs_get_a_readable_answer(session, signature, inputs, message):
    names = list(CONTRACT[signature][0])
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        session.run(signature, dict(zip(names, inputs, strict=True)))


# === Writing ===


def test_a_failed_export_leaves_nothing(shallow_plain_model, tmp_path, monkeypatch):
    def fails(module, path, **kwargs):
        os.makedirs(os.path.join(path, "variables"))
        raise OSError("disk full")

    monkeypatch.setattr(tf.saved_model, "save", fails)
    with pytest.raises(OSError, match="disk full"):
        savedmodel.export(shallow_plain_model, str(tmp_path / "1"))
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


def test_patterns_are_refused_before_work(tmp_path):
    with pytest.raises(ValueError, match=r"without \[ \] \* and \?.*sm \[1\], with \[ \]"):
        savedmodel.version_path(tmp_path / "sm [1]")
    with pytest.raises(ValueError, match="takes for a pattern"):
        savedmodel.export(None, tmp_path / "a*" / "1")
    assert os.listdir(tmp_path) == []
