"""BigGAN's spectral norm, batch norms and attention.

*Spectral norm.* Only u is stored. Every pass takes a power step from it, in evaluation too; only
training stores the result. So the norm in evaluation is not that of the stored vector.
"""

import keras
from keras import ops

from oasis_tf.layers.batch_norm import AffineBatchNorm, BatchNorm
from oasis_tf.layers.replicas import assign_same
from oasis_tf.layers.spectral_norm import SpectralConv2D, power_iteration

SN_EPSILON = 1e-6
BN_EPSILON = 1e-5


# === Spectral norm ===


@keras.saving.register_keras_serializable("oasis_tf.few_shot")
class BigGANConv2D(SpectralConv2D):
    """``SpectralConv2D`` with BigGAN's norm.

    Args:
        sn_eps: float, default 1e-6, lower bound of the lengths that vectors are divided by.

    ``u`` [filters] is the only stored vector; ``sigma`` [1] is the norm of the last pass in
    training, which nothing reads. Other arguments are those of ``SpectralConv2D``.
    """

    def __init__(self, filters, kernel_size, sn_eps=SN_EPSILON, **kwargs):
        super().__init__(filters, kernel_size, **kwargs)
        self.sn_eps = sn_eps

    def add_vectors(self, size):
        self.u = self.add_vector("u", self.filters)
        self.sigma = self.add_vector("sigma", 1, "ones")

    def power_iteration(self):
        """Takes one power step, stores u and sigma, and returns ``(u, v, sigma)``."""
        u, v, sigma = self.stored_norm()
        assign_same(self.u, u)
        assign_same(self.sigma, ops.reshape(sigma, (1,)))
        return u, v, sigma

    def stored_norm(self):
        """``(u, v, sigma)`` after one power step from the stored u; nothing is stored."""
        matrix = ops.stop_gradient(self._matrix())
        return power_iteration(matrix, ops.convert_to_tensor(self.u), self.sn_eps)

    def get_config(self):
        return super().get_config() | {"sn_eps": self.sn_eps}


@keras.saving.register_keras_serializable("oasis_tf.few_shot")
class BigGANDense(BigGANConv2D):
    """``x @ kernel / sigma + bias``: [B, C] to [B, units]; kernel [C, units].

    Args:
        units: int.
        use_bias: bool, default True.
        sn_eps: as of ``BigGANConv2D``.
    """

    def __init__(self, units, use_bias=True, sn_eps=SN_EPSILON, **kwargs):
        super().__init__(units, 1, sn_eps, use_bias=use_bias, **kwargs)

    def build(self, input_shape):
        self.add_weights((input_shape[-1], self.filters))
        self.built = True

    def call(self, x, training=False):
        y = ops.matmul(x, self.normalised_kernel(self.power_iteration() if training else None))
        return y + ops.cast(self.bias, self.compute_dtype) if self.use_bias else y

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        config = super().get_config()
        config["units"] = config.pop("filters")
        return {k: v for k, v in config.items() if k not in ("kernel_size", "resample")}


@keras.saving.register_keras_serializable("oasis_tf.few_shot")
class BigGANEmbedding(BigGANDense):
    """Rows of a normalised table: int [B] to [B, C]; kernel [C, num_classes].

    Args:
        num_classes: int.
        sn_eps: as of ``BigGANConv2D``.

    Build: with the shape of what the rows are multiplied with, [B, C].
    """

    def __init__(self, num_classes, sn_eps=SN_EPSILON, **kwargs):
        super().__init__(num_classes, use_bias=False, sn_eps=sn_eps, **kwargs)

    def call(self, label, training=False):
        kernel = self.normalised_kernel(self.power_iteration() if training else None)
        rows = ops.one_hot(label, self.filters, dtype=self.compute_dtype)
        return ops.matmul(rows, ops.transpose(kernel))

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.kernel.shape[0])

    def get_config(self):
        config = super().get_config()
        config["num_classes"] = config.pop("units")
        del config["use_bias"]
        return config


