"""Networks that turn an image into feature maps at four depths, for SIFID.

The pixels of a map are the samples of a Gaussian. Images are not resized.
"""

import os

import numpy as np
import tensorflow as tf
from keras import Model

from oasis_tf.io import pth_files, weight_files
from oasis_tf.metrics.features import inception, networks, seeded

_FILES = (
    weight_files.INCEPTION_TORCHVISION,
    weight_files.INCEPTION_TORCH,
    weight_files.INCEPTION_FROZEN,
)
_CLASSES_TORCHVISION = 1000


class SpatialFeatures:
    """A network that taps several depths.

    Args:
        name: of the network, as in names of values.
        depths: name of each depth.
        networks_from: pairs of the smallest side of images, and the Keras model for them: float32
            [B,H,W,3] in [-1, 1] -> list of maps [B,h,w,C], the first ones of `depths`; the largest
            side first.
        digest: hexadecimal, changes with all that decides the features.

    Attributes:
        name, depths, digest: as given.
    """

    def __init__(self, name, depths, networks_from, digest):
        self.name, self.depths, self.digest = name, tuple(depths), digest
        self._networks = [
            (side, tf.function(network, autograph=False)) for side, network in networks_from
        ]

    def __call__(self, image):
        """The feature vectors of an image.

        Args:
            image: uint8 [H,W,3].

        Returns:
            list with float64 [n,C] for every depth, or None where the image is too small for two
            vectors.
        """
        side = min(image.shape[:2])
        fitting = [network for least, network in self._networks if side >= least]
        maps = fitting[0](tf.constant(image[None], tf.float32) / 127.5 - 1) if fitting else []
        found = [x.numpy()[0].reshape(-1, x.shape[-1]).astype(np.float64) for x in maps]
        found += [np.zeros((0, 1))] * (len(self.depths) - len(found))
        return [x if len(x) > 1 else None for x in found]


def check(path):
    """Refuses a weight file that is not there."""
    if path:
        weight_files.check_exists(path, *_FILES)


def spatial_features(path=None):
    """The network of SIFID.

    Args:
        path: torchvision's `inception_v3_google-0cc3c7bd.pth`, for `inception_v3`, the network of
            published values; the weights of 2015, as of `feature_network`, for `inception2015`; or
            None for the stages of `seeded64`, which compare with nothing published.

    Returns:
        `SpatialFeatures`. Its depths are named by their channels; those of `seeded64` by the
        number of the stage.

    Raises:
        ValueError: no such file, a file of another kind, or one that does not fit the network.
    """
    if path is None:
        digest = networks.digest_of(seeded.weights(), network=seeded.NAME, sifid=1)
        depths = [f"_stage{k}" for k in range(len(seeded.WIDTHS))]
        sized = [(seeded.MIN_SIZE, seeded.stage_network())]
        return SpatialFeatures(seeded.NAME, depths, sized, digest)
    check(path)
    kind, published, found = _read(path)
    torchvision = kind == "torchvision"
    network = inception.build_taps(torchvision)
    weights = inception.load_weights(network, found, kind, path)
    name = "inception_v3" if torchvision else "inception2015"
    three = Model(network.inputs, network.outputs[:3])
    return SpatialFeatures(
        weight_files.verified_name(name, (path, published)),
        inception.TAPS,
        [(inception.MIN_SIZE, network), (inception.MIN_SIZE_OF_THREE, three)],
        networks.digest_of(weights, network=name, sifid=1),
    )


def _read(path):
    """(kind of `inception.load_weights`, what the file ought to be, its arrays)."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".pb":
        return "frozen", weight_files.INCEPTION_FROZEN, inception.read_weights(path, "frozen")
    if suffix != ".pth":
        raise ValueError(
            "The weight file of --inception must end in .pth or .pb for sifid. Received: "
            f"{path}. Get {_FILES[0].name}: {_FILES[0].url}"
        )
    found = pth_files.read_state_dict(path)
    if np.shape(found.get("fc.weight", ()))[:1] == (_CLASSES_TORCHVISION,):
        return "torchvision", weight_files.INCEPTION_TORCHVISION, found
    return "torch", weight_files.INCEPTION_TORCH, found
