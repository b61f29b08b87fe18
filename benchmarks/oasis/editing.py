"""Do edits stay where they are meant to be, and do interpolations advance evenly?

    python -m benchmarks.oasis.editing --model_dir=MODEL --data_dir=DATA

Two measurements on label maps of a prepared data set:

*Change.* The noise of one class, of the left half or of the whole image is drawn again. Printed is
the mean absolute change of pixels (values 0..1) inside and outside, per class and over all.

*Order.* Frames lead from one noise to another. Printed is Spearman's rank correlation of a frame's
number and its feature distance (LPIPS) from the first frame, which is not counted itself: 1 if
every frame is further away than the one before.

See docs/editing.md.
"""

import math
import sys

import numpy as np
from absl import flags

from benchmarks import inputs, tables
from benchmarks.environment import as_text, environment
from oasis_tf.cli import runner
from oasis_tf.settings import path_flags

REQUIRED = 0.9  # of the mean rank correlation
ALL_CLASSES, LEFT_HALF, WHOLE_IMAGE = "all classes", "left half", "whole image"


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    path_flags.define_path("model_dir", None, "Model directory.", required=True, **where)
    path_flags.define_path("data_dir", None, "Prepared data set; default: the model's.", **where)
    flags.DEFINE_string("split", "val", "Split whose first label maps are edited.", **where)
    flags.DEFINE_integer("maps", 20, "Label maps.", lower_bound=1, **where)
    flags.DEFINE_integer("frames", 9, "Frames of an interpolation.", lower_bound=3, **where)
    flags.DEFINE_integer("seed", 0, "Map i goes from noise SEED + 2i to SEED + 2i + 1.", **where)
    path_flags.define_path(
        "lpips_backbone", None, "See oasis_tf.evaluate; default: seeded.", **where
    )
    path_flags.define_path("lpips_heads", None, "See oasis_tf.evaluate; default: seeded.", **where)
    path_flags.define_path("json", None, "Also write the figures to this file.", **where)


def main(argv):
    """Measures and prints."""
    del argv
    from oasis_tf.metrics.diversity import perceptual
    from oasis_tf.systems.oasis.models.oasis import OASIS

    args = flags.FLAGS
    tables.check_paths(args.json, None)
    distance = perceptual.lpips(args.lpips_backbone, args.lpips_heads)
    model = OASIS.load(args.model_dir)
    data_dir = args.data_dir or model.config.data.data_dir
    label_maps = read_scenes(model, data_dir, args.split, args.maps).label_maps
    machine = environment()
    print(as_text(machine))
    print("resampling", file=sys.stderr, flush=True)
    changes = measure_changes(model, label_maps, args.seed)
    print("interpolating", file=sys.stderr, flush=True)
    orders = measure_orders(model, label_maps, distance, args.frames, args.seed)
    figures = {"change": changes, "order": orders}
    print(as_table(figures, distance.name))
    if args.json:
        settings = {name: args[name].value for name in ("split", "maps", "frames", "seed")}
        settings |= {"distance": distance.name, "required": REQUIRED}
        settings |= {"model_dir": args.model_dir, "data_dir": data_dir}
        contents = {"benchmark": "editing", "environment": machine, "settings": settings}
        tables.write_json(contents | {"figures": figures}, args.json)


def read_scenes(model, data_dir, split, count):
    """`inputs.Scenes`: the first of a split, at the size of the model's training crop.

    Raises:
        ValueError: other classes than the model's, or fewer scenes.
    """
    from oasis_tf.data.tfrecord import PreparedDataset

    prepared = PreparedDataset.load(data_dir)
    prepared.check_classes(model.label_space)
    there = prepared.num_examples(split)
    if count > there:
        raise ValueError(
            f"The split {split!r} of {data_dir} must hold as many label maps as are asked for. "
            f"Received: {count}, of {there}. Lower --maps, or take another --split."
        )
    data = model.config.data
    return inputs.prepared(data_dir, split, count, data.crop_height, data.crop_width)


# === Change ===


def measure_changes(model, label_maps, seed):
    """Mean absolute change inside and outside of what is resampled.

    Args:
        model: `OASIS`.
        label_maps: int [B, H, W]; the noise of map i goes from seed + 2i to seed + 2i + 1.
        seed: int.

    Returns:
        dict from what was resampled, class names in model order first, to a dict: ``edits`` (int),
        ``inside``, ``outside`` (means over edits, None where there is none) and ``area`` (mean
        share of pixels inside). A class is resampled in every map that holds it.
    """
    found = {name: [] for name in (*model.label_space.class_names, LEFT_HALF, WHOLE_IMAGE)}
    for number, label_map in enumerate(label_maps):
        regions = _regions(label_map, model.label_space.class_names)
        seeds = seed + 2 * number, seed + 2 * number + 1
        for name, row in zip(regions, _changes(model, label_map, regions, seeds), strict=True):
            found[name].append(row)
    by_class = [row for name in model.label_space.class_names for row in found[name]]
    found = {name: rows for name, rows in found.items() if rows}
    last = {name: found.pop(name) for name in (LEFT_HALF, WHOLE_IMAGE)}
    found |= {ALL_CLASSES: by_class} | last
    return {name: _mean_change(rows) for name, rows in found.items()}


