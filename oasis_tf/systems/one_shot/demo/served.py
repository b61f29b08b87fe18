"""The signature of `contract` with a model in TensorFlow Serving."""

from oasis_tf.systems.one_shot.demo import contract
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
        model = config.model
        self._size = model.height, model.width
        outputs = contract.outputs(model.num_classes)
        super().__init__(url, contract.KINDS, outputs, model.height * model.width)

    def warm_up(self):
        """Requests one image, for the first one is slow.

        Raises:
            ValueError: the model is not the one of the config.
        """
        contents = self("png", {"seed": 0, "other_seed": 1, "share": 0.0})["image_bytes"]
        self.check_picture(contents, *self._size)
