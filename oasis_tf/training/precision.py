"""Mixed precision: the policies of its names, and loss scaling, which float16 needs."""

import keras
from keras import ops

from oasis_tf.layers.replicas import num_replicas, sum_over_replicas

_POLICIES = {"none": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def policy(mixed_precision):
    """Keras' dtype policy of a setting ``mixed_precision``."""
    return _POLICIES[mixed_precision]


def loss_scaling(optimizer, mixed_precision):
    """The optimizer; in float16 inside one that scales the loss, and lowers the scale on overflow.

    Args:
        optimizer: Keras optimizer.
        mixed_precision: ``none``, ``bfloat16`` or ``float16``.
    """
    if mixed_precision != "float16":
        return optimizer
    return _LossScaling(optimizer, name=f"{optimizer.name}_loss_scale")


class _LossScaling(keras.optimizers.LossScaleOptimizer):
    """Keras' own, for gradients that are summed over replicas only when they are applied.

    Keras asks the first replica alone whether its gradients are finite.
    """

    def check_finite(self, grads):
        overflows = ops.cast(ops.logical_not(super().check_finite(grads)), "float32")
        return ops.equal(sum_over_replicas(overflows), 0)


def replica_loss(loss, optimizer):
    """What a replica takes gradients of, for an optimizer that sums them over replicas.

    Args:
        loss: scalar, mean over the rows of this replica.
        optimizer: Keras optimizer.

    Returns:
        scalar, this replica's share of the mean over the global batch, scaled as the optimizer
        wants it.
    """
    return optimizer.scale_loss(loss / num_replicas())


def rates_and_scales(training, model):
    """What a line shows of the optimizers of a generator and a discriminator: dict of floats.

    Args:
        training: settings with ``lr_g`` and ``lr_d``.
        model: has ``generator_optimizer`` and ``discriminator_optimizer``.
    """
    optimizers = {
        "generator": model.generator_optimizer,
        "discriminator": model.discriminator_optimizer,
    }
    rates = {
        "learning_rate/generator": training.lr_g,
        "learning_rate/discriminator": training.lr_d,
    }
    return rates | loss_scales(optimizers)


def loss_scales(optimizers):
    """The present scales by ``loss_scale/NAME``, for the optimizers that have one.

    Args:
        optimizers: mapping from names to Keras optimizers.
    """
    return {
        f"loss_scale/{name}": float(optimizer.dynamic_scale.numpy())
        for name, optimizer in optimizers.items()
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    }
