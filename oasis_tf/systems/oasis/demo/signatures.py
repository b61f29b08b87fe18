"""The signatures of `contract` by a model that is loaded in this process: one function each."""

import numpy as np
import tensorflow as tf

from oasis_tf.io.images import to_uint8
from oasis_tf.systems.oasis import editing
from oasis_tf.systems.oasis.demo import contract
from oasis_tf.systems.oasis.models.shapes import check_divisible
from oasis_tf.systems.oasis.noise import sample_noise
from oasis_tf.web.pictures import decode_ids, decode_image, encode_png


class Signatures:
    """A model's signatures.

    Args:
        model: `OASIS` with its `config`.

    Attributes:
        kinds: dict of signatures as in `contract`: edits if the model has local noise, photographs
            if its discriminator segments.
        noise_channels: of noise that can differ from pixel to pixel.
        height, width: the size trained on.
        max_pixels: most pixels of a generated picture.
        version, origin: the model's step, and a text for people about it.
    """

    def __init__(self, model):
        self._model, self._engine = model, model.inference_engine()
        self.noise_channels = model.config.model.local_channels
        self.height, self.width = model.config.data.crop_height, model.config.data.crop_width
        self.max_pixels = contract.max_pixels(self.height, self.width)
        self.version = int(model.step)
        self.origin = f"step {self.version}"
        channels = model.generator.vector_channels
        self._vectors_of_seeds = channels and tf.function(
            lambda seeds: sample_noise(seeds, channels),  # in a graph: many seeds at once are quick
            input_signature=[tf.TensorSpec([None], tf.int64)],
            autograph=False,
        )
        self.kinds = dict(contract.PLAIN)
        if self.noise_channels:
            self.kinds |= contract.EDITS
        if model.segments:
            self.kinds |= contract.PHOTOGRAPHS

    def __call__(self, name, inputs):
        """Outputs, a dict of bytes, of a signature for a dict of inputs.

        Raises:
            ValueError: inputs that do not fit the model.
        """
        return getattr(self, f"_{name}")(**inputs)

    def warm_up(self):
        """Generates once, so that the first visitor does not wait for graphs to be traced."""
        label_map = np.zeros((self.height, self.width), np.int32)
        self._generate(label_map, self._of_seed(label_map, 0))

    def _png(self, label_map_bytes, seed):
        label_map = self._label_map(label_map_bytes)
        return _image(self._generate(label_map, self._of_seed(label_map, seed)))

    def _png_edit(self, label_map_bytes, noise_index_bytes, seed, other_seed, share):
        label_map = self._label_map(label_map_bytes)
        index = self._beside(label_map, noise_index_bytes, "noise_index_bytes")
        if len(seed) != len(other_seed):
            raise ValueError(
                "`seed` and `other_seed` must be equally long. "
                f"Received: {len(seed)} and {len(other_seed)} seeds."
            )
        vectors = np.split(self._vectors([*seed, *other_seed]), 2)
        first, second = (editing.NoiseField(index, part) for part in vectors)
        return _image(self._generate(label_map, editing.interpolate(first, second, share)))

    def _png_resample(self, label_map_bytes, seed, region_bytes, region_seed):
        label_map = self._label_map(label_map_bytes)
        region = self._beside(label_map, region_bytes, "region_bytes") != 0
        field = editing.resample(self._of_seed(label_map, seed), region, region_seed)
        return _image(self._generate(label_map, field))

    def _png_segment(self, image_bytes):
        return {"label_map_bytes": encode_png(self._segmented(image_bytes))}

    def _png_recreate(self, image_bytes, seed):
        label_map = self._segmented(image_bytes)
        image = self._generate(label_map, self._of_seed(label_map, seed))
        return _image(image) | {"label_map_bytes": encode_png(label_map)}

    def _label_map(self, contents):
        label_map = decode_ids(contents, "`label_map_bytes`", self.max_pixels)
        stride = self._model.config.model.generator_stride
        check_divisible(*label_map.shape, stride, "a label map")
        if label_map.max() >= self._model.num_classes:
            raise ValueError(
                f"`label_map_bytes` must hold model ids 0..{self._model.num_classes - 1}. "
                f"Received: {label_map.max()}."
            )
        return label_map

    def _beside(self, label_map, contents, name):
        values = decode_ids(contents, f"`{name}`", self.max_pixels)
        if values.shape != label_map.shape:
            sizes = " and ".join(f"{w} x {h}" for h, w in (values.shape, label_map.shape))
            raise ValueError(f"`{name}` must have the label map's size. Received: {sizes}.")
        return values

    def _segmented(self, contents):
        image = decode_image(contents, "`image_bytes`", self.max_pixels)
        check_divisible(*image.shape[:2], self._model.config.model.discriminator_stride, "an image")
        return self._model.segment(image)

    def _vectors(self, seeds):
        """Noise vectors float32 [K, Z] of seeds."""
        return self._vectors_of_seeds(tf.constant(seeds, tf.int64)).numpy()

    def _of_seed(self, label_map, seed):
        """The `NoiseField` of a seed; None without noise."""
        if not self._vectors_of_seeds:
            return None
        return editing.NoiseField.constant(label_map.shape, *self._vectors([seed]))

    def _generate(self, label_map, field):
        """uint8 [H, W, 3]."""
        noise = field and editing.stack([field])
        return to_uint8(self._engine(label_map[None], noise)[0])


def _image(image):
    return {"image_bytes": encode_png(image)}
