"""Activation checkpointing: a block's activations are recomputed for its gradient, not kept.

It costs one more forward pass of each block. Only the outputs of the blocks stay in memory.
TensorFlow only.

``keras.remat`` is not used. Assignments inside a block would run twice per step. The second pass
would read u, v and statistics that later passes have already updated. And on CPU grappler sees that
both passes compute the same and removes the second.
"""

import keras

from oasis_tf.layers.replicas import assign_same


def call_block(block, x, *conditions, training, remat):
    """``block(x, *conditions, training=training)``; by ``remat_call`` in training if ``remat``."""
    if training and remat:
        return remat_call(block, x, *conditions)
    return block(x, *conditions, training=training)


def remat_call(layer, x, *conditions):
    """``layer(x, *conditions, training=True)`` with activations recomputed for the gradient.

    The layer runs as a pure function of its weights. Its new state (u, v, batch statistics) is
    assigned once, outside this function.

    Args:
        layer: built layer whose call takes ``training``.
        x: float tensor. Gradients flow to it and to the layer's trainable weights.
        conditions: further call arguments, integers (label map) before floats (noise). Gradients
            flow to the floats, because they may come from an encoder.

    Raises:
        ValueError: Keras runs on a backend other than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Activation checkpointing (`remat`) needs Keras on TensorFlow. "
            f"Received: backend={keras.backend.backend()}."
        )
    import tensorflow as tf

    # Copies: the second pass must read the same state, even if it is updated in between.
    state = [tf.identity(v.value) for v in layer.non_trainable_variables]

    conditions = [tf.convert_to_tensor(part) for part in conditions]
    integers = [part for part in conditions if part.dtype.is_integer]
    floats = [part for part in conditions if part.dtype.is_floating]

    def forward(x, *others):
        given, weights = others[: len(floats)], list(others[len(floats) :])
        return layer.stateless_call(weights, state, x, *integers, *given, training=True)

    @tf.custom_gradient
    def run(x, *others):
        y, new_state = forward(x, *others)

        def gradient(upstream, *_):
            again = [_tied_to(upstream, tensor) for tensor in (x, *others)]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(again)
                y, _ = forward(*again)
            return tape.gradient(y, again, upstream, unconnected_gradients="zero")

        return (y, *new_state), gradient

    weights = [tf.convert_to_tensor(v.value) for v in layer.trainable_variables]
    y, *new_state = run(x, *floats, *weights)
    for variable, value in zip(layer.non_trainable_variables, new_state, strict=True):
        assign_same(variable, value)
    return y


def _tied_to(first, tensor):
    """``tensor``, computed from ``first`` so that grappler and XLA cannot see the equality.

    Both ignore or simplify weaker dependencies. They would then merge the two passes and keep the
    activations in memory.
    """
    import tensorflow as tf

    value = tf.reshape(first, [-1])[0]
    # Zero unless the value is NaN, which the compilers cannot rule out.
    zero = tf.where(value == value, tf.zeros_like(value), value)
    return tensor + tf.cast(zero, tensor.dtype)
