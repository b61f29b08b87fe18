"""The papers' figure of LabelMix (ICLR 2021, Fig. L): real, fake, mask, mixed, and D's logits."""

import dataclasses
import itertools
import os

import numpy as np

from oasis_tf.data import random_access
from oasis_tf.data.tfrecord import load_for_model
from oasis_tf.io import images, output_paths
from oasis_tf.io.files import file_sha256
from oasis_tf.io.problems import Problems
from oasis_tf.io.progress import progress_bar
from oasis_tf.systems.oasis import losses, noise
from oasis_tf.systems.oasis.models.oasis import to_float_image
from oasis_tf.systems.oasis.synthesis import outputs, scenes
from oasis_tf.systems.oasis.synthesis.input_files import InputFiles
from oasis_tf.systems.oasis.synthesis.scenes import Sizing

COLUMNS = ("label map", "real", "fake", "mask", "mixed", "D of mixed", "mix of D")
FAKE_COLOUR = (0, 0, 0)
GRID_ROWS = 16
_MOST_DRAWS = 64  # of bits, before a map counts as one of a single class


@dataclasses.dataclass(frozen=True)
class FileScene:
    """A photograph and its label file."""

    scene: scenes.Scene
    files: InputFiles
    label_format: str

    @property
    def stem(self):
        return self.scene.stem

    def identity(self):
        files = self.scene.label_path, self.scene.photo_path
        return [*map(file_sha256, files), self.label_format]

    def read(self):
        """(image uint8 [H, W, 3], model ids [H, W]) at the size of the output."""
        return self.files.photograph(self.scene), self.files.label_map(self.scene)

    def sizes(self):
        """(height, width) of the photograph and of the label map."""
        return self.files.photograph_size(self.scene), self.files.size(self.scene)


@dataclasses.dataclass(frozen=True)
class RecordScene:
    """A record of a prepared data set."""

    stem: str
    place: random_access.RecordPlace
    sizing: Sizing

    def identity(self):
        return [self.place.shard_sha256, self.place.start]

    def read(self):
        """(image uint8 [H, W, 3], model ids [H, W]) at the size of the output."""
        _, image, label_map = self.place.read()
        return self.sizing.photograph(image), self.sizing.label_map(label_map)

    def sizes(self):
        """(height, width) of the image and of the label map."""
        _, image, label_map = self.place.read()
        return image.shape[:2], label_map.shape


@dataclasses.dataclass(frozen=True)
class LabelMixPlan:
    """What will be drawn, with all checks done; a figure is `STEM_seedSEED_labelmix.png`."""

    scenes: tuple
    seeds: tuple[int, ...]
    sizing: Sizing
    output_dir: str
    grid: str | None = None
    skip_existing: bool = False
    notes: tuple[str, ...] = ()

    def figures(self):
        """Dict from the path of every figure to its scene and seed."""
        return {
            os.path.join(self.output_dir, f"{scene.stem}_seed{seed}_labelmix.png"): (scene, seed)
            for scene, seed in itertools.product(self.scenes, self.seeds)
        }

    def outputs(self):
        """All files to be written."""
        return [*self.figures(), *([self.grid] if self.grid else [])]


def plan_labelmix(
    config,
    output_dir,
    *,
    labels=None,
    from_images=None,
    data_dir=None,
    num_scenes=8,
    seed=0,
    num_samples=1,
    size="crop",
    height=None,
    width=None,
    label_format="auto",
    grid=None,
    overwrite=False,
    skip_existing=False,
):
    """Checks all inputs and outputs before any work.

    Args:
        config: `Config` of the model.
        output_dir: folder of the figures, made when needed.
        labels, from_images: label PNGs and photographs, pairs of one stem each; or neither.
        data_dir: prepared data set, whose first validation images are taken if there are no files;
            None takes the data set that the model was trained on.
        num_scenes: how many of them.
        seed, num_samples: seeds of noise and of the classes' bits, a figure for each.
        size, height, width, label_format, grid, overwrite, skip_existing: as of `plan_synthesis`.

    Raises:
        ValueError, OSError: the first rule broken, with what was received and what to do.
    """
    config.model.check_segments("show LabelMix")
    if bool(labels) != bool(from_images):
        raise ValueError(
            "--labelmix mixes real images with generated ones: give --labels and --from_images "
            "with equal stems, or neither for images of the prepared data set. "
            f"Received: {'--labels' if labels else '--from_images'} alone."
        )
    if num_samples < 1 or num_scenes < 1:
        raise ValueError(
            "`num_samples` and `num_scenes` must be at least 1. "
            f"Received: num_samples={num_samples}, num_scenes={num_scenes}"
        )
    sizing = Sizing.chosen(config, size, height, width, needs_discriminator=True)
    if labels:
        files = InputFiles(sizing, config.label_space, label_format)
        pairs = scenes.find_scenes(labels, from_images)
        found = [FileScene(pair, files, label_format) for pair in pairs]
    else:
        prepared = load_for_model(data_dir, config.data.data_dir)
        found = _records(prepared, config, sizing, num_scenes)
    plan = LabelMixPlan(
        tuple(found),
        tuple(range(seed, seed + num_samples)),
        sizing,
        os.fspath(output_dir),
        grid and os.fspath(grid),
        skip_existing,
    )
    output_paths.check_folder(output_dir)
    outputs.check_grid(grid)
    inputs = [path for one in found if isinstance(one, FileScene) for path in one.scene.inputs]
    output_paths.check_outputs(
        plan.outputs(), inputs, overwrite=overwrite, skip_existing=skip_existing
    )
    sizes, problems = [], Problems()
    for one in found:
        with problems.noted():
            sizes.append(_checked_size(one, sizing))
    problems.raise_if_any(f"{problems.count} of {len(found)} inputs cannot be used")
    note = sizing.says(sizes)
    return dataclasses.replace(plan, notes=(note,) if note else ())


