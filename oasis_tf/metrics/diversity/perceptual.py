"""Perceptual distance between images: LPIPS (Zhang et al. 2018), version 0.1.

The distance of two images is a squared Euclidean one between long vectors: the outputs of several
layers of a network, of unit length in every pixel, times the root of the layer's head weights over
its number of pixels. So each image passes through the network once, however many pairs it is in.
"""

import numpy as np
from keras import ops

from oasis_tf.io import pth_files, weight_files
from oasis_tf.metrics.features import networks, seeded, torchvision_networks

# The reference implementation adds it to the length, not under the root.
_EPSILON = 1e-10
# The scaling layer, for images in [-1, 1].
_SHIFT = np.array([-0.030, -0.088, -0.188], np.float32)
_SCALE = np.array([0.458, 0.448, 0.450], np.float32)
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
        self._embed = networks.image_function(_embedding(network, heads), name, min_size)

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

    def nearest(self, image, references):
        """Distances of images to their nearest references, float64 [B]; as `to_references`."""
        return self.to_references(image, references).min(1)

    def to_references(self, image, references):
        """Distances of images to references.

        Args:
            image: uint8 [B,H,W,3], all of which are in memory at the same time.
            references: uint8 [R,H,W,3].

        Returns:
            float64 [B,R].
        """
        vectors, found = self._embed(image), []
        for start in range(0, len(references), networks.PIECE):
            for other in self._embed(references[start : start + networks.PIECE]):
                found.append([np.square(v - other).sum(dtype=np.float64) for v in vectors])
        return np.array(found).T


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
        backbone: torchvision's `alexnet-owt-7be5be79.pth` or `vgg16-397923af.pth`; None for
            `lpips_seeded64`, the stages of the seeded network, every channel of C with the head
            weight 1/C, which compares with nothing published.
        heads: the heads of LPIPS 0.1 for this network, `alex.pth` or `vgg.pth`; None with
            `lpips_seeded64`. Both files need PyTorch.

    Returns:
        `PerceptualDistance` named `lpips_alex`, `lpips_vgg` or `lpips_seeded64`; the name ends in
        `_unverified` if a file is not the published one.

    Raises:
        ValueError: one file without the other, no such file, or one that does not fit.
    """
    if backbone is None and heads is None:
        return _seeded64()
    if backbone is None or heads is None:
        raise ValueError(
            "LPIPS needs a network and its heads: set both --lpips_backbone and --lpips_heads, or "
            f"neither for lpips_{seeded.NAME}. Received: {backbone} and {heads}"
        )
    weight_files.check_exists(backbone, *weight_files.LPIPS_BACKBONES.values())
    weight_files.check_exists(heads, *weight_files.LPIPS_HEADS.values())
    return _published(backbone, heads)


def _published(backbone, heads):
    state_dict = pth_files.read_state_dict(backbone)
    kind = torchvision_networks.kind_of(state_dict, backbone)
    head_weights = _read_heads(heads, kind)
    network = torchvision_networks.build_tapped(kind)
    weights = torchvision_networks.load_weights(network, state_dict, kind, backbone)
    weights |= {f"head_{k}": head for k, head in enumerate(head_weights)}
    name = weight_files.verified_name(
        f"lpips_{kind}",
        (backbone, weight_files.LPIPS_BACKBONES[kind]),
        (heads, weight_files.LPIPS_HEADS[kind]),
    )
    return PerceptualDistance(
        name,
        lambda image: network((image - _SHIFT) / _SCALE),
        head_weights,
        networks.digest_of(weights, network=kind, lpips=_VERSION),
        min_size=torchvision_networks.MIN_SIZES[kind],
    )


def _read_heads(path, kind):
    """Head weights, one float32 [C] a layer."""
    wanted = {
        f"head_{k}": (f"lin{k}.model.1.weight", (1, 1, channels, 1), weight_files.from_oihw)
        for k, channels in enumerate(torchvision_networks.tapped_channels(kind))
    }
    heads = weight_files.select(pth_files.read_state_dict(path), wanted, path)
    negative = [wanted[name][0] for name, head in heads.items() if (head < 0).any()]
    if negative:
        raise ValueError(f"{path}: head weights must not be negative. Received: {negative}")
    return [head.reshape(-1) for head in heads.values()]


def _seeded64():
    heads = [np.full(width, 1 / width, np.float32) for width in seeded.WIDTHS]
    return PerceptualDistance(
        f"lpips_{seeded.NAME}",
        seeded.stage_network(),
        heads,
        networks.digest_of(seeded.weights(), network=seeded.NAME, lpips=_VERSION),
        min_size=seeded.MIN_SIZE,
    )
