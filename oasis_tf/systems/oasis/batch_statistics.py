"""Batch statistics of the averaged generator, re-estimated for use (official release, spec: "EMA").

A moving average of batch statistics does not describe the activations of the averaged kernels. So
they are measured: training batches run through the averaged generator in training mode, which moves
its statistics (momentum 0.1), u and v. Noise is of the kind of training. Latents come from the
averaged encoder, whose state stays.

The result is a copy. Training goes on with the statistics that it had, so that saving more or less
often cannot change a run.
"""

import tensorflow as tf

from oasis_tf.systems.oasis import noise
from oasis_tf.systems.oasis.models.iteration import to_float_image
from oasis_tf.training.named_weights import borrowed_state, forward_state


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
