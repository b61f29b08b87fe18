"""The signature of `contract` by a model that is loaded in this process."""

import tensorflow as tf

from oasis_tf.io.images import to_uint8
from oasis_tf.latents import between
from oasis_tf.systems.one_shot import draws
from oasis_tf.systems.one_shot.demo import contract
from oasis_tf.web.pictures import encode_png


class Signatures:
    """A model's signature.

    Args:
        model: `OneShot` for use.

    Attributes:
        kinds: as in `contract`.
        version, origin: the model's step, and a text for people about it.
    """

    kinds = contract.KINDS

    def __init__(self, model):
        self._model = model
        self.version = int(model.step)
        self.origin = f"step {self.version}"
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

    def warm_up(self):
        """Generates once, so that the first visitor does not wait for graphs to be traced."""
        self("png", contract.EXAMPLE)
