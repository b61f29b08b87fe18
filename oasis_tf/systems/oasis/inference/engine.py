"""What both engines share: a snapshot of folded weights, and how a batch is computed.

* ``image``, the default on CPUs: images of a batch one after the other inside one graph. Every bit
  of a result depends only on its own image, never on its batch.
* ``dense``, the default on GPUs: all images at the same time, which keeps a GPU busy. The algorithm
  of a convolution may follow from the batch's size, so that results are equal to rounding only.
"""

import tensorflow as tf

from oasis_tf.layers import by_device

# Most pixels of a dense batch that are computed at the same time, 8 images of 256x256: enough to
# keep a GPU busy, and some 5 GiB of activations at full width (counted).
_MOST_PIXELS = 8 * 256 * 256


class Engine:
    """A network with a snapshot of its weights, folded for inference.

    Args:
        network: the network whose weights are taken.
        fold: function(network, dtype) -> dict of tensors by name.
        dtype: str, type of the convolutions; None: the network's compute dtype.
        batching: "image" or "dense", see above; None: by device.

    Attributes:
        batching: "image" or "dense".
        weights: dict of ``tf.Variable``: all that inference needs. What only training needs (u, v,
            batch statistics) is not in it.
    """

    def __init__(self, network, fold, dtype=None, batching=None):
        self._network, self._fold = network, fold
        self.batching = by_device.batching(batching)
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


def whole_batches(function, inputs):
    """A graph of dynamic sizes that calls a function with whole batches.

    Args:
        function: takes and returns batches, [B, H, W, ...] the first.
        inputs: list of `tf.TensorSpec` of the arguments, batch included.

    Returns:
        function of batches. Large ones are computed in parts; but not where it is called in a
        graph, whose caller bounds them.
    """
    graph = tf.function(function, input_signature=inputs, autograph=False)

    def in_parts(*batches):
        if not tf.executing_eagerly():
            return graph(*batches)
        count, height, width = batches[0].shape[:3]
        rows = max(1, _MOST_PIXELS // max(1, height * width))
        parts = [
            graph(*(batch[first : first + rows] for batch in batches))
            for first in range(0, max(1, count), rows)
        ]
        return tf.nest.map_structure(lambda *part: tf.concat(part, axis=0), *parts)

    return in_parts


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
