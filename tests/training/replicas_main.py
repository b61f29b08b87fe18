"""Trains the same model on one device and on two, in float64, and writes down what became of each.

    python replicas_main.py OUTPUT.npz

A process of its own, because TensorFlow can split its CPU into two devices only before it starts.
"""

import sys

import numpy as np
import tensorflow as tf

from oasis_tf import OASIS
from oasis_tf.models import Discriminator, Generator
from oasis_tf.training.optimizer import Adam
from oasis_tf.training.statistics import StatisticsEstimator
from oasis_tf.training.strategies import distribute, make_strategy

STEPS, BATCH, CLASSES = 10, 4, 5


def make_model():
    common = {"dtype": "float64"}
    model = OASIS(
        Generator(CLASSES, 3, 1, 4, widths=(2, 2, 1), name="generator", **common),
        Discriminator(CLASSES, 1, widths=(2, 2), name="discriminator", **common),
        has_unknown=True,
        ema_decay=0.5,
        seed=3,
        name="oasis",
        **common,
    )
    rng = np.random.default_rng(0)
    for variable in (*model.generator.variables, *model.discriminator.variables):
        value = rng.normal(0, 0.3, variable.shape)
        variable.assign(abs(value) + 0.1 if variable.name == "moving_variance" else value)
    model.generator_ema.set_weights(model.generator.get_weights())
    model.compile(Adam(1e-3), Adam(1e-3))
    return model


def batches(rows):
    """Global batches whose halves have other classes, so that counts must be summed to be right."""
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (STEPS, BATCH, 16, 16, 3)).astype(np.uint8)
    label_map = rng.integers(0, 3, (STEPS, BATCH, 16, 16)).astype(np.uint8)
    label_map[:, BATCH // 2 :] += 2
    return tf.data.Dataset.from_tensor_slices((image[:, slice(*rows)], label_map[:, slice(*rows)]))


def train(name):
    """Losses of every step, weights and re-estimated statistics, by name."""
    strategy = make_strategy(name)
    with strategy.scope():
        model = make_model()

    @tf.function
    def step(batch):
        logs = strategy.run(model.train_step, args=(batch,))
        return {k: strategy.experimental_local_results(v)[0] for k, v in logs.items()}

    found = {}
    for index, batch in enumerate(distribute(strategy, BATCH, batches)):
        found |= {f"log/{index}/{k}": v.numpy() for k, v in step(batch).items()}
    estimated = StatisticsEstimator(model, strategy).estimate(
        distribute(strategy, BATCH, batches), step=STEPS
    )
    found |= {f"statistics/{k}": v for k, v in estimated.items()}
    found |= {v.path: v.numpy() for v in model.variables}
    check_assignment(strategy, model)
    return found | {"replicas": strategy.num_replicas_in_sync}


def check_assignment(strategy, model):
    """A value that is assigned, as a checkpoint's is, reaches every replica."""
    for variable in model.variables:
        variable.assign(variable.numpy() + 1)
        copies = strategy.experimental_local_results(variable.value)
        assert len(copies) == strategy.num_replicas_in_sync, variable.path
        for copy in copies:
            np.testing.assert_array_equal(copy.numpy(), variable.numpy(), err_msg=variable.path)


def main(output):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    results = {}
    for name in ("none", "mirrored"):
        results |= {f"{name}:{key}": value for key, value in train(name).items()}
    np.savez(output, **results)


if __name__ == "__main__":
    main(sys.argv[1])
