"""The OASIS discriminator: a U-Net that segments into N classes plus "fake" (ICLR 2021, 3.1)."""

import keras
from keras import ops

from oasis_tf.layers.class_rows import mark
from oasis_tf.layers.initializers import xavier_normal
from oasis_tf.layers.label_image_conv import SpectralLabelImageConv2D
from oasis_tf.layers.remat import call_block
from oasis_tf.systems.oasis.losses.chunked import ChunkedLogits
from oasis_tf.systems.oasis.model_settings import DISCRIMINATOR_WIDTHS
from oasis_tf.systems.oasis.models.single_scale import SingleScaleDiscriminator, output_shapes
from oasis_tf.systems.oasis.models.unet_blocks import DownBlock, LabelDownBlock, UpBlock

LABEL_ENCODINGS = ("n_plus_1", "concat", "projection")


@keras.saving.register_keras_serializable("oasis_tf")
class Discriminator(SingleScaleDiscriminator):
    """Computes N + 1 logits per pixel: channel 0 is "fake", channel k + 1 is label class k.

    Two other label encodings (IJCV version, table on label encodings) take the label map as input
    and return one logit per pixel, "real":

    * ``"concat"``: the first block takes ``concat(one-hot(label_map), image)``.
    * ``"projection"``: the logit is ``w . h + b + <E t, h>``, where h are the features before the
      last layer, t is the pixel's one-hot label, and E is a spectrally normalised 1x1 convolution
      without bias (Miyato and Koyama 2018).

    Args:
        num_classes: int N >= 1, number of label classes, including the unknown class.
        channels: int, default 64, unit of ``widths``.
        widths: sequence of int, default (2, 2, 4, 4, 8, 8): output channels of every down block, in
            units of ``channels``. The up blocks mirror them.
        remat: bool, default False, as in ``Generator``.
        label_encoding: ``"n_plus_1"`` (default; takes no label map), ``"concat"`` or
            ``"projection"``.
        chunk_logits: bool, default False. True, for ``"n_plus_1"`` only: in training, logits are
            ``losses.ChunkedLogits`` and never in memory all at once.

    Call arguments:
        image: float [B, H, W, 3] in [-1, 1]; H and W divisible by 2**len(widths) = 64.
        label_map: int [B, H, W], values in 0..N-1; None for ``"n_plus_1"``.
        training: bool. True takes a power iteration.
        return_features: bool, default False.

    Returns:
        logits [B, H, W, N + 1], for other encodings [B, H, W, 1], in the variable dtype (float32
        under mixed precision). With ``return_features``: ``(logits, [features])``, where features
        are the outputs of the down blocks, then of the up blocks, in the compute dtype.

    Raises:
        ValueError: the encoding is unknown or does not fit ``chunk_logits``; the sizes do not
            divide; the label map does not fit, is missing or is not taken.
    """

    def __init__(
        self,
        num_classes,
        channels=64,
        widths=DISCRIMINATOR_WIDTHS,
        remat=False,
        label_encoding="n_plus_1",
        chunk_logits=False,
        **kwargs,
    ):
        if label_encoding not in LABEL_ENCODINGS:
            raise ValueError(
                f"`label_encoding` must be one of {', '.join(LABEL_ENCODINGS)}. "
                f"Received: {label_encoding!r}."
            )
        if chunk_logits and label_encoding != "n_plus_1":
            raise ValueError(
                "`chunk_logits` needs the label encoding n_plus_1. Received: "
                f"label_encoding={label_encoding!r}."
            )
        super().__init__(**kwargs)
        self.remat = remat
        self.num_classes = num_classes
        self.channels = channels
        self.widths = tuple(widths)
        self.label_encoding = label_encoding
        self.chunk_logits = chunk_logits
        common = {"dtype": self.dtype_policy}
        self.down_blocks = make_down_blocks(
            num_classes if label_encoding == "concat" else 0,
            [channels * width for width in self.widths],
            self.dtype_policy,
        )
        self.up_blocks = [
            UpBlock(fan_in, fan_out, name=f"up_{index}", **common)
            for index, (fan_in, fan_out) in enumerate(self._up_widths())
        ]
        self.to_logits = keras.layers.Conv2D(
            self.num_logits,
            1,
            data_format="channels_last",
            kernel_initializer=xavier_normal(),
            name="to_logits",
            **common,
        )
        self.embedding = None
        if label_encoding == "projection":
            self.embedding = SpectralLabelImageConv2D(
                channels, 1, num_classes, 0, use_bias=False, name="embedding", **common
            )
        self.build()

    def _up_widths(self):
        """(in, out) channels of every up block. All but the first also take a skip connection."""
        down = [self.channels * width for width in self.widths]
        outputs = [*down[-2::-1], self.channels]
        inputs = [down[-1], *(up + skip for up, skip in zip(outputs, down[-2::-1], strict=False))]
        return list(zip(inputs, outputs, strict=True))

    @property
    def size_multiple(self):
        """int: height and width must be multiples of this (64 with the default widths)."""
        return 2 ** len(self.widths)

    @property
    def takes_label_map(self):
        """bool: whether the network is called with a label map."""
        return self.label_encoding != "n_plus_1"

    @property
    def num_logits(self):
        """int: number of logits per pixel."""
        return 1 if self.takes_label_map else self.num_classes + 1

    def build(self, *_):
        if self.built:
            return
        for block in (*self.down_blocks, *self.up_blocks):
            block.build()
        self.to_logits.build((None, None, None, self.channels))
        if not self.takes_label_map:
            mark(self.to_logits.kernel, axis=3, first=1)  # "fake" comes first
            mark(self.to_logits.bias, axis=0, first=1)
        if self.embedding is not None:
            self.embedding.build()
        self.built = True

    def features(self, image, label_map, training):
        mode = {"training": training, "remat": self.remat}
        seen = label_map if self.label_encoding == "concat" else None
        down = call_down_blocks(self.down_blocks, image, seen, **mode)
        skips, up = list(down), []
        x = skips.pop()
        for block in self.up_blocks:
            x = call_block(block, ops.concatenate([skips.pop(), x], axis=-1) if up else x, **mode)
            up.append(x)
        return down + up

    def head(self, feature, label_map, training):
        if self.chunk_logits and training:
            kernel = ops.reshape(self.to_logits.kernel, (self.channels, self.num_logits))
            return ChunkedLogits(
                feature, self.as_logits(kernel), self.as_logits(self.to_logits.bias)
            )
        logits = self.as_logits(self.to_logits(feature))
        if self.embedding is None:
            return logits
        products = feature * self.embedding(label_map, training=training)
        return logits + ops.sum(self.as_logits(products), axis=-1, keepdims=True)

    def feature_shapes(self, image_shape):
        down = output_shapes(self.down_blocks, image_shape)
        return down + output_shapes(self.up_blocks, down[-1])

    def logits_shape(self, image_shape):
        return (*image_shape[:-1], self.num_logits)

    def get_config(self):
        return super().get_config() | {
            "channels": self.channels,
            "widths": list(self.widths),
            "remat": self.remat,
            "label_encoding": self.label_encoding,
            "chunk_logits": self.chunk_logits,
        }


def make_down_blocks(num_classes, channels, dtype):
    """The encoder of the U-Net.

    Args:
        num_classes: int, classes of the label map that the first block takes together with the
            image. 0: it takes only the image.
        channels: sequence of int, output channels of every block.
        dtype: dtype policy of the blocks.
    """
    pairs = list(zip([3, *channels[:-1]], channels, strict=True))
    blocks = [
        DownBlock(fan_in, fan_out, first=index == 0, name=f"down_{index}", dtype=dtype)
        for index, (fan_in, fan_out) in enumerate(pairs)
    ]
    if num_classes:
        blocks[0] = LabelDownBlock(num_classes, channels[0], name="down_0", dtype=dtype)
    return blocks


def call_down_blocks(blocks, image, label_map, training, remat):
    """Outputs of all blocks. ``label_map`` is None if the first block takes none."""
    conditions = [] if label_map is None else [label_map]
    outputs = [call_block(blocks[0], image, *conditions, training=training, remat=remat)]
    for block in blocks[1:]:
        outputs.append(call_block(block, outputs[-1], training=training, remat=remat))
    return outputs
