"""A toy system: a line through noisy points. It has a little of everything that the loop knows."""

import dataclasses
import functools

import keras
import numpy as np
import tensorflow as tf

from oasis_tf import randomness
from oasis_tf.layers.replicas import mean_over_replicas, num_replicas
from oasis_tf.settings.run_config import RunConfig
from oasis_tf.training.averages import average_of, update_averages
from oasis_tf.training.named_weights import named_weights
from oasis_tf.training.optimizer import Adam
from oasis_tf.training.precision import replica_loss
from oasis_tf.training.settings import LoopSettings
from oasis_tf.training.strategies import distribute, replicated_step
from oasis_tf.training.task import Task

POINTS, NOISE = (randomness.named_stream(f"toy/{name}") for name in ("points", "noise"))
LAZY = 3  # the penalty is of every third step


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToyConfig(RunConfig):
    SYSTEM = "toy"
    SECTIONS = {"training": LoopSettings}

    training: LoopSettings


def points_of(numbers):
    """The points [B, 2] of their numbers [B]."""
    return tf.cast(randomness.normal_by_seed(numbers, POINTS, [2]), tf.float64)


class Line:
    """The model, its average, its optimizer and its compiled steps."""

    def __init__(self, strategy, seed):
        keras.utils.set_random_seed(seed)
        self._seed = seed
        layers = [keras.Input([2]), keras.layers.Dense(1, dtype="float64", name="dense")]
        with strategy.scope():
            self.model = keras.Sequential(layers, name="line")
            self.average = average_of(self.model, "average")
            self.optimizer = Adam(0.1, beta_1=0.5, name="optimizer")
            self.optimizer.build(self.model.trainable_variables)
        self.start = {name: variable.numpy() for name, variable in self.variables().items()}
        self.steps = {
            lazy: replicated_step(strategy, functools.partial(self._step, lazy=lazy))
            for lazy in (False, True)
        }

    def variables(self):
        networks = (("line", self.model), ("average", self.average))
        weights = {f"{n}/{k}": v for n, net in networks for k, v in named_weights(net).items()}
        return weights | {variable.path: variable for variable in self.optimizer.variables}

    def _step(self, numbers, lazy):
        points, batch = points_of(numbers), numbers.shape[0]
        key = randomness.make_key(self._seed, NOISE, self.optimizer.iterations.value)
        noise = randomness.own_rows(randomness.normal(key, [batch * num_replicas(), 1]), batch)
        target = tf.reduce_sum(points, 1, keepdims=True) + tf.cast(0.1 * noise, tf.float64)
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self.model(points) - target) ** 2)
            penalty = tf.reduce_mean(variables[0] ** 2)
            total = replica_loss(loss + penalty if lazy else loss, self.optimizer)
        self.optimizer.apply(tape.gradient(total, [v.value for v in variables]), variables)
        update_averages([(self.average, self.model)], 0.9)
        return {"loss": mean_over_replicas(loss)} | ({"penalty": penalty} if lazy else {})


line_of = functools.cache(Line)  # tasks of one process share what was traced


class ToyTask(Task):
    def __init__(self, config, strategy):
        self._settings, self._strategy = config.training, strategy
        self.line = line_of(strategy, config.training.seed)
        for name, variable in self.variables().items():
            variable.assign(self.line.start[name])

    def variables(self):
        return self.line.variables()

    def batches(self, start_step):
        size = self._settings.batch_size
        numbers = tf.data.Dataset.range(start_step * size, np.iinfo(np.int64).max)
        batches = numbers.batch(size, drop_remainder=True)
        of_rows = lambda rows: batches.map(lambda batch: batch[rows[0] : rows[1]])  # noqa: E731
        return distribute(self._strategy, size, of_rows)

    def train_step(self, batch):
        step = int(self.line.optimizer.iterations.numpy()) + 1
        return self.line.steps[step % LAZY == 0](batch)

    def global_batch(self, step):
        size = self._settings.batch_size
        return {"numbers": np.arange((step - 1) * size, step * size)}

    def inference_arrays(self, step):
        return {"slope": self.line.average.get_weights()[0] * (1 + 1 / step)}

    def facts(self):
        return {"fact/dimensions": 2.0}

    def scalars(self):
        return {"learning_rate": 0.1}

    def pictures(self, step):
        return {"line": np.full([4, 4, 3], step % 256, np.uint8)}

    def prepare_measuring(self, model_dir, workers):
        self._workers = workers

    def measure(self, step):
        own = points_of(-1 - self._workers.index - 9 * np.arange(4)).numpy()
        error = np.mean((self.line.average(own).numpy()[:, 0] - own.sum(1)) ** 2)
        errors = [np.frombuffer(e) for e in self._workers.gather_bytes(error.tobytes())]
        return {"fid_toy": float(np.mean(errors))} if self._workers.chief else {}
