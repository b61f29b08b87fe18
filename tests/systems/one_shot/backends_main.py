"""Outputs and state of both networks after a training pass, on the Keras backend of this process.

KERAS_BACKEND=jax python backends_main.py OUTPUT.npz
"""

import sys

import keras
import numpy as np

from oasis_tf.systems.one_shot.models.discriminator import Discriminator
from oasis_tf.systems.one_shot.models.generator import Generator

CLASSES = 3


def main(output):
    rng = np.random.default_rng(0)
    common = {"dtype": "float64"}
    generator = Generator((3, 4), (8, 8, 4, 2), 4, CLASSES, norm="batch", name="g", **common)
    options = {"num_classes": CLASSES, "masks": "attention"}
    discriminator = Discriminator((4, 8, 16, 16, 8), 2, name="d", **options, **common)
    for network in (generator, discriminator):
        for variable in network.variables:
            value = rng.normal(0, 0.3, variable.shape)
            variable.assign(abs(value) + 0.5 if variable.name == "moving_variance" else value)
    made = generator(rng.normal(size=(2, 4)), training=True)
    mask = made.mask[:, ::4, ::4]
    logits = discriminator(list(made.images[-2:]), object_mask=mask, training=True)
    found = {f"image{k}": x for k, x in enumerate(made.images)} | {"mask": made.mask}
    for branch, maps in logits._asdict().items():
        found |= {f"{branch}{k}": x for k, x in enumerate(maps)}
    for network in (generator, discriminator):
        found |= {variable.path: variable.value for variable in network.non_trainable_variables}
    np.savez(output, **{name: keras.ops.convert_to_numpy(x) for name, x in found.items()})


if __name__ == "__main__":
    main(sys.argv[1])
