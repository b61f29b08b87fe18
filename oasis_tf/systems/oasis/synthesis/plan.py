"""What `synthesize` will generate and write, checked before any work."""

import dataclasses
import os
from pathlib import Path

from oasis_tf.data.classes import class_ids
from oasis_tf.io import images, output_paths
from oasis_tf.io.problems import Problems
from oasis_tf.systems.oasis.model_settings import missing_encoder
from oasis_tf.systems.oasis.synthesis import outputs, scenes
from oasis_tf.systems.oasis.synthesis.input_files import InputFiles
from oasis_tf.systems.oasis.synthesis.scenes import Scene, Sizing
from oasis_tf.systems.oasis.synthesis.variations import Variation, edit_name


@dataclasses.dataclass(frozen=True)
class SynthesisPlan:
    """What will be generated, with all checks done.

    Attributes:
        scenes: the label maps or photographs.
        variation: the images of each, and their noise.
        sizing: their size.
        files: reads the files of the scenes.
        output_dir: folder of the images.
        grid: path of the contact sheet, or None.
        animations: "gif", "webp" or both, of every interpolation.
        frame_ms: milliseconds that a frame is shown.
        label_format: see `label_files.read_label_map`.
        skip_existing: whether files that exist are kept.
        notes: sentences for the user.
    """

    scenes: tuple[Scene, ...]
    variation: Variation
    sizing: Sizing
    files: InputFiles
    output_dir: str
    grid: str | None = None
    animations: tuple[str, ...] = ()
    frame_ms: int = 100
    label_format: str = "auto"
    skip_existing: bool = False
    notes: tuple[str, ...] = ()

    def picture_path(self, scene, picture):
        """Where a picture of a scene goes: `STEM_NAME.png`."""
        return os.path.join(self.output_dir, f"{scene.stem}_{picture.name}.png")

    def animation_paths(self, scene, series):
        """Where the animations of an interpolation go."""
        name = self.variation.series_name(series[0].seed)
        start = os.path.join(self.output_dir, f"{scene.stem}_{name}")
        return [f"{start}.{kind}" for kind in self.animations]

    def picture_paths(self):
        """Dict from the path of every picture to its scene and `Picture`."""
        return {
            self.picture_path(scene, picture): (scene, picture)
            for scene in self.scenes
            for series in self.variation.series()
            for picture in series
        }

    def outputs(self):
        """All files to be written."""
        animations = [
            path
            for scene in self.scenes
            for series in self.variation.series()
            for path in self.animation_paths(scene, series)
        ]
        return [*self.picture_paths(), *animations, *([self.grid] if self.grid else [])]


