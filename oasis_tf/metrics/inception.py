"""InceptionV3 as trained in 2015, the network of the Fréchet inception distance, up to pool3.

Heusel et al. 2017 took the frozen graph ``classify_image_graph_def.pb``; the widely used PyTorch
code takes the same weights under the names of torchvision. One table holds both names and the
architecture (Szegedy et al. 2016). What sets the network of 2015 apart from its successors: 1008
classes, averages over 3x3 pixels leave the border out, and the last block pools by the maximum.
"""

from typing import NamedTuple

import keras
from keras import layers, ops

from oasis_tf.metrics import weight_files

DIMENSION = 2048
SIZE = 299
CLASSES = 1008
PIXEL_PATH = 1  # changes when `to_input` changes the result

_AVERAGE, _MAX, _HALVE = "average", "max", "halve"


class Convolution(NamedTuple):
    """A convolution without bias, batch normalisation and relu.

    Attributes:
        name: ours and PyTorch's.
        scope: in the frozen graph.
        kernel: height and width.
        channels: of the output.
        halves: whether it strides by 2 and leaves the border out.
        valid: whether it leaves the border out.
    """

    name: str
    scope: str
    kernel: tuple[int, int]
    channels: int
    halves: bool = False
    valid: bool = False


# === The table: a block is a list of branches, a branch one of steps, a step may be a block. ===

_C = Convolution
_STEM = [[
    _C("Conv2d_1a_3x3", "conv", (3, 3), 32, halves=True),
    _C("Conv2d_2a_3x3", "conv_1", (3, 3), 32, valid=True),
    _C("Conv2d_2b_3x3", "conv_2", (3, 3), 64),
    _HALVE,
    _C("Conv2d_3b_1x1", "conv_3", (1, 1), 80, valid=True),
    _C("Conv2d_4a_3x3", "conv_4", (3, 3), 192, valid=True),
    _HALVE,
]]  # fmt: skip


def _block_5(pooled):
    return [
        [_C("branch1x1", "conv", (1, 1), 64)],
        [
            _C("branch5x5_1", "tower/conv", (1, 1), 48),
            _C("branch5x5_2", "tower/conv_1", (5, 5), 64),
        ],
        [
            _C("branch3x3dbl_1", "tower_1/conv", (1, 1), 64),
            _C("branch3x3dbl_2", "tower_1/conv_1", (3, 3), 96),
            _C("branch3x3dbl_3", "tower_1/conv_2", (3, 3), 96),
        ],
        [_AVERAGE, _C("branch_pool", "tower_2/conv", (1, 1), pooled)],
    ]


_BLOCK_6A = [
    [_C("branch3x3", "conv", (3, 3), 384, halves=True)],
    [
        _C("branch3x3dbl_1", "tower/conv", (1, 1), 64),
        _C("branch3x3dbl_2", "tower/conv_1", (3, 3), 96),
        _C("branch3x3dbl_3", "tower/conv_2", (3, 3), 96, halves=True),
    ],
    [_HALVE],
]


def _block_6(width):
    return [
        [_C("branch1x1", "conv", (1, 1), 192)],
        [
            _C("branch7x7_1", "tower/conv", (1, 1), width),
            _C("branch7x7_2", "tower/conv_1", (1, 7), width),
            _C("branch7x7_3", "tower/conv_2", (7, 1), 192),
        ],
        [
            _C("branch7x7dbl_1", "tower_1/conv", (1, 1), width),
            _C("branch7x7dbl_2", "tower_1/conv_1", (7, 1), width),
            _C("branch7x7dbl_3", "tower_1/conv_2", (1, 7), width),
            _C("branch7x7dbl_4", "tower_1/conv_3", (7, 1), width),
            _C("branch7x7dbl_5", "tower_1/conv_4", (1, 7), 192),
        ],
        [_AVERAGE, _C("branch_pool", "tower_2/conv", (1, 1), 192)],
    ]


