"""InceptionV3 of 2015 as one table: architecture, names in the frozen graph, names in PyTorch.

Szegedy et al. 2016; the names are those of ``classify_image_graph_def.pb`` and of torchvision.
"""

from typing import NamedTuple

DIMENSION = 2048
CLASSES = 1008

AVERAGE, MAX, HALVE = "average", "max", "halve"


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
    HALVE,
    _C("Conv2d_3b_1x1", "conv_3", (1, 1), 80, valid=True),
    _C("Conv2d_4a_3x3", "conv_4", (3, 3), 192, valid=True),
    HALVE,
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
        [AVERAGE, _C("branch_pool", "tower_2/conv", (1, 1), pooled)],
    ]


_BLOCK_6A = [
    [_C("branch3x3", "conv", (3, 3), 384, halves=True)],
    [
        _C("branch3x3dbl_1", "tower/conv", (1, 1), 64),
        _C("branch3x3dbl_2", "tower/conv_1", (3, 3), 96),
        _C("branch3x3dbl_3", "tower/conv_2", (3, 3), 96, halves=True),
    ],
    [HALVE],
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
        [AVERAGE, _C("branch_pool", "tower_2/conv", (1, 1), 192)],
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
    [HALVE],
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
NETWORK = [
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
    ("Mixed_7b.", "mixed_9/", _block_7(AVERAGE)),
    ("Mixed_7c.", "mixed_10/", _block_7(MAX)),
]
# (our weight, constant under the scope, PyTorch's entry under the name)
LEAVES = [
    ("kernel", "conv2d_params", "conv.weight"),
    ("gamma", "batchnorm/gamma", "bn.weight"),
    ("beta", "batchnorm/beta", "bn.bias"),
    ("moving_mean", "batchnorm/moving_mean", "bn.running_mean"),
    ("moving_variance", "batchnorm/moving_variance", "bn.running_var"),
]
# Not used, but only the network of 2015 has 1008 classes.
CLASSIFIER = [
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

    for name, scope, branches in NETWORK:
        for one in inside(branches):
            yield name + one.name, scope + one.scope