@keras.saving.register_keras_serializable("oasis_tf.few_shot")
class Embedding(keras.layers.Layer):
    """Rows of a table without spectral norm: int [B] to [B, dim], in the variable dtype."""

    def __init__(self, num_classes, dim, **kwargs):
        super().__init__(**kwargs)
        self.num_classes, self.dim = num_classes, dim

    def build(self, *_):
        shape = (self.num_classes, self.dim)
        self.table = self.add_weight(name="table", shape=shape, autocast=False)
        self.built = True

    def call(self, label):
        return ops.matmul(ops.one_hot(label, self.num_classes, dtype=self.table.dtype), self.table)

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.dim)

    def get_config(self):
        return super().get_config() | {"num_classes": self.num_classes, "dim": self.dim}


# === Batch norm ===


class _Statistics(BatchNorm):
    """Running statistics of BigGAN.

    Args:
        mybn: bool, default False. False: the running variance is the unbiased one. True: it is the
            biased one, and *standing statistics* can take the place of running ones: while
            ``accumulating``, passes in training mode add their moments to the stored ones and count
            themselves in ``accumulations``; evaluation divides by that number.

    Both are moments of the global batch.
    """

    accumulating = False

    def __init__(self, mybn=False, **kwargs):
        super().__init__(**kwargs)
        self.mybn = mybn

    def build(self, input_shape):
        super().build(input_shape)
        if self.mybn:
            self.accumulations = self._add_average("accumulations", 1, "zeros")

    def moments(self, x, training):
        stored = super().moments(x, training)
        if training or not self.mybn:
            return stored
        passes = ops.maximum(ops.convert_to_tensor(self.accumulations), 1)
        return tuple(moment / passes for moment in stored)

    def own_moments(self, x):
        # Sums in two steps. Added one after another, the values of all positions round more in
        # single precision: errors of images are 1.7 times as large, and single ReLUs change their
        # sign, which all gradients behind them show.
        mean = _mean(x)
        return mean, _mean(ops.square(x - mean))

    def update(self, moments, x, repeats=1):
        if not self.mybn:
            super().update(moments, x, repeats)
            return
        keep, share = (1, 1) if self.accumulating else (self.momentum, 1 - self.momentum)
        averages = self.moving_mean, self.moving_variance
        for average, moment in zip(averages, moments, strict=True):
            assign_same(average, keep * average + share * ops.stop_gradient(moment))
        if self.accumulating:
            assign_same(self.accumulations, self.accumulations + 1)

    def normalised(self, x, gain, bias, training):
        """``x`` of zero mean and unit variance times ``gain``, plus ``bias``; both broadcast.

        In training it also updates the statistics. The mean is subtracted first, which in single
        precision keeps digits that scale and shift alone would lose.
        """
        mean, variance = moments = self.moments(x, training)
        if training:
            self.update(moments, x)
        centred = ops.cast(x, self.variable_dtype) - mean
        y = centred * (gain * ops.rsqrt(variance + self.epsilon)) + bias
        return ops.cast(y, self.compute_dtype)

    def start_standing(self):
        """Forgets the statistics, and accumulates from now on."""
        if not self.mybn:
            raise ValueError(
                "Standing statistics need a generator whose batch norms accumulate. This one was "
                "trained without --standing_statistics: sample with its running statistics."
            )
        for stored in (self.moving_mean, self.moving_variance, self.accumulations):
            stored.assign(ops.zeros_like(stored))
        self.accumulating = True

    def get_config(self):
        return super().get_config() | {"mybn": self.mybn}


def _mean(x):
    """Mean [C] of [B, H, W, C]: over images and rows, then over columns."""
    return ops.mean(ops.mean(x, axis=(0, 1)), axis=0)


@keras.saving.register_keras_serializable("oasis_tf.few_shot")
class BigGANBatchNorm(_Statistics, AffineBatchNorm):
    """``AffineBatchNorm`` with BigGAN's running statistics.

    Args:
        mybn: as of ``_Statistics``.
    """

    def call(self, x, training=False):
        return self.normalised(x, self.gamma, self.beta, training)


