"""Perceptual distance between images: LPIPS (Zhang et al. 2018), version 0.1.

The distance of two images is a squared Euclidean one between long vectors: the outputs of several
layers of a network, of unit length in every pixel, times the root of the layer's head weights over
its number of pixels. So each image passes through the network once, however many pairs it is in.
"""

import numpy as np
from keras import ops

from oasis_tf.metrics import features, seeded

# The reference implementation adds it to the length, not under the root.
_EPSILON = 1e-10
_VERSION = 1  # changes when the code of this module changes the result


class PerceptualDistance:
    """LPIPS with one network and its heads.

    Args:
        name: value name, e.g. `lpips_alex`.
        network: Keras model or function, float32 [B,H,W,3] in [-1, 1] -> list of layer outputs,
            float32 [B,h,w,C].
        heads: one float array [C] a layer, not negative.
        digest: hexadecimal, changes with all that decides the distances.
        min_size: smallest height and width.

    Attributes:
        name, digest: as given.
    """

    def __init__(self, name, network, heads, digest, *, min_size):
        self.name = name
        self.digest = digest
        self._embed = features.image_function(_embedding(network, heads), name, min_size)

    def distances(self, image, pairs):
        """Distances of pairs of images.

        Args:
            image: uint8 [B,H,W,3].
            pairs: integers [P,2], indices into `image`.

        Returns:
            float64 [P], 0 for identical images and not negative.

        Raises:
            ValueError: another type or shape, or smaller than the network can take.
        """
        vectors = self._embed(image)
        # Products in float32 and their sum in float64: 1e-7 of the distance, in half the memory.
        return np.array(
            [np.square(vectors[i] - vectors[j]).sum(dtype=np.float64) for i, j in pairs]
        )


def _embedding(network, heads):
    roots = [np.sqrt(np.asarray(head, np.float32)) for head in heads]

    def embed(image):
        parts = []
        for x, root in zip(network(image / 127.5 - 1), roots, strict=True):
            length = ops.sqrt(ops.sum(ops.square(x), -1, keepdims=True))
            x = x / (length + _EPSILON) * (root / np.sqrt(x.shape[1] * x.shape[2]))
            parts.append(ops.reshape(x, (x.shape[0], -1)))
        return ops.concatenate(parts, -1)

    return embed


def lpips(backbone=None, heads=None):
    """A perceptual distance.

    Args:
        backbone, heads: None for `lpips_seeded64`: the stages of the seeded network, every channel
            of C with the head weight 1/C.

    Returns:
        `PerceptualDistance`.
    """
    if backbone is None and heads is None:
        return _seeded64()
    raise NotImplementedError


def _seeded64():
    heads = [np.full(width, 1 / width, np.float32) for width in seeded.WIDTHS]
    return PerceptualDistance(
        f"lpips_{seeded.NAME}",
        seeded.stage_network(),
        heads,
        features.digest_of(seeded.weights(), network=seeded.NAME, lpips=_VERSION),
        min_size=seeded.MIN_SIZE,
    )
