"""Paints and segments scenes at any size: pads, runs the networks, cuts back."""

import itertools

import numpy as np

from oasis_tf.io import images, label_files
from oasis_tf.systems.oasis.editing.noise_fields import NoiseField, stack
from oasis_tf.systems.oasis.synthesis import scenes


class Easel:
    """A model with its weights folded once, and the rules by which files become arrays.

    Args:
        model: `OASIS`; its weights must stay as they are.
        sizing: `Sizing`.
        label_format: see `label_files.read_label_map`.
        batch_size: images painted at a time; does not change them.
    """

    def __init__(self, model, sizing, label_format="auto", batch_size=8):
        self.model = model
        self.noise_channels = model.generator_ema.vector_channels
        self._sizing = sizing
        self._label_format = label_format
        self._batch_size = batch_size
        self._engine = model.inference_engine()

    # === Files ===

    def photograph(self, scene):
        """The photograph of a scene at the size of the output: uint8 [H, W, 3]."""
        return self._sizing.photograph(images.read_photograph(scene.photo_path))

    def label_map(self, scene):
        """Model ids [H, W] of a scene at the size of the output, segmented if there is no file."""
        if scene.label_path is None:
            return self.segment(self.photograph(scene))
        path, space = scene.label_path, self.model.label_space
        return self._sizing.label_map(label_files.read_label_map(path, space, self._label_format))

    def mask(self, scene):
        """Mask bool [H, W] of a scene at the size of the output; None if it has none."""
        if scene.mask_path is None:
            return None
        source = scene.label_path or scene.photo_path
        return self._sizing.label_map(scenes.read_mask(scene.mask_path, scenes.file_size(source)))

    def style(self, path, seed, shape):
        """The `NoiseField` of a size (H, W) that paints in the style of a photograph."""
        vector = self.model.encode(images.read_photograph(path), seed)
        return NoiseField(np.zeros(shape, np.int32), vector[None])

    # === Networks ===

    def segment(self, image):
        """Model ids [H, W] by the discriminator of an image uint8 [H, W, 3]."""
        height, width = image.shape[:2]
        return self.model.segment(self._sizing.padded(image))[:height, :width]

    def paint(self, label_map, draw_fields):
        """Paints pictures of one label map, one after the other.

        Args:
            label_map: model ids [H, W].
            draw_fields: function from the padded size (H, W) to an iterable of noise fields; unused
                fields of a model without noise may be None.

        Yields:
            uint8 [H, W, 3].
        """
        height, width = label_map.shape
        padded = self._sizing.padded(label_map)
        fields = iter(draw_fields(padded.shape))
        while batch := list(itertools.islice(fields, self._batch_size)):
            for image in self._paint_batch(padded, batch):
                yield images.to_uint8(image[:height, :width])

    def pad(self, array):
        """[H, W] grown to sides that the generator takes."""
        return self._sizing.padded(array)

    def _paint_batch(self, label_map, fields):
        """Float images, in order. Fields of one vector go the way of `generate`: equal bits."""
        for _, group in itertools.groupby(fields, lambda field: field and len(field.vectors)):
            group = list(group)
            maps = np.repeat(label_map[None], len(group), axis=0)
            if group[0] is None:
                yield from self._engine(maps).numpy()
            elif len(group[0].vectors) == 1:
                yield from self._engine(maps, np.concatenate([f.vectors for f in group])).numpy()
            else:
                yield from self._engine.paint(maps, *stack(group)).numpy()
