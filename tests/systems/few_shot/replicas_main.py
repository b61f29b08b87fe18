"""Adapts a StyleGAN2 on one device and on two replicas, and writes losses and weights of both.

    python replicas_main.py OUTPUT.npz

A process of its own, because TensorFlow can split its CPU into devices only before it starts. In
float64, so that what differs is no rounding. All losses and penalties are there: groups of the
minibatch deviation, path lengths, similarities between samples and styles are of the whole batch.
"""

import sys

import numpy as np
import tensorflow as tf

from oasis_tf.systems.few_shot import stylegan2
from oasis_tf.systems.few_shot.build import build_model
from oasis_tf.systems.few_shot.config import (
    AdaptationConfig,
    Config,
    DataConfig,
    ModelConfig,
    TrainingConfig,
)
from oasis_tf.systems.few_shot.schedule import parts_of
from oasis_tf.systems.few_shot.source import Pictures
from oasis_tf.training.strategies import distribute, replicated_step

BATCH, SIZE, STEPS = 4, 16, 2


def config():
    return Config(
        model=ModelConfig(size=SIZE, channels=(4, 4, 3), style_dim=6, num_mlp=2, stddev_group=2),
        data=DataConfig(),
        training=TrainingConfig(
            steps=STEPS, batch_size=BATCH, path_weight=2.0, ema_decay=0.5, path_shrink=4
        ),
        adaptation=AdaptationConfig(
            source="SOURCE",
            d_loss="all",
            lambda_ss=5.0,
            ss_resolution=8,
            lambda_distance=1000.0,
            lambda_mixdl=1000.0,
            probe_steps=1,
        ),
        pictures=Pictures(BATCH),
    )


def batches(rows):
    image = np.random.default_rng(0).integers(0, 256, (STEPS, BATCH, SIZE, SIZE, 3), np.uint8)
    return tf.data.Dataset.from_tensor_slices(image[:, slice(*rows)])


def train(strategy):
    with strategy.scope():
        model = build_model(config(), dtype="float64")
    stylegan2.initialise(model.source_generator, 7)
    for modulation in model.modulations.values():
        modulation.start()
    found = {}
    for number, batch in enumerate(distribute(strategy, BATCH, batches)):
        parts = parts_of(config(), number)
        step = replicated_step(strategy, lambda x, parts=parts: model.train_step(x, None, parts))
        found |= {f"{number}/{name}": value.numpy() for name, value in step(batch).items()}
    return found | {name: v.numpy() for name, v in model.variables().items()}


def main(output):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    one = train(tf.distribute.get_strategy())
    two = train(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
    parts = {"one": one, "two": two}
    np.savez(output, **{f"{k}/{name}": v for k, part in parts.items() for name, v in part.items()})


if __name__ == "__main__":
    main(sys.argv[1])
