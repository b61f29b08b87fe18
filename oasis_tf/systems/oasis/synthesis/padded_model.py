"""A model for label maps and images of any size: pads them, runs the networks, crops the result."""

import itertools

import numpy as np

from oasis_tf.io import images
from oasis_tf.systems.oasis.editing.noise_fields import NoiseField, stack


class PaddedModel:
    """The networks of a model, with the weights of the generator folded once.

    Args:
        model: `OASIS`; its weights must not change.
        sizing: `Sizing`, which pads.
        batch_size: images generated at a time; does not change them.
    """

    def __init__(self, model, sizing, batch_size=8):
        self._model, self._sizing, self._batch_size = model, sizing, batch_size
        self._engine = model.inference_engine()
        self.noise_channels = model.generator_ema.vector_channels

    def style(self, photograph, seed, shape):
        """The `NoiseField` of a size (H, W) with the style of a photograph uint8 [H, W, 3]."""
        return NoiseField.constant(shape, self._model.encode(photograph, seed))

    def segment(self, image):
        """Model ids [H, W] by the discriminator of an image uint8 [H, W, 3]."""
        height, width = image.shape[:2]
        return self._model.segment(self._sizing.padded(image))[:height, :width]

    def generate(self, label_map, make_fields):
        """Images of one label map, one after the other.

        Args:
            label_map: model ids [H, W].
            make_fields: function from the padded size (H, W) to an iterable with the noise field of
                every image; or None for every image of a model without noise.

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
