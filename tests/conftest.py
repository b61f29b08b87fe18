"""Fixtures of all tests."""

import ctypes
import gc
import inspect
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read when TensorFlow is first imported

import oasis_tf

_PEAKS = {}  # process of the tests -> KiB


def pytest_sessionfinish(session):
    """Each process of the tests reports its highest memory use."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    getattr(session.config, "workeroutput", _PEAKS)["main"] = peak


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    if hasattr(node, "workeroutput"):  # not if the process died
        _PEAKS[node.gateway.id] = node.workeroutput["main"]


def pytest_terminal_summary(terminalreporter):
    peaks = ", ".join(f"{name} {peak / 2**20:.1f} GiB" for name, peak in sorted(_PEAKS.items()))
    terminalreporter.write_line(f"Most memory held: {peaks}")


def pytest_collection_finish():
    """What has been imported stays, and graphs are large: to look for garbage there takes long."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)


@pytest.fixture(scope="module", autouse=True)
def memory_of_graphs():
    """Frees the graphs of a file's tests.

    TensorFlow keeps the gradient of every `custom_gradient` that is called in a graph for good,
    under a name of its own, and the gradient keeps the graph: some 25 MB for a small generator.
    """
    yield
    if "tensorflow" in sys.modules:
        from tensorflow.python.framework.ops import gradient_registry

        gradients = gradient_registry._registry
        for name in [name for name in gradients if name.startswith("CustomGradient-")]:
            del gradients[name]
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)


@pytest.fixture
def run_module(tmp_path):
    """Runs `python -m MODULE ARGUMENTS…` in a new process, outside the repository.

    Returns:
        function(module, *arguments, cwd=tmp_path, timeout=900) -> CompletedProcess with text in
        `stdout` and `stderr`. It uses the `oasis_tf` and `export` under test, even if they are not
        installed.
    """
    source = str(Path(oasis_tf.__file__).resolve().parents[1])

    def run(module, *arguments, cwd=tmp_path, timeout=900):
        return subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            cwd=cwd,
            env=os.environ | {"PYTHONPATH": source},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture(scope="session")
def write_shapes(tmp_path_factory):
    """Prepares procedural scenes.

    Returns:
        function(train, val, size=64) -> folder of a prepared data set with so many scenes. The
        k-th has the key `SPLIT_k`. Training scenes have seed 0, validation scenes seed 1.
    """
    from oasis_tf.data.datasets import published_label_space
    from oasis_tf.data.examples import ShapesScene
    from oasis_tf.data.preparation import prepare

    def write(train, val, size=64):
        path = str(tmp_path_factory.mktemp("data") / "shapes")
        splits = {
            split: [ShapesScene(f"{split}_{k:02}", seed, k, size, size) for k in range(count)]
            for split, count, seed in (("train", train, 0), ("val", val, 1))
        }
        prepare(splits, published_label_space("shapes"), path, num_workers=1)
        return path

    return write


def _weights_at_random(variables, rng):
    """Samples weights that keep the scale of features: images are neither flat nor saturated."""
    values = {}
    for name, variable in variables.items():
        stem, shape = name.rsplit("/", 1)[0], variable.shape
        if name.endswith("kernel"):
            gain = np.float32(np.sqrt(2 / np.prod(shape[:-1])))
            values[name] = gain * rng.standard_normal(shape, np.float32)
            left, _, right = np.linalg.svd(
                values[name].reshape(-1, shape[-1]).T, full_matrices=False
            )
            values |= {f"{stem}/u": left[:, 0], f"{stem}/v": right[0]}
        elif name.endswith("moving_variance"):
            values[name] = 0.5 + rng.random(shape, np.float32)
        elif not name.endswith(("/u", "/v")):
            values[name] = 0.2 * rng.standard_normal(shape, np.float32)
    return {name: values[name] for name in variables}


@pytest.fixture(scope="session")
def write_model(tmp_path_factory):
    """Writes model directories for `shapes` at 64x64, as after training, with random weights.

    Returns:
        function(data_dir="nowhere", step=2, **settings of the model) -> folder. Unless `settings`
        say otherwise, the networks are shallow, which makes them quick to trace. The batch
        statistics for inference differ from those of training.
    """
    from oasis_tf.data.datasets import published_label_space
    from oasis_tf.systems.oasis.build import build_model, networks
    from oasis_tf.systems.oasis.config import Config, DataConfig, ModelConfig, TrainingConfig
    from oasis_tf.training.named_weights import forward_state, named_weights
    from oasis_tf.training.store import CheckpointStore

    shallow = {"generator_widths": (4, 4, 2, 1), "discriminator_widths": (2, 4, 4)}

    def write(data_dir="nowhere", step=2, **settings):
        config = Config(
            model=ModelConfig(num_classes=12, has_unknown=False, **shallow | settings),
            data=DataConfig(data_dir=data_dir, crop_height=64, crop_width=64),
            training=TrainingConfig(steps=step),
            label_space=published_label_space("shapes"),
        )
        path = str(tmp_path_factory.mktemp("model"))
        config.save(path)
        model, rng = build_model(config), np.random.default_rng(0)
        training = {
            f"{name}/{key}": value
            for name, network in networks(model).items()
            for key, value in _weights_at_random(named_weights(network), rng).items()
        } | {"step": np.int64(step)}
        inference = {
            key: training[f"generator_ema/{key}"] for key in forward_state(model.generator_ema)
        }
        for key, value in inference.items():
            if key.endswith("moving_variance"):
                inference[key] = value * (0.5 + rng.random(value.shape, np.float32))
        CheckpointStore(path).save(step, training, inference)
        return path

    return write


