"""The segmenter of the mask score: a U-Net on ResNet-18 (He et al. 2016), as torchvision has it."""

import keras
import numpy as np
from keras import layers, ops

from oasis_tf.io import pth_files, weight_files
from oasis_tf.metrics.features import networks

NAME = "resnet18"
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # of ImageNet, as torchvision states it
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
_WIDTHS = (64, 128, 256, 512)
_SKIPS = (64, 64, 128, 256, 512)  # of the stem and of the four stages, by 1x1 convolutions
_UP = (512, 256, 256, 128)  # from the last stage to the stem
_FULL = 64


class _Builder:
    """Layers of the network, their weights drawn from one seed."""

    def __init__(self, seed):
        self._seeds = iter(range(seed * 1000, (seed + 1) * 1000))

    def conv(self, x, channels, size, name, strides=1, bias=False):
        """A convolution with PyTorch's padding, zeros at all four sides alike."""
        if size > 1:
            x = layers.ZeroPadding2D(size // 2, data_format="channels_last")(x)
        initializer = keras.initializers.HeNormal(seed=next(self._seeds))
        return layers.Conv2D(
            channels, size, strides=strides, use_bias=bias, kernel_initializer=initializer,
            data_format="channels_last", name=name,
        )(x)  # fmt: skip

    def conv_relu(self, x, channels, size, name):
        return layers.Activation("relu")(self.conv(x, channels, size, name, bias=True))

    def norm(self, x, name):
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)

    def block(self, x, channels, name, strides):
        """A basic block of ResNet."""
        y = self.norm(self.conv(x, channels, 3, f"{name}.conv1", strides), f"{name}.bn1")
        y = layers.Activation("relu")(y)
        y = self.norm(self.conv(y, channels, 3, f"{name}.conv2"), f"{name}.bn2")
        if strides > 1 or x.shape[-1] != channels:
            x = self.conv(x, channels, 1, f"{name}.downsample.0", strides)
            x = self.norm(x, f"{name}.downsample.1")
        return layers.Activation("relu")(layers.Add()([x, y]))


class AlignedResize(layers.Layer):
    """Bilinear resizing to a size, the corner pixels of both images at the same places.

    Args:
        height, width: of the result.
    """

    def __init__(self, height, width, **kwargs):
        super().__init__(**kwargs)
        self._size = (height, width)

    def call(self, x):
        rows, columns = (
            ops.cast(_tents(*sizes), x.dtype)
            for sizes in zip(x.shape[1:3], self._size, strict=True)
        )
        x = ops.einsum("ph,bhwc->bpwc", rows, x)
        return ops.einsum("qw,bpwc->bpqc", columns, x)


def _tents(size, new):
    """Matrix [new, size] of linear interpolation between aligned ends."""
    places = np.linspace(0, size - 1, new)[:, None]
    return np.maximum(0, 1 - np.abs(places - np.arange(size))).astype(np.float32)


def build(height, width, num_outputs, seed):
    """The untrained U-Net.

    Args:
        height, width: of the images.
        num_outputs: classes N.
        seed: of the initial weights.

    Returns:
        Keras model, float32 [B,H,W,3] in 0..255 -> logits [B,H,W,N].
    """
    make = _Builder(seed)
    image = keras.Input((height, width, 3))
    x = layers.Rescaling(1 / (255 * _DEVIATION), -_MEAN / _DEVIATION)(image)
    full = make.conv_relu(make.conv_relu(x, 64, 3, "full.0"), _FULL, 3, "full.1")
    x = layers.Activation("relu")(make.norm(make.conv(x, 64, 7, "conv1", 2), "bn1"))
    levels = [x]
    x = layers.ZeroPadding2D(1, data_format="channels_last")(x)  # after relu: as -infinity
    x = layers.MaxPooling2D(3, 2, data_format="channels_last")(x)
    for stage, channels in enumerate(_WIDTHS, start=1):
        x = make.block(x, channels, f"layer{stage}.0", 1 if stage == 1 else 2)
        x = make.block(x, channels, f"layer{stage}.1", 1)
        levels.append(x)
    skips = [
        make.conv_relu(level, channels, 1, f"skip{k}")
        for k, (level, channels) in enumerate(zip(levels, _SKIPS, strict=True))
    ]
    x = skips.pop()
    for k, (skip, channels) in enumerate(zip(reversed(skips), _UP, strict=True)):
        x = _joined(x, skip)
        x = make.conv_relu(x, channels, 3, f"up{k}")
    x = make.conv_relu(_joined(x, full), _FULL, 3, "up_full")
    return keras.Model(image, make.conv(x, num_outputs, 1, "logits", bias=True), name="unet")


def _joined(x, skip):
    return layers.Concatenate()([AlignedResize(*skip.shape[1:3])(x), skip])


def load(network, path):
    """Fills the encoder with torchvision's weights.

    Args:
        network: what `build` returned.
        path: `resnet18-f37072fd.pth` (needs PyTorch).

    Returns:
        (name, digest) of the encoder.

    Raises:
        ValueError: no such file, or one that does not fit.
    """
    weight_files.check_exists(path, weight_files.RESNET18)
    variables, wanted = {}, {}
    for layer in network.layers:
        if not layer.name.startswith(("conv1", "bn1", "layer")):
            continue
        for leaf, entry, convert in _LEAVES[type(layer)]:
            name = f"{layer.name}/{leaf}"
            variables[name] = getattr(layer, leaf)
            wanted[name] = (f"{layer.name}.{entry}", variables[name].shape, convert)
    values = weight_files.select(pth_files.read_state_dict(path), wanted, path)
    for name, value in values.items():
        variables[name].assign(value)
    name = weight_files.verified_name(NAME, (path, weight_files.RESNET18))
    return name, networks.digest_of(values, network=NAME)


_LEAVES = {
    layers.Conv2D: [("kernel", "weight", weight_files.from_oihw)],
    layers.BatchNormalization: [
        ("gamma", "weight", weight_files.unchanged),
        ("beta", "bias", weight_files.unchanged),
        ("moving_mean", "running_mean", weight_files.unchanged),
        ("moving_variance", "running_var", weight_files.unchanged),
    ],
}
