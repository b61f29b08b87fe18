"""Evaluation while training: the metrics of the evaluate command, on the weights of the moment.

All workers share the batches of the validation split and all devices of a worker paint, each with
a copy of the folded weights. Networks are loaded, and a compact segmenter is trained, before the
first evaluation only; what concerns the real images alone is computed once.
"""

import io
import time

import numpy as np

from oasis_tf.data.tfrecord import PreparedDataset
from oasis_tf.metrics import evaluation, names, report
from oasis_tf.metrics.evaluator import EvaluationContext
from oasis_tf.metrics.painting import Painter


def metric_names(config):
    """The metrics of a configuration's evaluations."""
    return config.training.eval_metrics.split(",")


def check(config):
    """Refuses evaluations that cannot work, before the first step.

    Args:
        config: ``Config``.

    Raises:
        ValueError, OSError: unknown metrics, no validation split, missing files, or a
            ``best_metric`` that none of the metrics gives.
    """
    if not config.training.eval_every:
        return
    data = config.data
    dataset = PreparedDataset.load(data.data_dir, skip_corrupt=data.skip_corrupt)
    wanted = metric_names(config)
    dataset.num_examples("val")  # refuses a data set without this split
    evaluation.check(wanted, config.evaluation, config.model, dataset.label_space)
    best = config.training.best_metric
    if best is not None and names.metric_of(best) not in wanted:
        starts = [f"{start}…" for name in wanted for start in names.PREFIXES[name]]
        raise ValueError(
            "`best_metric` must be a value of `eval_metrics`. Received: "
            f"best_metric={best}, eval_metrics={config.training.eval_metrics}, whose values are "
            f"called {', '.join(starts)}."
        )


class Validation:
    """The evaluations of one run.

    Args:
        config: ``Config``.
        model_dir: str.
        model: ``OASIS``.
        workers: ``Workers``.
        devices: names of this process' devices.
    """

    def __init__(self, config, model_dir, model, workers, devices):
        data, self._names = config.data, metric_names(config)
        self._context = EvaluationContext(
            model=model,
            dataset=PreparedDataset.load(data.data_dir, skip_corrupt=data.skip_corrupt),
            model_dir=model_dir,
            skip_corrupt=data.skip_corrupt,
            settings=config.evaluation,
        )
        self._best_metric = config.training.best_metric
        self._workers = workers
        self._devices = devices
        self._evaluators = self._made_by_the_chief_first()

    def _made_by_the_chief_first(self):
        """Evaluators; what is trained for them is trained once and kept for the other workers."""
        if not self._workers.chief:
            self._workers.gather()
        evaluators = evaluation.make_evaluators(self._context, self._names)
        if self._workers.chief:
            self._workers.gather()
        return evaluators

    def measure(self, step):
        """Values by name on the chief, which also writes the report; nothing on other workers.

        Args:
            step: int, that the weights are of.

        Raises:
            ValueError: ``best_metric`` is not among the values.
        """
        start = time.monotonic()
        states = evaluation.collect(
            self._context,
            self._evaluators,
            Painter(self._context.model, self._devices),
            worker=self._workers.index,
            workers=self._workers.count,
        )
        states = self._gathered(states)
        if not self._workers.chief:
            return {}
        found = evaluation.results(self._evaluators, states)
        seconds = time.monotonic() - start
        contents = evaluation.make_report(self._context, found, seed=0, step=step, seconds=seconds)
        self._check_best(contents["metrics"])
        report.write(contents, report.default_path(self._context.model_dir, step))
        return contents["metrics"]

    def _check_best(self, values):
        if self._best_metric is not None and self._best_metric not in values:
            raise ValueError(
                "`best_metric` must be one of the values of an evaluation. Received: "
                f"best_metric={self._best_metric}; values: {', '.join(values)}."
            )

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
