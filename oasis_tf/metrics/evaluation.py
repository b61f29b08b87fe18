"""Runs evaluators by name over the validation split, and measures model directories."""

import datetime
import errno
import importlib
import itertools
import math
import os
import time

import keras
import tensorflow as tf
from absl import logging

import oasis_tf
from oasis_tf import pretrained, systems
from oasis_tf.data import damage, pipeline
from oasis_tf.data.tfrecord import load_for_model
from oasis_tf.io.progress import progress_bar
from oasis_tf.io.write_errors import check_writable, not_written
from oasis_tf.metrics import evaluator
from oasis_tf.metrics import names as value_names
from oasis_tf.metrics.reports import evaluation_file

# Metric -> module below this package, and class. Imported when asked for: some need extras.
_EVALUATORS = {
    "fid": "features.evaluators.FIDEvaluator",
    "kid": "features.evaluators.KIDEvaluator",
    "precision_recall": "features.evaluators.PrecisionRecallEvaluator",
    "segmentation": "segmentation.evaluators.SegmentationEvaluator",
    "alignment": "segmentation.evaluators.AlignmentEvaluator",
    "diversity": "diversity.evaluators.DiversityEvaluator",
    "class_diversity": "diversity.evaluators.ClassDiversityEvaluator",
    "colour": "histograms.evaluators.ColourEvaluator",
    "texture": "histograms.evaluators.TextureEvaluator",
    "lvis": "lvis.evaluators.LVISEvaluator",
}
METRICS = tuple(_EVALUATORS)
DEFAULT_METRICS = ("fid", "segmentation", "alignment")


def evaluator_class(name):
    """The `Evaluator` subclass of a metric."""
    module, _, attribute = _EVALUATORS[name].rpartition(".")
    return getattr(importlib.import_module(f"oasis_tf.metrics.{module}"), attribute)


def check_names(names, metrics=METRICS):
    """Refuses names that are not of `metrics`.

    Raises:
        ValueError: no names, a repeated or an unknown one; the message lists those that exist.
    """
    known = ", ".join(metrics)
    if not names:
        raise ValueError(f"At least one metric must be named. Known metrics: {known}")
    unknown = [name for name in names if name not in metrics]
    if unknown:
        raise ValueError(f"Unknown metrics: {', '.join(unknown)}. Known metrics: {known}")
    if len(set(names)) < len(names):
        raise ValueError(f"Each metric may be named once. Received: {', '.join(names)}")


def check(names, settings, capabilities):
    """Refuses an evaluation that cannot work, before any network is loaded.

    Args:
        names: metric names.
        settings: `EvaluationConfig`.
        capabilities: `Capabilities` of the model.

    Raises:
        ValueError, OSError: unknown metrics, a model that lacks what one of them needs, or files
            that are missing or hold something else.
    """
    check_names(names)
    for name in names:
        kind = evaluator_class(name)
        capabilities.check(name, kind.needs)
        kind.check(settings, capabilities.label_space)


def make_evaluators(context, names):
    """Evaluators by metric name; networks are loaded, and trained where that is their way."""
    return {name: evaluator_class(name)(context) for name in names}


def collect(context, evaluators, *, seed=0, worker=0, workers=1):
    """Shows evaluators the context's split, the validation split by default, at its size.

    Args:
        context: `EvaluationContext`.
        evaluators: what `make_evaluators` gave.
        seed: the i-th image is generated with noise seed `seed + i`.
        worker, workers: of several workers, each takes every `workers`-th batch.

    Returns:
        list of states, one for each evaluator.

    Raises:
        ValueError: no such split, a damaged record, or images that are not finite.
    """
    batches = pipeline.evaluation_batches(
        context.dataset.data_dir,
        context.split,
        height=context.height,
        width=context.width,
        batch_size=context.batch_size,
        at=context.at,
        skip_corrupt=context.skip_corrupt,
    ).as_numpy_iterator()
    batches = evaluator.padded_batches(batches, context.sampler, context.batch_size, seed)
    total = math.ceil(context.num_images / context.batch_size)
    watching = [one for one in evaluators.values() if one.needs_images]
    with damage.plain_errors(), progress_bar(total, "batch", "evaluate") as progress:
        for batch in itertools.islice(batches if watching else [], worker, None, workers):
            for one in watching:
                one.update(batch)
            progress.update(min(workers, total - progress.n))
    return [one.state() for one in evaluators.values()]


def results(evaluators, states):
    """The `Result` of each metric, by name.

    Args:
        evaluators: what `make_evaluators` gave.
        states: for each worker, what `collect` gave there.
    """
    by_metric = zip(*states, strict=True)
    return {
        name: one.result(list(of_workers))
        for (name, one), of_workers in zip(evaluators.items(), by_metric, strict=True)
    }


def evaluate(context, names, *, seed=0):
    """Computes metrics on the validation split with one process.

    Args:
        context: `EvaluationContext`.
        names: metric names, of `METRICS`.
        seed: the i-th validation image is generated with noise seed `seed + i`.

    Returns:
        dict of metric name -> `Result`.

    Raises:
        ValueError: unknown metric, no validation split, or a data set of other classes than the
            model's.
    """
    check_names(names)
    check_dataset(context.label_space, context.dataset)
    evaluators = make_evaluators(context, names)
    return results(evaluators, [collect(context, evaluators, seed=seed)])


