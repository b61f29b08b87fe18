"""Trains OSMIS on one device and on two replicas, and writes losses and weights of both.

    python replicas_main.py OUTPUT.npz

A process of its own, because TensorFlow can split its CPU into devices only before it starts. In
float64, so that what differs is no rounding. The batch of 6 is 3 a replica: a pair of feature
augmentation lies on both.
"""

import sys

import numpy as np
import tensorflow as tf

from oasis_tf.systems.one_shot.build import build_model
from oasis_tf.systems.one_shot.config import Config, DataConfig, ModelConfig, TrainingConfig
from oasis_tf.systems.one_shot.source import Source
from oasis_tf.training.strategies import distribute, replicated_step

BATCH, CLASSES, STEPS = 6, 3, 2


def config():
    sizes = {"grid_height": 12, "grid_width": 16, "blocks_g": 3, "blocks_d": 4, "blocks_d0": 2}
    return Config(
        model=ModelConfig(**sizes, num_classes=CLASSES, ch_g=1, ch_d=4, noise_dim=4),
        data=DataConfig(),
        training=TrainingConfig(
            steps=STEPS,
            batch_size=BATCH,
            ema_decay=0.5,
            prob_fa_con=1.0,
            prob_fa_lay=1.0,
            bernoulli_warmup=1,
        ),
        source=Source(1, 48, 64, CLASSES),
    )


def batches(rows):
    rng = np.random.default_rng(0)
    image = rng.uniform(-1, 1, (STEPS, BATCH, 48, 64, 3))
    label = np.zeros((STEPS, BATCH, 48, 64), np.int64)
    for k in range(BATCH):  # areas differ between the replicas
        label[:, k, 4 : 12 + 4 * k, 8:20], label[:, k, 30:40, 40 : 44 + 2 * k] = 1, 2
    arrays = (image[:, slice(*rows)], np.eye(CLASSES)[label][:, slice(*rows)])
    return tf.data.Dataset.from_tensor_slices(arrays)


def train(strategy):
    with strategy.scope():
        model = build_model(config(), dtype="float64")
    step = replicated_step(strategy, lambda batch: model.train_step(*batch))
    found = {}
    for number, batch in enumerate(distribute(strategy, BATCH, batches)):
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
