"""OASIS in training, as the loop sees it."""

import math

from oasis_tf.data.pipeline import evaluation_batches, spread_places, training_batches
from oasis_tf.data.tfrecord import PreparedDataset
from oasis_tf.metrics import evaluation
from oasis_tf.systems.oasis import evaluation as oasis_evaluation
from oasis_tf.systems.oasis import memory, symptoms
from oasis_tf.systems.oasis.batch_statistics import StatisticsEstimator
from oasis_tf.systems.oasis.build import (
    build_for_training,
    build_model,
    networks,
    state_variables,
)
from oasis_tf.systems.oasis.carry_over import first_checkpoint
from oasis_tf.systems.oasis.panels import Panels
from oasis_tf.training import validation
from oasis_tf.training.named_weights import borrowed_state
from oasis_tf.training.precision import rates_and_scales
from oasis_tf.training.strategies import distribute, own_devices, replicated_step
from oasis_tf.training.task import Task

_PREVIEW_EXAMPLES = 4
# Keeps the batches of re-estimation apart from those of training, whatever seed a user takes.
_STATISTICS_SEED = 0x5EED_0A51


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


class OASISTask(Task):
    """OASIS in training.

    Args:
        config: ``Config``.
        strategy: ``tf.distribute`` strategy under whose scope the model is made.

    Raises:
        ValueError, OSError: evaluations that cannot work, or weights of VGG-19 that are missing.
    """

    divergence_advice = "with lower --lr_g and --lr_d, or without --mixed_precision"

    def __init__(self, config, strategy):
        _check_evaluations(config)
        self._config = config
        self._strategy = strategy
        with strategy.scope():
            self.model = build_for_training(config)
        self._statistics = StatisticsEstimator(self.model, strategy)
        self._inference = (None, None)
        self._panels = None
        self._validation = None
        jit_compile = config.training.jit_compile
        self._step = replicated_step(strategy, self.model.train_step, jit_compile)

    def start(self):
        if not self._config.training.init_from:
            return None
        training, inference, report = first_checkpoint(self._config, self.model)
        print(report)
        return training, inference

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

    def facts(self):
        names, values = self._config.label_space.class_names, _dataset(self._config).class_frequency
        return {f"class_frequency/{name}": v for name, v in zip(names, values, strict=True)}

    def scalars(self):
        return rates_and_scales(self._config.training, self.model)

    def symptom(self, step, averages):
        guessing = self.model.objective.loss_of_guessing
        weight = self._config.training.lambda_labelmix
        return symptoms.symptom(step, averages, guessing, weight)

    def pictures(self, step):
        if self._panels is None:
            image, label_map = self._preview_scenes()
            self._panels = Panels(self.model, self._config.label_space, image, label_map)
        with borrowed_state(self.model.generator_ema, self.inference_arrays(step)):
            return self._panels.draw()

    def prepare_measuring(self, model_dir, workers):
        config = self._config
        context = oasis_evaluation.context_of(
            self.model,
            model_dir,
            own_devices(self._strategy),
            dataset=_dataset(config),
            skip_corrupt=config.data.skip_corrupt,
            settings=config.evaluation,
        )
        metrics, images = (
            validation.metric_names(config.training),
            config.training.eval_train_images,
        )
        self._validation = validation.Validation(context, metrics, workers, images)

    def measure(self, step):
        with borrowed_state(self.model.generator_ema, self.inference_arrays(step)):
            return self._validation.measure(step)

    def _preview_scenes(self):
        """Scenes from the middles of equal parts of the validation split (or of the training split,
        if there is none)."""
        data, prepared = self._config.data, _dataset(self._config)
        split = "val" if "val" in prepared.splits else "train"
        scenes = evaluation_batches(
            data.data_dir,
            split,
            height=data.crop_height,
            width=data.crop_width,
            batch_size=_PREVIEW_EXAMPLES,
            at=spread_places(prepared.num_examples(split), _PREVIEW_EXAMPLES),
            skip_corrupt=data.skip_corrupt,
        )
        return next(iter(scenes))


def _dataset(config):
    return PreparedDataset.load(config.data.data_dir, skip_corrupt=config.data.skip_corrupt)


def _check_evaluations(config):
    """Refuses evaluations that cannot work, before anything is made."""
    if not config.training.eval_every:
        return
    dataset = _dataset(config)
    dataset.num_examples("val")  # refuses a data set without this split
    wanted = validation.metric_names(config.training)
    evaluation.check(wanted, config.evaluation, oasis_evaluation.capabilities(config))
    validation.check_best_metric(config.training)
    validation.check_training_images(config.training)
