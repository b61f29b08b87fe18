"""Label files or photographs in, images out: the work behind the `synthesize` command."""

import dataclasses
import functools
import os

from oasis_tf.io import images
from oasis_tf.io.progress import progress_bar
from oasis_tf.systems.oasis.synthesis import outputs
from oasis_tf.systems.oasis.synthesis.plan import SynthesisPlan as SynthesisPlan
from oasis_tf.systems.oasis.synthesis.plan import plan_synthesis as plan_synthesis

GRID_ROWS = 16


def synthesize(model, plan, *, batch_size=8):
    """Paints all images of a plan.

    Args:
        model: `OASIS`.
        plan: `SynthesisPlan`.
        batch_size: images painted at a time; does not change them.

    Returns:
        list of the paths of all outputs, those included that were kept.

    Raises:
        ValueError: with `skip_existing`, a file of another request; nothing is written then.
    """
    from oasis_tf.systems.oasis.synthesis.easel import Easel  # TensorFlow: only for work

    folder = outputs.PictureFolder(_requests(model, plan), plan.skip_existing)
    easel = Easel(model, plan.sizing, plan.label_format, batch_size)
    sheet = []
    with progress_bar(len(plan.picture_paths()), "image", "synthesize") as progress:
        for scene in plan.scenes:
            work = _SceneWork(easel, plan, scene, folder, progress)
            for series in plan.variation.series():
                on_sheet = plan.grid and plan.grid not in folder.kept and len(sheet) < GRID_ROWS
                pictures = work.paint(series, needed=on_sheet)
                if on_sheet:
                    sheet.append([*work.heading(), *pictures])
    if sheet:
        folder.write(plan.grid, images.contact_sheet(sheet))
    return plan.outputs()


class _SceneWork:
    """One scene on its way to its pictures; what is not needed is not computed."""

    def __init__(self, easel, plan, scene, folder, progress):
        self._easel, self._plan, self._scene = easel, plan, scene
        self._folder, self._progress = folder, progress

    @functools.cached_property
    def _label_map(self):
        return self._easel.label_map(self._scene)

    @functools.cached_property
    def _region(self):
        return self._plan.variation.region(self._label_map, self._easel.mask(self._scene))

    def heading(self):
        """What stands in front of a row of the contact sheet: photograph, label colours."""
        photograph = [self._easel.photograph(self._scene)] if self._scene.photo_path else []
        return [*photograph, self._easel.model.label_space.colorize(self._label_map)]

    def paint(self, series, needed=False):
        """Writes the pictures of a series that are missing, and its animations.

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
        painted = {}
        for path, image in zip(todo, self._painted(todo.values()), strict=True):
            self._folder.write(path, image)
            self._progress.update()
            if needed or animations:
                painted[path] = image
        if not (needed or animations):
            return []
        pictures = [painted[p] if p in painted else images.read_photograph(p) for p in paths]
        for path in animations:
            images.write_animation(path, pictures, self._plan.frame_ms)
        return pictures

    def _painted(self, pictures):
        if not pictures:
            return
        easel, variation = self._easel, self._plan.variation
        region = None if self._region is None else easel.pad(self._region)

        def fields(shape):
            for picture in pictures:
                channels = easel.noise_channels
                if picture.style:
                    yield easel.style(picture.style, picture.seed, shape)
                else:
                    yield variation.field(picture, shape, region, channels) if channels else None

        yield from easel.generate(self._label_map, fields)


def _requests(model, plan):
    """What decides the pixels of every PNG file, by its path."""
    common = {"model": outputs.model_identity(model), "sizing": dataclasses.asdict(plan.sizing)}
    digest = functools.cache(outputs.file_digest)
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
