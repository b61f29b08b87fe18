"""What is shipped of an `OASIS`: what it is used with, and label maps to begin with."""

from oasis_tf.io import label_files
from oasis_tf.pretrained.pack import Packed
from oasis_tf.systems.oasis.build import network_variables
from oasis_tf.systems.oasis.config import Config
from oasis_tf.systems.oasis.demo import examples
from oasis_tf.systems.oasis.models.oasis import OASIS
from oasis_tf.training.named_weights import forward_state

_EXAMPLES = 8


def packed(model_dir, checkpoint=None):
    """The averages with re-estimated batch statistics, the discriminator, the step.

    Networks in training and optimizers are left out: a shipped model is not trained further.

    Args:
        model_dir: model directory. Label maps are those of the data it was trained on, if they are
            still there.
        checkpoint: as in `OASIS.load`.

    Returns:
        `Packed`.
    """
    model = OASIS.load(model_dir, checkpoint)
    variables = network_variables(model)
    training = {
        name: variable.numpy()
        for name, variable in variables.items()
        if not name.startswith(("generator/", "encoder/"))
    }
    inference = {name: v.numpy() for name, v in forward_state(model.generator_ema).items()}
    data, space = model.config.data, model.label_space
    found = examples.from_data(data.data_dir, space, data.crop_height, data.crop_width)
    pictures = {
        name: label_files.raw_picture(label_map, space)
        for name, label_map in found[:: max(1, len(found) // _EXAMPLES)][:_EXAMPLES]
    }
    config = Config.from_json(model.config.shared_json())
    return Packed(config, int(model.step.numpy()), training, inference, pictures)
