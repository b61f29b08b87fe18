"""What the demo's model can be asked for: pictures as bytes in and out, one function each.

All maps are PNGs of one channel, 8 or 16 bits. Seeds are int64; a seed's noise vector is the one of
`OASIS.generate(label_map, seed)`.

    png           label_map_bytes, seed -> image_bytes
    png_edit      label_map_bytes, noise_index_bytes, seed [K], other_seed [K], share -> image_bytes
                  pixels of noise index k have the noise vector between those of seed[k] (share 0)
                  and other_seed[k] (share 1)
    png_resample  label_map_bytes, seed, region_bytes, region_seed -> image_bytes
                  the noise of region_seed where region_bytes is not 0
    png_segment   image_bytes -> label_map_bytes
    png_recreate  image_bytes, seed -> image_bytes, label_map_bytes
"""

import functools

import numpy as np

from oasis_tf import editing, noise
from oasis_tf.images import to_uint8
from oasis_tf.models.shapes import check_divisible
from oasis_tf.web.pictures import decode_ids, decode_image, encode_png

_MAP = {"label_map_bytes": "bytes"}
_PLAIN = {"png": _MAP | {"seed": "integer"}}
_EDITS = {
    "png_edit": _MAP
    | {
        "noise_index_bytes": "bytes",
        "seed": "integers",
        "other_seed": "integers",
        "share": "share",
    },
    "png_resample": _MAP | {"seed": "integer", "region_bytes": "bytes", "region_seed": "integer"},
}
_PHOTOGRAPHS = {
    "png_segment": {"image_bytes": "bytes"},
    "png_recreate": {"image_bytes": "bytes", "seed": "integer"},
}
_AREA = 4  # times the size trained on: the largest picture that is painted


class Signatures:
    """A model's signatures.

    Args:
        model: `OASIS` with its `config`.

    Attributes:
        kinds: dict from names to dicts from inputs to kinds, as `rest.parse` reads them. Edits are
            there if the model has local noise, photographs if its discriminator segments.
        height, width: the size trained on.
        max_pixels: of a picture that is painted.
    """

    def __init__(self, model):
        self._model, self._engine = model, model.inference_engine()
        self.noise_channels = model.generator.vector_channels
        self.height, self.width = model.config.data.crop_height, model.config.data.crop_width
        self.max_pixels = _AREA * self.height * self.width
        self.kinds = dict(_PLAIN)
        self._local = model.config.model.local_noise
        if self._local:
            self.kinds |= _EDITS
        if model.segments:
            self.kinds |= _PHOTOGRAPHS
        self._vector = functools.lru_cache(4096)(self._vector_of)

    def __call__(self, name, inputs):
        """Outputs, a dict of bytes, of a signature for a dict of inputs.

        Raises:
            ValueError: inputs that do not fit the model.
        """
        return getattr(self, f"_{name}")(**inputs)

    def warm_up(self):
        """Paints once, so that the first visitor does not wait for graphs to be traced."""
        self._paint(np.zeros((self.height, self.width), np.int32), self._of_seed)

    def _png(self, label_map_bytes, seed):
        label_map = self._label_map(label_map_bytes)
        return _image(self._paint(label_map, lambda *size: self._of_seed(*size, seed)))

    def _png_edit(self, label_map_bytes, noise_index_bytes, seed, other_seed, share):
        label_map = self._label_map(label_map_bytes)
        index = self._beside(label_map, noise_index_bytes, "noise_index_bytes")
        if len(seed) != len(other_seed):
            raise ValueError(
                "`seed` and `other_seed` must be equally long. "
                f"Received: {len(seed)} and {len(other_seed)} seeds."
            )
        first, second = (editing.NoiseField(index, self._vectors(s)) for s in (seed, other_seed))
        return _image(self._paint(label_map, editing.interpolate(first, second, share)))

    def _png_resample(self, label_map_bytes, seed, region_bytes, region_seed):
        label_map = self._label_map(label_map_bytes)
        region = self._beside(label_map, region_bytes, "region_bytes") != 0
        field = self._of_seed(*label_map.shape, seed)
        return _image(self._paint(label_map, editing.resample(field, region, region_seed)))

    def _png_segment(self, image_bytes):
        return {"label_map_bytes": encode_png(self._segmented(image_bytes))}

    def _png_recreate(self, image_bytes, seed):
        label_map = self._segmented(image_bytes)
        image = self._paint(label_map, lambda *size: self._of_seed(*size, seed))
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

    def _vector_of(self, seed):
        return noise.sample_noise(np.array([seed], np.int64), self.noise_channels).numpy()[0]

    def _vectors(self, seeds):
        return np.stack([self._vector(seed) for seed in seeds])

    def _of_seed(self, height, width, seed=0):
        index = np.zeros((height, width), np.int32)
        return editing.NoiseField(index, self._vectors([seed]))

    def _paint(self, label_map, field):
        """uint8 [H, W, 3]; `field` may be a function of the size, unused without noise."""
        if not self.noise_channels:
            return to_uint8(self._engine(label_map[None])[0])
        field = field(*label_map.shape) if callable(field) else field
        if not self._local:
            return to_uint8(self._engine(label_map[None], field.vectors)[0])
        return to_uint8(self._engine.paint(label_map[None], *editing.stack([field]))[0])


def _image(image):
    return {"image_bytes": encode_png(image)}
