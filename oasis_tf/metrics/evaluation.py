"""Runs evaluators by name over the validation split, and measures model directories."""

import datetime
import importlib
import itertools
import math
import os
import time

import keras
import tensorflow as tf

import oasis_tf
from oasis_tf.data import damage, pipeline
from oasis_tf.data.tfrecord import PreparedDataset
from oasis_tf.io.progress import progress_bar
from oasis_tf.metrics import evaluator
from oasis_tf.metrics.reports import evaluation_file
from oasis_tf.systems.oasis.config import Config
from oasis_tf.systems.oasis.inference.multi_device import Painter
from oasis_tf.systems.oasis.models.oasis import OASIS

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


def evaluator_class(name):
    """The `Evaluator` subclass of a metric."""
    module, _, attribute = _EVALUATORS[name].rpartition(".")
    return getattr(importlib.import_module(f"oasis_tf.metrics.{module}"), attribute)


def check_names(names):
    """Refuses metric names that no evaluator answers to.

    Raises:
        ValueError: no names, a repeated or an unknown one; the message lists those that exist.
    """
    known = ", ".join(METRICS)
    if not names:
        raise ValueError(f"At least one metric must be named. Known metrics: {known}")
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise ValueError(f"Unknown metrics: {', '.join(unknown)}. Known metrics: {known}")
    if len(set(names)) < len(names):
        raise ValueError(f"Each metric may be named once. Received: {', '.join(names)}")


def check(names, settings, model_config, label_space):
    """Refuses an evaluation that cannot work, before any network is loaded.

    Args:
        names: metric names.
        settings: `EvaluationConfig`.
        model_config: `ModelConfig`.
        label_space: `LabelSpace` of the data set.

    Raises:
        ValueError, OSError: unknown metrics, a model without the discriminator or noise that one
            needs, or files that are missing or hold something else.
    """
    check_names(names)
    for name in names:
        kind = evaluator_class(name)
        if kind.needs_segmentation:
            model_config.check_segments(f"be measured by the metric {name}")
        if kind.needs_noise and not model_config.vector_channels:
            raise ValueError(
                f"The metric {name} compares images of different noise. Received: a model without "
                "(noise_channels=0), which paints one image for a label map. Leave it out."
            )
        if kind.needs_local_noise and not model_config.local_noise:
            raise ValueError(
                f"The metric {name} compares images of noise that differs in one class alone. "
                "Received: a model whose noise is one vector for the whole image "
                f"(encoder={model_config.encoder}). Leave it out."
            )
        kind.check(settings, label_space)


def make_evaluators(context, names):
    """Evaluators by metric name; networks are loaded, and trained where that is their way."""
    return {name: evaluator_class(name)(context) for name in names}


def collect(context, evaluators, painter, *, seed=0, worker=0, workers=1):
    """Shows evaluators the validation split, at the size of the model's training crop.

    Args:
        context: `EvaluationContext`.
        evaluators: what `make_evaluators` gave.
        painter: `Painter`.
        seed: the i-th validation image is generated with noise seed `seed + i`.
        worker, workers: of several workers, each takes every `workers`-th batch.

    Returns:
        list of states, one for each evaluator.

    Raises:
        ValueError: no validation split, a damaged record, or images that are not finite.
    """
    batches = pipeline.evaluation_batches(
        context.dataset.data_dir,
        "val",
        height=context.height,
        width=context.width,
        batch_size=context.batch_size,
        skip_corrupt=context.skip_corrupt,
    ).as_numpy_iterator()
    batches = evaluator.padded_batches(batches, painter, context.batch_size, seed)
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
    check_dataset(context.model.label_space, context.dataset)
    evaluators = make_evaluators(context, names)
    states = collect(context, evaluators, Painter(context.model), seed=seed)
    return results(evaluators, [states])


def check_dataset(label_space, dataset):
    """Refuses a data set whose classes are not the model's, or without validation images.

    Args:
        label_space: `LabelSpace` of the model.
        dataset: `PreparedDataset`.
    """
    ours, theirs = label_space, dataset.label_space
    if (ours.class_names, ours.has_unknown) != (theirs.class_names, theirs.has_unknown):
        raise ValueError(
            "The model and the data set must have the same classes. "
            f"Received: a model of {ours.num_classes} classes ({ours.dataset}) and a data set of "
            f"{theirs.num_classes} classes ({theirs.dataset}) in {dataset.data_dir}. "
            "Name the data set the model was trained on, or one prepared with the same classes."
        )
    dataset.num_examples("val")  # refuses a data set without this split


def make_report(context, found, *, seed, step, seconds):
    """What is published of an evaluation: values, and everything that they depend on.

    Args:
        context: `EvaluationContext`.
        found: dict of metric name -> `Result`.
        seed: noise seed of the first image.
        step: of the checkpoint.
        seconds: that it took.
    """
    values = {key: float(v) for one in found.values() for key, v in one.values.items()}
    return {
        "format_version": evaluation_file.FORMAT_VERSION,
        "model_dir": os.path.abspath(context.model_dir),
        "step": step,
        "data_dir": os.path.abspath(context.dataset.data_dir),
        "dataset": context.dataset.label_space.dataset,
        "split": "val",
        "num_images": context.num_images,
        "height": context.height,
        "width": context.width,
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
):
    """Measures a model directory; what can be refused is refused before the model is read.

    Args:
        model_dir: model directory.
        data_dir: prepared data set; None takes the one the model was trained on.
        names: metric names, of `METRICS`.
        settings: `EvaluationConfig`; None takes that of the model directory.
        checkpoint: as in `OASIS.load`.
        seed, batch_size, skip_corrupt: as in `evaluate` and `EvaluationContext`.
        json_path: file to write the report to; None takes `report.default_path`.
        plots: folder for plots, or None.

    Returns:
        the report: `make_report`, which is also written as JSON (null for values that do not
        exist).
    """
    check_names(names)
    config = Config.load(model_dir)
    settings = settings or config.evaluation
    check(names, settings, config.model, config.label_space)
    dataset = PreparedDataset.load(
        _data_dir(data_dir, config, model_dir), skip_corrupt=skip_corrupt
    )
    check_dataset(config.label_space, dataset)
    if plots:
        from oasis_tf.metrics.reports import plots as plotting  # needs an extra
    start = time.monotonic()
    model = OASIS.load(model_dir, checkpoint)
    context = evaluator.EvaluationContext(
        model, dataset, model_dir, batch_size, skip_corrupt, settings
    )
    step = int(model.step)
    json_path = json_path or evaluation_file.default_path(model_dir, step)
    os.makedirs(os.path.dirname(os.path.abspath(json_path)), exist_ok=True)
    found = evaluate(context, names, seed=seed)
    contents = make_report(context, found, seed=seed, step=step, seconds=time.monotonic() - start)
    evaluation_file.write(contents, json_path)
    if plots:
        plotting.write_all(plots, contents, found)
    return contents


def _data_dir(data_dir, config, model_dir):
    if not (data_dir or config.data.data_dir):
        raise ValueError(
            f"{model_dir} was not trained here, so that it names no data set: give the prepared "
            "one to measure on, --data_dir=DIR."
        )
    return data_dir or config.data.data_dir
