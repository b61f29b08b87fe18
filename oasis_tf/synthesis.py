"""Label files in, images out: the work behind the `synthesize` command."""

import dataclasses
import itertools
import os
from pathlib import Path

import numpy as np

from oasis_tf import label_files
from oasis_tf.images import contact_sheet, to_uint8, write_png
from oasis_tf.models import shapes
from oasis_tf.progress import progress_bar

GRID_ROWS = 16


@dataclasses.dataclass(frozen=True)
class SynthesisPlan:
    """Everything checked, nothing painted yet.

    Attributes:
        label_paths: label files.
        seeds: noise seeds, each used with every label file.
        height, width: size of the images.
        output_dir: folder of the images.
        grid: path of the contact sheet, or None.
    """

    label_paths: tuple[str, ...]
    seeds: tuple[int, ...]
    height: int
    width: int
    output_dir: str
    grid: str | None = None

    def output_path(self, label_path, seed):
        """Where the image of a label file and a seed goes: `STEM_seedSEED.png`."""
        return os.path.join(self.output_dir, f"{Path(label_path).stem}_seed{seed}.png")

    def outputs(self):
        """All files to be written."""
        images = [
            self.output_path(path, seed)
            for path, seed in itertools.product(self.label_paths, self.seeds)
        ]
        return images + ([self.grid] if self.grid else [])


def plan_synthesis(
    config,
    labels,
    output_dir,
    *,
    seed=0,
    num_samples=1,
    height=None,
    width=None,
    grid=None,
    overwrite=False,
):
    """Checks all inputs and outputs before any work.

    Args:
        config: `Config` of the model.
        labels: label PNG, or folder of label PNGs (with subfolders), of raw ids.
        output_dir: folder for the images, made when needed.
        seed, num_samples: noise seeds `seed`, …, `seed + num_samples - 1`.
        height, width: size of the images; None takes the training crop. Label maps are resized to
            it, nearest neighbour.
        grid: path of a PNG contact sheet, or None.
        overwrite: whether existing files may be replaced.

    Returns:
        `SynthesisPlan`.

    Raises:
        ValueError: the first rule broken, with what was received and what to do.
    """
    if num_samples < 1:
        raise ValueError(f"`num_samples` must be at least 1. Received: num_samples={num_samples}")
    height, width = _output_size(config, height, width)
    paths = label_files.find_label_files(labels)
    seeds = tuple(range(seed, seed + num_samples))
    plan = SynthesisPlan(tuple(paths), seeds, height, width, os.fspath(output_dir), grid)
    _check_outputs(plan, overwrite)
    for path in paths:
        label_files.read_label_map(path, config.label_space)
    return plan


def _output_size(config, height, width):
    if (height is None) != (width is None):
        raise ValueError(
            "Give both height and width, or neither for the size of the training crop. "
            f"Received: height={height}, width={width}"
        )
    if height is None:
        height, width = config.data.crop_height, config.data.crop_width
    shapes.check_divisible(height, width, config.model.generator_stride, "a generated image")
    return height, width


def _check_outputs(plan, overwrite):
    if plan.grid and Path(plan.grid).suffix.lower() != ".png":
        raise ValueError(f"The contact sheet must be a .png file. Received: {plan.grid}")
    if os.path.exists(plan.output_dir) and not os.path.isdir(plan.output_dir):
        raise NotADirectoryError(
            f"The output must be a folder. Received the file {plan.output_dir}"
        )
    places = [os.path.realpath(path) for path in (*plan.label_paths, *plan.outputs())]
    if len(set(places)) < len(places):
        clash = next(place for place in places if places.count(place) > 1)
        raise ValueError(
            f"Two outputs, or an output and a label file, have the same path: {clash}. "
            "Choose another output folder or contact sheet."
        )
    existing = [path for path in plan.outputs() if os.path.exists(path)]
    if existing and not overwrite:
        raise ValueError(
            f"{len(existing)} of {len(plan.outputs())} output files exist, the first: "
            f"{existing[0]}. Nothing was written. Choose another folder, or replace them with "
            "--overwrite."
        )


def synthesize(model, plan, *, batch_size=8):
    """Paints all images of a plan.

    Args:
        model: `OASIS`.
        plan: `SynthesisPlan`.
        batch_size: images painted at a time; does not change them.

    Returns:
        list of the paths written.
    """
    todo = list(itertools.product(plan.label_paths, plan.seeds))
    on_grid = plan.label_paths[:GRID_ROWS] if plan.grid else ()
    grid_rows = {path: [] for path in on_grid}
    with progress_bar(len(todo), "image", "synthesize") as progress:
        for start in range(0, len(todo), batch_size):
            batch = todo[start : start + batch_size]
            for (path, seed), image in zip(batch, _paint(model, plan, batch), strict=True):
                write_png(plan.output_path(path, seed), image)
                if path in grid_rows:
                    grid_rows[path].append(image)
                progress.update()
    if plan.grid:
        colours = [model.label_space.colorize(_label_map(model, plan, path)) for path in on_grid]
        rows = [[first, *row] for first, row in zip(colours, grid_rows.values(), strict=True)]
        write_png(plan.grid, contact_sheet(rows))
    return plan.outputs()


def _paint(model, plan, batch):
    """Images, uint8 [B, H, W, 3], of a list of (label file, seed)."""
    label_maps = {path: _label_map(model, plan, path) for path, _ in batch}
    images = model.generate(
        np.stack([label_maps[path] for path, _ in batch]),
        seed=np.array([seed for _, seed in batch], np.int64),
    )
    return to_uint8(images)


def _label_map(model, plan, path):
    label_map = label_files.read_label_map(path, model.label_space)
    return label_files.resize_label_map(label_map, plan.height, plan.width)
