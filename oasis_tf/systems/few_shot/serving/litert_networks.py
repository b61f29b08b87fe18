"""The network of TFLite files: the sampler, from a latent."""

import numpy as np
import tensorflow as tf

from oasis_tf.serving.litert import Network

_NAME = "generator"


def facts(config, name):
    """What an application must know of a network before it has one.

    Args:
        config: `Config` of the model.
        name: `generator`.

    Returns:
        dict: `size_multiple` and `fixed_size` (True): images have the size of the model alone,
        `dynamic_size` (False), and `noise_channels`, the length of a latent.

    Raises:
        ValueError: another name.
    """
    if name != _NAME:
        raise ValueError(f"`network` must be {_NAME}. Received: network={name}.")
    return {
        "size_multiple": config.model.size,
        "fixed_size": True,
        "dynamic_size": False,
        "noise_channels": config.model.latent_dim,
    }


def size(config):
    """(height, width) of images."""
    return config.model.size, config.model.size


def description(model):
    """What a file says of the model: its step, and how latents are drawn."""
    return {"step": int(model.step.numpy())} | model.prior.described()


def network(model, name, height, width):
    """The averaged generator.

    `latent` float32 [1, Z] and `truncation` float32 [1] in 0..1 -> `image` float32 [1, H, W, 3] in
    [-1, 1].

    Args:
        model: `FewShot` for use.
        name: `generator`.
        height, width: those of the model.
    """
    del height, width
    latent_dim, centre = model.config.model.latent_dim, model.centre()

    @tf.function(
        input_signature=[
            tf.TensorSpec([1, latent_dim], name="latent"),
            tf.TensorSpec([1], name="truncation"),
        ],
        autograph=False,
    )
    def generate(latent, truncation):
        return {"image": model.generated(latent, truncation, centre)}

    def inputs(image, label_map, seed):
        del image, label_map
        latent = model.latents([seed]).numpy()
        return {"latent": latent, "truncation": np.ones(1, np.float32)}

    def reference(latent, truncation):
        return model.sample_latents(latent, float(truncation[0])).named()

    weights = {v.path: v.value for v in model.generator_ema.variables}
    return Network(name, generate, weights, reference, inputs)
