"""Graphs that treat the images of a batch one after the other.

So every bit of a result depends on its own image alone, whatever batch that came in. On a GPU this
costs throughput (not measured).
"""

import tensorflow as tf


def per_image(function, inputs, outputs):
    """A graph of dynamic sizes that calls a function for one row of its arguments at a time.

    Args:
        function: takes a row of every argument, [H, W, ...] of the first.
        inputs: list of `tf.TensorSpec` of the arguments, batch included; all sizes may be dynamic.
        outputs: `tf.TensorSpec` [H, W, ...] of what the function returns, H and W those of its
            first argument; or a tuple of such.

    Returns:
        `tf.function` of batches; B = 0 gives results of no rows.
    """

    def over_rows(*batches):
        return tf.map_fn(
            lambda rows: function(*rows),
            batches,
            fn_output_signature=outputs,
            parallel_iterations=1,
        )

    def empty(*batches):
        # No rows, no sizes to be learned from them.
        sides = tf.shape(batches[0])[1:3]
        return tf.nest.map_structure(
            lambda spec: tf.zeros(tf.concat([[0], sides, spec.shape[2:]], 0), spec.dtype), outputs
        )

    def over_batch(*batches):
        return tf.cond(
            tf.shape(batches[0])[0] == 0, lambda: empty(*batches), lambda: over_rows(*batches)
        )

    return tf.function(over_batch, input_signature=inputs, autograph=False)
