"""The VGG loss of SPADE: distance of generated from real images in the features of VGG-19.

The weights come from a file, and the file alone decides what the network sees:

* torchvision's get the image in [-1, 1] as it is, without ImageNet's mean and deviation. That is
  how the authors' releases of SPADE and OASIS use them, so ``lambda_vgg=10`` means what it means
  there.
* Keras' are other weights, those of Simonyan & Zisserman. They get what they were trained on: BGR
  in 0..255 less the mean. Their features, in units of grey levels, are divided by 127.5, the grey
  levels of a unit of the image: the layers are convolutions, ReLUs and maxima, so this is exactly
  the same network with 1/127.5 of its biases on an image in [-1, 1], and a difference of two images
  enters it as large as it enters torchvision's. What the layers make of it is up to other weights:
  ``lambda_vgg=10`` is then a weight of the same order, not the published one.
"""

import os
from typing import NamedTuple

import keras
import numpy as np
from absl import logging
from keras import ops

from oasis_tf.io import pth_files, weight_files

# Stages of convolutions, a max-pooling between two; their widths. Of the fifth only the first
# convolution is needed.
_STAGES = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 1))
LAYER_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)  # of relu1_1, relu2_1, ..., relu5_1
MIN_SIZE = 2 ** (len(_STAGES) - 1)
_CAFFE_MEAN = np.array([103.939, 116.779, 123.68])  # BGR, as `preprocess_input` of Keras has it
_GREY_LEVELS = 127.5  # of a unit of an image in [-1, 1]


class _Convolution(NamedTuple):
    ours: str
    torchvision: str
    keras: str
    channels_in: int
    channels: int
    first: bool  # of its stage: its output is compared, a pooling stands in front of it


def _table():
    rows, index, channels_in = [], 0, 3
    for stage, (channels, count) in enumerate(_STAGES, 1):
        for number in range(1, count + 1):
            rows.append(
                _Convolution(
                    f"conv{stage}_{number}",
                    f"features.{index}",
                    f"block{stage}_conv{number}",
                    channels_in,
                    channels,
                    number == 1,
                )
            )
            index, channels_in = index + 2, channels  # a convolution, a ReLU
        index += 1  # a pooling
    return rows


_TABLE = _table()


class PerceptualLoss:
    """``sum_k w_k * mean(|F_k(fake) - F_k(real)|)`` over relu1_1, relu2_1, ..., relu5_1 of VGG-19.

    The weights ``w_k`` are 1/32, 1/16, 1/8, 1/4, 1. No gradient flows into the real images. The
    network is frozen; it is no layer, so neither a model that holds one nor its checkpoints know
    its weights. Under ``tf.distribute``, make it in the strategy's scope: every device then has
    them. It computes in ``dtype`` whatever the precision of the model.

    Args:
        path: str, torchvision's ``vgg19-dcbb9e9d.pth`` (needs PyTorch) or Keras'
            ``vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5``; what that means for the scale of
            the loss stands at the top of this module.
        dtype: str, default "float32".

    Attributes:
        network: "torchvision" or "keras", whose weights these are.

    Raises:
        ValueError: no such file, one of another kind, or one that does not fit VGG-19.
    """

    def __init__(self, path, dtype="float32"):
        self.dtype = dtype
        self.network, weights = _read(path)
        self._weights = {
            name: keras.Variable(
                value, trainable=False, dtype=dtype, autocast=False, name=name.replace("/", "_")
            )
            for name, value in weights.items()
        }

    def __call__(self, fake, real):
        """The loss of generated images.

        Args:
            fake, real: float [B, H, W, 3] in [-1, 1], sides of 16 pixels or more.

        Returns:
            a scalar of ``dtype``.

        Raises:
            ValueError: shapes that do not fit.
        """
        self._check(fake, real)
        targets = [ops.stop_gradient(x) for x in self.features(ops.stop_gradient(real))]
        distances = [
            ops.mean(ops.abs(x - target))
            for x, target in zip(self.features(fake), targets, strict=True)
        ]
        return sum(w * d for w, d in zip(LAYER_WEIGHTS, distances, strict=True))

    def features(self, image):
        """The five feature maps that are compared, of images [B, H, W, 3] in [-1, 1]."""
        x, compared = self._to_input(ops.cast(image, self.dtype)), []
        for one in _TABLE:
            if one.first and compared:
                x = ops.max_pool(x, 2, 2)
            kernel, bias = (self._weights[f"{one.ours}/{leaf}"] for leaf in ("kernel", "bias"))
            x = ops.relu(ops.conv(x, kernel, padding="same") + bias)
            if one.first:
                compared.append(x)
        return [x / _GREY_LEVELS for x in compared] if self.network == "keras" else compared

    def _to_input(self, image):
        if self.network == "torchvision":
            return image
        mean = ops.convert_to_tensor(_CAFFE_MEAN, dtype=self.dtype)
        return (image[..., ::-1] + 1) * _GREY_LEVELS - mean

    def _check(self, fake, real):
        height, width = fake.shape[1:3]
        small = height is not None and min(height, width) < MIN_SIZE
        if tuple(fake.shape) != tuple(real.shape) or fake.shape[-1] != 3 or small:
            raise ValueError(
                "The VGG loss compares images [B, H, W, 3] of the same shape, sides of at least "
                f"{MIN_SIZE} pixels. Received: {tuple(fake.shape)} and {tuple(real.shape)}."
            )


