"""The toy's configuration."""

import dataclasses

import pytest

from oasis_tf.training.settings import LoopSettings
from tests.training.toy import ToyConfig


@pytest.fixture(scope="session")
def make_config():
    """function(**loop settings) -> `ToyConfig` of six steps on one device."""

    def make(**settings):
        defaults = {"batch_size": 2, "steps": 6, "strategy": "none"}
        return ToyConfig(training=LoopSettings(**defaults | settings))

    return make


@pytest.fixture(scope="session")
def changed():
    """function(config, **loop settings) -> the configuration with these."""

    def change(config, **settings):
        training = dataclasses.replace(config.training, **settings)
        return dataclasses.replace(config, training=training)

    return change
