"""What the training loop needs to know of a model, and OASIS' answer to it.

The loop (``loop.py``) drives anything with the methods of ``Task``; other systems bring their own.
"""

import math
from typing import Protocol

import keras
import tensorflow as tf

from oasis_tf.data.pipeline import evaluation_batches, training_batches
from oasis_tf.data.tfrecord import PreparedDataset
from oasis_tf.systems.oasis import memory
from oasis_tf.systems.oasis.batch_statistics import StatisticsEstimator, borrowed_state
from oasis_tf.systems.oasis.build import build_for_training, build_model, networks, state_variables
from oasis_tf.training.strategies import distribute, own_devices
from oasis_tf.training.validation import Validation
from oasis_tf.training.writer import Panels

_PREVIEW_EXAMPLES = 4
# Keeps the batches of re-estimation apart from those of training, whatever seed a user takes.
_STATISTICS_SEED = 0x5EED_0A51


class Task(Protocol):
    """A model in training, as the loop sees it."""

    def batches(self, start_step):
        """Endless iterable of distributed global batches, from that of ``start_step`` on."""

    def train_step(self, batch):
        """Runs one step; returns scalar tensors by name, each the global batch's."""

    def variables(self):
        """Every variable that makes up the state of training, by a stable name."""

    def inference_arrays(self, step):
        """What the trained model needs for use beyond ``variables``, by name."""

    def global_batch(self, step):
        """The whole batch that ``step`` (1 is the first) took, drawn again: arrays by name."""

    def scalars(self):
        """Numbers to show beside the metrics whenever those are shown, by name."""

    def pictures(self, step):
        """uint8 pictures [H, W, 3] of what the model does after ``step`` steps, by name."""

    def prepare_measuring(self, model_dir, workers):
        """Makes ready for ``measure``, which may cost; refuses here what cannot be measured."""

    def measure(self, step):
        """Values of the validation split by name, on the chief; every worker takes part."""


class OASISTask:
    """OASIS in training.

    Args:
        config: ``Config``.
        strategy: ``tf.distribute`` strategy under whose scope the model is made.
    """

    def __init__(self, config, strategy):
        self._config = config
        self._strategy = strategy
        with strategy.scope():
            self.model = build_for_training(config)
        self._statistics = StatisticsEstimator(self.model, strategy)
        self._inference = (None, None)
        self._panels = None
        self._validation = None
        # No Python control flow to translate: tracing is faster and errors are clearer without.
        self._step = tf.function(self._distributed_step, autograph=False, jit_compile=self._jit())

    def _jit(self):
        wanted = self._config.training.jit_compile
        if wanted and self._strategy.num_replicas_in_sync > 1:
            raise ValueError(
                "`jit_compile` works on one device only: XLA cannot compile sums over replicas. "
                f"Received: {self._strategy.num_replicas_in_sync} devices. Drop --jit_compile."
            )
        return wanted or None

    def _distributed_step(self, batch):
        logs = self._strategy.run(self.model.train_step, args=(batch,))
        # Every replica holds the mean of the global batch already.
        return {k: self._strategy.experimental_local_results(v)[0] for k, v in logs.items()}

    def train_step(self, batch):
        return self._step(batch)

    def batches(self, start_step):
        return self._training_batches(self._config.training.seed, start_step)

    def _training_batches(self, seed, start_step):
        return distribute(
            self._strategy,
            self._config.training.batch_size,
            lambda rows: self._rows(seed, start_step, rows),
        )

    def _rows(self, seed, start_step, rows=None):
        """Rows [a, b) of every global batch, by default all, on this process alone."""
        data = self._config.data
        return training_batches(
            data.data_dir,
            crop_height=data.crop_height,
            crop_width=data.crop_width,
            resize_height=data.resize_height,
            resize_width=data.resize_width,
            flip=data.flip,
            batch_size=self._config.training.batch_size,
            seed=seed,
            start_step=start_step,
            rows=rows,
            skip_corrupt=data.skip_corrupt,
        )

    def global_batch(self, step):
        image, label_map = next(iter(self._rows(self._config.training.seed, step - 1)))
        return {"image": image.numpy(), "label_map": label_map.numpy()}

    def variables(self):
        return state_variables(self.model)

    def inference_arrays(self, step):
        if self._inference[0] != step:
            seed = self._config.training.seed ^ _STATISTICS_SEED
            batches = iter(self._training_batches(seed, start_step=step))
            count = self._config.training.statistics_batches
            arrays = self._statistics.estimate((next(batches) for _ in range(count)), step)
            self._inference = (step, arrays)
        return self._inference[1]

    def scalars(self):
        training, model = self._config.training, self.model
        optimizers = {
            "generator": (training.lr_g, model.generator_optimizer),
            "discriminator": (training.lr_d, model.discriminator_optimizer),
        }
        scalars = {f"learning_rate/{name}": rate for name, (rate, _) in optimizers.items()}
        for name, (_, optimizer) in optimizers.items():
            if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
                scalars[f"loss_scale/{name}"] = float(optimizer.dynamic_scale.numpy())
        return scalars

    def pictures(self, step):
        if self._panels is None:
            image, label_map = self._preview_scenes()
            self._panels = Panels(self.model, self._config.label_space, image, label_map)
        with borrowed_state(self.model.generator_ema, self.inference_arrays(step)):
            return self._panels.draw()

    def prepare_measuring(self, model_dir, workers):
        devices = own_devices(self._strategy)
        self._validation = Validation(self._config, model_dir, self.model, workers, devices)

    def measure(self, step):
        with borrowed_state(self.model.generator_ema, self.inference_arrays(step)):
            return self._validation.measure(step)

    def _preview_scenes(self):
        """Scenes spread over the validation split; over the training split if there is none."""
        data = self._config.data
        prepared = PreparedDataset.load(data.data_dir, skip_corrupt=data.skip_corrupt)
        split = "val" if "val" in prepared.splits else "train"
        scenes = evaluation_batches(
            data.data_dir,
            split,
            height=data.crop_height,
            width=data.crop_width,
            batch_size=_PREVIEW_EXAMPLES,
            every=max(1, prepared.num_examples(split) // _PREVIEW_EXAMPLES),
            skip_corrupt=data.skip_corrupt,
        )
        return next(iter(scenes))


def describe(config):
    """What ``--dry_run`` prints: configuration, parameter counts and a memory estimate."""
    model = build_model(config)
    lines = [config.to_text(), ""]
    counts = {
        name: sum(math.prod(v.shape) for v in network.trainable_variables)
        for name, network in networks(model).items()
        if network.trainable
    }
    lines += [f"{name}: {count:,} trainable parameters" for name, count in counts.items()]
    return "\n".join([*lines, memory.describe(config, counts)])
