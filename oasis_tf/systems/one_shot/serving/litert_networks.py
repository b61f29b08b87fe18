"""The network of TFLite files: the sampler, from a latent."""

import tensorflow as tf

from oasis_tf.serving.litert import Network
from oasis_tf.systems.one_shot import draws, palette

_NAME = "generator"


def facts(config, name):
    """What an application must know of a network before it has one.

    Args:
        config: `Config` of the model.
        name: `generator`.

    Returns:
        dict: `size_multiple`, which sides of images must be multiples of, `dynamic_size` (False),
        `noise_channels`, the length of a latent, and `num_classes` of masks, 0 without.

    Raises:
        ValueError: another name.
    """
    if name != _NAME:
        raise ValueError(f"`network` must be {_NAME}. Received: network={name}.")
    model = config.model
    return {
        "size_multiple": 1 << (model.blocks_g - 1),
        "dynamic_size": False,
        "noise_channels": model.noise_dim,
        "num_classes": model.num_classes,
    }


def size(config):
    """(height, width) of images where nothing else is asked for."""
    return config.model.height, config.model.width


def description(model):
    """What a file says of the model: its step, and the colours of the classes of masks, by id."""
    colours = palette.colours()[: model.config.model.num_classes]
    return {"step": int(model.step), "colors": colours.tolist()}


def network(model, name, height, width):
    """The averaged generator.

    `latent` float32 [1, Z] -> `image` float32 [1, H, W, 3] in [-1, 1] and, with masks, `mask`
    uint8 [1, H, W], ids of classes.

    Args:
        model: `OneShot` for use.
        name: `generator`.
        height, width: size of the image; another than that of training is as of `Generator`.
    """
    config = model.config.model
    grid = height >> (config.blocks_g - 1), width >> (config.blocks_g - 1)

    @tf.function(
        input_signature=[tf.TensorSpec([1, config.noise_dim], name="latent")], autograph=False
    )
    def generate(latent):
        return model.generated(latent, grid).named()

    def inputs(image, label_map, seed):
        del image, label_map
        return {"latent": draws.latents_of(tf.constant([seed], tf.int64), config.noise_dim).numpy()}

    def reference(latent):
        return model.sample_latents(latent, grid).named()

    weights = {v.path: v.value for v in model.generator_ema.variables}
    return Network(name, generate, weights, reference, inputs)
