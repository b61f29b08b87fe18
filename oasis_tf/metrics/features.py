"""Networks that turn images into feature vectors, for FID, KID, precision and recall.

Each has a name, which ends the names of all values made with it: numbers of different networks
cannot be compared.
"""

import hashlib

import numpy as np
import tensorflow as tf

from oasis_tf.metrics import seeded

# Every image is computed in a piece of this many, so that its bits do not depend on the batch.
PIECE = 8


class FeatureNetwork:
    """A network with what a report must say of it.

    Args:
        name: last part of value names, e.g. `seeded64`.
        dimension: D.
        network: Keras model or function, float32 [B,H,W,3] in 0..255 -> float32 [B,D].
        digest: hexadecimal, changes with all that decides the features.
        min_size: smallest height and width.

    Attributes:
        name, dimension, digest: as given.
    """

    def __init__(self, name, dimension, network, digest, *, min_size=1):
        self.name = name
        self.dimension = dimension
        self.digest = digest
        self._compute = image_function(network, name, min_size)

    def __call__(self, image):
        """Features of images; those of one image do not depend on the others.

        Args:
            image: uint8 [B,H,W,3].

        Returns:
            float32 [B, dimension].

        Raises:
            ValueError: another type or shape, or smaller than the network can take.
        """
        return self._compute(image)


def image_function(network, name, min_size):
    """Makes a network one of 8-bit images of any number.

    Args:
        network: Keras model or function, float32 [B,H,W,3] in 0..255 -> float32 [B,D].
        name: of the network, for errors.
        min_size: smallest height and width.

    Returns:
        function, uint8 [B,H,W,3] -> float32 [B,D]; ValueError for anything else than such images.
    """
    compiled = tf.function(network)

    def compute(image):
        _check_images(image, min_size, name)
        results = []
        for start in range(0, max(len(image), 1), PIECE):
            rows = image[start : start + PIECE]
            filled = np.zeros((PIECE, *image.shape[1:]), np.float32)
            filled[: len(rows)] = rows
            results.append(compiled(tf.constant(filled)).numpy()[: len(rows)])
        return np.concatenate(results)

    return compute


def _check_images(image, min_size, name):
    if image.dtype != np.uint8 or image.ndim != 4 or image.shape[-1] != 3:
        raise ValueError(
            f"{name} takes images of type uint8 [B,H,W,3]. Received: {image.dtype} {image.shape}."
        )
    if min(image.shape[1:3]) < min_size:
        raise ValueError(
            f"{name} takes images of {min_size}x{min_size} pixels or more. Received: "
            f"{image.shape[1]}x{image.shape[2]}."
        )


def digest_of(weights, **protocol):
    """Hexadecimal digest of named arrays and of whatever else decides the result.

    Args:
        weights: dict of name -> array.
        **protocol: strings and numbers, such as the version of the pixel path.
    """
    digest = hashlib.sha256(repr(sorted(protocol.items())).encode())
    for name in sorted(weights):
        array = np.ascontiguousarray(weights[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def feature_network(inception=None):
    """The network of FID and KID.

    Args:
        inception: None for `seeded64`.

    Returns:
        `FeatureNetwork`.
    """
    if inception is None:
        return _seeded64()
    raise NotImplementedError


def _seeded64():
    network = seeded.feature_network()
    return FeatureNetwork(
        seeded.NAME,
        seeded.DIMENSION,
        lambda image: network(image / 127.5 - 1),
        digest_of(seeded.weights(), network=seeded.NAME, version=1),
        min_size=seeded.MIN_SIZE,
    )