def plan_synthesis(
    config,
    labels,
    output_dir,
    *,
    from_images=None,
    style=None,
    seed=0,
    num_samples=1,
    resample_classes=(),
    region=None,
    interpolate=0,
    spherical=False,
    animations=(),
    frame_ms=100,
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
        labels: label PNG, or folder of label PNGs (with subfolders); or None.
        output_dir: folder for the images, made when needed.
        from_images: photograph or folder of photographs, instead of `labels`.
        style: photograph or folder of photographs; images take the style of each, by the model's
            encoder.
        seed, num_samples: noise seeds `seed`, ..., `seed + num_samples - 1`.
        resample_classes: names of classes; samples differ from the first only in these.
        region: mask PNG or folder of mask PNGs; samples differ from the first only inside.
        interpolate: K >= 2: instead of samples, K frames from each seed to the next, everywhere or
            inside the edit; 0: none.
        spherical: whether to interpolate along the great circle.
        animations: of every interpolation: "gif", "webp" or both.
        frame_ms: milliseconds that a frame of an animation is shown.
        size, height, width: see `Sizing.chosen`.
        label_format: see `label_files.read_label_map`.
        grid: path of a PNG contact sheet, or None.
        overwrite: whether existing files may be replaced.
        skip_existing: whether existing files of the same request are kept.

    Returns:
        `SynthesisPlan`.

    Raises:
        ValueError: the first rule broken, with what was received and what to do.
    """
    _check_sources(config, labels, from_images)
    if resample_classes and region:
        raise ValueError("--resample_classes and --region both name what to resample. Give one.")
    classes = ()
    if resample_classes:
        classes = tuple(class_ids(resample_classes, config.label_space))
    edit = edit_name(classes, config.label_space) if classes else _region_name(region)
    styles = _find_styles(config, style, edit or interpolate)
    variation = Variation(seed, num_samples, classes, edit, interpolate, spherical, styles)
    if edit or interpolate or num_samples > 1:
        config.model.check_noise(
            "vary an image (--num_samples, --resample_classes, --region, --interpolate)"
        )
    if edit and not config.model.local_noise:
        raise ValueError(
            "The noise of this model is one vector for the whole image (encoder="
            f"{config.model.encoder}): no part of an image can have its own. Leave out "
            "--resample_classes and --region."
        )
    sizing = Sizing.chosen(config, size, height, width, needs_discriminator=bool(from_images))
    plan = SynthesisPlan(
        tuple(scenes.find_scenes(labels, from_images, region)),
        variation,
        sizing,
        InputFiles(sizing, config.label_space, label_format),
        os.fspath(output_dir),
        grid and os.fspath(grid),
        tuple(animations),
        frame_ms,
        label_format,
        skip_existing,
    )
    _check_outputs(plan, overwrite)
    return dataclasses.replace(plan, notes=tuple(_check_inputs(plan, config.label_space)))


def _check_sources(config, labels, from_images):
    if bool(labels) == bool(from_images):
        raise ValueError(
            "Name either label files (--labels) or photographs (--from_images). "
            f"Received: {'both' if labels else 'neither'}."
        )
    if from_images:
        config.model.check_segments("segment photographs")


def _find_styles(config, style, edit):
    """Paths of the images that give the style."""
    if not style:
        return ()
    if config.model.encoder == "none":
        raise missing_encoder("generate in the style of an image (--style)")
    if edit:
        raise ValueError(
            "--style sets the noise of a whole image. Leave out --resample_classes, --region and "
            "--interpolate."
        )
    found, problems = tuple(scenes.find_photographs(style).values()), Problems()
    for path in found:
        with problems.noted():
            images.read_photograph(path)
    problems.raise_if_any(f"{problems.count} of {len(found)} styles cannot be used")
    return found


def _region_name(region):
    if not region:
        return ""
    return "region" if os.path.isdir(region) else f"region-{Path(region).stem}"


def _check_outputs(plan, overwrite):
    outputs.check_grid(plan.grid)
    if plan.animations and not plan.variation.frames:
        raise ValueError("An animation (--animation) is of an interpolation: give --interpolate=K.")
    for kind in plan.animations:
        images.check_animation(f"animation.{kind}")
    output_paths.check_folder(plan.output_dir)
    output_paths.check_outputs(
        plan.outputs(),
        [*(path for scene in plan.scenes for path in scene.inputs), *plan.variation.styles],
        overwrite=overwrite,
        skip_existing=plan.skip_existing,
    )


def _check_inputs(plan, label_space):
    """Reads every input; gives sentences for the user."""
    untouched, known, problems = [], 0, Problems()
    for scene in plan.scenes:
        with problems.noted():
            if scene.label_path is None:
                plan.files.photograph_size(scene)
            else:
                known += 1
                region = plan.variation.region(plan.files.label_map(scene), None)
                if region is not None and not region.any():
                    untouched.append(scene.stem)
            mask = plan.files.mask(scene)
            if mask is not None and not mask.any():
                raise ValueError(f"Nothing is left of the mask at the size of the output: {scene}.")
    problems.raise_if_any(f"{problems.count} of {len(plan.scenes)} inputs cannot be used")
    classes = ", ".join(label_space.class_names[c] for c in plan.variation.classes)
    if untouched and len(untouched) == known:
        raise ValueError(f"No label map has a pixel of {classes}: nothing would change.")
    notes = [plan.sizing.says([plan.files.size(scene) for scene in plan.scenes])]
    if untouched:
        more = " ..." if len(untouched) > 10 else ""
        notes.append(
            f"{len(untouched)} label maps have no pixel of {classes}; their samples are all the "
            f"same: {', '.join(untouched[:10])}{more}."
        )
    return [note for note in notes if note]
