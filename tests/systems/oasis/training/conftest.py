"""A tiny data set, its configuration, and one compiled run that the tests of training share."""

import dataclasses

import numpy as np
import pytest

from oasis_tf.data.datasets import published_label_space
from oasis_tf.systems.oasis.config import Config, DataConfig, ModelConfig, TrainingConfig


@pytest.fixture(scope="session")
def data_dir(write_shapes):
    """Seven scenes to train on and two to look at."""
    return write_shapes(7, 2)


@pytest.fixture(scope="session")
def make_config(data_dir):
    """function(**training settings) -> `Config` of a model small enough to compile in seconds."""

    def make(**training):
        model = ModelConfig(
            num_classes=12,
            has_unknown=False,
            noise_channels=4,
            generator_channels=1,
            discriminator_channels=1,
            spade_channels=4,
            generator_widths=(2, 2, 1),
            discriminator_widths=(2, 2),
        )
        defaults = {"batch_size": 2, "steps": 6, "ema_decay": 0.5, "statistics_batches": 2}
        return Config(
            model=model,
            data=DataConfig(
                data_dir=data_dir, crop_height=32, crop_width=32, resize_height=36, resize_width=36
            ),
            training=TrainingConfig(**defaults | {"strategy": "none"} | training),
            label_space=published_label_space("shapes"),
        )

    return make


class SharedTask:
    """One `OASISTask` for many runs: each starts from the same variables, without a new trace."""

    def __init__(self, config):
        import tensorflow as tf

        from oasis_tf.systems.oasis.task import OASISTask

        self._task = OASISTask(config, tf.distribute.get_strategy())
        self._start = {name: v.numpy() for name, v in self._task.variables().items()}
        self._config = config

    def __call__(self, config, strategy):
        """What `loop.train` takes: the task, its variables as they were in the beginning."""
        for name in ("lr_g", "lr_d", "seed", "batch_size", "statistics_batches"):
            assert getattr(config.training, name) == getattr(self._config.training, name), name
        for name, variable in self._task.variables().items():
            variable.assign(self._start[name])
        self._task._inference = (None, None)
        self._task._validation, self._task._config = None, config
        return self._task


@pytest.fixture(scope="session")
def shared_task(make_config):
    """A make of tasks for `loop.train`; see `SharedTask`."""
    return SharedTask(make_config())


@pytest.fixture
def task(shared_task, make_config):
    """A task at its first step."""
    return shared_task(make_config(), None)


@pytest.fixture
def perturbed(task):
    """The task with every variable moved, integers too: (task, arrays by name)."""
    rng, arrays = np.random.default_rng(0), {}
    for name, variable in task.variables().items():
        value = variable.numpy()
        arrays[name] = (value + rng.uniform(1, 9, value.shape)).astype(value.dtype)
        variable.assign(arrays[name])
    return task, arrays


def _changed(config, **training):
    return dataclasses.replace(config, training=dataclasses.replace(config.training, **training))


@pytest.fixture(scope="session")
def changed():
    """function(config, **training settings) -> the configuration with these."""
    return _changed
