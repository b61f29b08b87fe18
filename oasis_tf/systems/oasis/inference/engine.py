"""What both engines share: a snapshot of folded weights, and one image of a batch at a time.

Images of a batch are computed one after the other inside one graph. So every bit of a result
depends only on its own image, never on its batch. On a GPU this costs throughput (not measured).
"""

import tensorflow as tf


class Engine:
    """A network with a snapshot of its weights, folded for inference.

    Args:
        network: the network whose weights are taken.
        fold: function(network, dtype) -> dict of tensors by name.
        dtype: str, type of the convolutions; None: the network's compute dtype.

    Attributes:
        weights: dict of ``tf.Variable``: all that inference needs. What only training needs (u, v,
            batch statistics) is not in it.
    """

    def __init__(self, network, fold, dtype=None):
        self._network, self._fold = network, fold
        self._dtype = dtype or network.compute_dtype
        self.weights = {
            name: tf.Variable(value, trainable=False, name=name)
            for name, value in fold(network, self._dtype).items()
        }
        self._fold_again = tf.function(self._assign_folded, autograph=False)

    def refresh(self):
        """Folds the present weights of the network; nothing is traced again."""
        self._fold_again()

    def _assign_folded(self):
        for name, value in self._fold(self._network, self._dtype).items():
            self.weights[name].assign(value)


def per_image(function, inputs, outputs):
    """A graph of dynamic sizes that calls a function with one row of its arguments at a time.

    Args:
        function: takes a row of every argument, [H, W, ...] of the first.
        inputs: list of `tf.TensorSpec` of the arguments, batch included; all sizes may be dynamic.
        outputs: `tf.TensorSpec` [H, W, ...] of what the function returns, H and W those of its
            first argument; or a tuple of such.

    Returns:
        `tf.function` of batches; B = 0 gives results without rows.
    """

    def over_rows(*batches):
        return tf.map_fn(
            lambda rows: function(*rows),
            batches,
            fn_output_signature=outputs,
            parallel_iterations=1,
        )

    def empty(*batches):
        # `map_fn` learns the size of a result from its rows, and there are none.
        sides = tf.shape(batches[0])[1:3]
        return tf.nest.map_structure(
            lambda spec: tf.zeros(tf.concat([[0], sides, spec.shape[2:]], 0), spec.dtype), outputs
        )

    def over_batch(*batches):
        return tf.cond(
            tf.shape(batches[0])[0] == 0, lambda: empty(*batches), lambda: over_rows(*batches)
        )

    return tf.function(over_batch, input_signature=inputs, autograph=False)
