"""A StyleGAN2 or BigGAN in training, as the loop sees it."""

import dataclasses
import os

import numpy as np
import tensorflow as tf

from oasis_tf.metrics.pictures import evaluation as measuring
from oasis_tf.metrics.settings import PicturesEvaluationConfig
from oasis_tf.systems.few_shot import draws, evaluation, pretrained_source, source
from oasis_tf.systems.few_shot.build import build_model
from oasis_tf.systems.few_shot.schedule import parts_of
from oasis_tf.training.precision import rates_and_scales
from oasis_tf.training.strategies import check_whole_step, distribute, replicated_step
from oasis_tf.training.task import Task
from oasis_tf.training.validation import metric_names

_PREVIEWS = 8


def describe(config):
    """What ``--dry_run`` prints: configuration and parameter counts."""
    model = build_model(config)
    lines = [config.to_text(), ""]
    for name in ("generator", "discriminator", "heads"):
        if name in model.networks():
            weights = model.networks()[name].trainable_variables
            count = sum(int(np.prod(v.shape)) for v in weights)
            lines.append(f"{name}: {count:,} parameters")
    return "\n".join([*lines, "Memory: not estimated for this system."])


class FewShotTask(Task):
    """A StyleGAN2 or BigGAN in training, from new weights or from those of a source.

    Args:
        config: ``Config``.
        strategy: ``tf.distribute`` strategy under whose scope the model is made.

    Raises:
        ValueError, OSError: evaluations without held-out pictures, pictures that are not those of
            the configuration, a source that cannot be read, or XLA with several devices.
    """

    divergence_advice = "with lower --lr_g and --lr_d, or without --mixed_precision"

    def __init__(self, config, strategy):
        if config.training.eval_every and not config.data.held_out:
            raise ValueError(
                "`eval_every` needs pictures to measure the model on. Received: no `held_out`. "
                "Give --held_out=FOLDER, of pictures that are not trained on."
            )
        check_whole_step(strategy, config.training.jit_compile)
        self._config, self._strategy = config, strategy
        self._reader = source.Reader(config.data, config.pictures, config.model.size)
        batch = config.training.batch_size
        if len(self._reader) < batch:
            print(f"{len(self._reader)} pictures are repeated inside batches of {batch}.")
        with strategy.scope():
            self.model = build_model(config)
        self._from_source = config.adapted and os.path.exists(config.adaptation.source)
        if self._from_source:
            pretrained_source.fill(self.model)
        self._step = 0
        self._steps = {}  # compiled steps by their parts

    def variables(self):
        return self.model.variables()

    # === Batches ===

    def batches(self, start_step):
        if self._config.adapted and not self._from_source and not start_step:
            raise FileNotFoundError(
                "The model to adapt must still be there before the first checkpoint. Not found: "
                f"{self._config.adaptation.source}. Restore it, or start a new run with --source."
            )
        self._step = start_step
        batch, size = self._config.training.batch_size, self._config.model.size

        def read(numbers):
            return self._reader.read(numbers), self._reader.labels[numbers]

        def of_rows(rows):
            def pictures(step):
                numbers = self._order(step)[rows[0] : rows[1]]
                images, labels = tf.numpy_function(read, [numbers], [tf.uint8, tf.int32])
                images.set_shape([rows[1] - rows[0], size, size, 3])
                labels.set_shape([rows[1] - rows[0]])
                return images, labels

            steps = tf.data.Dataset.range(start_step, np.iinfo(np.int64).max)
            return steps.map(pictures).prefetch(2)

        return distribute(self._strategy, batch, of_rows)

    def _order(self, step):
        training = self._config.training
        return draws.order(training.seed, step, training.batch_size, len(self._reader))

    def global_batch(self, step):
        return {"image": self._reader.read(self._order(step - 1).numpy())}

    # === Steps ===

    def train_step(self, batch):
        if self._step and self._step == self._config.adaptation.probe_steps:
            self.model.end_probing()
        parts = parts_of(self._config, self._step)
        if parts not in self._steps:
            self._steps[parts] = self._compiled(parts)
        self._step += 1
        return self._steps[parts](batch)

    def _compiled(self, parts):
        with_classes = self._config.model.network == "biggan" and not self._config.adapted

        def step(batch):
            pictures, labels = batch
            return self.model.train_step(pictures, labels if with_classes else None, parts)

        return replicated_step(self._strategy, step, self._config.training.jit_compile)

    # === Evaluations ===

    def prepare_measuring(self, model_dir, workers):
        names, held_out = metric_names(self._config.training), self._config.data.held_out
        names = measuring.chosen(names, evaluation.has(self._config, held_out))
        settings = PicturesEvaluationConfig()
        measuring.check(settings, names)
        context = evaluation.of_training(self.model, model_dir, held_out, settings=settings)
        self._measured = context, names, workers

    def measure(self, step):
        context, names, workers = self._measured
        if not workers.chief:
            return {}
        context = dataclasses.replace(context, step=step, _parts=[])
        return measuring.measured(context, names)["metrics"]

    # === What a run shows ===

    def facts(self):
        return {"data/pictures": len(self._reader)}

    def scalars(self):
        return rates_and_scales(self._config.training, self.model)

    def pictures(self, step):
        """Samples of fixed latents by the average; of an adapted model, below its source's."""
        samples = self.model.sample(0, num_samples=_PREVIEWS, source=self._config.adapted)
        return {"samples": samples.sheet()}
