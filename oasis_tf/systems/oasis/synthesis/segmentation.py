"""Photographs in, label PNGs out: what `synthesize --segment_only` does."""

import dataclasses
import os

from oasis_tf.io import images, label_files, output_paths
from oasis_tf.io.progress import progress_bar
from oasis_tf.systems.oasis.synthesis import outputs, scenes
from oasis_tf.systems.oasis.synthesis.scenes import Scene, Sizing


@dataclasses.dataclass(frozen=True)
class SegmentationPlan:
    """Everything checked, nothing segmented yet; the label map of a photograph is `STEM.png`."""

    scenes: tuple[Scene, ...]
    sizing: Sizing
    output_dir: str
    skip_existing: bool = False
    notes: tuple[str, ...] = ()

    def outputs(self):
        """All files to be written, in the order of the scenes."""
        return [os.path.join(self.output_dir, f"{scene.stem}.png") for scene in self.scenes]


def plan_segmentation(
    config,
    from_images,
    output_dir,
    *,
    size="crop",
    height=None,
    width=None,
    overwrite=False,
    skip_existing=False,
):
    """Checks all inputs and outputs before any work; arguments as of `plan_synthesis`.

    Raises:
        ValueError: the first rule broken, with what was received and what to do.
    """
    config.model.check_segments("segment photographs")
    found = tuple(scenes.find_scenes(photographs=from_images))
    sizing = Sizing.chosen(config, size, height, width, needs_discriminator=True)
    plan = SegmentationPlan(found, sizing, os.fspath(output_dir), skip_existing)
    output_paths.check_folder(output_dir)
    inputs = [scene.photo_path for scene in found]
    output_paths.check_outputs(
        plan.outputs(), inputs, overwrite=overwrite, skip_existing=skip_existing
    )
    note = sizing.says([images.read_photograph(path).shape[:2] for path in inputs])
    return dataclasses.replace(plan, notes=(note,) if note else ())


def segment_files(model, plan):
    """Writes the label maps of a plan as palette PNGs of raw ids.

    Returns:
        list of the paths of all outputs, those included that were kept.
    """
    from oasis_tf.systems.oasis.synthesis.easel import Easel  # TensorFlow: only for work

    requests = _requests(model, plan)
    folder = outputs.PictureFolder(requests, plan.skip_existing)
    easel = Easel(model, plan.sizing)
    with progress_bar(len(plan.scenes), "photograph", "segment") as progress:
        for path, scene in zip(plan.outputs(), plan.scenes, strict=True):
            if path not in folder.kept:
                label_map = easel.segment(easel.photograph(scene))
                label_files.write_label_map(path, label_map, model.label_space, folder.text(path))
            progress.update()
    return plan.outputs()


def _requests(model, plan):
    common = {"model": outputs.model_identity(model), "sizing": dataclasses.asdict(plan.sizing)}
    return {
        path: common | {"segmentation_of": outputs.file_digest(scene.photo_path)}
        for path, scene in zip(plan.outputs(), plan.scenes, strict=True)
    }
