"""Photographs in, label PNGs out: what `synthesize --segment_only` does."""

import dataclasses
import os

from oasis_tf.io import label_files, output_paths
from oasis_tf.io.files import file_sha256
from oasis_tf.io.progress import progress_bar
from oasis_tf.systems.oasis.synthesis import outputs, scenes
from oasis_tf.systems.oasis.synthesis.input_files import InputFiles
from oasis_tf.systems.oasis.synthesis.scenes import Scene, Sizing


@dataclasses.dataclass(frozen=True)
class SegmentationPlan:
    """What will be segmented, with all checks done; the label map of a photograph is `STEM.png`."""

    scenes: tuple[Scene, ...]
    sizing: Sizing
    files: InputFiles
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
    files = InputFiles(sizing, config.label_space)
    plan = SegmentationPlan(found, sizing, files, os.fspath(output_dir), skip_existing)
    output_paths.check_folder(output_dir)
    inputs = [scene.photo_path for scene in found]
    output_paths.check_outputs(
        plan.outputs(), inputs, overwrite=overwrite, skip_existing=skip_existing
    )
    note = sizing.says([files.size(scene) for scene in found])
    return dataclasses.replace(plan, notes=(note,) if note else ())


def segment_files(model, plan):
    """Writes the label maps of a plan as palette PNGs of raw ids.

    Returns:
        list of the paths of all outputs, including those that were kept.
    """
    from oasis_tf.systems.oasis.synthesis.padded_model import PaddedModel  # TensorFlow

    requests = _requests(model, plan)
    folder = outputs.PictureFolder(requests, plan.skip_existing)
    padded_model = PaddedModel(model, plan.sizing)
    with progress_bar(len(plan.scenes), "photograph", "segment") as progress:
        for path, scene in zip(plan.outputs(), plan.scenes, strict=True):
            if path not in folder.kept:
                label_map = padded_model.segment(plan.files.photograph(scene))
                label_files.write_label_map(path, label_map, model.label_space, folder.text(path))
            progress.update()
    return plan.outputs()


def _requests(model, plan):
    common = outputs.common_request(model, plan.sizing)
    return {
        path: common | {"segmentation_of": file_sha256(scene.photo_path)}
        for path, scene in zip(plan.outputs(), plan.scenes, strict=True)
    }
