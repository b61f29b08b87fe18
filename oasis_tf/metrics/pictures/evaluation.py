"""Measures a model that has learnt from one picture, or from a few, by metrics by name."""

import itertools
import time

import numpy as np

from oasis_tf.io import weight_files
from oasis_tf.metrics import evaluation
from oasis_tf.metrics.diversity import ms_ssim, perceptual
from oasis_tf.metrics.evaluator import Result
from oasis_tf.metrics.features import evaluators as of_features
from oasis_tf.metrics.features import networks
from oasis_tf.metrics.features.frechet import RunningMoments
from oasis_tf.metrics.pictures import intra_lpips, mask_scores, path_roughness, sifid
from oasis_tf.metrics.pictures.pixel_diversity import pixel_diversity
from oasis_tf.metrics.pictures.spatial_features import check as check_inception
from oasis_tf.metrics.pictures.spatial_features import spatial_features
from oasis_tf.metrics.settings import PicturesEvaluationConfig

# === The metrics ===


def _sifid(context):
    network = spatial_features(context.settings.inception)
    table = sifid.scores(network, context.samples[0], context.images)
    names = [f"sifid{depth}_{network.name}" for depth in network.depths]
    values = dict(zip(names, table.mean(0), strict=True))
    values |= {f"best_{name}": low for name, low in zip(names, table.min(0), strict=True)}
    notes = [
        "A low SIFID alone is not good: models that copy the training picture have the lowest.",
    ]
    if not context.settings.inception:
        notes.append(
            f"{network.name} is a small network of fixed random weights: for comparisons between "
            "models measured with it, never with published values. --inception gives the "
            "published one."
        )
    return values, {
        "network": network.name,
        "network_digest": network.digest,
        "reference": "each sample against each training picture, mean over both; best_: of the "
        "sample that has the lowest",
        "notes": notes,
    }


def _sample_diversity(context):
    samples, size = context.samples[0], (context.height, context.width)
    pairs = np.array(list(itertools.combinations(range(len(samples)), 2)), np.int64)
    values = {
        f"sample_{context.lpips.name}": context.lpips.distances(samples, pairs).mean(),
        f"sample_{ms_ssim.name(*size)}": ms_ssim.similarities(samples, pairs).mean(),
        "sample_pixel_diversity": pixel_diversity(samples, context.images),
    }
    return values, _lpips_protocol(context) | {"pairs": len(pairs)}


def _training_distance(context):
    samples, views = context.samples[0], context.settings.evaluation_views
    plain = context.lpips.nearest(samples, context.images)
    augmented = context.lpips.nearest(samples, context.augmented(views))
    values = {
        f"distance_augmented_{context.lpips.name}": np.minimum(plain, augmented).mean(),
        f"distance_plain_{context.lpips.name}": plain.mean(),
    }
    return values, _lpips_protocol(context) | {
        "views": views,
        "reference": "the nearest training picture; augmented: or the nearest of so many views of "
        "them, augmented as in training",
    }


def _lpips_protocol(context):
    name, notes = context.lpips.name, []
    if name not in ("lpips_alex", "lpips_vgg"):
        notes.append(
            f"{name} is LPIPS with other weights than the published ones: not comparable with "
            "published values."
        )
    return {"network": name, "network_digest": context.lpips.digest, "notes": notes}


def _mask_score(context):
    images, masks = context.samples
    settings, classes = context.settings, context.num_classes
    options = {"path": settings.resnet18, "steps": settings.mask_steps, "seed": context.seed}
    rng = np.random.default_rng([context.seed, 1])
    real = context.images, context.masks

    def views():
        for _ in range(mask_scores.TEST_BATCHES):
            yield mask_scores.draw(rng, *real, mask_scores.BATCH)

    of_samples = mask_scores.train(images, masks, classes, **options, what="train on samples")
    values, _ = mask_scores.score(of_samples, views(), classes)
    named = {f"masks_{of_samples.name}/{k}": v for k, v in values.items()}
    of_real = mask_scores.train(*real, classes, **options, what="train on pictures")
    parts = [
        (images[k : k + mask_scores.BATCH], masks[k : k + mask_scores.BATCH])
        for k in range(0, len(images), mask_scores.BATCH)
    ]
    values, by_image = mask_scores.score(of_real, parts, classes)
    named |= {f"masks_reverse_{of_real.name}/{k}": v for k, v in values.items()}
    notes = []
    if not settings.resnet18:
        notes.append(
            "The encoder began with seeded weights: not comparable with published values. "
            "--resnet18 gives the published one."
        )
    return named, {
        "network": of_samples.name,
        "network_digest": of_samples.digest,
        "steps": settings.mask_steps,
        "reverse": "trained on the training pairs, tested on every sample",
        "reverse_miou_by_sample": by_image,
        "notes": notes,
    }


def _fid(context):
    network = networks.feature_network(context.settings.inception)
    count = len(context.held_out)
    moments = []
    for images in (context.held_out, context.first(count)[0]):
        moments.append(RunningMoments(network.dimension))
        for k in range(0, count, networks.PIECE):
            moments[-1].update(network(images[k : k + networks.PIECE]))
    values, notes = of_features.fid(network, *moments)
    return values, {
        "network": network.name,
        "network_digest": network.digest,
        "images": "as many generated images as held-out pictures",
        "num_real": count,
        "num_generated": count,
        "notes": notes,
    }


