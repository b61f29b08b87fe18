"""The VGG loss of SPADE: distance between generated and real images in the features of VGG-19.

The weights come from a file, and the file decides how the image is preprocessed:

* torchvision's weights get the image in [-1, 1] unchanged, without ImageNet's mean and standard
  deviation. The authors' releases of SPADE and OASIS use them in this way, so ``lambda_vgg=10``
  has the same meaning as there.
* Keras' weights are different: those of Simonyan & Zisserman. They get the input they were trained
  with: BGR in 0..255 minus the mean. Their features are in grey levels and are divided by 127.5,
  the number of grey levels per unit of the image. The layers are convolutions, ReLUs and
  max-pooling, so this equals the same network with biases divided by 127.5 on an image in [-1, 1].
  A difference of two images thus enters this network and torchvision's at the same scale. The
  weights still differ, so ``lambda_vgg=10`` has the same order of magnitude as the published
  weight, but is not equal to it.
"""

import os
from typing import NamedTuple

import keras
import numpy as np
from absl import logging
from keras import ops

from oasis_tf.io import pth_files, weight_files

# (width, number of convolutions) of every stage, with max-pooling between stages. Of the fifth
# stage only the first convolution is needed.
_STAGES = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 1))
LAYER_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)  # of relu1_1, relu2_1, ..., relu5_1
MIN_SIZE = 2 ** (len(_STAGES) - 1)
_CAFFE_MEAN = np.array([103.939, 116.779, 123.68])  # BGR, as in Keras' `preprocess_input`
_GREY_LEVELS = 127.5  # per unit of an image in [-1, 1]


class _Convolution(NamedTuple):
    ours: str
    torchvision: str
    keras: str
    channels_in: int
    channels: int
    first: bool  # first of its stage: follows a pooling, and its output is compared


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
    network is frozen. It is not a layer, so its weights are not among those of a model that holds
    it, nor in its checkpoints. Under ``tf.distribute``, create it in the strategy's scope, so that
    every device has the weights. It computes in ``dtype``, whatever the precision of the model.

    Args:
        path: str, torchvision's ``vgg19-dcbb9e9d.pth`` (needs PyTorch) or Keras'
            ``vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5``. The docstring of this module says
            how the choice affects the scale of the loss.
        dtype: str, default "float32".

    Attributes:
        network: "torchvision" or "keras", the source of the weights.

    Raises:
        ValueError: the file is missing, of another kind, or does not fit VGG-19.
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
            fake, real: float [B, H, W, 3] in [-1, 1], sides of at least 16 pixels.

        Returns:
            a scalar of ``dtype``.

        Raises:
            ValueError: the shapes differ, or the images are too small.
        """
        self._check(fake, real)
        targets = [ops.stop_gradient(x) for x in self.features(ops.stop_gradient(real))]
        distances = [
            ops.mean(ops.abs(x - target))
            for x, target in zip(self.features(fake), targets, strict=True)
        ]
        return sum(w * d for w, d in zip(LAYER_WEIGHTS, distances, strict=True))

    def features(self, image):
        """The five compared feature maps of images [B, H, W, 3] in [-1, 1]."""
        x, compared = self._to_input(ops.cast(image, self.dtype)), []
        for one in _TABLE:
            if one.first and compared:
                x = ops.max_pool(x, 2, 2, data_format="channels_last")
            kernel, bias = (self._weights[f"{one.ours}/{leaf}"] for leaf in ("kernel", "bias"))
            x = ops.relu(ops.conv(x, kernel, padding="same", data_format="channels_last") + bias)
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
                "The VGG loss needs images [B, H, W, 3] of the same shape, with sides of at least "
                f"{MIN_SIZE} pixels. Received: {tuple(fake.shape)} and {tuple(real.shape)}."
            )


# === Weights ===


def _read(path):
    """Reads a weight file: (source of the weights, dict of our name -> float32 array)."""
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
            "%s is not the published %s (%s): the VGG loss has a different scale.",
            path, published[suffix].name, published[suffix].checksum,
        )  # fmt: skip
    return "torchvision" if torch else "keras", weights


def _wanted(torch):
    """Names, shapes and conversions of the weights, as `weight_files.select` takes them."""
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
    """Arrays of a Keras 2 weight file by layer and role, e.g. block1_conv1.kernel."""
    import h5py  # late: only this kind of file needs it

    found = {}
    try:
        with h5py.File(path) as file:
            for layer in file.attrs["layer_names"]:
                group = file[layer]
                roles = zip(("kernel", "bias"), group.attrs["weight_names"], strict=False)
                found |= {f"{_text(layer)}.{role}": group[name][()] for role, name in roles}
    except (OSError, KeyError) as error:
        raise ValueError(
            f"{path} must have the layout of {weight_files.VGG19_KERAS.name}: one group per layer. "
            f"Received: {str(error).splitlines()[0]}"
        ) from error
    return found


def _text(name):
    return name.decode() if isinstance(name, bytes) else name
