"""Batch statistics of the averaged generator, re-estimated for use (official release, spec: "EMA").

The average of running statistics does not belong to the averaged kernels. Training batches run
through the averaged generator in training mode move its statistics (momentum 0.1) and its u and v.
Noise is of the kind of training, latents come from the averaged encoder, whose state stays.
The result is a derived copy: what training averages on is put back untouched, so that saving more
or less often cannot change a run.
"""

import contextlib

import tensorflow as tf

from oasis_tf.systems.oasis import noise
from oasis_tf.systems.oasis.models.iteration import to_float_image
from oasis_tf.training.named_weights import forward_state


@contextlib.contextmanager
def borrowed_state(network, arrays=None):
    """Lets the block move a network's forward state, from ``arrays`` on, and puts it back."""
    state = forward_state(network)
    before = {name: variable.numpy() for name, variable in state.items()}
    try:
        for name, array in (arrays or {}).items():
            state[name].assign(array)
        yield
    finally:
        for name, variable in state.items():
            variable.assign(before[name])


class StatisticsEstimator:
    """Re-estimates the forward state (batch statistics, u, v) of ``model.generator_ema``.

    Args:
        model: ``OASIS``.
        strategy: the run's ``tf.distribute`` strategy.
    """

    def __init__(self, model, strategy):
        self._model = model
        self._strategy = strategy
        self._forward = tf.function(self._forward_on_replicas, autograph=False)

    def estimate(self, batches, step):
        """Forward state by name, as arrays.

        Args:
            batches: iterable of (image, label_map) global batches, distributed.
            step: int, keys the noise together with the seed.
        """
        average = self._model.generator_ema
        with borrowed_state(average):
            for index, batch in enumerate(batches):
                self._forward(batch, tf.constant(step, tf.int64), tf.constant(index, tf.int64))
            return {name: v.numpy() for name, v in forward_state(average).items()}

    def _forward_on_replicas(self, batch, step, index):
        self._strategy.run(self._forward_on_one, args=(batch, step, index))

    def _forward_on_one(self, batch, step, index):
        model, (image, label_map) = self._model, batch
        label_map = tf.cast(label_map, tf.int32)
        draw = model.noise_slice(label_map, step, noise.STATISTICS, index)
        image = to_float_image(image, model.variable_dtype)
        model.average_images(image, label_map, draw)
