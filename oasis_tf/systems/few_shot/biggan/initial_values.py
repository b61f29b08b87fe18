"""Initial values of BigGAN's networks."""

import math

import keras
from keras import ops

from oasis_tf.training.named_weights import named_weights


def initialise(network, seed):
    """Gives a network its initial values.

    Kernels and tables are orthogonal (Brock et al. 2019, appendix C), as matrices [in, out]; biases
    of convolutions and linear layers are uniform up to 1 / sqrt(fan in), PyTorch's default. u are
    random directions already; norms and attention start with constants.

    Args:
        network: ``Generator``, ``Discriminator`` or a layer of ``layers``, built.
        seed: int.
    """
    weights = named_weights(network)
    generator = keras.random.SeedGenerator(seed)
    orthogonal = keras.initializers.Orthogonal(seed=generator)
    for name, variable in weights.items():
        layer, _, leaf = name.rpartition("/")
        if leaf in ("kernel", "table"):
            variable.assign(orthogonal(variable.shape, variable.dtype))
        elif leaf == "bias":
            kernel = weights[f"{layer}/kernel" if layer else "kernel"]
            bound = 1 / math.sqrt(math.prod(kernel.shape[:-1]))
            value = keras.random.uniform(variable.shape, -bound, bound, seed=generator)
            variable.assign(ops.cast(value, variable.dtype))