_BLOCK_7A = [
    [
        _C("branch3x3_1", "tower/conv", (1, 1), 192),
        _C("branch3x3_2", "tower/conv_1", (3, 3), 320, halves=True),
    ],
    [
        _C("branch7x7x3_1", "tower_1/conv", (1, 1), 192),
        _C("branch7x7x3_2", "tower_1/conv_1", (1, 7), 192),
        _C("branch7x7x3_3", "tower_1/conv_2", (7, 1), 192),
        _C("branch7x7x3_4", "tower_1/conv_3", (3, 3), 192, halves=True),
    ],
    [_HALVE],
]


def _block_7(pool):
    return [
        [_C("branch1x1", "conv", (1, 1), 320)],
        [
            _C("branch3x3_1", "tower/conv", (1, 1), 384),
            [
                [_C("branch3x3_2a", "tower/mixed/conv", (1, 3), 384)],
                [_C("branch3x3_2b", "tower/mixed/conv_1", (3, 1), 384)],
            ],
        ],
        [
            _C("branch3x3dbl_1", "tower_1/conv", (1, 1), 448),
            _C("branch3x3dbl_2", "tower_1/conv_1", (3, 3), 384),
            [
                [_C("branch3x3dbl_3a", "tower_1/mixed/conv", (1, 3), 384)],
                [_C("branch3x3dbl_3b", "tower_1/mixed/conv_1", (3, 1), 384)],
            ],
        ],
        [pool, _C("branch_pool", "tower_2/conv", (1, 1), 192)],
    ]


# (our and PyTorch's block, scope in the frozen graph, branches)
_NETWORK = [
    ("", "", _STEM),
    ("Mixed_5b.", "mixed/", _block_5(32)),
    ("Mixed_5c.", "mixed_1/", _block_5(64)),
    ("Mixed_5d.", "mixed_2/", _block_5(64)),
    ("Mixed_6a.", "mixed_3/", _BLOCK_6A),
    ("Mixed_6b.", "mixed_4/", _block_6(128)),
    ("Mixed_6c.", "mixed_5/", _block_6(160)),
    ("Mixed_6d.", "mixed_6/", _block_6(160)),
    ("Mixed_6e.", "mixed_7/", _block_6(192)),
    ("Mixed_7a.", "mixed_8/", _BLOCK_7A),
    ("Mixed_7b.", "mixed_9/", _block_7(_AVERAGE)),
    ("Mixed_7c.", "mixed_10/", _block_7(_MAX)),
]
# (our weight, constant under the scope, PyTorch's entry under the name)
_LEAVES = [
    ("kernel", "conv2d_params", "conv.weight"),
    ("gamma", "batchnorm/gamma", "bn.weight"),
    ("beta", "batchnorm/beta", "bn.bias"),
    ("moving_mean", "batchnorm/moving_mean", "bn.running_mean"),
    ("moving_variance", "batchnorm/moving_variance", "bn.running_var"),
]
# Not used, but only the network of 2015 has 1008 classes.
_CLASSIFIER = [
    ("classifier/kernel", "softmax/weights", "fc.weight", (DIMENSION, CLASSES)),
    ("classifier/bias", "softmax/biases", "fc.bias", (CLASSES,)),
]


def convolutions():
    """Yields (our and PyTorch's name, scope in the frozen graph) of all convolutions, in order."""

    def inside(step):
        if isinstance(step, Convolution):
            yield step
        elif isinstance(step, list):
            for part in step:
                yield from inside(part)

    for name, scope, branches in _NETWORK:
        for one in inside(branches):
            yield name + one.name, scope + one.scope


# === The network ===


def to_input(image):
    """The pixel path of the common PyTorch FID code.

    Bilinear to 299x299 with half-pixel centres and without antialiasing, in [0, 1], then to
    [-1, 1]; nothing is clipped because nothing overshoots.

    Args:
        image: float32 [B,H,W,3] in 0..255.

    Returns:
        float32 [B,299,299,3] in [-1, 1].
    """
    return 2.0 * resized(image, SIZE) - 1.0


def resized(image, size):
    """Images in 0..255 as squares in [0, 1]: bilinear, half-pixel centres, no antialiasing."""
    return ops.image.resize(
        image / 255.0, (size, size), interpolation="bilinear", antialias=False,
        data_format="channels_last",
    )  # fmt: skip


