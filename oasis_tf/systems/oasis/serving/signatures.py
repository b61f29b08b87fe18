"""Serving signatures: functions over plain variables, with readable errors in the graph.

Everything is batch-major and of dynamic sizes. Inputs are read only after their checks: parts of a
graph run in any order, and the first error is the answer. Names of picture files end in `_bytes`,
so that TensorFlow Serving sends them as base64. Signatures that begin with `png` are those of the
demo (`oasis_tf.systems.oasis.demo.contract`).
"""

import tensorflow as tf

from oasis_tf.serving import graph_pictures
from oasis_tf.serving.graph_checks import (
    at_most,
    checked,
    finite,
    in_range,
    same_batch,
    same_size,
    sides,
    within,
)
from oasis_tf.systems.oasis.demo import contract
from oasis_tf.systems.oasis.editing.noise_fields import MOST_NOISE, IndexedNoise
from oasis_tf.systems.oasis.inference.generator_engine import InferenceEngine
from oasis_tf.systems.oasis.inference.segmentation_engine import SegmentationEngine
from oasis_tf.systems.oasis.models.multi_scale import scales_of
from oasis_tf.systems.oasis.noise import sample_noise

ALWAYS = ("serving_default", "synthesize", *contract.PLAIN)
NEED_VECTOR = ("noise",)
NEED_LOCAL_NOISE = ("resample", *contract.EDITS)
NEED_SEGMENTER = ("segment", "recreate", *contract.PHOTOGRAPHS)

# Inputs by their kinds. The first four are those of `contract`.
_KINDS = {
    "bytes": ([None], tf.string),
    "integer": ([None], tf.int64),
    "integers": ([None, None], tf.int64),
    "share": ([None], tf.float64),
    "map": ([None, None, None], tf.int32),
    "image": ([None, None, None, 3], tf.float32),
}
_INPUTS = {
    "serving_default": {"label_map": "map", "seed": "integer"},
    "synthesize": {"label_map": "map"},
    "noise": {"label_map": "map", "noise": "vector"},
    "resample": {
        "label_map": "map",
        "seed": "integer",
        "region": "map",
        "region_seed": "integer",
    },
    "segment": {"image": "image"},
    "recreate": {"image": "image", "seed": "integer"},
    **contract.PLAIN,
    **contract.EDITS,
    **contract.PHOTOGRAPHS,
}


def serving_module(model, max_pixels, batching="image"):
    """A model as a `tf.Module` with one function a signature.

    The module holds the folded weights of its own engines, each once, and nothing that only
    training needs.

    Args:
        model: `OASIS` with its `config`.
        max_pixels: int, most pixels of an image that is accepted.
        batching: "image", with bits that depend on no other image of a batch; or "dense", all
            images and pixels at the same time, for GPUs.

    Returns:
        `tf.Module`, and a dict of its signatures by name: `ALWAYS`; `NEED_VECTOR` if the model has
        noise or a latent; `NEED_LOCAL_NOISE` if its noise may differ between pixels;
        `NEED_SEGMENTER` if its discriminator segments.
    """
    network = _Networks(model, max_pixels, batching)
    names = [
        *ALWAYS,
        *(NEED_VECTOR if network.vector_channels else ()),
        *(NEED_LOCAL_NOISE if network.local_noise else ()),
        *(NEED_SEGMENTER if model.segments else ()),
    ]
    signatures = {name: _traced(network, name) for name in names}
    module = tf.Module()
    module.weights = network.weights
    for name, function in signatures.items():
        setattr(module, name, function)
    return module, signatures


def _traced(network, name):
    """The signature `name`: the method of this name, with checks of the ranks of its inputs."""
    kinds = _KINDS | {"vector": ([None, network.vector_channels], tf.float32)}
    specs = [tf.TensorSpec(*kinds[kind], name=key) for key, kind in _INPUTS[name].items()]

    def signature(*tensors):
        # Loaded signatures let a wrong rank through.
        rows = zip(tensors, specs, strict=True)
        ensured = {spec.name: tf.ensure_shape(tensor, spec.shape) for tensor, spec in rows}
        return getattr(network, name)(**ensured)

    signature.__name__ = name
    return tf.function(signature, input_signature=specs, autograph=False)