def check_dataset(label_space, dataset):
    """Refuses a data set whose classes are not the model's, or without validation images.

    Args:
        label_space: `LabelSpace` of the model; None for a model without label maps.
        dataset: `PreparedDataset`.
    """
    if label_space is not None:
        dataset.check_classes(label_space)
    dataset.num_examples("val")  # refuses a data set without this split


def make_report(context, found, *, seed, seconds):
    """The report of an evaluation: values, and all that they depend on.

    Args:
        context: `EvaluationContext`, or another with `model_dir`, `step` and `facts`.
        found: dict of metric name -> `Result`.
        seed: noise seed of the first image.
        seconds: that it took.
    """
    values = {key: float(v) for one in found.values() for key, v in one.values.items()}
    return {
        "format_version": evaluation_file.FORMAT_VERSION,
        "model_dir": os.path.abspath(context.model_dir),
        "step": context.step,
        **context.facts(),
        "seed": seed,
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "versions": {
            "oasis_tf": oasis_tf.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
        "protocols": {name: dict(one.protocol) for name, one in found.items()},
        "metrics": values,
    }


def evaluate_model(
    model_dir,
    data_dir,
    names,
    settings=None,
    *,
    checkpoint=None,
    seed=0,
    batch_size=16,
    skip_corrupt=False,
    json_path=None,
    plots=None,
    show=None,
):
    """Measures a model directory; what can be refused is refused before the model is read.

    The ability "evaluate" of the model's system is a module with

        capabilities(config) -> `Capabilities` of a model of this configuration
        context(model_dir, checkpoint, dataset, **options) -> `EvaluationContext` of the loaded
            model; `options` are attributes of the context: batch_size, skip_corrupt, settings

    or, of a system that learns from a few pictures, what `pictures.evaluation.evaluate_model` asks
    for.

    Args:
        model_dir: model directory.
        data_dir: prepared data set, or pictures; None takes those the model was trained on.
        names: metric names, of `METRICS`; None for those of `DEFAULT_METRICS`.
        settings: `EvaluationConfig`; None takes that of the model directory.
        checkpoint: as in `oasis_tf.load`.
        seed, batch_size, skip_corrupt: as in `evaluate` and `EvaluationContext`.
        json_path: a second file to write the report to, beside `evaluation_file.default_path`.
        plots: folder for plots, or None.
        show: function of the report, called before anything is written, or None.

    Returns:
        the report: `make_report`, which is also written as JSON (null for values that do not
        exist).

    Raises:
        ValueError: what is asked for cannot work, a damaged record, or images that are not finite.
        OSError: a file cannot be read, or no file of the report can be written. (If the one in the
            model directory cannot, but `json_path` can, that is a warning.)
    """
    if names is not None:
        check_names(names, tuple(value_names.PREFIXES))
    model_dir = pretrained.find(model_dir)
    system = systems.of_model_dir(model_dir)
    of_system, config = system.ability("evaluate"), system.config.load(model_dir)
    if hasattr(of_system, "pictures"):
        from oasis_tf.metrics.pictures import evaluation as of_pictures

        if plots:
            raise ValueError("`plots` must be left out: this model has no metrics with plots.")
        options = {"checkpoint": checkpoint, "seed": seed, "json_path": json_path, "show": show}
        return of_pictures.evaluate_model(
            of_system, config, model_dir, data_dir, names, settings, **options
        )
    names = DEFAULT_METRICS if names is None else names
    check_names(names)
    settings, capabilities = settings or config.evaluation, of_system.capabilities(config)
    check(names, settings, capabilities)
    dataset = load_for_model(data_dir, config.data.data_dir, skip_corrupt=skip_corrupt)
    check_dataset(capabilities.label_space, dataset)
    check_outputs(json_path)
    if plots:
        from oasis_tf.metrics.reports.plots import write_all  # needs an extra
    start = time.monotonic()
    context = of_system.context(
        model_dir,
        checkpoint,
        dataset=dataset,
        batch_size=batch_size,
        skip_corrupt=skip_corrupt,
        settings=settings,
    )
    found = evaluate(context, names, seed=seed)
    contents = make_report(context, found, seed=seed, seconds=time.monotonic() - start)
    finish(contents, json_path, show)
    if plots:
        write_all(plots, contents, found)
    return contents


def check_outputs(json_path):
    """Refuses a second file of the report that cannot be written."""
    if json_path:
        if os.path.isdir(json_path):
            raise not_written(json_path, errno.EISDIR)
        check_writable(json_path)


def finish(contents, json_path, show):
    """Shows a report and writes it; arguments as of `evaluate_model`."""
    if show:
        show(contents)
    model_dir = contents["model_dir"]
    shipped = pretrained.name_of(model_dir)  # nothing is written into the package
    own = None if shipped else evaluation_file.default_path(model_dir, contents["step"])
    _keep(contents, own, json_path)


def _keep(contents, *paths):
    """Writes a report to the paths (None: nowhere). One must succeed."""
    errors = []
    paths = {os.path.realpath(path): path for path in paths if path}.values()
    for path in paths:
        try:
            evaluation_file.write(contents, path)
        except OSError as error:
            errors.append(f"Cannot write {path}: {error.strerror or error}.")
    if len(errors) == len(paths):
        raise OSError(
            f"{' '.join(errors)} The values are in no file. Name one that can be written with "
            "--json=FILE, then repeat the command."
        )
    for problem in errors:
        logging.warning("%s The values are in the other file.", problem)
