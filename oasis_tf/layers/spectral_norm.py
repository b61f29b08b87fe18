"""Spectrally normalised convolution (Miyato et al. 2018; OASIS, ICLR 2021, section C).

The trainable kernel ``W`` is never overwritten. A forward pass uses ``W / sigma`` with
``sigma = u^T W v``. The gradient flows through both ``W`` and ``sigma`` and treats ``u`` and ``v``
as constants. ``keras.layers.SpectralNormalization`` assigns ``W / sigma`` to the kernel instead. It
loses the gradient through ``sigma`` and so reproduces neither official training nor its weights.
"""

import functools
import math

import keras
from keras import ops

from oasis_tf.layers import resampling
from oasis_tf.layers.fusion import fused
from oasis_tf.layers.gradients import of_upstream
from oasis_tf.layers.initializers import UnitVector, xavier_normal
from oasis_tf.layers.replicas import assign_same

_EPSILON = 1e-12

_CONVOLUTIONS = {
    "none": resampling.conv,
    "average_pool": resampling.conv_average_pool,
    "upsample": resampling.upsample_conv,
    "stride": resampling.strided_conv,
}


def normalise(vector, epsilon=_EPSILON):
    """``vector`` divided by its Euclidean length, at least ``epsilon`` (so zero stays zero)."""
    return vector / ops.maximum(ops.sqrt(ops.sum(ops.square(vector))), epsilon)


def power_iteration(matrix, u, epsilon=_EPSILON):
    """One power iteration on ``matrix`` [in, out] from ``u`` [out].

    Returns:
        the new ``(u, v, sigma)`` with ``sigma = u^T matrix v``.
    """
    v = normalise(ops.matmul(matrix, u), epsilon)
    product = ops.matmul(v, matrix)
    u = normalise(product, epsilon)
    return u, v, ops.sum(product * u)


def normalised(matrix, u, v, sigma, dtype):
    """``matrix / sigma`` [in, out] in ``dtype``, computed in the dtype of ``matrix``.

    ``sigma`` is differentiated as ``u^T matrix v`` with constant ``u`` and ``v``.

    With ``K = W / sigma`` and the upstream gradient ``dK``, the gradient of W is

        dW = (dK - <dK, K> v u^T) / sigma

    (Miyato et al. 2018, equation 12). The first term comes through W, the second through sigma.
    This form reads and writes large kernels half as often as automatic differentiation does.
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
    # Outside the fused function: XLA would sum on one core.
    product = ops.sum(ops.cast(upstream, matrix.dtype) * matrix) / sigma
    return _kernel_gradient(upstream, product, u, v, sigma)


@fused
def _kernel_gradient(upstream, product, u, v, sigma):
    """``(upstream - product * v u^T) / sigma``."""
    return (ops.cast(upstream, v.dtype) - product * ops.expand_dims(v, 1) * u) / sigma


def resampled_shape(shape, filters, kernel_size, resample):
    """Output shape [B, H', W', filters] of a convolution of ``shape`` [B, H, W, ...]."""
    change = {
        "none": lambda n: n + 1 - kernel_size % 2,
        "average_pool": lambda n: n // 2,
        "upsample": lambda n: 2 * n,
        "stride": lambda n: resampling.strided_size(n, kernel_size),
    }[resample]
    return (shape[0], *(None if side is None else change(side) for side in shape[1:3]), filters)


@keras.saving.register_keras_serializable("oasis_tf")
class SpectralConv2D(keras.layers.Layer):
    """Convolution with the kernel ``kernel / sigma``, zero padding of k // 2 on every side.

    Args:
        filters: int, number of output channels.
        kernel_size: int k, side of the kernel. Odd kernels keep the size of the input, even kernels
            add one row and one column.
        use_bias: bool, default True. The bias is not normalised.
        resample: ``"none"`` (default), ``"average_pool"`` (2x2 average pooling of the output),
            ``"upsample"`` (nearest-neighbour upsampling of the input by 2) or ``"stride"`` (every
            second row and column of the output). Pooling and upsampling are for 3x3 kernels,
            strides for 3x3 and 4x4 kernels.

    Call arguments:
        x: float [B, H, W, C].
        training: bool, default False. True first takes one power iteration and stores ``u``, ``v``.
            False uses the stored vectors without normalising them: the moving averages in official
            checkpoints are not unit vectors.

    Returns:
        [B, H, W, filters], resampled, in the compute dtype. ``u`` [filters], ``v`` [k*k*C] and
        sigma stay in the variable dtype (float32 under mixed precision); only ``kernel / sigma`` is
        cast. The norm of a kernel of zeros is 0, and the output is NaN.
    """

    folded = False

    def __init__(self, filters, kernel_size, use_bias=True, resample="none", **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.use_bias = use_bias
        self.resample = resample

    def build(self, input_shape):
        self.add_weights((self.kernel_size, self.kernel_size, input_shape[-1], self.filters))
        self.built = True

    def add_weights(self, shape):
        """Adds the kernel of this shape, the bias and what the norm is computed from."""
        # autocast=False: under a mixed policy Keras would return these variables in half precision.
        self.kernel = self.add_weight(
            name="kernel", shape=shape, initializer=xavier_normal(), autocast=False
        )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(self.filters,), initializer="zeros", autocast=False
            )
        self.add_vectors(math.prod(shape[:-1]))

    def add_vectors(self, size):
        """Adds the stored vectors; ``size``: number of rows of the matrix."""
        self.u = self.add_vector("u", self.filters)
        self.v = self.add_vector("v", size)

    def add_vector(self, name, size, initializer=None):
        """A vector of the state; default: a random direction."""
        # Every replica computes the same vector from the same kernel, so keep the first one's.
        return self.add_weight(
            name=name,
            shape=(size,),
            initializer=initializer or UnitVector(),
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
        assign_same(self.u, u)
        assign_same(self.v, v)
        return u, v, sigma

    def stored_norm(self):
        """``(u, v, sigma)`` of the stored vectors."""
        u, v = ops.convert_to_tensor(self.u), ops.convert_to_tensor(self.v)
        return u, v, ops.sum(ops.matmul(v, ops.stop_gradient(self._matrix())) * u)

    def normalised_kernel(self, norm=None):
        """``W / sigma`` [k, k, C, filters] in the compute dtype, differentiable in ``W``.

        ``norm``: (u, v, sigma), by default ``stored_norm()``.
        """
        if norm is None and self.folded:
            return ops.cast(self.kernel, self.compute_dtype)
        matrix = normalised(self._matrix(), *(norm or self.stored_norm()), self.compute_dtype)
        return ops.reshape(matrix, self.kernel.shape)

    def fold(self):
        """Makes ``kernel / sigma`` the kernel: outside training, its norm is computed no more."""
        self.kernel.assign(self.normalised_kernel())
        self.folded = True

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


def spectral_layers(network):
    """All layers of a network that have spectral norm."""
    return [layer for layer in network._flatten_layers() if isinstance(layer, SpectralConv2D)]
