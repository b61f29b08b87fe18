"""Networks that turn images into feature vectors, for FID, KID, precision and recall.

Each has a name, which ends the names of all values made with it: numbers of different networks
cannot be compared.
"""

import hashlib
import os
import warnings

import keras
import numpy as np
import tensorflow as tf

from oasis_tf.environment import usual_settings
from oasis_tf.io import pth_files, weight_files
from oasis_tf.metrics.features import inception as inception2015
from oasis_tf.metrics.features import inception_table, seeded, torchvision_networks

# Images are computed this many at a time, so that their bits do not depend on the batch.
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
    """Makes a network a function of any number of 8-bit images.

    Args:
        network: Keras model or function, float32 [B,H,W,3] in 0..255 -> float32 [B,D].
        name: of the network, for errors.
        min_size: smallest height and width.

    Returns:
        function, uint8 [B,H,W,3] -> float32 [B,D]; ValueError for anything else than such images.
    """
    compiled = tf.function(network, autograph=False)

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
        inception: None for `seeded64`, which compares with nothing published; or a weight file:
            `classify_image_graph_def.pb` or `pt_inception-2015-12-05-6726825d.pth` (needs PyTorch)
            for `inception2015`, the network of published numbers; a `.h5` or `.keras` file of
            Keras' ImageNet InceptionV3 without top for `keras_imagenet`, another protocol.

    Returns:
        `FeatureNetwork`; its name ends in `_unverified` if the file is not the published one.

    Raises:
        ValueError: no such file, a file of another kind, or one that does not fit the network.
    """
    if inception is None:
        return _seeded64()
    weight_files.check_exists(inception, *(one for one, _ in _INCEPTION_FILES.values()))
    suffix = os.path.splitext(inception)[1].lower()
    if suffix not in _INCEPTION_FILES:
        raise ValueError(
            f"The weight file of --inception must end in {', '.join(_INCEPTION_FILES)}. Received: "
            f"{inception}"
        )
    published, make = _INCEPTION_FILES[suffix]
    return make(inception, published)


def _seeded64():
    network = seeded.feature_network()
    return FeatureNetwork(
        seeded.NAME,
        seeded.DIMENSION,
        lambda image: network(image / 127.5 - 1),
        digest_of(seeded.weights(), network=seeded.NAME, version=1),
        min_size=seeded.MIN_SIZE,
    )


def _inception2015(path, published):
    kind = "frozen" if published is weight_files.INCEPTION_FROZEN else "torch"
    found = inception2015.read_weights(path, kind)
    network = inception2015.build_network()
    weights = inception2015.load_weights(network, found, kind, path)
    return FeatureNetwork(
        weight_files.verified_name("inception2015", (path, published)),
        inception_table.DIMENSION,
        lambda image: network(inception2015.to_input(image)),
        digest_of(weights, network="inception2015", pixels=inception2015.PIXEL_PATH),
    )


@usual_settings()
def _keras_imagenet(path, published):
    network = keras.applications.InceptionV3(include_top=False, weights=None, pooling="avg")
    _load_keras_weights(network, path, published)
    weights = {f"{k:03d}": array for k, array in enumerate(network.get_weights())}
    return FeatureNetwork(
        weight_files.verified_name("keras_imagenet", (path, published)),
        inception_table.DIMENSION,
        lambda image: network(inception2015.to_input(image)),
        digest_of(weights, network="keras_imagenet", pixels=inception2015.PIXEL_PATH),
    )


def _load_keras_weights(network, path, published):
    problem = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        problem = (str(error) or type(error).__name__).splitlines()[0]
    if problem is None and not all(np.isfinite(array).all() for array in network.get_weights()):
        problem = "weights that are not finite"
    if problem:
        raise ValueError(
            f"{path} must hold the weights of Keras' InceptionV3 without top, as {published.name} "
            f"does. Received: {problem}"
        )


# Suffix of a weight file -> what it ought to be, how it is read.
_INCEPTION_FILES = {
    ".pb": (weight_files.INCEPTION_FROZEN, _inception2015),
    ".pth": (weight_files.INCEPTION_TORCH, _inception2015),
    ".h5": (weight_files.INCEPTION_KERAS, _keras_imagenet),
    ".keras": (weight_files.INCEPTION_KERAS, _keras_imagenet),
}


def vgg16_network(path):
    """The network of improved precision and recall (Kynkäänniemi et al. 2019).

    The second dense layer of VGG16, after relu; images are resized to 224x224 (bilinear, no
    antialiasing).

    Args:
        path: torchvision's `vgg16-397923af.pth` (needs PyTorch).

    Returns:
        `FeatureNetwork` named `vgg16`, or `vgg16_unverified` if the file is not the published one.

    Raises:
        ValueError: no such file, or one that does not fit the network.
    """
    weight_files.check_exists(path, weight_files.VGG16)
    network = torchvision_networks.build_vgg16()
    state_dict = pth_files.read_state_dict(path)
    weights = torchvision_networks.load_weights(network, state_dict, "vgg", path, dense=True)
    return FeatureNetwork(
        weight_files.verified_name("vgg16", (path, weight_files.VGG16)),
        torchvision_networks.VGG16_DIMENSION,
        lambda image: network(torchvision_networks.vgg16_input(image)),
        digest_of(weights, network="vgg16", pixels=inception2015.PIXEL_PATH),
    )
