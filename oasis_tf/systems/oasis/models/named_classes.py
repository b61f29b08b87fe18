"""Networks whose files keep the label space of their classes."""

import json

from oasis_tf.data.datasets import LabelSpace


class NamedClasses:
    """A Keras model of label maps, made from its configuration.

    Attributes:
        label_space: ``LabelSpace`` of its classes, or None. A ``.keras`` file keeps it.
    """

    label_space = None

    def get_config(self):
        config = super().get_config()
        if self.label_space is not None:
            config["label_space"] = as_json(self.label_space)
        return config

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        label_space = from_json(config.pop("label_space", None))  # older files have none
        network = cls(**config)
        network.label_space = label_space
        return network


def as_json(label_space):
    """A label space, or None, as JSON has it: Keras would write its tuples as objects."""
    return label_space and json.loads(json.dumps(label_space.to_json()))


def from_json(values):
    """The inverse of ``as_json``."""
    return LabelSpace.from_json(values) if values else None
