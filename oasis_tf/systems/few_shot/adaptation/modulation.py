"""AdAM (Zhao et al. 2022): kernels that matter to the source are modulated, the others trained.

A kernel W, as a matrix with one column for each filter, becomes ``W * (1 + u v)``, the rank-1
matrix u v near zero at the start. First, for some steps, all kernels are modulated and nothing else
is trained (probing); squared gradients of kernels, summed over the last of these steps, tell how
much a filter matters (Fisher information). Then the networks begin again: filters above a
percentile keep their kernel and train u and v alone, all else is trained as usual.
"""

import keras
import numpy as np
import tensorflow as tf

from oasis_tf import randomness
from oasis_tf.layers.replicas import assign_same, sum_over_replicas
from oasis_tf.training.named_weights import named_weights

_START = randomness.named_stream("few_shot/modulation")
_DEVIATION = 1e-7
_KERNEL_AXES = 4


class Modulation:
    """The modulated kernels of one network: all of its 3x3 convolutions.

    Args:
        network: Keras model of StyleGAN2.
        seed: int, of the first factors.

    Attributes:
        factors: u and v of all kernels, which an optimizer trains.
    """

    def __init__(self, network, seed):
        self._seed = seed
        self._kernels = {
            name: variable
            for name, variable in named_weights(network).items()
            if len(variable.shape) == _KERNEL_AXES and variable.shape[0] > 1
        }
        self._state = {}
        for name, kernel in self._kernels.items():
            rows, filters = int(np.prod(kernel.shape[:-1])), kernel.shape[-1]
            sizes = {"u": [rows], "v": [filters], "fisher": [filters], "modulated": [filters]}
            for part, shape in (sizes | {"base": kernel.shape}).items():
                self._state[f"{name}/{part}"] = keras.Variable(
                    tf.zeros(shape),
                    dtype=kernel.dtype,
                    trainable=part in ("u", "v"),
                    aggregation="none" if part in ("u", "v") else "only_first_replica",
                    name=f"{name}/{part}".replace("/", "_"),
                )
        self.factors = [
            self._state[f"{name}/{part}"] for name in self._kernels for part in ("u", "v")
        ]

    def variables(self):
        """The state by name."""
        return dict(self._state)

    def start(self):
        """Takes the kernels as they are for those of the source, all of them modulated."""
        for name, kernel in self._kernels.items():
            self._set(name, "base", kernel.numpy())
            self._set(name, "modulated", np.ones(kernel.shape[-1]))
        self._draw_factors()

    def choose(self, percentile):
        """Ends the probing: kernels and factors begin again, and the filters are chosen.

        Args:
            percentile: float in 0..100 of the Fisher information of all filters of the network.
                Those above it stay modulated.
        """
        values = [self._get(name, "fisher").numpy() for name in self._kernels]
        threshold = np.percentile(np.concatenate(values), percentile)
        for (name, kernel), value in zip(self._kernels.items(), values, strict=True):
            self._set(name, "modulated", value > threshold)
            kernel.assign(self._get(name, "base").value)
        self._draw_factors()

    def of_gradients(self, gradients, variables, probing, count):
        """Gradients of variables, and those of the factors.

        Args:
            gradients: list of tensors, of this replica.
            variables: list of all kernels of the network, and of others, that they belong to.
            probing: bool, whether nothing but factors is trained of the network.
            count: bool, whether they count for the Fisher information.

        Returns:
            (gradients of ``variables``, gradients of ``factors``).
        """
        names = {id(kernel): name for name, kernel in self._kernels.items()}
        of_factors, found = {}, []
        for gradient, variable in zip(gradients, variables, strict=True):
            name = names.get(id(variable))
            if name is not None:
                of_factors[name], gradient = self._split(name, gradient, count)
            elif probing:
                gradient = tf.zeros_like(gradient)
            found.append(gradient)
        flat = [part for name in self._kernels for part in of_factors[name]]
        return found, flat

    def apply(self):
        """Gives modulated filters their kernels, after a step of the factors."""
        for name, kernel in self._kernels.items():
            matrix = self._matrix(name, "base")
            u, v = (tf.convert_to_tensor(self._get(name, part)) for part in "uv")
            modulated = tf.reshape(matrix * (1 + u[:, None] * v), kernel.shape)
            where = tf.convert_to_tensor(self._get(name, "modulated")) > 0
            assign_same(kernel, tf.where(where, modulated, tf.convert_to_tensor(kernel)))

    def _split(self, name, gradient, count):
        """((gradients of u and v), gradient of the kernel where it is trained)."""
        shape, filters = gradient.shape, gradient.shape[-1]
        matrix = tf.reshape(gradient, (-1, filters))
        if count:
            whole = sum_over_replicas(matrix)
            fisher = self._get(name, "fisher")
            new = tf.convert_to_tensor(fisher) + tf.reduce_mean(tf.square(whole), axis=0)
            assign_same(fisher, new)
        modulated = tf.convert_to_tensor(self._get(name, "modulated"))
        u, v = (tf.convert_to_tensor(self._get(name, part)) for part in "uv")
        product = matrix * self._matrix(name, "base") * modulated
        of_factors = tf.linalg.matvec(product, v), tf.linalg.matvec(product, u, transpose_a=True)
        return of_factors, tf.reshape(matrix * (1 - modulated), shape)

    def _matrix(self, name, part):
        value = tf.convert_to_tensor(self._get(name, part))
        return tf.reshape(value, (-1, value.shape[-1]))

    def _draw_factors(self):
        for number, factor in enumerate(self.factors):
            key = randomness.make_key(self._seed, _START, number)
            drawn = _DEVIATION * randomness.normal(key, factor.shape)
            factor.assign(tf.cast(drawn, factor.dtype))

    def _get(self, name, part):
        return self._state[f"{name}/{part}"]

    def _set(self, name, part, value):
        variable = self._get(name, part)
        variable.assign(np.asarray(value, variable.dtype))