def build_network():
    """The untrained network.

    Returns:
        Keras model, float32 [B,H,W,3] in [-1, 1], of 75x75 pixels or more -> float32 [B,2048], the
        means over space.
    """
    image = keras.Input((None, None, 3), dtype="float32")
    x = image
    for name, _, branches in _NETWORK:
        x = _block(x, branches, name)
    x = layers.GlobalAveragePooling2D(dtype="float32", name="pool_3")(x)
    return keras.Model(image, x, name="inception2015")


def _block(x, branches, name):
    outputs = []
    for steps in branches:
        y = x
        for step in steps:
            y = _step(y, step, name)
        outputs.append(y)
    return outputs[0] if len(outputs) == 1 else layers.Concatenate(dtype="float32")(outputs)


def _step(x, step, name):
    if isinstance(step, list):
        return _block(x, step, name)
    if step == _AVERAGE:  # over the pixels inside the image alone
        return layers.AveragePooling2D(3, 1, padding="same", dtype="float32")(x)
    if step == _MAX:
        return layers.MaxPooling2D(3, 1, padding="same", dtype="float32")(x)
    if step == _HALVE:
        return layers.MaxPooling2D(3, 2, dtype="float32")(x)
    return _convolution(x, step, name + step.name)


def _convolution(x, step, name):
    x = layers.Conv2D(
        step.channels, step.kernel, strides=2 if step.halves else 1, use_bias=False,
        padding="valid" if step.halves or step.valid else "same", dtype="float32",
        name=f"{name}.conv",
    )(x)  # fmt: skip
    x = layers.BatchNormalization(epsilon=1e-3, dtype="float32", name=f"{name}.bn")(x)
    return layers.Activation("relu", dtype="float32")(x)


# === Its weights ===


def network_weights(network):
    """Variables by our name, `NAME/LEAF`, e.g. `Mixed_5b.branch1x1/kernel`."""
    variables = {}
    for name, _ in convolutions():
        norm = network.get_layer(f"{name}.bn")
        variables[f"{name}/kernel"] = network.get_layer(f"{name}.conv").kernel
        for leaf, _, _ in _LEAVES[1:]:
            variables[f"{name}/{leaf}"] = getattr(norm, leaf)
    return variables


def _wanted(network, kind):
    """What `weight_files.select` wants of a file, `kind` "frozen" or "torch"."""
    frozen = kind == "frozen"
    variables, wanted = network_weights(network), {}
    for name, scope in convolutions():
        for leaf, constant, entry in _LEAVES:
            convert = weight_files.unchanged
            if leaf == "kernel" and not frozen:
                convert = weight_files.from_oihw
            theirs = f"{scope}/{constant}" if frozen else f"{name}.{entry}"
            wanted[f"{name}/{leaf}"] = (theirs, variables[f"{name}/{leaf}"].shape, convert)
    for ours, constant, entry, shape in _CLASSIFIER:
        transposed = len(shape) == 2 and not frozen
        convert = weight_files.from_linear if transposed else weight_files.unchanged
        wanted[ours] = (constant if frozen else entry, shape, convert)
    return wanted


def read_weights(path, kind):
    """What a weight file holds, by its own names.

    Args:
        path: str.
        kind: "frozen" for `classify_image_graph_def.pb`, "torch" for the PyTorch weights.

    Returns:
        dict of name -> array.

    Raises:
        ValueError: the file is of another kind; PyTorch is not installed, for "torch".
    """
    if kind == "frozen":
        return weight_files.read_frozen_constants(path)
    return weight_files.read_state_dict(path)


def load_weights(network, found, kind, path):
    """Fills the network.

    Args:
        network: what `build_network` returned.
        found: what `read_weights` returned.
        kind: "frozen" or "torch", as there.
        path: of the file, for errors.

    Returns:
        dict of our name -> float32 array, what was assigned.

    Raises:
        ValueError: missing, misshapen or non-finite arrays, all of them listed; nothing is
            assigned then.
    """
    values = weight_files.select(found, _wanted(network, kind), path)
    variables = network_weights(network)
    for name, variable in variables.items():
        variable.assign(values[name])
    return {name: values[name] for name in variables}
