"""Generates on several logical devices; run in a process of its own, which makes the devices.

python multi_device_main.py OUTPUT.npz
"""

import sys

import keras
import numpy as np
import tensorflow as tf

from oasis_tf import OASIS
from oasis_tf.systems.oasis.editing.noise_fields import IndexedNoise
from oasis_tf.systems.oasis.inference.multi_device import DeviceSampler
from oasis_tf.systems.oasis.models import Discriminator, Generator

DEVICES = 2
CLASSES = 4
SEEDS = np.arange(7, 12)


def make_model(noise_channels=3):
    """A small model whose averaged generator has random weights."""
    keras.utils.set_random_seed(1)  # u, v and the discriminator
    model = OASIS(
        Generator(CLASSES, noise_channels, 1, 4, widths=(2, 1), name="generator"),
        Discriminator(CLASSES, 1, widths=(2, 2), name="discriminator"),
        has_unknown=True,
        ema_decay=0.9,
        seed=5,
    )
    randomise(model, 0)
    return model


def randomise(model, seed):
    """New weights for both generators, whose images differ."""
    rng = np.random.default_rng(seed)
    for variable in model.generator.trainable_variables:
        fan_in = np.prod(variable.shape[:-1]) if len(variable.shape) == 4 else 4
        variable.assign(rng.normal(0, fan_in**-0.5, variable.shape))
    model.generator_ema.set_weights(model.generator.get_weights())
    model.generator.to_rgb.kernel.assign(-model.generator.to_rgb.kernel)


def make_maps(rows, seed=0):
    """Label maps of blocks, int32 [rows,16,32]."""
    blocks = np.random.default_rng(seed).integers(0, CLASSES, (rows, 4, 8))
    return blocks.repeat(4, 1).repeat(4, 2).astype(np.int32)


def main(output):
    cpu = tf.config.list_physical_devices("CPU")[0]
    devices = [tf.config.LogicalDeviceConfiguration()] * DEVICES
    tf.config.set_logical_device_configuration(cpu, devices)
    model = make_model()
    sampler = DeviceSampler(model, [f"CPU:{k}" for k in range(DEVICES)])
    together = sampler(make_maps(5), SEEDS)
    placed = [
        sorted({variable.device for variable in engine.weights.values()})
        for _, engine in sampler._engines
    ]
    index = np.arange(DEVICES).repeat(8)[None, None].repeat(16, 1).repeat(5, 0).repeat(2, 2)
    vectors = np.random.default_rng(1).normal(size=(5, DEVICES, 3)).astype(np.float32)
    noise = IndexedNoise(index, vectors)
    np.savez(
        output,
        devices=np.array(placed),
        alone=model.generate(make_maps(5), SEEDS),
        together=together,
        one_row=sampler(make_maps(5)[:1], SEEDS[:1]),
        field_alone=model.inference_engine()(make_maps(5), noise).numpy(),
        field_together=sampler.from_field(make_maps(5), index, vectors),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
