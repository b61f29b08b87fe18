"""Model directories of OASIS: all there is to a run comes back, and models are ready for use."""

import json
import os

import numpy as np
import pytest

from oasis_tf import OASIS
from oasis_tf.systems.oasis.build import build_model
from oasis_tf.training.metrics_file import MetricsFile
from oasis_tf.training.named_weights import forward_state, named_weights
from oasis_tf.training.store import CheckpointStore, DamagedCheckpointError, assign_all


def truncate(store, step, name="training.npz"):
    os.truncate(os.path.join(store.path(step), name), 1000)


def test_every_variable_of_a_run_comes_back(perturbed, tmp_path):
    """Both networks, the average, both optimizers, the step."""
    task, arrays = perturbed
    store = CheckpointStore(str(tmp_path))
    model = task.model
    objects = [*model.generator.variables, *model.generator_ema.variables]
    objects += [*model.discriminator.variables, model.step]
    objects += [*model.generator_optimizer.variables, *model.discriminator_optimizer.variables]
    variables = task.variables()
    assert {id(v) for v in variables.values()} == {id(v) for v in objects}
    assert len(variables) == len(objects)
    store.save(1, {name: v.numpy() for name, v in variables.items()}, {})
    for variable in variables.values():
        variable.assign(np.zeros(variable.shape))
    assign_all(variables, store.read(1, "training"), "here")
    for name, variable in task.variables().items():
        np.testing.assert_array_equal(variable.numpy(), arrays[name], err_msg=name)


@pytest.fixture(scope="module")
def saved(make_config, tmp_path_factory):
    """(model directory, arrays of step 3, statistics of step 3); step 7 holds other numbers."""
    config, path = make_config(), str(tmp_path_factory.mktemp("model"))
    config.save(path)
    model, rng = build_model(config), np.random.default_rng(0)
    names = {
        f"{name}/{key}": variable.shape
        for name in ("generator", "generator_ema", "discriminator")
        for key, variable in named_weights(getattr(model, name)).items()
    }
    states = {name: v.shape for name, v in forward_state(model.generator_ema).items()}
    saved = {}
    for step in (3, 7):
        arrays = {name: rng.random(shape, np.float32) for name, shape in names.items()}
        arrays["step"] = np.int64(step)
        statistics = {name: rng.random(shape, np.float32) for name, shape in states.items()}
        saved[step] = (arrays, statistics)
        CheckpointStore(path).save(step, arrays, statistics)
    return path, saved


@pytest.mark.parametrize("step", [None, 3])
def test_load_gives_the_average_its_own_statistics(saved, step):
    path, contents = saved
    model = OASIS.load(path, step)
    arrays, statistics = contents[step or 7]
    assert int(model.step.numpy()) == (step or 7)
    assert model.label_space.num_classes == 12 and model.config.model.noise_channels == 4
    for name in ("generator", "discriminator"):
        for key, variable in named_weights(getattr(model, name)).items():
            np.testing.assert_array_equal(variable.numpy(), arrays[f"{name}/{key}"])
    for key, variable in named_weights(model.generator_ema).items():
        want = statistics.get(key, arrays[f"generator_ema/{key}"])
        np.testing.assert_array_equal(variable.numpy(), want)


def test_load_takes_the_best_by_the_evaluations(saved, make_config, tmp_path):
    path, contents = saved
    with pytest.raises(ValueError, match=r"no best checkpoint: none of \[3, 7\] was evaluated"):
        OASIS.load(path, "best")
    with pytest.raises(ValueError, match=r"has no checkpoint newest. It has: \[3, 7\]"):
        OASIS.load(path, "newest")
    make_config(best_metric="segmentation/miou").save(tmp_path)
    store, metrics = CheckpointStore(str(tmp_path)), MetricsFile(str(tmp_path))
    for step, score in ((3, 0.5), (5, 0.9), (7, 0.4)):
        metrics.append_evaluation(step, {"fid_seeded64": score, "segmentation/miou": score})
        if step in contents:
            store.save(step, *contents[step])
    assert int(OASIS.load(str(tmp_path), "best").step.numpy()) == 3
    truncate(store, 3)
    with pytest.raises(DamagedCheckpointError, match="step_00000003 is damaged"):
        OASIS.load(str(tmp_path), checkpoint="best")


def test_load_errors(saved, make_config, tmp_path):
    path, _ = saved
    with pytest.raises(ValueError, match=r"has no checkpoint 5. It has: \[3, 7\]"):
        OASIS.load(path, 5)
    with pytest.raises(FileNotFoundError, match="not a model directory"):
        OASIS.load(str(tmp_path))
    make_config().save(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="has no checkpoint yet"):
        OASIS.load(str(tmp_path))


@pytest.mark.parametrize("name", ["training.npz", "inference.npz"])
def test_load_skips_a_damaged_checkpoint(saved, tmp_path, name):
    path, contents = saved
    with open(os.path.join(path, "config.json")) as file:
        (tmp_path / "config.json").write_text(json.dumps(json.load(file)))
    store = CheckpointStore(str(tmp_path))
    for step, content in contents.items():
        store.save(step, *content)
    truncate(store, 7, name)
    assert int(OASIS.load(str(tmp_path)).step.numpy()) == 3
    with pytest.raises(DamagedCheckpointError, match=f"{name} is not what"):
        OASIS.load(str(tmp_path), 7)