# === Weights ===


def _read(path):
    """(whose weights, dict of our name -> float32 array) of a weight file."""
    published = {".pth": weight_files.VGG19_TORCH, ".h5": weight_files.VGG19_KERAS}
    weight_files.check_exists(path, *published.values())
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in published:
        raise ValueError(
            f"The weight file of --vgg19 must end in {' or '.join(published)}. Received: {path}"
        )
    torch = suffix == ".pth"
    found = pth_files.read_state_dict(path) if torch else _read_keras(path)
    weights = weight_files.select(found, _wanted(torch), path)
    if not weight_files.is_published(path, published[suffix]):
        logging.warning(
            "%s is not the published %s (%s): the VGG loss has another scale.",
            path, published[suffix].name, published[suffix].checksum,
        )  # fmt: skip
    return "torchvision" if torch else "keras", weights


def _wanted(torch):
    """What `weight_files.select` wants of a file."""
    wanted = {}
    for one in _TABLE:
        name, leaves, convert = one.keras, ("kernel", "bias"), weight_files.unchanged
        if torch:
            name, leaves, convert = one.torchvision, ("weight", "bias"), weight_files.from_oihw
        shape = (3, 3, one.channels_in, one.channels)
        wanted[f"{one.ours}/kernel"] = (f"{name}.{leaves[0]}", shape, convert)
        wanted[f"{one.ours}/bias"] = (
            f"{name}.{leaves[1]}",
            (one.channels,),
            weight_files.unchanged,
        )
    return wanted


def _read_keras(path):
    """Arrays of a file in the layout of Keras 2, by layer and role, e.g. block1_conv1.kernel."""
    import h5py  # here: only this kind of file needs it

    found = {}
    try:
        with h5py.File(path) as file:
            for layer in file.attrs["layer_names"]:
                group = file[layer]
                roles = zip(("kernel", "bias"), group.attrs["weight_names"], strict=False)
                found |= {f"{_text(layer)}.{role}": group[name][()] for role, name in roles}
    except (OSError, KeyError) as error:
        raise ValueError(
            f"{path} must hold weights as {weight_files.VGG19_KERAS.name} does, layers by name. "
            f"Received: {str(error).splitlines()[0]}"
        ) from error
    return found


def _text(name):
    return name.decode() if isinstance(name, bytes) else name
