"""A toy system: a line through noisy points. It has a little of everything that the loop knows."""

import dataclasses

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


class ToyTask(Task):
    def __init__(self, config, strategy):
        self._settings, self._strategy = config.training, strategy
        keras.utils.set_random_seed(config.training.seed)
        with strategy.scope():
            line = [keras.Input([2]), keras.layers.Dense(1, dtype="float64", name="line")]
            self.model = keras.Sequential(line)
            self.average = average_of(self.model, "average")
            self.optimizer = Adam(0.1, beta_1=0.5, name="optimizer")
            self.optimizer.build(self.model.trainable_variables)
        self._steps = {
            lazy: replicated_step(strategy, lambda points, lazy=lazy: self._step(points, lazy))
            for lazy in (False, True)
        }

    def _step(self, points, lazy):
        seed, step, batch = self._settings.seed, self.optimizer.iterations.value, len(points)
        key = randomness.make_key(seed, NOISE, step)
        noise = randomness.own_rows(randomness.normal(key, [batch * num_replicas(), 1]), batch)
        target = tf.cast(tf.reduce_sum(points, 1, keepdims=True) + 0.1 * noise, tf.float64)
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self.model(tf.cast(points, tf.float64)) - target) ** 2)
            penalty = tf.reduce_mean(variables[0] ** 2)
            total = replica_loss(loss + penalty if lazy else loss, self.optimizer)
        self.optimizer.apply(tape.gradient(total, [v.value for v in variables]), variables)
        update_averages([(self.average, self.model)], 0.9)
        return {"loss": mean_over_replicas(loss)} | ({"penalty": penalty} if lazy else {})

    def train_step(self, batch):
        step = int(self.optimizer.iterations.numpy()) + 1
        return self._steps[step % LAZY == 0](batch)

    def batches(self, start_step):
        def of_rows(rows):
            steps = tf.data.Dataset.range(start_step, np.iinfo(np.int64).max)
            return steps.map(lambda step: self._points(step, rows[0], rows[1] - rows[0]))

        return distribute(self._strategy, self._settings.batch_size, of_rows)

    def _points(self, step, first, count):
        key = randomness.make_key(self._settings.seed, POINTS, step)
        return tf.ensure_shape(randomness.normal_rows(key, first, count, [2]), [count, 2])

    def global_batch(self, step):
        return {"points": self._points(step - 1, 0, self._settings.batch_size).numpy()}

    def variables(self):
        networks = {"line": self.model, "average": self.average}
        weights = {
            f"{n}/{k}": v for n, net in networks.items() for k, v in named_weights(net).items()
        }
        return weights | {variable.path: variable for variable in self.optimizer.variables}

    def inference_arrays(self, step):
        return {"slope": self.average.get_weights()[0] * (1 + 1 / step)}

    def facts(self):
        return {"fact/dimensions": 2.0}

    def scalars(self):
        return {"learning_rate": 0.1}

    def pictures(self, step):
        return {"line": np.full([4, 4, 3], step, np.uint8)}

    def prepare_measuring(self, model_dir, workers):
        self._workers = workers

    def measure(self, step):
        own = self._points(-1, self._workers.index * 4, 4).numpy().astype(np.float64)
        error = np.mean((self.average(own).numpy()[:, 0] - own.sum(1)) ** 2)
        errors = [np.frombuffer(e) for e in self._workers.gather_bytes(error.tobytes())]
        return {"fid_toy": float(np.mean(errors))} if self._workers.chief else {}
