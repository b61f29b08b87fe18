"""Evaluation while training: the metrics of the evaluate command, on the weights of the moment.

Some are also measured on training images, which shows over-fitting. All workers share the batches.
A compact segmenter is trained before the first step only; what concerns the real images alone is
computed once.
"""

import dataclasses
import io
import time

import numpy as np

from oasis_tf.data import pipeline
from oasis_tf.metrics import evaluation, names
from oasis_tf.metrics.reports import evaluation_file


def metric_names(settings):
    """The metrics of a run's evaluations; ``settings``: ``LoopSettings``."""
    return settings.eval_metrics.split(",")


def check_best_metric(settings):
    """Refuses a ``best_metric`` that none of the metrics gives, before the first step.

    Args:
        settings: ``LoopSettings``.

    Raises:
        ValueError: it is no value of theirs, or does not tell how good a model is.
    """
    best, wanted = settings.best_metric, metric_names(settings)
    if best is not None and not names.is_criterion(best):
        raise ValueError(
            "`best_metric` must be a value of which more, or less, is better. Received: "
            f"best_metric={best}, which does not tell how good the model is."
        )
    if best is not None and names.metric_of(best) not in wanted:
        starts = [f"{start}…" for name in wanted for start in names.PREFIXES[name]]
        raise ValueError(
            "`best_metric` must be a value of `eval_metrics`. Received: "
            f"best_metric={best}, eval_metrics={settings.eval_metrics}, whose values are "
            f"called {', '.join(starts)}."
        )


def check_training_images(settings):
    """Refuses ``eval_train_images`` for metrics that are not measured on training images.

    Args:
        settings: ``LoopSettings``.

    Raises:
        ValueError: none of the metrics is.
    """
    if settings.eval_train_images and not _of_training(metric_names(settings)):
        raise ValueError(
            "`eval_train_images` is of metrics that are measured on training images, too: "
            "segmentation and alignment. Received: "
            f"eval_train_images={settings.eval_train_images}, "
            f"eval_metrics={settings.eval_metrics}. Name one of them in --eval_metrics."
        )


def _of_training(metrics):
    return [name for name in metrics if evaluation.evaluator_class(name).of_training]


class Validation:
    """The evaluations of one run. Making it loads all networks, so that bad files are found early.

    Args:
        context: ``EvaluationContext`` of the model in training.
        metrics: list of their names.
        workers: ``Workers``.
        training_images: int, training images that metrics with ``of_training`` are measured on.

    Raises:
        ValueError, OSError: a metric cannot work with this model, size, or file.
    """

    def __init__(self, context, metrics, workers, training_images=0):
        self._context, self._names, self._workers = context, metrics, workers
        self._training = None
        if training_images:
            train = dataclasses.replace(context, split="train")
            places = pipeline.spread_places(train.num_images, training_images)
            self._training = dataclasses.replace(train, at=tuple(places))
        self._prepared = self._made_by_the_chief_first()

    def _made_by_the_chief_first(self):
        """New evaluators, for they collect; what is trained for them is trained by one worker."""
        if not self._workers.chief:
            self._workers.gather()
        evaluators = evaluation.make_evaluators(self._context, self._names)
        if self._workers.chief:
            self._workers.gather()
        return evaluators

    def measure(self, step):
        """Values by name on the chief, which also writes the report; nothing on other workers.

        Those of training images are called ``train/NAME``; the report is of the validation split.

        Args:
            step: int, that the weights are of.

        Raises:
            ValueError: a damaged record, or images that are not finite.
            OSError: the report cannot be written.
        """
        start = time.monotonic()
        evaluators = self._prepared or self._made_by_the_chief_first()
        self._prepared = None
        context = dataclasses.replace(self._context, step=step)
        context.sampler.refresh()
        found = self._found(context, evaluators)
        of_training = self._of_training_images()
        if not self._workers.chief:
            return {}
        seconds = time.monotonic() - start
        contents = evaluation.make_report(context, found, seed=0, seconds=seconds)
        self._write(contents, step)
        return contents["metrics"] | of_training

    def _of_training_images(self):
        if self._training is None:
            return {}
        made = evaluation.make_evaluators(self._training, _of_training(self._names))
        found = self._found(self._training, made)
        return {
            f"train/{name}": float(value)
            for one in found.values()
            for name, value in one.values.items()
        }

    def _found(self, context, evaluators):
        """The ``Result`` of each metric on the chief, nothing on other workers."""
        states = evaluation.collect(
            context,
            evaluators,
            worker=self._workers.index,
            workers=self._workers.count,
        )
        states = self._gathered(states)
        return evaluation.results(evaluators, states) if self._workers.chief else {}

    def _write(self, contents, step):
        path = evaluation_file.default_path(self._context.model_dir, step)
        try:
            evaluation_file.write(contents, path)
        except OSError as error:
            raise OSError(
                f"Cannot write {path}: {error.strerror or error}. Make room or mend the "
                "permissions, then repeat the command: it continues from the last checkpoint."
            ) from error

    def _gathered(self, states):
        """The states of every worker, the chief's first."""
        if self._workers.count == 1:
            return [states]
        return [_unpacked(data) for data in self._workers.gather_bytes(_packed(states))]


def _packed(states):
    arrays = {f"{k}/{name}": v for k, state in enumerate(states) for name, v in state.items()}
    file = io.BytesIO()
    np.savez(file, count=len(states), **arrays)
    return file.getvalue()


def _unpacked(data):
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        states = [{} for _ in range(int(arrays["count"]))]
        for key in arrays.files:
            index, _, name = key.partition("/")
            if name:
                states[int(index)][name] = arrays[key]
    return states
