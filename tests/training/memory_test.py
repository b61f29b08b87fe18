"""The memory estimate: grows with what costs memory, and is honest about the weights."""

import dataclasses
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from oasis_tf.training import memory
from oasis_tf.training.build import build_model
from oasis_tf.training.loop import describe

PARAMETERS = (1000, 500)


def with_model(config, **settings):
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **settings))


@pytest.fixture
def config(make_config):
    return make_config()


def test_grows_with_batch_and_size(config, changed):
    data = dataclasses.replace(
        config.data, crop_height=64, resize_height=64, crop_width=32, resize_width=32
    )
    larger = [
        changed(config, batch_size=3),
        dataclasses.replace(config, data=data),
        with_model(config, discriminator_channels=2),
    ]
    base = memory.step_bytes(config, PARAMETERS)
    for other in larger:
        assert memory.step_bytes(other, PARAMETERS) > base
    for settings in ({"spade_channels": 8}, {"generator_channels": 2}):
        wider = with_model(config, **settings)
        assert memory.generator_activations(wider) > memory.generator_activations(config)
    activations = base - memory.fixed_bytes(*PARAMETERS)
    doubled = memory.step_bytes(changed(config, batch_size=4), PARAMETERS)
    assert doubled == base + activations


def test_classes_cost_logits_alone(config):
    space = dataclasses.replace(
        config.label_space,
        class_names=tuple(map(str, range(100))),
        palette=((0, 0, 0),) * 100,
        raw_ids=tuple(range(100)),
    )
    many = dataclasses.replace(
        config, model=dataclasses.replace(config.model, num_classes=100), label_space=space
    )
    assert memory.generator_activations(many) == memory.generator_activations(config)
    more = memory.discriminator_activations(many) - memory.discriminator_activations(config)
    assert more == 32 * 32 * 3 * (100 - 12)


def test_precision_and_labelmix(config, changed):
    base = memory.step_bytes(config, PARAMETERS)
    fixed = memory.fixed_bytes(*PARAMETERS)
    half = memory.step_bytes(changed(config, mixed_precision="bfloat16"), PARAMETERS)
    assert half - fixed == (base - fixed) / 2
    assert memory.step_bytes(changed(config, lambda_labelmix=0.0), PARAMETERS) <= base
    assert memory.step_bytes(changed(config, remat=True), PARAMETERS) < base


def test_description_has_counts_configuration_and_estimate(config):
    text = describe(config)
    model = build_model(config)
    for network in (model.generator, model.discriminator):
        count = sum(v.numpy().size for v in network.trainable_variables)
        assert f"{network.name}: {count:,} trainable parameters" in text
    assert '"batch_size": 2' in text
    assert "memory: about 0." in text and "for a batch of 2 on one device" in text


MEASURE = """
import dataclasses, resource, sys
import tensorflow as tf
from oasis_tf.config import Config
from oasis_tf.training.build import build_for_training

def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

imported = peak()
config = Config.load(sys.argv[1])
model, data = build_for_training(config), config.data
shape = (config.training.batch_size, data.crop_height, data.crop_width)
labels = tf.random.stateless_uniform(shape, [0, 0], 0, config.model.num_classes, tf.int32)
batch = tf.zeros((*shape, 3), tf.uint8), labels
step = tf.function(model.train_step, autograph=False)
for _ in range(3):
    step(batch)
print(peak() - imported)
"""


@pytest.mark.slow
@pytest.mark.parametrize("training", [{}, {"remat": True}, {"mixed_precision": "bfloat16"}])
def test_estimate_is_within_a_fifth_of_the_peak(config, changed, tmp_path, training):
    wide = with_model(
        changed(config, batch_size=8, **training),
        generator_channels=24,
        discriminator_channels=24,
        spade_channels=64,
        generator_widths=(16, 16, 16, 8, 4, 2, 1),
        discriminator_widths=(2, 2, 4, 4, 8, 8),
    )
    size = {f"{k}_{s}": 128 for k in ("crop", "resize") for s in ("height", "width")}
    config = dataclasses.replace(wide, data=dataclasses.replace(wide.data, **size))
    config.save(tmp_path)
    source = str(Path(memory.__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path],
        env=os.environ | {"PYTHONPATH": source},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    model = build_model(config)
    counts = [
        sum(math.prod(v.shape) for v in network.trainable_variables)
        for network in (model.generator, model.discriminator)
    ]
    assert memory.step_bytes(config, counts) == pytest.approx(int(done.stdout), rel=0.2)
