"""The experiment of augmentation with synthetic images: checks, runs, values and table."""

import dataclasses
import json
import os

import numpy as np

from oasis_tf.cli import common_flags
from oasis_tf.data.tfrecord import PreparedDataset
from oasis_tf.io import files
from oasis_tf.metrics.segmentation.architectures import architecture
from oasis_tf.systems.oasis.config import Config
from oasis_tf.systems.oasis.experiments import augmented_segmentation
from oasis_tf.systems.oasis.experiments.augmented_segmentation import PUBLISHED, Recipe, Synthesizer

NONE = "none"


@dataclasses.dataclass(frozen=True)
class Plan:
    """A checked experiment that has not started yet.

    Attributes:
        dataset: `PreparedDataset`.
        model_dirs: name of a row -> model directory; there is also the row `none`.
        recipes: `Recipe` of every seed.
        json_path: file for the values, or None.
    """

    dataset: PreparedDataset
    model_dirs: dict
    recipes: list
    json_path: str | None


def plan(
    data_dir,
    model_dirs,
    *,
    network="compact",
    backbone_weights=None,
    steps=1000,
    batch_size=8,
    seeds=("0",),
    json_path=None,
):
    """Checks an experiment.

    Args:
        data_dir: prepared data set with the splits train and val.
        model_dirs: model directories, with one image size and with the classes of the data set.
        network, backbone_weights, steps, batch_size: see `Recipe`.
        seeds: whole numbers, as text or int.
        json_path: file to write, or None.

    Raises:
        ValueError, OSError: an argument or a model is invalid.
    """
    dataset = PreparedDataset.load(data_dir)
    if "val" not in dataset.splits:
        raise ValueError(
            f"{data_dir} must have a split `val`, whose real images measure the mIoU. Prepare it "
            "again with validation images."
        )
    if json_path and os.path.exists(json_path):
        raise ValueError(f"{json_path} exists. Choose another --json, or remove it.")
    if backbone_weights and network != "deeplab_v3":
        raise ValueError(
            "--backbone_weights is a setting of --network=deeplab_v3. Received: "
            f"--network={network}. Leave --backbone_weights out."
        )
    configs = {path: Config.load(path) for path in model_dirs}
    height, width = _size(configs)
    for path, config in configs.items():
        dataset.check_classes(config.label_space, f"the model {path}")
    recipes = [
        Recipe(architecture(network), height, width, steps, batch_size, seed, backbone_weights)
        for seed in common_flags.seeds(seeds)
    ]
    return Plan(dataset, _names(model_dirs), recipes, json_path)


def _size(configs):
    sizes = {(c.data.crop_height, c.data.crop_width) for c in configs.values()}
    if len(sizes) != 1:
        found = ", ".join(f"{h}x{w}" for h, w in sorted(sizes)) or "none"
        raise ValueError(
            "All models must generate images of one size, so that all networks are trained on the "
            f"same real images. Received: {found}."
        )
    return sizes.pop()


def _names(model_dirs):
    """Returns row name -> directory. A name is the last part of a path, or the path if needed."""
    short = [os.path.basename(os.path.abspath(path)) for path in model_dirs]
    if len(set(short)) < len(short) or NONE in short:
        short = list(model_dirs)
    if len(set(short)) < len(short):
        raise ValueError(
            f"Every model directory may be given only once. Received: {', '.join(short)}."
        )
    return dict(zip(short, model_dirs, strict=True))


def run(plan):
    """Trains and evaluates all networks of a plan. Writes and returns the values.

    Returns:
        dict for JSON: `rows`, row name -> list with the scores of every seed by name; and the
        settings of the experiment.
    """
    from oasis_tf import OASIS

    rows = {}
    for name, path in {NONE: None, **plan.model_dirs}.items():
        model = None if path is None else OASIS.load(path)
        rows[name] = [_one(plan, recipe, name, model) for recipe in plan.recipes]
    contents = _described(plan) | {"rows": rows}
    if plan.json_path:
        with files.written_aside(plan.json_path) as aside, open(aside, "w") as file:
            json.dump(contents, file, indent=2)
    return contents


def _one(plan, recipe, name, model):
    synthesizer = None if model is None else Synthesizer(model, recipe.seed)
    network = augmented_segmentation.train(
        plan.dataset, recipe, synthesizer, f"{name}, seed {recipe.seed}"
    )
    values = augmented_segmentation.score(network, plan.dataset, recipe)
    return {k: None if np.isnan(v) else v for k, v in values.items()}


def _described(plan):
    recipe = plan.recipes[0]
    return {
        "dataset": plan.dataset.label_space.dataset,
        "data_dir": os.path.abspath(plan.dataset.data_dir),
        "model_dirs": {name: os.path.abspath(path) for name, path in plan.model_dirs.items()},
        "network": recipe.architecture.name,
        "backbone_weights": recipe.backbone_weights,
        "height": recipe.height,
        "width": recipe.width,
        "steps": recipe.steps,
        "batch_size": recipe.batch_size,
        "seeds": [recipe.seed for recipe in plan.recipes],
    }


def table(contents):
    """Returns the values as text: mean and standard deviation of the mIoU over the seeds."""
    groups = sorted(
        {k for rows in contents["rows"].values() for k in rows[0] if k.startswith("miou_group_")}
    )
    lines = [
        "{network} on {dataset}, {height}x{width}, {steps} steps of {batch_size} real images, "
        "seeds {seeds}: mIoU (%) on real validation images".format(**contents),
        f"{'augmentation':<24} {'mIoU':>14} {'against none':>13}  classes, frequent to rare",
    ]
    base = _mean(contents["rows"][NONE], "miou")
    for name, rows in contents["rows"].items():
        mean = _mean(rows, "miou")
        spread = 100 * np.std([row["miou"] for row in rows])
        parts = " ".join(f"{100 * _mean(rows, group):5.1f}" for group in groups)
        lines.append(
            f"{name:<24} {100 * mean:7.2f} ± {spread:4.2f} {100 * (mean - base):+13.2f}  {parts}"
        )
    if contents["dataset"] in PUBLISHED:
        published = PUBLISHED[contents["dataset"]]
        values = zip(("none", "SPADE", "OASIS"), published, strict=True)
        lines.append(
            "published (ResNeSt-50, pretrained; thesis, table 4.6): "
            + ", ".join(f"{name} {value}" for name, value in values)
        )
    return "\n".join(lines)


def _mean(rows, name):
    values = [row[name] for row in rows if row.get(name) is not None]
    return float(np.mean(values)) if values else float("nan")
