"""Outputs, gradients and state of the networks' blocks, on the Keras backend of this process.

    KERAS_BACKEND=jax python backends_main.py OUTPUT.npz float64|float32

It runs in a process of its own, because a process has one backend.
"""

import sys

import keras
import numpy as np

from oasis_tf.layers import LabelConv2D, SPADEResBlock
from oasis_tf.systems.oasis.models.patch import PatchInput, PatchRow
from oasis_tf.systems.oasis.models.unet_blocks import DownBlock, LabelDownBlock, UpBlock

CLASSES, NOISE = 5, 3


def make_blocks(dtype):
    """name -> (block, inputs); sides large enough to combine resampling and convolution."""
    rng = np.random.default_rng(0)
    label_map = rng.integers(0, CLASSES, (2, 32, 34)).astype(np.int32)
    vector, field = rng.normal(size=(2, NOISE)), rng.normal(size=(2, 32, 34, NOISE))
    small, large = rng.normal(size=(2, 16, 17, 4)), rng.normal(size=(2, 32, 34, 4))
    image = rng.uniform(-1, 1, (2, 32, 34, 3))
    common = {"dtype": dtype}
    blocks = {
        "vector": (
            SPADEResBlock(4, 3, CLASSES, NOISE, 5, upsample=True, name="vector", **common),
            [small, label_map, vector],
        ),
        "field": (
            SPADEResBlock(4, 4, CLASSES, NOISE, 5, name="field", **common),
            [large, label_map, field],
        ),
        "one_hot": (
            SPADEResBlock(4, 3, CLASSES, NOISE, 5, one_hot=True, name="one_hot", **common),
            [large, label_map, vector],
        ),
        "down": (DownBlock(4, 3, name="down", **common), [large]),
        "up": (UpBlock(4, 3, name="up", **common), [small]),
        "label_down": (LabelDownBlock(CLASSES, 3, name="label_down", **common), [image, label_map]),
        "patch_input": (PatchInput(CLASSES, 3, name="patch_input", **common), [image, label_map]),
        "patch_row": (PatchRow(4, 3, name="patch_row", **common), [small]),
        # One class on 4096 pixels: sums that half precision cannot hold.
        "half": (
            LabelConv2D(2, CLASSES, 0, name="half", dtype="mixed_bfloat16"),
            [np.ones((1, 64, 64), np.int32)],
        ),
    }
    for block, _ in blocks.values():
        block.build()
        for variable in block.variables:
            value = rng.normal(0, 0.3, variable.shape)
            variable.assign(abs(value) + 0.5 if variable.name == "moving_variance" else value)
    return blocks


def cubes(y):
    return keras.ops.sum(keras.ops.cast(y, "float64") ** 3)


def train(block, inputs):
    """(output, gradients) of a training pass, which also updates the block's state."""
    options = {} if isinstance(block, LabelConv2D) else {"training": True}
    backend = keras.backend.backend()
    weights = [v.value for v in block.trainable_variables]
    if backend == "jax":
        import jax

        def loss(weights, others):
            y, others = block.stateless_call(weights, others, *inputs, **options)
            return cubes(y), (y, others)

        others = block.non_trainable_variables
        gradients, (y, state) = jax.jit(jax.grad(loss, has_aux=True))(
            weights, [v.value for v in others]
        )
        for variable, new in zip(others, state, strict=True):
            variable.assign(new)
        return y, gradients
    if backend == "torch":
        y = block(*inputs, **options)
        cubes(y).backward()
        return y, [weight.grad for weight in weights]
    import tensorflow as tf

    with tf.GradientTape() as tape:
        y = block(*inputs, **options)
        loss = cubes(y)
    return y, tape.gradient(loss, weights)


def results(dtype):
    """All outputs, gradients and states by name, as arrays."""
    found = {}
    for name, (block, inputs) in make_blocks(dtype).items():
        y, gradients = train(block, inputs)
        found[f"output/{name}"] = keras.ops.cast(y, "float64")
        for variable, gradient in zip(block.trainable_variables, gradients, strict=True):
            found[f"gradient/{variable.path}"] = gradient
        for variable in block.non_trainable_variables:
            found[f"state/{variable.path}"] = variable
    return {key: keras.ops.convert_to_numpy(value) for key, value in found.items()}


if __name__ == "__main__":
    np.savez(sys.argv[1], **results(sys.argv[2]))
