"""What a system declares of a network that becomes a TFLite file."""

import dataclasses
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Network:
    """A network that will be converted.

    Attributes:
        name: its name in the system.
        signature: `tf.function` of named inputs, for one image or for any number and size.
        weights: dict of the `tf.Variable`s that it reads.
        reference: function of the same inputs as arrays -> outputs of the model, as arrays.
        inputs: function(image uint8 [1, H, W, 3], label map [1, H, W], seed) -> inputs as arrays;
            image and label map are None in systems without label maps.
    """

    name: str
    signature: Any
    weights: dict
    reference: Callable
    inputs: Callable
