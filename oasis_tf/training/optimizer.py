"""Adam in PyTorch's form."""

import math

import keras
from keras import ops

from oasis_tf.layers.fusion import fused


def _bias_correction(beta, step):
    """``1 - beta**step`` without the cancellation that costs float32 four digits at step 1."""
    return -ops.expm1(step * math.log(beta))


@keras.saving.register_keras_serializable("oasis_tf")
class Adam(keras.optimizers.Optimizer):
    """Adam (Kingma & Ba 2015, algorithm 1): ``w -= lr * m_hat / (sqrt(v_hat) + epsilon)``.

    ``keras.optimizers.Adam`` follows the paper's remark before section 2.1, so adds epsilon before
    the bias correction, which weakens it by ``sqrt(1 - beta_2**t)``; the published weights were
    trained with this form. With ``beta_1 = 0``, OASIS' setting, the first moment is the gradient
    itself and takes no memory.

    Args:
        learning_rate: float.
        beta_1, beta_2: floats, default 0 and 0.999.
        epsilon: float, default 1e-8.
    """

    def __init__(
        self, learning_rate, beta_1=0.0, beta_2=0.999, epsilon=1e-8, name="adam", **kwargs
    ):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self._updated = fused(self._moved)

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._velocities = self.add_optimizer_variables(variables, "velocity")
        if self.beta_1:
            self._momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient, variable, learning_rate):
        dtype, index = variable.dtype, self._get_variable_index(variable)
        velocity = self._velocities[index]
        state = [variable, velocity] + ([self._momentums[index]] if self.beta_1 else [])
        scalars = ops.cast(learning_rate, dtype), ops.cast(self.iterations + 1, dtype)
        for old, new in zip(
            state, self._updated(ops.cast(gradient, dtype), *scalars, *state), strict=True
        ):
            self.assign(old, new)

    def _moved(self, gradient, rate, step, variable, velocity, momentum=None):
        """New values of (variable, velocity[, momentum])."""
        velocity = self.beta_2 * velocity + (1 - self.beta_2) * ops.square(gradient)
        first, moments = gradient, [velocity]
        if momentum is not None:
            momentum = self.beta_1 * momentum + (1 - self.beta_1) * gradient
            first = momentum / _bias_correction(self.beta_1, step)
            moments.append(momentum)
        second = velocity / _bias_correction(self.beta_2, step)
        return variable - rate * first / (ops.sqrt(second) + self.epsilon), *moments

    def get_config(self):
        return super().get_config() | {
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
        }
