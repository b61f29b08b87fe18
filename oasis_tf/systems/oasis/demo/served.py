"""The signatures of `contract` with a model in TensorFlow Serving."""

import numpy as np

from oasis_tf.systems.oasis.demo import contract
from oasis_tf.web.pictures import encode_png
from oasis_tf.web.serving import TensorFlowServing


class ServedSignatures(TensorFlowServing):
    """As `signatures.Signatures`, but each prediction is requested from TensorFlow Serving.

    Args:
        url: as of `TensorFlowServing`.
        config: `Config` of the model that is served.

    Raises:
        Unavailable, ValueError: as `TensorFlowServing`.
    """

    def __init__(self, url, config):
        self.noise_channels = config.model.local_channels
        self._num_classes = config.model.num_classes
        self.height, self.width = config.data.crop_height, config.data.crop_width
        known = contract.PLAIN | contract.PHOTOGRAPHS
        known |= contract.EDITS if self.noise_channels else {}
        max_pixels = contract.max_pixels(self.height, self.width)
        super().__init__(url, known, contract.OUTPUTS, max_pixels)

    def warm_up(self):
        """Requests one image of all classes, for the first one is slow.

        Raises:
            ValueError: the model is not the one of the config.
        """
        size = self.height, self.width
        label_map = np.arange(size[0] * size[1], dtype=np.int32).reshape(size) % self._num_classes
        outputs = self("png", {"label_map_bytes": encode_png(label_map), "seed": 0})
        self.check_picture(outputs["image_bytes"], *size)
