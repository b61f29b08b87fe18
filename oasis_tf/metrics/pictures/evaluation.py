"""Measures a model that has learnt from one picture or one short clip, by metrics by name."""

import dataclasses
import functools
import itertools
import time

import numpy as np

from oasis_tf.io import weight_files
from oasis_tf.metrics import evaluation
from oasis_tf.metrics.diversity import ms_ssim, perceptual
from oasis_tf.metrics.evaluator import Result, finite_uint8
from oasis_tf.metrics.pictures import mask_scores, sifid
from oasis_tf.metrics.pictures.pixel_diversity import pixel_diversity
from oasis_tf.metrics.pictures.spatial_features import check as check_inception
from oasis_tf.metrics.pictures.spatial_features import spatial_features
from oasis_tf.metrics.settings import PicturesEvaluationConfig

_BATCH = 8


@dataclasses.dataclass(frozen=True)
class PicturesContext:
    """A model of a few pictures, as far as metrics know it.

    Attributes:
        model_dir: its directory.
        step: training step of the weights.
        data_dir: where the pictures lie.
        images: uint8 [K,H,W,3], the training pictures in their training size.
        masks: uint8 [K,H,W], ids of their classes; None without masks.
        num_classes: classes of the masks, the background included; 0 without masks.
        sampler: function(seeds int64 [B]) -> images float32 [B,H,W,3] in [-1, 1], and masks uint8
            [B,H,W] or None.
        augmented: function(count) -> uint8 [count,H,W,3], pictures augmented as in training.
        seed: of the first sample.
        settings: `PicturesEvaluationConfig`.
    """

    model_dir: str
    step: int
    data_dir: str
    images: np.ndarray
    masks: np.ndarray | None
    num_classes: int
    sampler: object
    augmented: object
    seed: int = 0
    settings: PicturesEvaluationConfig = PicturesEvaluationConfig()

    @property
    def height(self):
        return self.images.shape[1]

    @property
    def width(self):
        return self.images.shape[2]

    def facts(self):
        """What a report says of the data and of the images."""
        return {
            "data_dir": self.data_dir,
            "dataset": f"{len(self.images)} training pictures",
            "split": "train",
            "num_images": self.settings.evaluation_samples,
            "height": self.height,
            "width": self.width,
        }

    @functools.cached_property
    def samples(self):
        """Images uint8 [S,H,W,3] of the seeds `seed` + i, and masks uint8 [S,H,W] or None."""
        seeds = np.arange(self.settings.evaluation_samples, dtype=np.int64) + self.seed
        parts = [self.sampler(seeds[k : k + _BATCH]) for k in range(0, len(seeds), _BATCH)]
        images, masks = zip(*parts, strict=True)
        images = np.concatenate([finite_uint8(one) for one in images])
        return images, None if masks[0] is None else np.concatenate(masks)

    @functools.cached_property
    def lpips(self):
        """`PerceptualDistance` of the settings."""
        return perceptual.lpips(self.settings.lpips_backbone, self.settings.lpips_heads)


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


_METRICS = {
    "sifid": _sifid,
    "sample_diversity": _sample_diversity,
    "training_distance": _training_distance,
    "mask_score": _mask_score,
}
METRICS = tuple(_METRICS)
MASK_METRICS = ("mask_score",)


# === Evaluations ===


def chosen(names, has_masks):
    """The metrics that are asked for; None stands for all that the model can have.

    Raises:
        ValueError: an unknown or repeated metric, or one that needs masks of a model without.
    """
    able = [name for name in METRICS if has_masks or name not in MASK_METRICS]
    if names is None:
        return able
    evaluation.check_names(names, METRICS)
    lacking = [name for name in names if name not in able]
    if lacking:
        raise ValueError(
            f"The metric {lacking[0]} scores masks that are generated with the images. This model "
            "was trained without masks. Leave it out."
        )
    return names


def check(settings):
    """Refuses settings that cannot work, before any model is loaded.

    Raises:
        ValueError: a weight file that is missing, or LPIPS with one file of two.
    """
    check_inception(settings.inception)
    if settings.lpips_backbone or settings.lpips_heads:
        perceptual.lpips(settings.lpips_backbone, settings.lpips_heads)
    if settings.resnet18:
        weight_files.check_exists(settings.resnet18, weight_files.RESNET18)


def evaluate(context, names):
    """Dict of metric name -> `Result`, of a `PicturesContext`."""
    return {name: Result(*_METRICS[name](context)) for name in names}


def evaluate_model(
    of_system, config, model_dir, data_dir, names, settings, *, checkpoint=None, seed=0,
    json_path=None, show=None,
):  # fmt: skip
    """Measures a model directory; what can be refused is refused before the model is read.

    Args:
        of_system: module of the ability "evaluate"; its `has_masks(config)` tells whether the model
            generates masks, and `pictures(model_dir, checkpoint, data_dir, seed, settings)` loads
            it as a `PicturesContext`.
        config: of the model.
        model_dir, checkpoint, json_path, show: as of `metrics.evaluation.evaluate_model`.
        data_dir: the pictures; None for those trained on.
        names: of `METRICS`; None for all that the model can have.
        settings: `PicturesEvaluationConfig`; None for the defaults.
        seed: of the first sample.

    Returns:
        the report.
    """
    settings = settings or PicturesEvaluationConfig()
    names = chosen(names, of_system.has_masks(config))
    check(settings)
    evaluation.check_outputs(json_path)
    start = time.monotonic()
    context = of_system.pictures(model_dir, checkpoint, data_dir, seed=seed, settings=settings)
    found = evaluate(context, names)
    contents = evaluation.make_report(context, found, seed=seed, seconds=time.monotonic() - start)
    evaluation.finish(contents, json_path, show)
    return contents
