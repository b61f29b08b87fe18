"""The signature of `contract` by a model that is loaded in this process."""

import numpy as np
import tensorflow as tf

from oasis_tf.io.images import to_uint8
from oasis_tf.systems.few_shot.demo import contract
from oasis_tf.web.pictures import encode_png
from oasis_tf.web.sampler_demo import LoadedSampler


class Signatures(LoadedSampler):
    """A model's signature; ``model`` is `FewShot` for use."""

    def __init__(self, model):
        super().__init__(model, contract)
        self._moved = tf.function(
            lambda latent, amounts: model.prior.moved(latent, amounts), autograph=False
        )

    def __call__(self, name, inputs):
        """Outputs, a dict of bytes, of a signature for a dict of inputs.

        Raises:
            ValueError: not as many amounts as there are sliders.
        """
        amounts = np.array([inputs["amounts"]], np.float32)
        if amounts.shape[1] != contract.SLIDERS:
            raise ValueError(
                f"`amounts` must be {contract.SLIDERS} numbers. Received: {amounts.shape[1]}."
            )
        latent = self._moved(self._model.latents([inputs["seed"]]), amounts)
        found = self._model.sample_latents(
            latent, inputs["truncation"], source=self._model.config.adapted
        )
        return {
            contract.OUTPUTS[of]: encode_png(to_uint8(images[0]))
            for of, images in found.named().items()
        }
