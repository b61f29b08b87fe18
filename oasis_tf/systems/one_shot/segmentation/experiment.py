"""The experiments of one-shot segmentation: checks, runs, values and table."""

import dataclasses
import json
import os

import numpy as np

from oasis_tf.data.tfrecord import PreparedDataset
from oasis_tf.io import files
from oasis_tf.metrics.pictures import sifid
from oasis_tf.metrics.pictures.spatial_features import check as check_inception
from oasis_tf.metrics.pictures.spatial_features import spatial_features
from oasis_tf.metrics.segmentation import compact_segmenter, davis
from oasis_tf.metrics.segmentation.architectures import architecture
from oasis_tf.metrics.settings import PicturesEvaluationConfig
from oasis_tf.systems.one_shot import source
from oasis_tf.systems.one_shot.config import Config
from oasis_tf.systems.one_shot.segmentation import coco20i, finetuning, pairs, repri

FINETUNE, REPRI, POOL = "finetune", "repri", "pool"
IN_MEMORY = 10  # generated pairs that are written for the memory of STM

# J&F of OSVOS on DAVIS-16 and DAVIS-17, mIoU of RePRI on COCO-20i (thesis, tables 6.5 and 6.6).
PUBLISHED = {
    FINETUNE: {
        "none": (76.9, 51.3),
        "standard": (78.5, 52.9),
        "synthetic": (78.2, 52.6),
        "both": (79.8, 54.2),
    },
    REPRI: {
        "none": (31.2, 38.3, 32.9, 33.2),
        "standard": (31.8, 38.5, 33.4, 33.8),
        "synthetic": (32.4, 38.7, 33.7, 34.3),
        "both": (32.8, 39.0, 34.1, 34.6),
    },
}
_HEADINGS = {
    FINETUNE: "J&F (%): {} fine-tuned on one pair",
    REPRI: "mIoU (%): RePRI's classifier on features of {}",
}


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of an experiment; `check` refuses those that cannot work.

    Attributes:
        model_dirs: model directories, one for each video or class.
        data_dir: pairs to test on, see `pairs.find`; None for lists of COCO.
        videos: sequences of DAVIS, one for each model; None for the names of the directories.
        network, backbone_weights: see `architectures`.
        base_data: prepared data set on whose classes the compact network of `repri` is trained; or
            None.
        steps, batch_size: see `finetuning.Recipe`.
        seeds: ints.
        pool_size: pairs that are generated; filter_rate: the share of them that is dropped;
            filter_depths: numbers of the depths that rank them, None for all.
        inception: weights of the network that ranks, see `spatial_features`.
        coco_list, coco_dir: file of `coco20i.read_list`, and the folder of its paths.
        coco_classes: ids in the annotations of COCO, one for each model; coco_fold: the fold that
            they must be of, None for any.
        queries: images of each class to test on, None for all.
        json_path: file for the values, or None.
    """

    model_dirs: list
    data_dir: str | None = None
    videos: list | None = None
    network: str = "compact"
    backbone_weights: str | None = None
    base_data: str | None = None
    steps: int = 500
    batch_size: int = 4
    seeds: tuple = (0, 1, 2)
    pool_size: int = 100
    filter_rate: float = sifid.FILTER_RATE
    filter_depths: list | None = None
    inception: str | None = None
    coco_list: str | None = None
    coco_dir: str | None = None
    coco_classes: list | None = None
    coco_fold: int | None = None
    queries: int | None = None
    json_path: str | None = None

    def names(self):
        """Names of the models: of the videos, or of the directories."""
        return self.videos or [os.path.basename(os.path.abspath(p)) for p in self.model_dirs]


def check(options, task):
    """Checks an experiment.

    Raises:
        ValueError, OSError: a model or a setting is invalid.
    """
    if not options.model_dirs:
        raise ValueError("`model_dirs` must be given: --model_dirs=MODEL, of models with masks.")
    multiple = architecture(options.network).size_multiple
    for path in options.model_dirs:
        config = Config.load(path)
        if not config.model.num_classes:
            raise ValueError(
                f"Models must generate masks. Received: {path}, trained without. Train it on a "
                "folder with image/ and mask/."
            )
        height, width = config.model.height, config.model.width
        if height % multiple or width % multiple:
            raise ValueError(
                f"{options.network} needs a height and width divisible by {multiple}. Received: "
                f"{path} of {height}x{width}."
            )
    if options.json_path and os.path.exists(options.json_path):
        raise ValueError(f"{options.json_path} exists. Choose another --json, or remove it.")
    names = options.names()
    if len(set(names)) != len(options.model_dirs):
        raise ValueError(
            "There must be one name for each model, all different. Received: "
            f"{', '.join(names)} for {len(options.model_dirs)} models. Name them with --videos."
        )
    check_inception(options.inception)
    if options.network == "compact" and options.backbone_weights:
        raise ValueError(
            "--backbone_weights is a setting of --network=deeplab_v3. Received: "
            "--network=compact. Leave --backbone_weights out."
        )
    if task != POOL:
        _check_tests(options, task, names)


def _check_tests(options, task, names):
    lists = (options.coco_list, options.coco_dir, options.coco_classes)
    if not any(lists):
        if not options.data_dir:
            raise ValueError("`data_dir` must be given: --data_dir=FOLDER, the pairs to test on.")
        for name in names:
            pairs.find(options.data_dir, name)
    elif task != REPRI or not all(lists) or options.data_dir:
        raise ValueError(
            "--coco_list, --coco_dir and --coco_classes must be given together, without "
            "--data_dir, and for --task=repri alone."
        )
    elif len(lists[2]) != len(names):
        raise ValueError(
            "`coco_classes` must have one id for each model. Received: "
            f"{len(lists[2])} for {len(names)} models."
        )
    elif options.coco_fold is not None:
        fold = coco20i.classes_of_fold(options.coco_fold)
        others = [class_id for class_id in lists[2] if int(class_id) not in fold]
        if others:
            raise ValueError(
                f"`coco_classes` must be of fold {options.coco_fold}: {', '.join(map(str, fold))}. "
                f"Received: {', '.join(others)}."
            )
    if options.base_data and (task != REPRI or options.network != "compact"):
        raise ValueError("--base_data is a setting of --task=repri with --network=compact.")


def pools(options):
    """`Pool`s of all models, by name."""
    network = spatial_features(options.inception)
    settings = PicturesEvaluationConfig(
        inception=options.inception, evaluation_samples=options.pool_size
    )
    how = {"rate": options.filter_rate, "depths": options.filter_depths}
    return {
        name: pairs.make_pool(path, network, settings, **how)
        for name, path in zip(options.names(), options.model_dirs, strict=True)
    }


def write_pools(options, folder, count=IN_MEMORY):
    """Writes pairs of every pool, drawn by the first seed, for the memory of STM at step 0.

    Returns:
        dict of name -> number of pairs.
    """
    written = {}
    for name, pool in pools(options).items():
        chosen = drawn(pool, count, options.seeds[0])
        pairs.write_davis(folder, name, pool.images[chosen], pool.masks[chosen])
        written[name] = len(chosen)
    return written


def drawn(pool, count, seed):
    """Numbers of `count` pairs of a pool, or of all if it has fewer, without repetition."""
    rng = np.random.default_rng([seed, 2])
    return rng.permutation(len(pool.images))[:count]


def run(options, task):
    """Runs an experiment. Writes and returns its values.

    Args:
        options: `Options` that `check` has passed.
        task: `FINETUNE` or `REPRI`.

    Returns:
        dict for JSON: `rows`, row name -> list with the values of every seed by name; and what
        they depend on.
    """
    tests = {FINETUNE: _frames, REPRI: _queries}[task](options)  # before the long work
    found = pools(options)
    name, measure = {FINETUNE: _finetuning, REPRI: _repri}[task](options, found, tests)
    rows = {row: [measure(row, seed) for seed in options.seeds] for row in finetuning.ROWS}
    contents = {
        "task": task,
        "network": name,
        "options": dataclasses.asdict(options),
        "pools": {video: pool.facts for video, pool in found.items()},
        "rows": rows,
    }
    if options.json_path:
        with files.written_aside(options.json_path) as aside, open(aside, "w") as file:
            json.dump(contents, file, indent=2)
    return contents


# === Fine-tuning ===


def _frames(options):
    """Pairs of paths to test on, by the name of the model."""
    return {name: pairs.find(options.data_dir, name) for name in options.names()}


def _finetuning(options, found, tests):
    """Name of the network, and a function (row, seed) -> values."""

    def measure(row, seed):
        recipe = _recipe(options, seed)
        of_objects = [
            _of_video(finetuning.fine_tune(pool, recipe, row), pool, tests[name])
            for name, pool in found.items()
        ]
        j, f = (float(x) for x in np.concatenate(of_objects).mean(0))
        return {
            f"J_{recipe.name}": j,
            f"F_{recipe.name}": f,
            f"J&F_{recipe.name}": (j + f) / 2,
            "J&F_by_video": {
                name: float(values.mean()) for name, values in zip(found, of_objects, strict=True)
            },
        }

    return _recipe(options, 0).name, measure


def _recipe(options, seed):
    return finetuning.Recipe(
        architecture(options.network),
        options.backbone_weights,
        options.steps,
        options.batch_size,
        seed,
    )


def _of_video(network, pool, tests):
    """J and F of every object, float64 [N - 1, 2]."""
    truths = [pairs.read_mask(path, pool.num_classes) for _, path in tests]
    size = pool.mask.shape[1:3]
    predictions = [
        finetuning.predict(network, source.resized(path, *size), *truth.shape)
        for (path, _), truth in zip(tests, truths, strict=True)
    ]
    return davis.scores(truths, predictions, pool.num_classes)


# === RePRI ===


def _repri(options, found, tests):
    """As `_finetuning`."""
    features = _features(options, found)

    def measure(row, seed):
        of_classes = []
        for name, pool in found.items():
            for k in range(1, pool.num_classes):
                of_classes.append(_of_class(features, pool, k, tests[name], row, seed))
        return {f"miou_{features.name}": float(np.mean(of_classes)), "iou": of_classes}

    return features.name, measure


def _features(options, found):
    """`repri.Features` of the network of the options."""
    kind, (pool, *_) = architecture(options.network), found.values()
    if options.base_data:
        dataset = PreparedDataset.load(options.base_data)
        steps = compact_segmenter.default_steps(dataset.num_examples("train"))
        recipe = compact_segmenter.SegmenterRecipe(*pool.mask.shape[1:3], steps)
        segmenter = compact_segmenter.cached_segmenter(dataset, recipe, options.model_dirs[0])
        return repri.features_of(segmenter.network, kind, kind.name)
    name = kind.named(options.backbone_weights)
    name = f"{name}_random" if name == kind.name == "compact" else name
    return repri.features_of(kind.build(2, 0, options.backbone_weights), kind, name)


def _queries(options):
    """By the name of the model a list of (image path, function truth).

    The function takes an object and the number of classes, and returns bool [H,W] twice: where the
    object is, and what is counted.

    Raises:
        ValueError: a list of COCO without a class.
    """
    if not options.coco_list:
        return {
            name: [(image, _objects_of(mask)) for image, mask in found][: options.queries]
            for name, found in _frames(options).items()
        }
    listed = coco20i.read_list(options.coco_list, options.coco_dir)
    queries = {}
    for name, class_id in zip(options.names(), options.coco_classes, strict=True):
        holding = coco20i.holding(listed, int(class_id), options.queries)
        if not holding:
            raise ValueError(
                f"{options.coco_list} must list images with every class. Received: none with "
                f"{class_id}."
            )
        queries[name] = [(image, _object_of_coco(mask, int(class_id))) for image, mask in holding]
    return queries


def _objects_of(path):
    def truth(k, num_classes):
        ids = pairs.read_mask(path, num_classes)
        return ids == k, np.ones(ids.shape, bool)

    return truth


def _object_of_coco(path, class_id):
    def truth(k, num_classes):
        del k, num_classes  # a model of COCO has one object
        ids = coco20i.annotation(path)
        return ids == class_id, ids != 255

    return truth


def support(pool, k, row, seed):
    """The support of a row: the training pair, and what is added to it.

    Args:
        pool: `Pool`.
        k: class of the object.
        row: of `finetuning.ROWS`: `standard` adds ten augmented views of the pair, `synthetic` ten
            generated pairs, `both` ten generated ones that are augmented.
        seed: int.

    Returns:
        uint8 [K,H,W,3] and bool [K,H,W]; K is 1 or 11.
    """
    standard, synthetic = finetuning.ROWS[row]
    images, masks = pool.image[:1], pool.mask[:1]
    if standard or synthetic:
        rng, more = np.random.default_rng([seed, 3]), (images, masks)
        if synthetic:
            chosen = drawn(pool, repri.SHOTS, seed)
            more = pool.images[chosen], pool.masks[chosen]
        added = [(more[0][i % len(more[0])], more[1][i % len(more[0])]) for i in range(repri.SHOTS)]
        if standard:
            added = [finetuning.standard_augmentation(rng, *pair) for pair in added]
        parts = zip(*added, strict=True)
        images, masks = (
            np.concatenate([one, np.stack(part)])
            for one, part in zip((images, masks), parts, strict=True)
        )
    return images, masks == k


def _of_class(features, pool, k, tests, row, seed):
    """IoU of an object over all queries together."""
    images, masks = support(pool, k, row, seed)
    both = either = 0
    for path, truth_of in tests:
        truth, counted = truth_of(k, pool.num_classes)
        image = source.resized(path, *pool.mask.shape[1:3])
        found = repri.predict(features, images, masks, image, *truth.shape)
        both += np.count_nonzero(truth & found & counted)
        either += np.count_nonzero((truth | found) & counted)
    return both / either if either else 1.0


# === Table ===


def table(contents):
    """Returns the values as text: mean and standard deviation over the seeds."""
    task, name = contents["task"], contents["network"]
    key = {FINETUNE: f"J&F_{name}", REPRI: f"miou_{name}"}[task]
    options = contents["options"]
    lines = [
        f"{_HEADINGS[task].format(name)}, seeds {list(options['seeds'])}, tested on "
        f"{options['data_dir'] or options['coco_list']}",
        f"{'augmentation':<14}{'mean':>8}{'±':>8}{'against none':>14}",
    ]
    values = {row: [one[key] for one in rows] for row, rows in contents["rows"].items()}
    base = np.mean(values["none"])
    for row, found in values.items():
        gain = 100 * (np.mean(found) - base)
        lines.append(f"{row:<14}{100 * np.mean(found):8.2f}{100 * np.std(found):8.2f}{gain:+14.2f}")
    where = {FINETUNE: "OSVOS, DAVIS-16/17", REPRI: "RePRI, folds of COCO-20i"}[task]
    published = ", ".join(
        f"{row} {'/'.join(map(str, found))}" for row, found in PUBLISHED[task].items()
    )
    lines.append(f"published ({where}; another network and other data): {published}")
    return "\n".join(lines)
