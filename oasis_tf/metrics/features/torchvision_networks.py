"""AlexNet and VGG16 in the layout of torchvision, for LPIPS and for precision and recall.

Krizhevsky 2014 and Simonyan & Zisserman 2015. Weights are read from state dicts under torchvision's
names, ``features.K`` and ``classifier.K``.
"""

from typing import NamedTuple

import keras
import numpy as np
from keras import layers, ops

from oasis_tf.io import weight_files
from oasis_tf.metrics.features import inception

VGG16_DIMENSION = 4096
VGG16_SIZE = 224
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # of ImageNet, as torchvision states it
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


class Convolution(NamedTuple):
    """A convolution with bias, and relu.

    Attributes:
        name: torchvision's.
        kernel: height and width.
        channels_in, channels: of input and output.
        strides: of the convolution.
        padding: zeros at each side.
        pool: size of the max-pooling before it, strides 2; 0 for none.
        tapped: whether LPIPS compares its output.
    """

    name: str
    kernel: int
    channels_in: int
    channels: int
    strides: int = 1
    padding: int = 1
    pool: int = 0
    tapped: bool = False


_C = Convolution
TABLES = {
    "alex": [
        _C("features.0", 11, 3, 64, strides=4, padding=2, tapped=True),
        _C("features.3", 5, 64, 192, padding=2, pool=3, tapped=True),
        _C("features.6", 3, 192, 384, pool=3, tapped=True),
        _C("features.8", 3, 384, 256, tapped=True),
        _C("features.10", 3, 256, 256, tapped=True),
    ],
    "vgg": [
        _C("features.0", 3, 3, 64),
        _C("features.2", 3, 64, 64, tapped=True),
        _C("features.5", 3, 64, 128, pool=2),
        _C("features.7", 3, 128, 128, tapped=True),
        _C("features.10", 3, 128, 256, pool=2),
        _C("features.12", 3, 256, 256),
        _C("features.14", 3, 256, 256, tapped=True),
        _C("features.17", 3, 256, 512, pool=2),
        _C("features.19", 3, 512, 512),
        _C("features.21", 3, 512, 512, tapped=True),
        _C("features.24", 3, 512, 512, pool=2),
        _C("features.26", 3, 512, 512),
        _C("features.28", 3, 512, 512, tapped=True),
    ],
}
# Smallest height and width of which something is left at the end.
MIN_SIZES = {"alex": 31, "vgg": 16}
_VGG16_DENSE = [("classifier.0", 7 * 7 * 512), ("classifier.3", 4096)]


def kind_of(state_dict, path):
    """Which network a state dict is of: "alex" or "vgg", by its first kernel.

    Raises:
        ValueError: neither.
    """
    name = "features.0.weight"
    shape = np.shape(state_dict[name]) if name in state_dict else None
    for kind, table in TABLES.items():
        if shape == (table[0].channels, 3, table[0].kernel, table[0].kernel):
            return kind
    raise ValueError(
        f"{path} must hold AlexNet or VGG16 as torchvision names them: features.0.weight must be "
        f"of shape (64, 3, 11, 11) or (64, 3, 3, 3). Received: {shape or 'nothing of this name'}."
    )


def _features(image, kind):
    """Outputs of all convolutions of a network, after relu."""
    outputs, x = [], image
    for one in TABLES[kind]:
        if one.pool:
            x = layers.MaxPooling2D(one.pool, 2, data_format="channels_last", dtype="float32")(x)
        x = layers.ZeroPadding2D(one.padding, data_format="channels_last", dtype="float32")(x)
        x = layers.Conv2D(
            one.channels, one.kernel, strides=one.strides, activation="relu", dtype="float32",
            data_format="channels_last", name=one.name,
        )(x)  # fmt: skip
        outputs.append(x)
    return outputs


def tapped_channels(kind):
    """Channels of the outputs that LPIPS compares."""
    return [one.channels for one in TABLES[kind] if one.tapped]


def build_tapped(kind):
    """Keras model, normalised float32 [B,H,W,3] -> list of the five outputs that LPIPS compares."""
    image = keras.Input((None, None, 3), dtype="float32")
    outputs = _features(image, kind)
    tapped = [y for y, one in zip(outputs, TABLES[kind], strict=True) if one.tapped]
    return keras.Model(image, tapped, name=kind)


def build_vgg16():
    """Keras model, normalised float32 [B,224,224,3] -> second dense layer after relu, [B,4096]."""
    image = keras.Input((VGG16_SIZE, VGG16_SIZE, 3), dtype="float32")
    x = layers.MaxPooling2D(2, data_format="channels_last", dtype="float32")(
        _features(image, "vgg")[-1]
    )
    x = layers.Flatten(data_format="channels_last", dtype="float32")(x)
    for name, _ in _VGG16_DENSE:
        x = layers.Dense(VGG16_DIMENSION, activation="relu", dtype="float32", name=name)(x)
    return keras.Model(image, x, name="vgg16")


def vgg16_input(image):
    """float32 [B,H,W,3] in 0..255 to what VGG16 was trained on, float32 [B,224,224,3].

    Bilinear with half-pixel centres, without antialiasing; ImageNet's mean and deviation.
    """
    return (inception.resized(image, VGG16_SIZE) - ops.array(_MEAN)) / ops.array(_DEVIATION)


def _dense_from_chw(matrix):
    """[out, in] of a layer after a flattened CHW tensor, as [in, out] after a flattened HWC."""
    return matrix.reshape(-1, 512, 7, 7).transpose(2, 3, 1, 0).reshape(7 * 7 * 512, -1)


def _wanted(kind, dense):
    """What `weight_files.select` wants of a state dict."""
    wanted = {}
    for one in TABLES[kind]:
        shape = (one.kernel, one.kernel, one.channels_in, one.channels)
        wanted[f"{one.name}/kernel"] = (f"{one.name}.weight", shape, weight_files.from_oihw)
        wanted[f"{one.name}/bias"] = (
            f"{one.name}.bias", (one.channels,), weight_files.unchanged,
        )  # fmt: skip
    for (name, units), convert in zip(
        _VGG16_DENSE if dense else [], (_dense_from_chw, weight_files.from_linear), strict=False
    ):
        wanted[f"{name}/kernel"] = (f"{name}.weight", (units, VGG16_DIMENSION), convert)
        wanted[f"{name}/bias"] = (f"{name}.bias", (VGG16_DIMENSION,), weight_files.unchanged)
    return wanted


def load_weights(network, state_dict, kind, path, *, dense=False):
    """Fills a network of this module.

    Args:
        network: what `build_tapped` or, with `dense`, `build_vgg16` returned.
        state_dict: dict of torchvision's names -> arrays.
        kind: "alex" or "vgg".
        path: of the file, for errors.
        dense: whether the dense layers are part of it.

    Returns:
        dict of our name -> float32 array, what was assigned.

    Raises:
        ValueError: missing, misshapen or non-finite arrays, all of them listed; nothing is
            assigned then.
    """
    values = weight_files.select(state_dict, _wanted(kind, dense), path)
    for name, value in values.items():
        layer, _, leaf = name.rpartition("/")
        getattr(network.get_layer(layer), leaf).assign(value)
    return values