def _regions(label_map, class_names):
    """Regions bool [H, W] by name."""
    regions = {class_names[c]: label_map == c for c in np.unique(label_map)}
    everywhere = np.ones(label_map.shape, bool)
    left = everywhere.copy()
    left[:, label_map.shape[1] // 2 :] = False
    return regions | {LEFT_HALF: left, WHOLE_IMAGE: everywhere}


def _changes(model, label_map, regions, seeds):
    """(inside, outside, area) for every region."""
    from oasis_tf.systems.oasis import editing

    base = editing.image_noise(*label_map.shape, seeds[0], model.generator.noise_channels)
    fields = [base, *(editing.resample(base, region, seeds[1]) for region in regions.values())]
    images = model.generate(np.repeat(label_map[None], len(fields), axis=0), noise=fields)
    changes = (
        editing.change(images[0], image, region)
        for image, region in zip(images[1:], regions.values(), strict=True)
    )
    return [(*change, r.mean()) for change, r in zip(changes, regions.values(), strict=True)]


def _mean_change(rows):
    inside, outside, area = np.transpose(rows)
    return {
        "edits": len(rows),
        "inside": _mean(inside),
        "outside": _mean(outside),
        "area": _mean(area),
    }


def _mean(values):
    """Mean of those values that are not NaN, or None (JSON has no NaN)."""
    values = np.asarray(values, np.float64)
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else None


# === Order ===


def measure_orders(model, label_maps, distance, frames, seed):
    """How well the number of a frame orders its distance from the first frame.

    Args:
        model, label_maps, seed: as in `measure_changes`.
        distance: `metrics.perceptual.PerceptualDistance`.
        frames: int >= 3, the two ends included.

    Returns:
        dict from the kind of interpolation to a dict: ``maps`` (int), ``mean`` and ``lowest`` rank
        correlation, ``reaching`` (how many maps have at least `REQUIRED`) and ``distance`` (mean
        from the first frame to the last). A region is the largest class of a map.
    """
    from oasis_tf.systems.oasis import editing

    found = {}
    for number, label_map in enumerate(label_maps):
        ends = [
            editing.image_noise(*label_map.shape, one, model.generator.noise_channels)
            for one in (seed + 2 * number, seed + 2 * number + 1)
        ]
        for name, options in _kinds(label_map).items():
            shares = np.linspace(0, 1, frames)
            fields = [editing.interpolate(*ends, share, **options) for share in shares]
            distances = _from_first(model, label_map, fields, distance)
            found.setdefault(name, []).append((rank_correlation(distances), distances[-1]))
    return {name: _summary(*np.transpose(rows)) for name, rows in found.items()}


def _kinds(label_map):
    largest = label_map == np.bincount(label_map.ravel()).argmax()
    return {
        "linear, whole image": {},
        "linear, largest class": {"region": largest},
        "spherical, whole image": {"spherical": True},
        "spherical, largest class": {"spherical": True, "region": largest},
    }


def _from_first(model, label_map, fields, distance):
    """Distances of all frames but the first from it, float64 [K - 1]."""
    from oasis_tf.io import images

    frames = model.generate(np.repeat(label_map[None], len(fields), axis=0), noise=fields)
    pairs = [(0, k) for k in range(1, len(fields))]
    return distance.distances(images.to_uint8(frames), np.array(pairs))


def rank_correlation(values):
    """Spearman's rank correlation of values and their positions; 0 if all values are equal."""
    from scipy import stats

    ranks = stats.rankdata(values)
    if np.ptp(ranks) == 0:
        return 0.0
    return float(np.corrcoef(ranks, np.arange(len(ranks)))[0, 1])


def _summary(correlations, distances):
    return {
        "maps": len(correlations),
        "mean": float(correlations.mean()),
        "lowest": float(correlations.min()),
        # What is 1 by its ranks may be a rounding below.
        "reaching": int(np.sum(correlations >= REQUIRED - 1e-9)),
        "distance": float(distances.mean()),
    }


# === Table ===


def as_table(figures, distance_name):
    """The figures as text."""
    lines = [f"{'resampled':26s} edits   area  inside  outside  outside/inside"]
    for name, row in figures["change"].items():
        inside, outside = (math.nan if row[k] is None else row[k] for k in ("inside", "outside"))
        cells = f"{row['edits']:5d}  {row['area']:.3f}  {inside:.4f}   {outside:.4f}"
        lines.append(f"{name:26s} {cells}  {outside / inside if inside else math.nan:14.2f}")
    lines += ["", f"{'rank correlation':26s}  maps   mean  lowest  maps >= {REQUIRED}  distance"]
    for name, row in figures["order"].items():
        cells = f"{row['maps']:5d}  {row['mean']:5.3f}  {row['lowest']:6.3f}  {row['reaching']:11d}"
        lines.append(f"{name:26s} {cells}  {row['distance']:8.4f}")
    met = all(row["mean"] >= REQUIRED for row in figures["order"].values())
    verdict = "is reached by every kind" if met else "is not reached by every kind"
    lines.append(f"distance: {distance_name}; a mean of {REQUIRED} {verdict}")
    return "\n".join(lines).replace("nan", "  –")


if __name__ == "__main__":
    runner.run(main, define_flags)