@keras.saving.register_keras_serializable("oasis_tf.few_shot")
class ConditionalBatchNorm(_Statistics):
    """Normalised ``x`` times ``1 + gain(condition)``, plus ``bias(condition)``.

    Args:
        sn_eps: of the two linear layers.

    Call arguments: ``x`` [B, H, W, C], ``condition`` [B, D]. Build: with both shapes.
    """

    def __init__(self, sn_eps=SN_EPSILON, **kwargs):
        super().__init__(**kwargs)
        self.sn_eps = sn_eps

    def build(self, input_shape, condition_shape):
        super().build(input_shape)
        common = {"use_bias": False, "sn_eps": self.sn_eps, "dtype": self.dtype_policy}
        self.gain = BigGANDense(input_shape[-1], name="gain", **common)
        self.bias = BigGANDense(input_shape[-1], name="bias", **common)
        self.gain.build(condition_shape)
        self.bias.build(condition_shape)
        self.built = True

    def call(self, x, condition, training=False):
        gain, bias = (
            ops.cast(layer(condition, training=training), self.variable_dtype)[:, None, None]
            for layer in (self.gain, self.bias)
        )
        return self.normalised(x, 1 + gain, bias, training)

    def compute_output_shape(self, input_shape, condition_shape):
        return input_shape

    def get_config(self):
        return super().get_config() | {"sn_eps": self.sn_eps}


def standing_statistics(generator, batches):
    """Replaces a generator's running statistics by standing ones (Brock et al. 2019, appendix C).

    Args:
        generator: ``Generator`` of ``mybn=True``. Its u move, too, as the passes are in training
            mode. Borrow its state (``named_weights.borrowed_state``) to keep what it was.
        batches: v = [z | e], float [B, latent_dim], of every pass; the published code takes 16.

    Raises:
        ValueError: the generator cannot accumulate. Nothing is changed.
    """
    norms = [layer for layer in generator._flatten_layers() if isinstance(layer, _Statistics)]
    for norm in norms:
        norm.start_standing()
    try:
        for v in batches:
            generator.synthesis(v, training=True)
    finally:
        for norm in norms:
            norm.accumulating = False


# === Attention ===


@keras.saving.register_keras_serializable("oasis_tf.few_shot")
class BigGANAttention(keras.layers.Layer):
    """Self-attention over positions (Zhang et al. 2019): ``gamma * o + x``, gamma 0 at the start.

    Keys and values are max-pooled 2x2; there is no scaling.

    Args:
        channels: int C, of the input. Queries and keys have C / 8, values C / 2.
        sn_eps: of its convolutions.
    """

    def __init__(self, channels, sn_eps=SN_EPSILON, **kwargs):
        super().__init__(**kwargs)
        self.channels, self.sn_eps = channels, sn_eps
        widths = {
            "theta": max(1, channels // 8),
            "phi": max(1, channels // 8),
            "g": max(1, channels // 2),
            "o": channels,
        }
        for name, width in widths.items():
            conv = BigGANConv2D(
                width, 1, sn_eps, use_bias=False, name=name, dtype=self.dtype_policy
            )
            setattr(self, name, conv)

    def build(self, *_):
        for conv in (self.theta, self.phi, self.g):
            conv.build((None, None, None, self.channels))
        self.o.build((None, None, None, self.g.filters))
        self.gamma = self.add_weight(name="gamma", shape=(), initializer="zeros", autocast=False)
        self.built = True

    def call(self, x, training=False):
        batch, height, width, _ = ops.shape(x)
        query = self._rows(self.theta(x, training=training))
        key = self._rows(_pooled(self.phi(x, training=training)))
        value = self._rows(_pooled(self.g(x, training=training)))
        scores = ops.matmul(query, ops.transpose(key, (0, 2, 1)))
        weights = ops.softmax(ops.cast(scores, self.variable_dtype), axis=-1)
        seen = ops.matmul(ops.cast(weights, self.compute_dtype), value)
        seen = ops.reshape(seen, (batch, height, width, self.g.filters))
        return ops.cast(self.gamma, self.compute_dtype) * self.o(seen, training=training) + x

    def _rows(self, x):
        batch, height, width, _ = ops.shape(x)
        return ops.reshape(x, (batch, height * width, x.shape[-1]))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return super().get_config() | {"channels": self.channels, "sn_eps": self.sn_eps}


def _pooled(x):
    return ops.max_pool(x, 2, strides=2, data_format="channels_last")
