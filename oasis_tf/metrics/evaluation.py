"""Runs evaluators by name over the validation split."""

import json
import math
import os

from oasis_tf import files
from oasis_tf.config import Config
from oasis_tf.data import damage, pipeline
from oasis_tf.data.tfrecord import PreparedDataset
from oasis_tf.metrics import evaluator, segmentation_evaluators
from oasis_tf.models.oasis import OASIS
from oasis_tf.progress import progress_bar

EVALUATORS = {
    "segmentation": segmentation_evaluators.SegmentationEvaluator,
    "alignment": segmentation_evaluators.AlignmentEvaluator,
}


def check_names(names):
    """Refuses metric names that no evaluator answers to.

    Raises:
        ValueError: no names, a repeated or an unknown one; the message lists those that exist.
    """
    known = ", ".join(EVALUATORS)
    if not names:
        raise ValueError(f"At least one metric must be named. Known metrics: {known}")
    unknown = [name for name in names if name not in EVALUATORS]
    if unknown:
        raise ValueError(f"Unknown metrics: {', '.join(unknown)}. Known metrics: {known}")
    if len(set(names)) < len(names):
        raise ValueError(f"Each metric may be named once. Received: {', '.join(names)}")


def evaluate(context, names, *, seed=0):
    """Computes metrics on the validation split, at the size of the model's training crop.

    Args:
        context: `EvaluationContext`.
        names: metric names, keys of `EVALUATORS`.
        seed: the i-th validation image is generated with noise seed `seed + i`.

    Returns:
        dict of value name -> float; NaN where a value does not exist.

    Raises:
        ValueError: unknown metric, no validation split, or a data set of other classes than the
            model's.
    """
    check_names(names)
    check_dataset(context.model.label_space, context.dataset)
    evaluators = [EVALUATORS[name](context) for name in names]
    batches = pipeline.evaluation_batches(
        context.dataset.data_dir,
        "val",
        height=context.height,
        width=context.width,
        batch_size=context.batch_size,
        skip_corrupt=context.skip_corrupt,
    ).as_numpy_iterator()
    batches = evaluator.padded_batches(batches, context.model, context.batch_size, seed)
    total = math.ceil(context.num_images / context.batch_size)
    with damage.plain_errors(), progress_bar(total, "batch", "evaluate") as progress:
        for batch in batches:
            for one in evaluators:
                one.update(batch)
            progress.update()
    return {name: value for one in evaluators for name, value in one.result().items()}


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


def evaluate_model(
    model_dir,
    data_dir,
    names,
    *,
    seed=0,
    batch_size=16,
    segmenter_steps=None,
    skip_corrupt=False,
    json_path=None,
):
    """Measures a model directory; what can be refused is refused before the model is read.

    Args:
        model_dir: model directory.
        data_dir: prepared data set; None takes the one the model was trained on.
        names, seed, batch_size, segmenter_steps, skip_corrupt: as in `evaluate` and
            `EvaluationContext`.
        json_path: file to write the report to, or None.

    Returns:
        dict with model_dir, step, data_dir, split, num_images, height, width, seed and `metrics`, a
        dict of value name -> float (null in the file where a value does not exist).
    """
    check_names(names)
    config = Config.load(model_dir)
    for name in names:
        if EVALUATORS[name].needs_discriminator:
            config.model.check_discriminator(f"be measured by the metric {name}")
    dataset = PreparedDataset.load(
        _data_dir(data_dir, config, model_dir), skip_corrupt=skip_corrupt
    )
    check_dataset(config.label_space, dataset)
    if json_path:
        os.makedirs(os.path.dirname(os.path.abspath(json_path)), exist_ok=True)
    model = OASIS.load(model_dir)
    context = evaluator.EvaluationContext(
        model, dataset, model_dir, batch_size, segmenter_steps, skip_corrupt
    )
    report = {
        "model_dir": os.path.abspath(model_dir),
        "step": int(model.step),
        "data_dir": os.path.abspath(dataset.data_dir),
        "split": "val",
        "num_images": context.num_images,
        "height": context.height,
        "width": context.width,
        "seed": seed,
        "metrics": evaluate(context, names, seed=seed),
    }
    if json_path:
        write_report(report, json_path)
    return report


def _data_dir(data_dir, config, model_dir):
    if not (data_dir or config.data.data_dir):
        raise ValueError(
            f"{model_dir} was not trained here, so that it names no data set: give the prepared "
            "one to measure on, --data_dir=DIR."
        )
    return data_dir or config.data.data_dir


def write_report(report, path):
    """Writes a report as JSON, with null for values that do not exist."""
    metrics = {
        name: None if math.isnan(value) else value for name, value in report["metrics"].items()
    }
    with files.written_aside(path) as aside, open(aside, "w", encoding="utf-8") as file:
        json.dump(report | {"metrics": metrics}, file, indent=2, allow_nan=False)
        file.write("\n")
