"""The signature of `contract` by a model that is loaded in this process."""

import tensorflow as tf

from oasis_tf.io.images import to_uint8
from oasis_tf.latents import between
from oasis_tf.systems.one_shot import draws
from oasis_tf.systems.one_shot.demo import contract
from oasis_tf.web.pictures import encode_png
from oasis_tf.web.sampler_demo import LoadedSampler


class Signatures(LoadedSampler):
    """A model's signature; ``model`` is `OneShot` for use."""

    def __init__(self, model):
        super().__init__(model, contract)
        length = model.config.model.noise_dim
        self._latents = tf.function(
            lambda seeds: draws.latents_of(seeds, length),  # in a graph: quicker
            input_signature=[tf.TensorSpec([2], tf.int64)],
            autograph=False,
        )

    def __call__(self, name, inputs):
        """Outputs, a dict of bytes, of a signature for a dict of inputs."""
        seeds = tf.constant([inputs["seed"], inputs["other_seed"]], tf.int64)
        first, second = tf.split(self._latents(seeds), 2)
        samples = self._model.sample_latents(between(first, second, inputs["share"]))
        found = {"image_bytes": encode_png(to_uint8(samples.image[0]))}
        return (
            found if samples.mask is None else found | {"mask_bytes": encode_png(samples.mask[0])}
        )
