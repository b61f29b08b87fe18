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

    def generate(self, label_map, make_fields):
        """Images of one label map, one after the other.

        Args:
            label_map: model ids [H, W].
            make_fields: function from the padded size (H, W) to an iterable with the noise field of
                every image; None in the place of a field for a model without noise.

        Yields:
            uint8 [H, W, 3].
        """
        height, width = label_map.shape
        padded = self._sizing.padded(label_map)
        remaining = iter(make_fields(padded.shape))
        while fields := list(itertools.islice(remaining, self._batch_size)):
            maps = np.repeat(padded[None], len(fields), axis=0)
            noise = stack(fields) if self.noise_channels else None
            for image in self._engine(maps, noise).numpy():
                yield images.to_uint8(image[:height, :width])

    def pad(self, array):
        """[H, W] grown to sides that the generator takes."""
        return self._sizing.padded(array)
