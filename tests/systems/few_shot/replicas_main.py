"""Trains on one device and on two replicas, and writes losses and weights of both.

    python replicas_main.py stylegan2 OUTPUT.npz
    python replicas_main.py biggan OUTPUT.npz

A StyleGAN2 is adapted; a BigGAN is trained on classes.

A process of its own, because TensorFlow can split its CPU into devices only before it starts. In
float64, so that what differs is no rounding. All losses and penalties are there: groups of the
minibatch deviation, path lengths, similarities between samples, styles and batch statistics are of
the whole batch.
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
from oasis_tf.systems.few_shot.training_settings import OF_NETWORK
from oasis_tf.training.strategies import distribute, replicated_step

BATCH, STEPS = 4, 2
SIZES = {"stylegan2": 16, "biggan": 32}


def stylegan2_config():
    return Config(
        model=ModelConfig(
            size=SIZES["stylegan2"], channels=(4, 4, 3), style_dim=6, num_mlp=2, stddev_group=2
        ),
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


def biggan_config():
    sizes = {"size": SIZES["biggan"], "ch": 1, "dim_z": 8, "shared_dim": 4, "num_classes": 3}
    defaults = OF_NETWORK["biggan"] | {"steps": STEPS, "batch_size": BATCH, "ema_decay": 0.5}
    return Config(
        model=ModelConfig(network="biggan", **sizes, attention=(0,), attention_d=(0,)),
        data=DataConfig(),
        training=TrainingConfig(**defaults),
        adaptation=AdaptationConfig(),
        pictures=Pictures(BATCH, ("a", "b", "c")),
    )


def train(network, strategy):
    config = {"stylegan2": stylegan2_config, "biggan": biggan_config}[network]()
    with strategy.scope():
        model = build_model(config, dtype="float64")
    if config.adapted:
        stylegan2.initialise(model.source_generator, 7)
    for modulation in model.modulations.values():
        modulation.start()
    found, steps = {}, {}
    for number, batch in enumerate(distribute(strategy, BATCH, batches(config.model))):
        parts = parts_of(config, number)
        if parts not in steps:
            steps[parts] = replicated_step(strategy, step_of(model, config, parts))
        logs = steps[parts](batch)
        found |= {f"{number}/{name}": value.numpy() for name, value in logs.items()}
    return found | {name: v.numpy() for name, v in model.variables().items()}


def step_of(model, config, parts):
    def step(batch):
        image, label = batch
        return model.train_step(image, None if config.adapted else label, parts)

    return step


def batches(model):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (STEPS, BATCH, model.size, model.size, 3), np.uint8)
    label = rng.integers(0, max(model.num_classes, 1), (STEPS, BATCH), np.int32)

    def of_rows(rows):
        own = slice(*rows)
        return tf.data.Dataset.from_tensor_slices((image[:, own], label[:, own]))

    return of_rows


def main(network, output):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    one = train(network, tf.distribute.get_strategy())
    two = train(network, tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
    parts = {"one": one, "two": two}
    np.savez(output, **{f"{k}/{name}": v for k, part in parts.items() for name, v in part.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
