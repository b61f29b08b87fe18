"""Images from label files or photographs: the main mode of `synthesize`."""

import functools
import os

from oasis_tf.io import images
from oasis_tf.io.files import file_sha256
from oasis_tf.io.progress import progress_bar
from oasis_tf.systems.oasis.synthesis import outputs
from oasis_tf.systems.oasis.synthesis.plan import SynthesisPlan as SynthesisPlan
from oasis_tf.systems.oasis.synthesis.plan import plan_synthesis as plan_synthesis

GRID_ROWS = 16


def synthesize(model, plan, *, batch_size=8):
    """Generates all images of a plan.

    Args:
        model: `OASIS`.
        plan: `SynthesisPlan`.
        batch_size: images generated at a time; does not change them.

    Returns:
        list of the paths of all outputs, including those that were kept.

    Raises:
        ValueError: with `skip_existing`, a file of another request; nothing is written then.
    """
    from oasis_tf.systems.oasis.synthesis.padded_model import PaddedModel  # TensorFlow

    folder = outputs.PictureFolder(_requests(model, plan), plan.skip_existing)
    padded_model = PaddedModel(model, plan.sizing, batch_size)
    sheet = []
    with progress_bar(len(plan.picture_paths()), "image", "synthesize") as progress:
        for scene in plan.scenes:
            work = _SceneWork(padded_model, plan, scene, folder, progress)
            for series in plan.variation.series():
                on_sheet = plan.grid and plan.grid not in folder.kept and len(sheet) < GRID_ROWS
                pictures = work.generate(series, needed=on_sheet)
                if on_sheet:
                    heading = work.heading(model.label_space)
                    sheet.append([*heading, *pictures])
    if sheet:
        folder.write(plan.grid, images.contact_sheet(sheet))
    return plan.outputs()


class _SceneWork:
    """The pictures of one scene; what is not needed is not computed."""

    def __init__(self, model, plan, scene, folder, progress):
        self._model, self._plan, self._scene = model, plan, scene
        self._folder, self._progress = folder, progress

    @functools.cached_property
    def _label_map(self):
        files, scene = self._plan.files, self._scene
        if scene.label_path is None:
            return self._model.segment(files.photograph(scene))
        return files.label_map(scene)

    def heading(self, label_space):
        """The first tiles of a row of the contact sheet: photograph, label colours."""
        photograph = [self._plan.files.photograph(self._scene)] if self._scene.photo_path else []
        return [*photograph, label_space.colorize(self._label_map)]

    def generate(self, series, needed=False):
        """Writes the missing pictures of a series, and its animations.

        Returns:
            list of uint8 [H, W, 3], all pictures of the series, if they are needed; or empty.
        """
        paths = {self._plan.picture_path(self._scene, picture): picture for picture in series}
        animations = [
            path
            for path in self._plan.animation_paths(self._scene, series)
            if not (self._plan.skip_existing and os.path.exists(path))
        ]
        todo = {path: p for path, p in paths.items() if path not in self._folder.kept}
        self._progress.update(len(paths) - len(todo))
        made = {}
        for path, image in zip(todo, self._images(todo.values()), strict=True):
            self._folder.write(path, image)
            self._progress.update()
            if needed or animations:
                made[path] = image
        if not (needed or animations):
            return []
        pictures = [made[p] if p in made else images.read_photograph(p) for p in paths]
        for path in animations:
            images.write_animation(path, pictures, self._plan.frame_ms)
        return pictures

    def _images(self, pictures):
        if not pictures:
            return
        model, variation = self._model, self._plan.variation
        region = variation.region(self._label_map, self._plan.files.mask(self._scene))
        region = None if region is None else self._plan.sizing.padded(region)

        def fields(shape):
            channels = model.noise_channels
            for picture in pictures:
                if picture.style:
                    photograph = images.read_photograph(picture.style)
                    yield model.style(photograph, picture.seed, shape)
                else:
                    yield variation.field(picture, shape, region, channels) if channels else None

        yield from model.generate(self._label_map, fields)


def _requests(model, plan):
    """What decides the pixels of every PNG file, by its path."""
    common = outputs.common_request(model, plan.sizing)
    digest = functools.cache(lambda path: path and file_sha256(path))
    found = {}
    for path, (scene, picture) in plan.picture_paths().items():
        found[path] = common | {
            "label": digest(scene.label_path),
            "label_format": plan.label_format,
            "photograph": digest(scene.photo_path),
        }
        found[path] |= {"seed": picture.seed}
        if picture.style:
            found[path] |= {"style": digest(picture.style)}
        if picture.other is not None:
            variation = plan.variation
            found[path] |= {
                "mask": digest(scene.mask_path),
                "classes": list(variation.classes),
                "other_seed": picture.other,
                "share": picture.share,
                "spherical": variation.spherical,
            }
    if plan.grid:
        parts = [[os.path.basename(path), request] for path, request in found.items()]
        found[plan.grid] = {"sheet_of": outputs.request_digest(parts)}
    return found
