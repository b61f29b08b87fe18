"""Activation checkpointing: a block's activations are computed again for its gradient, not kept.

The price is one more forward pass of each block; what stays in memory between blocks is their
outputs. TensorFlow only. (``keras.remat`` is not used: an assignment inside the block would happen
twice a step, a second pass would read u, v and statistics that later passes have moved on, and on
CPU grappler finds out that both computations are the same and drops the second.)
"""

import keras


def call_block(block, x, *conditions, training, remat):
    """``block(x, *conditions, training=training)``, in training with ``remat`` if so wished."""
    if training and remat:
        return remat_call(block, x, *conditions)
    return block(x, *conditions, training=training)


def remat_call(layer, x, *conditions):
    """``layer(x, *conditions, training=True)`` with activations computed anew for the gradient.

    The layer runs as a pure function of its weights; its new state (u, v, batch statistics) is
    assigned once, outside.

    Args:
        layer: built layer whose call takes ``training``.
        x: float tensor; gradients flow to it and to the layer's trainable weights.
        conditions: further call arguments, integers (label map) in front of floats (noise).
            Gradients flow to the floats: an encoder may have given them.

    Raises:
        ValueError: Keras runs on another backend than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Activation checkpointing (`remat`) needs Keras on TensorFlow. "
            f"Received: backend={keras.backend.backend()}."
        )
    import tensorflow as tf

    # Copies: the second pass must see what the first saw, whatever is assigned in between.
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
            again = [_behind(upstream, tensor) for tensor in (x, *others)]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(again)
                y, _ = forward(*again)
            return tape.gradient(y, again, upstream, unconnected_gradients="zero")

        return (y, *new_state), gradient

    weights = [tf.convert_to_tensor(v.value) for v in layer.trainable_variables]
    y, *new_state = run(x, *floats, *weights)
    for variable, value in zip(layer.non_trainable_variables, new_state, strict=True):
        variable.assign(value)
    return y


def _behind(first, tensor):
    """``tensor``, known only once ``first`` is: neither grappler nor XLA can see that it is equal.

    Both ignore or fold weaker ties and would then share the two passes' work, and keep its memory.
    """
    import tensorflow as tf

    value = tf.reshape(first, [-1])[0]
    # Zero, except that NaN != NaN, which is what the optimizers cannot rule out.
    zero = tf.where(value == value, tf.zeros_like(value), value)
    return tensor + tf.cast(zero, tensor.dtype)