@pytest.fixture(scope="session")
def golden():
    """Recorded numbers of the official release by name; see golden/README.md."""
    with np.load(Path(__file__).parent / "golden" / "oasis_square.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def state_dict(golden):
    """function(prefix) -> entries `prefix/…` of `golden`, by official name."""

    def under(prefix):
        start = f"{prefix}/"
        return {k.removeprefix(start): v for k, v in golden.items() if k.startswith(start)}

    return under


POLICIES = ("float32", "float64", "mixed_bfloat16", "mixed_float16")


def _call(layer, inputs, training):
    """Calls a layer, also one that does not take `training`."""
    takes_training = "training" in inspect.signature(layer.call).parameters
    return layer(*inputs, **({"training": training} if takes_training else {}))


def _randomise(layer, inputs):
    """Assigns random weights, so that zeros hide nothing, and updates the state for them."""
    rng = np.random.default_rng(0)
    layer(*inputs)
    for variable in layer.trainable_variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    for _ in range(5):
        _call(layer, inputs, training=True)


def _check_config(layer):
    import keras

    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    serialized = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    restored = keras.saving.deserialize_keras_object(serialized)
    assert type(restored) is type(layer)
    assert restored.get_config() == layer.get_config()


def _check_symbolic(make, inputs, path):
    """Checks that a functional model, and its .keras file, give the values of the eager call."""
    import keras

    layer = make()
    _randomise(layer, inputs)
    want = layer(*inputs)
    keras_inputs = [keras.Input(x.shape[1:], dtype=x.dtype.name) for x in inputs]
    output = layer(*keras_inputs)
    shapes = layer.compute_output_shape(*(x.shape for x in inputs))
    assert shapes == keras.tree.map_structure(lambda y: y.shape, want)
    model = keras.Model(keras_inputs, output)
    got = model(list(inputs))
    for out, y, g in zip(*map(keras.tree.flatten, (output, want, got)), strict=True):
        assert out.dtype == keras.backend.standardize_dtype(y.dtype)
        assert out.shape == (None, *y.shape[1:])
        np.testing.assert_allclose(g, y, rtol=1e-6, atol=1e-6)
    model.save(path)
    again = keras.saving.load_model(path)(list(inputs))
    for a, g in zip(*map(keras.tree.flatten, (again, got)), strict=True):
        np.testing.assert_array_equal(a, g)


def _check_policy(make, inputs, policy):
    import keras

    layer = make(dtype=policy)
    kind = keras.DTypePolicy(policy)
    whole = isinstance(layer, keras.Model)  # networks return the type of their variables
    for output in keras.tree.flatten(_call(layer, inputs, training=True)):
        assert output.dtype == (kind.variable_dtype if whole else kind.compute_dtype)
        assert np.isfinite(keras.ops.cast(output, "float64")).all()
    assert {variable.dtype for variable in layer.variables} <= {kind.variable_dtype}
    for part in layer._flatten_layers():
        assert part.dtype_policy == kind, part.path


def _check_gradients(make, inputs):
    import keras
    import tensorflow as tf

    layer = make(dtype="float64")
    _randomise(layer, inputs)
    variables = layer.trainable_variables
    with tf.GradientTape() as tape:
        loss = sum(tf.reduce_sum(y**3) for y in keras.tree.flatten(layer(*inputs)))
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        assert gradient is not None, variable.path
        assert np.isfinite(gradient).all(), variable.path
        assert np.abs(gradient).max() > 0, variable.path


@pytest.fixture
def keras_contract(tmp_path):
    """Checks what every Keras layer must do.

    Returns:
        function(make, *inputs, policies=POLICIES): `make(**options)` creates a layer or network,
        `inputs` are arrays to call it with. The function checks the round trip of the
        configuration, symbolic against eager calls, .keras files, types under every policy, and
        that every trainable weight has a gradient.
    """

    def check(make, *inputs, policies=POLICIES):
        _check_config(make())
        _check_symbolic(make, inputs, tmp_path / "model.keras")
        for policy in policies:
            _check_policy(make, inputs, policy)
        _check_gradients(make, inputs)

    return check


@pytest.fixture
def touch(tmp_path):
    """function(*paths): makes empty files below `tmp_path`."""

    def make(*paths):
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()

    return make


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def check_same(rng):
    """Checks that two computations give the same values and the same gradients of all sources.

    Returns:
        function(fast, slow, sources, tolerance=1e-10): ``fast`` and ``slow`` take no arguments and
        return (nested) tensors computed from ``sources``, which are tensors or variables.
    """
    import tensorflow as tf

    def check(fast, slow, sources, tolerance=1e-10):
        sources = [getattr(source, "value", source) for source in sources]
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(sources)
            got, want = (tf.nest.flatten(way()) for way in (fast, slow))
            # Any upstream gradient would do; a random one gives every value its own weight.
            targets = [rng.normal(size=y.shape) for y in want]
            losses = [
                sum(tf.reduce_sum(y * t) for y, t in zip(ys, targets, strict=True))
                for ys in (got, want)
            ]
        got += (tf.convert_to_tensor(g) for g in tape.gradient(losses[0], sources))
        want += (tf.convert_to_tensor(g) for g in tape.gradient(losses[1], sources))
        for g, w in zip(got, want, strict=True):
            assert g.dtype == w.dtype
            np.testing.assert_allclose(g, w, rtol=tolerance, atol=tolerance)

    return check