class _Networks:
    """The signatures, one method each."""

    def __init__(self, model, max_pixels, batching):
        self._config, self._max_pixels = model.config.model, max_pixels
        self.vector_channels = model.generator.vector_channels
        self.local_noise = self._config.local_noise
        self._generator = InferenceEngine(model.generator_ema, batching=batching)
        self.weights = list(self._generator.weights.values())
        if model.segments:
            finest = scales_of(model.discriminator)[0]
            self._discriminator = SegmentationEngine(finest, model.has_unknown, batching=batching)
            self.weights += self._discriminator.weights.values()
        self._vectors_of_seeds = tf.function(
            lambda seeds: sample_noise(seeds, self.vector_channels),
            input_signature=[tf.TensorSpec([None], tf.int64)],
            autograph=False,
        )

    # === Numbers in and out ===

    def serving_default(self, label_map, seed):
        label_map, seed = checked(
            [*self._checks(label_map), *same_batch(label_map=label_map, seed=seed)], label_map, seed
        )
        return {"image": self._of_seed(label_map, seed)}

    def synthesize(self, label_map):
        return self.serving_default(label_map, tf.zeros(tf.shape(label_map)[:1], tf.int64))

    def noise(self, label_map, noise):
        checks = [
            *same_batch(label_map=label_map, noise=noise),
            *finite("noise", noise, MOST_NOISE),
        ]
        label_map, noise = checked([*self._checks(label_map), *checks], label_map, noise)
        return {"image": self._image(label_map, noise)}

    def resample(self, label_map, seed, region, region_seed):
        checks = [
            *self._checks(label_map),
            *same_size("region", region, "label_map", label_map),
            *same_batch(label_map=label_map, seed=seed, region_seed=region_seed),
        ]
        label_map, region, *seeds = checked(checks, label_map, region, seed, region_seed)
        vectors = self._vectors(tf.stack(seeds, axis=1))
        noise = IndexedNoise(tf.cast(region != 0, tf.int32), vectors)
        return {"image": self._image(label_map, noise)}

    def segment(self, image):
        label_map, fake = self._segmented(image, "image")
        return {"label_map": label_map, "fake_probability": fake}

    def recreate(self, image, seed):
        image, seed = checked(same_batch(image=image, seed=seed), image, seed)
        label_map, _ = self._segmented(image, "image", self._config.generator_stride)
        return {"image": self._of_seed(label_map, seed), "label_map": label_map}

    # === Pictures as bytes ===

    def png(self, label_map_bytes, seed):
        checks = same_batch(label_map_bytes=label_map_bytes, seed=seed)
        label_map_bytes, seed = checked(checks, label_map_bytes, seed)
        label_map = self._label_map(label_map_bytes)
        return {"image_bytes": graph_pictures.encode_images(self._of_seed(label_map, seed))}

    def png_edit(self, label_map_bytes, noise_index_bytes, seed, other_seed, share):
        checks = [
            *same_batch(
                label_map_bytes=label_map_bytes,
                noise_index_bytes=noise_index_bytes,
                seed=seed,
                share=share,
            ),
            *same_size("other_seed", other_seed, "seed", seed),
            *within("share", share, 0.0, 1.0),
            *at_most("seed", tf.shape(seed)[1], contract.MOST_SEEDS),
        ]
        label_map_bytes, noise_index_bytes, seed, other_seed, share = checked(
            checks, label_map_bytes, noise_index_bytes, seed, other_seed, share
        )
        label_map = self._label_map(label_map_bytes)
        index = self._beside(label_map, noise_index_bytes, "noise_index_bytes")
        numbers = in_range("noise_index_bytes", index, tf.shape(seed)[1], "numbers of seeds")
        index = checked(numbers, index)
        vectors = _between(self._vectors(seed), self._vectors(other_seed), share)
        image = self._image(label_map, IndexedNoise(index, vectors))
        return {"image_bytes": graph_pictures.encode_images(image)}

    def png_resample(self, label_map_bytes, seed, region_bytes, region_seed):
        checks = same_batch(
            label_map_bytes=label_map_bytes,
            seed=seed,
            region_bytes=region_bytes,
            region_seed=region_seed,
        )
        label_map_bytes, region_bytes = checked(checks, label_map_bytes, region_bytes)
        label_map = self._label_map(label_map_bytes)
        region = self._beside(label_map, region_bytes, "region_bytes")
        image = self.resample(label_map, seed, region, region_seed)["image"]
        return {"image_bytes": graph_pictures.encode_images(image)}

    def png_segment(self, image_bytes):
        label_map, _ = self._segmented(self._photographs(image_bytes), "image_bytes")
        return {"label_map_bytes": graph_pictures.encode_ids(label_map)}

    def png_recreate(self, image_bytes, seed):
        checks = same_batch(image_bytes=image_bytes, seed=seed)
        image_bytes, seed = checked(checks, image_bytes, seed)
        image, stride = self._photographs(image_bytes), self._config.generator_stride
        label_map, _ = self._segmented(image, "image_bytes", stride)
        return {
            "image_bytes": graph_pictures.encode_images(self._of_seed(label_map, seed)),
            "label_map_bytes": graph_pictures.encode_ids(label_map),
        }

    # === Parts ===

    def _checks(self, label_map, name="label_map"):
        yield from sides(name, tf.shape(label_map), self._config.generator_stride, self._max_pixels)
        yield from in_range(name, label_map, self._config.num_classes, "model ids")

    def _label_map(self, contents):
        label_map = graph_pictures.decode_ids(contents, "label_map_bytes", self._max_pixels)
        return checked(self._checks(label_map, "label_map_bytes"), label_map)

    def _beside(self, label_map, contents, name):
        values = graph_pictures.decode_ids(contents, name, self._max_pixels)
        return checked(same_size(name, values, "label_map_bytes", label_map), values)

    def _photographs(self, contents):
        values = graph_pictures.decode_photographs(contents, "image_bytes", self._max_pixels)
        return tf.cast(values, tf.float32) / 127.5 - 1.0

    def _segmented(self, image, name, stride=1):
        """Label maps and probabilities of images whose sides divide by `stride`, too."""
        stride = max(stride, self._config.discriminator_stride)  # both are powers of two
        checks = [
            *sides(name, tf.shape(image), stride, self._max_pixels),
            *within(name, image, -1.0, 1.0),
        ]
        return self._discriminator(checked(checks, image))

    def _of_seed(self, label_map, seed):
        """Images of a seed each; without noise the seeds are unused."""
        noise = self._vectors_of_seeds(seed) if self.vector_channels else None
        return self._image(label_map, noise)

    def _image(self, label_map, noise):
        return tf.cast(self._generator(label_map, noise), tf.float32)

    def _vectors(self, seeds):
        """Noise vectors [B, K, Z] of seeds [B, K]."""
        vectors = self._vectors_of_seeds(tf.reshape(seeds, [-1]))
        return tf.reshape(vectors, tf.concat([tf.shape(seeds), [self.vector_channels]], 0))


def _between(first, second, share):
    """Vectors [B, K, Z] between others, as in `editing.vector_interpolation`; `share`: [B]."""
    share = share[:, None, None]
    # In float64, interpolation between equal vectors is rounded to them.
    ends = tf.cast(first, tf.float64), tf.cast(second, tf.float64)
    mixed = tf.cast((1 - share) * ends[0] + share * ends[1], tf.float32)
    return tf.where(share == 0, first, tf.where(share == 1, second, mixed))