def _records(prepared, config, sizing, num_scenes):
    prepared.check_classes(config.label_space)
    places = random_access.record_places(prepared, "val")[:num_scenes]
    return [RecordScene(place.fields()[0].replace("/", "_"), place, sizing) for place in places]


def _checked_size(scene, sizing):
    image, label_map = scene.sizes()
    if sizing.size is None and image != label_map:
        raise ValueError(
            f"With --size=native a photograph and its label map must have one size. Received: "
            f"{scene.stem} of {image} and {label_map}."
        )
    return image


# === Work ===


def labelmix_figures(model, plan):
    """Writes the figures of a plan: a row of `COLUMNS` each.

    The mask is white where the pixel is real. D's logits are shown as the colour of the likeliest
    of all N + 1 channels, "fake" in black.

    Returns:
        list of the paths of all outputs, including those that were kept.
    """
    requests = _requests(model, plan)
    folder = outputs.PictureFolder(requests, plan.skip_existing)
    rows = []
    with progress_bar(len(plan.figures()), "figure", "labelmix") as progress:
        for path, (scene, seed) in plan.figures().items():
            on_sheet = plan.grid and plan.grid not in folder.kept and len(rows) < GRID_ROWS
            if path not in folder.kept or on_sheet:
                rows.append(figure_row(model, plan.sizing, *scene.read(), seed))
                folder.write(path, images.contact_sheet(rows[-1:]))
                rows = rows[:GRID_ROWS] if plan.grid else []
            progress.update()
    if plan.grid and rows:
        folder.write(plan.grid, images.contact_sheet(rows))
    return plan.outputs()


def figure_row(model, sizing, image, label_map, seed):
    """Tiles of `COLUMNS`, uint8 [H, W, 3] each.

    Args:
        model: `OASIS`.
        sizing: `Sizing`, which pads the arrays for the networks.
        image: uint8 [H, W, 3].
        label_map: model ids [H, W].
        seed: of the noise and of the bits.
    """
    height, width = label_map.shape
    padded = sizing.padded(label_map).astype(np.int32)[None]
    real = np.asarray(to_float_image(sizing.padded(image)[None]))
    fake = model.generate(padded, seed=seed)
    mask = draw_mask(padded, seed, model.num_classes)
    mixed = losses.mix(mask, real, fake)
    of_real, of_fake, of_mix = (np.asarray(model.class_logits(x)) for x in (real, fake, mixed))
    mix_of = losses.mix(mask, of_real, of_fake)
    tiles = [
        model.label_space.colorize(padded),
        *(images.to_uint8(x) for x in (real, fake, np.repeat(2 * mask - 1, 3, axis=-1), mixed)),
        *(_channel_colours(logits, model.label_space) for logits in (of_mix, mix_of)),
    ]
    return [tile[0, :height, :width] for tile in tiles]


def draw_mask(label_map, seed, num_classes):
    """LabelMix mask [B, H, W, 1] of the first bits that give both real and fake pixels.

    A label map of a single class has no such bits; it keeps the last ones.
    """
    for step in range(_MOST_DRAWS):
        bits = noise.labelmix_bits(seed, step, num_classes)
        mask = np.asarray(losses.labelmix_mask(label_map, bits))
        if mask.min() < mask.max():
            break
    return mask


def _channel_colours(logits, label_space):
    colours = np.array([FAKE_COLOUR, *label_space.palette], np.uint8)
    return colours[np.argmax(logits, axis=-1)]


def _requests(model, plan):
    common = outputs.common_request(model, plan.sizing)
    found = {
        path: common | {"labelmix_of": scene.identity(), "seed": seed}
        for path, (scene, seed) in plan.figures().items()
    }
    if plan.grid:
        found[plan.grid] = {"sheet_of": outputs.request_digest(list(found.values()))}
    return found
