"""Spectrally normalised convolution (Miyato et al. 2018; OASIS, ICLR 2021, section C).

The trainable kernel ``W`` is never overwritten. A forward pass uses ``W / sigma`` with
``sigma = u^T W v``; ``u`` and ``v`` are constants for the gradient, which flows through both ``W``
and ``sigma``. ``keras.layers.SpectralNormalization`` assigns ``W / sigma`` to the kernel instead,
and so loses the gradient through ``sigma``, and with it the official training and weights.
"""

import functools

import keras
from keras import ops

from oasis_tf.layers import resampling
from oasis_tf.layers.fusion import fused
from oasis_tf.layers.gradients import of_upstream
from oasis_tf.layers.initializers import UnitVector, xavier_normal

_EPSILON = 1e-12

_CONVOLUTIONS = {
    "none": resampling.conv,
    "average_pool": resampling.conv_average_pool,
    "upsample": resampling.upsample_conv,
    "stride": resampling.strided_conv,
}


def normalise(vector):
    """``vector`` divided by its Euclidean length, at least 1e-12 (so zero stays zero)."""
    return vector / ops.maximum(ops.sqrt(ops.sum(ops.square(vector))), _EPSILON)


def power_iteration(matrix, u):
    """One power iteration on ``matrix`` [in, out] from ``u`` [out].

    Returns:
        the new ``(u, v, sigma)``; ``sigma = u^T matrix v`` comes with the product that gives ``u``.
    """
    v = normalise(ops.matmul(matrix, u))
    product = ops.matmul(v, matrix)
    u = normalise(product)
    return u, v, ops.sum(product * u)


def normalised(matrix, u, v, sigma, dtype):
    """``matrix / sigma`` [in, out] in ``dtype``, computed in the matrix's own.

    ``sigma`` is ``u^T matrix v`` and differentiated as such; ``u`` and ``v`` are constants.

    With ``K = W / sigma`` and ``dK`` the gradient that arrives, the gradient in W is

        dW = (dK - <dK, K> v u^T) / sigma

    (Miyato et al. 2018, equation 12): its first part through W, its second through sigma. Written
    out, it reads and writes large kernels half as often as what is derived operation by operation.
    """
    u, v, sigma = (ops.stop_gradient(ops.convert_to_tensor(part)) for part in (u, v, sigma))

    @ops.custom_gradient
    def divide(matrix):
        gradient = functools.partial(_gradient_of_division, matrix=matrix, u=u, v=v, sigma=sigma)
        return _divide(dtype)(matrix, sigma), of_upstream(gradient)

    return divide(matrix)


@functools.cache
def _divide(dtype):
    return fused(lambda matrix, sigma: ops.cast(matrix / sigma, dtype))


def _gradient_of_division(upstream, matrix, u, v, sigma):
    # A plain sum: XLA's runs on one core.
    along = ops.sum(ops.cast(upstream, matrix.dtype) * matrix) / sigma
    return _less_its_share(upstream, along, u, v, sigma)


@fused
def _less_its_share(upstream, along, u, v, sigma):
    """``(upstream - along * v u^T) / sigma``."""
    return (ops.cast(upstream, v.dtype) - along * ops.expand_dims(v, 1) * u) / sigma


def resampled_shape(shape, filters, kernel_size, resample):
    """What a convolution of ``shape`` [B, H, W, ...] gives: [B, H', W', filters]."""
    change = {
        "none": lambda n: n + 1 - kernel_size % 2,
        "average_pool": lambda n: n // 2,
        "upsample": lambda n: 2 * n,
        "stride": lambda n: resampling.strided_size(n, kernel_size),
    }[resample]
    return (shape[0], *(None if side is None else change(side) for side in shape[1:3]), filters)


@keras.saving.register_keras_serializable("oasis_tf")
class SpectralConv2D(keras.layers.Layer):
    """Convolution with ``kernel / sigma`` as its kernel, k // 2 zeros of padding on every side.

    Args:
        filters: int, number of output channels.
        kernel_size: int k, side of the kernel. Odd kernels keep the size of the input, even ones
            add a row and a column.
        use_bias: bool, default True. The bias is not normalised.
        resample: ``"none"`` (default), ``"average_pool"`` (halves what the convolution gives),
            ``"upsample"`` (doubles what it takes, nearest neighbour) or ``"stride"`` (every second
            row and column of what it gives). Pooling and upsampling are for 3x3 kernels, strides
            for 3x3 and 4x4.

    Call arguments:
        x: float [B, H, W, C].
        training: bool, default False. True first takes one power iteration and stores ``u``, ``v``;
            False uses the stored vectors as they are, not even renormalised (the moving averages of
            official checkpoints are not of unit length).

    Returns:
        [B, H, W, filters], resampled, in the compute dtype. ``u`` [filters], ``v`` [k*k*C] and
        sigma stay in the variable dtype (float32 under mixed precision); only ``kernel / sigma`` is
        cast.
        A kernel of zeros has no norm to divide by: its output is NaN.
    """

    def __init__(self, filters, kernel_size, use_bias=True, resample="none", **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.use_bias = use_bias
        self.resample = resample

    def build(self, input_shape):
        channels = input_shape[-1]
        shape = (self.kernel_size, self.kernel_size, channels, self.filters)
        fan = self.kernel_size * self.kernel_size * channels
        # autocast=False: under a mixed policy Keras would hand all of these out in half precision.
        self.kernel = self.add_weight(
            name="kernel", shape=shape, initializer=xavier_normal(), autocast=False
        )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(self.filters,), initializer="zeros", autocast=False
            )
        self.u = self._add_vector("u", self.filters)
        self.v = self._add_vector("v", fan)
        self.built = True

    def _add_vector(self, name, size):
        # Every replica computes the same vector from the same kernel: keep the first one's.
        return self.add_weight(
            name=name,
            shape=(size,),
            initializer=UnitVector(),
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
        )

    def _matrix(self):
        return ops.reshape(self.kernel, (-1, self.filters))

    def power_iteration(self):
        """Takes one power iteration, stores u and v, and returns ``(u, v, sigma)``."""
        matrix = ops.stop_gradient(self._matrix())
        u, v, sigma = power_iteration(matrix, ops.convert_to_tensor(self.u))
        self.u.assign(u)
        self.v.assign(v)
        return u, v, sigma

    def stored_norm(self):
        """``(u, v, sigma)`` of the stored vectors."""
        u, v = ops.convert_to_tensor(self.u), ops.convert_to_tensor(self.v)
        return u, v, ops.sum(ops.matmul(v, ops.stop_gradient(self._matrix())) * u)

    def normalised_kernel(self, norm=None):
        """``W / sigma`` [k, k, C, filters] in the compute dtype, differentiable in ``W``.

        ``norm``: (u, v, sigma), by default ``stored_norm()``.
        """
        matrix = normalised(self._matrix(), *(norm or self.stored_norm()), self.compute_dtype)
        return ops.reshape(matrix, self.kernel.shape)

    def call(self, x, training=False):
        kernel = self.normalised_kernel(self.power_iteration() if training else None)
        y = _CONVOLUTIONS[self.resample](x, kernel)
        return y + ops.cast(self.bias, self.compute_dtype) if self.use_bias else y

    def compute_output_shape(self, input_shape):
        return resampled_shape(input_shape, self.filters, self.kernel_size, self.resample)

    def get_config(self):
        return super().get_config() | {
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "use_bias": self.use_bias,
            "resample": self.resample,
        }