def _intra_lpips(context):
    count, name = context.settings.intra_samples, f"intra_{context.lpips.name}"
    found = intra_lpips.score(context.lpips, context.first(count)[0], context.images, context.seed)
    if count != intra_lpips.PUBLISHED_SAMPLES:
        name += f"_{count}samples"
    return {name: found.value}, _lpips_protocol(context) | {
        "samples": count,
        "most_of_a_cluster": intra_lpips.MOST,
        "cluster_sizes": found.sizes,
        "by_cluster": found.by_cluster,
        "averaged": "over all pairs of a cluster, then over the clusters that have two or more; a "
        "cluster is what has the same nearest training picture",
    }


def _path_roughness(context):
    values = path_roughness.values(context.walk, context.seed)
    return {path_roughness.NAME: values.mean()}, {
        "lines": len(values),
        "steps": path_roughness.STEPS,
        "reference": "the largest change of the image from a step to the next, Euclidean, against "
        "the mean one of the line; mean over lines. 1 is an even change",
    }


def _head_shares(context):
    generated = context.first(len(context.images))[0]
    losses = context.head_losses(context.images, generated)
    values = {}
    for side, by_head in losses.items():
        total = sum(by_head.values())
        for head, loss in by_head.items():
            values[f"head_share_{side}/{head}"] = loss / total if total else float("nan")
    return values, {"losses": losses, "reference": "training pictures and as many generated images"}


# Metric -> what computes it, and what it needs of a model.
_METRICS = {
    "fid": (_fid, ("held_out",)),
    "intra_lpips": (_intra_lpips, ("several", "training")),
    "sifid": (_sifid, ("scene", "training")),
    "sample_diversity": (_sample_diversity, ("training",)),
    "training_distance": (_training_distance, ("views", "training")),
    "mask_score": (_mask_score, ("masks", "training")),
    "path_roughness": (_path_roughness, ("walk",)),
    "head_shares": (_head_shares, ("heads", "training")),
}
METRICS = tuple(_METRICS)
_REASONS = {
    "held_out": "needs pictures that the model was not trained on: --data_dir=FOLDER, for a model "
    "of --system=few_shot.",
    "training": "needs the training pictures. They are not where config.json of the model says, or "
    "more than images are compared with.",
    "several": "compares with the nearest of several training pictures. This model has learnt "
    "from one scene.",
    "scene": "compares with the inside of one picture. This model has learnt from several.",
    "views": "looks for augmented training pictures. This model has none.",
    "masks": "scores masks that are generated with the images. This model was trained without "
    "masks.",
    "walk": "needs latents between those of two seeds. This model gives none.",
    "heads": "needs a discriminator with several heads. This model was trained without: "
    "--d_loss=all.",
}


# === Evaluations ===


def chosen(names, has):
    """The metrics that are asked for; None stands for all that the model can have.

    Args:
        names: of `METRICS`, or None.
        has: what the model has, keys of `_REASONS`.

    Raises:
        ValueError: an unknown or repeated metric, or one that needs what the model has not.
    """
    lacking = {
        name: next((need for need in needs if need not in has), None)
        for name, (_, needs) in _METRICS.items()
    }
    if names is None:
        return [name for name in METRICS if not lacking[name]]
    evaluation.check_names(names, METRICS)
    for name in names:
        if lacking[name]:
            raise ValueError(f"The metric {name} {_REASONS[lacking[name]]} Or leave it out.")
    return names


def check(settings, names):
    """Refuses settings that cannot work, before any model is loaded.

    Raises:
        ValueError: a weight file that is missing, or LPIPS with one file of two.
    """
    if "sifid" in names:
        check_inception(settings.inception)
    if "fid" in names:
        of_features.FIDEvaluator.check(settings, None)
    if settings.lpips_backbone or settings.lpips_heads:
        perceptual.lpips(settings.lpips_backbone, settings.lpips_heads)
    if settings.resnet18:
        weight_files.check_exists(settings.resnet18, weight_files.RESNET18)


def evaluate(context, names):
    """Dict of metric name -> `Result`, of a `PicturesContext`."""
    return {name: Result(*_METRICS[name][0](context)) for name in names}


def evaluate_model(
    of_system, config, model_dir, data_dir, names, settings, *, checkpoint=None, seed=0,
    json_path=None, show=None,
):  # fmt: skip
    """Measures a model directory; what can be refused is refused before the model is read.

    Args:
        of_system: module of the ability "evaluate"; its `has(config, data_dir)` tells what the
            model has of what metrics need, and `pictures(model_dir, checkpoint, data_dir, seed,
            settings)` loads it as a `PicturesContext`.
        config: of the model.
        model_dir, checkpoint, json_path, show: as of `metrics.evaluation.evaluate_model`.
        data_dir: the pictures, trained on or held out, as the system has it; None for those
            trained on.
        names: of `METRICS`; None for all that the model can have.
        settings: `PicturesEvaluationConfig`; None for the defaults.
        seed: of the first sample.

    Returns:
        the report.
    """
    settings = settings or PicturesEvaluationConfig()
    names = chosen(names, of_system.has(config, data_dir))
    check(settings, names)
    evaluation.check_outputs(json_path)
    start = time.monotonic()
    context = of_system.pictures(model_dir, checkpoint, data_dir, seed=seed, settings=settings)
    return measured(context, names, start, json_path, show)


def measured(context, names, start=None, json_path=None, show=None):
    """The report of a `PicturesContext`, which is also kept in its model directory.

    Args:
        context: `PicturesContext`.
        names: of `METRICS`.
        start: `time.monotonic()` when the evaluation began; None for now.
        json_path, show: as of `evaluate_model`.
    """
    start = time.monotonic() if start is None else start
    found = evaluate(context, names)
    seconds = time.monotonic() - start
    contents = evaluation.make_report(context, found, seed=context.seed, seconds=seconds)
    evaluation.finish(contents, json_path, show)
    return contents
