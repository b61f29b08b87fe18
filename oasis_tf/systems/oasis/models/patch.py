"""PatchGAN, the discriminator of SPADE (Isola et al. 2017; Park et al. 2019)."""

import keras
from keras import ops

from oasis_tf.layers.activation import leaky_relu
from oasis_tf.layers.initializers import xavier_normal
from oasis_tf.layers.instance_norm import InstanceNorm
from oasis_tf.layers.label_image_conv import LabelImageConv2D
from oasis_tf.layers.remat import call_block
from oasis_tf.layers.spectral_norm import SpectralConv2D
from oasis_tf.systems.oasis.models.single_scale import SingleScaleDiscriminator, output_shapes

_KERNEL_SIZE = 4
_MARGIN = 2
_MOST_WIDE = 8


@keras.saving.register_keras_serializable("oasis_tf")
class PatchInput(keras.layers.Layer):
    """``lrelu(conv(concat(one-hot(label_map), image)))``: 4x4, stride 2, bias, no spectral norm.

    Call arguments: ``image`` [B, H, W, 3], ``label_map`` int [B, H, W].
    Returns: [B, H // 2 + 1, W // 2 + 1, filters].
    """

    def __init__(self, num_classes, filters, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.filters = filters
        self.conv = LabelImageConv2D(
            filters,
            _KERNEL_SIZE,
            num_classes,
            resample="stride",
            name="conv",
            dtype=self.dtype_policy,
        )

    def build(self, *_):
        self.conv.build()
        self.built = True

    def call(self, image, label_map, training=False):
        return leaky_relu(self.conv(label_map, image))

    def compute_output_shape(self, image_shape, label_map_shape=None):
        return self.conv.compute_output_shape(image_shape[:-1], image_shape)

    def get_config(self):
        return super().get_config() | {"num_classes": self.num_classes, "filters": self.filters}


@keras.saving.register_keras_serializable("oasis_tf")
class PatchRow(keras.layers.Layer):
    """``lrelu(instance_norm(conv(x)))``: 4x4, spectrally normalised, without bias.

    Call arguments: ``x`` [B, H, W, in_channels]; ``training``: bool, as in ``SpectralConv2D``.
    Returns: [B, H', W', filters], H' = H // 2 + 1 for ``stride`` 2, H + 1 for 1; likewise W'.
    """

    def __init__(self, in_channels, filters, stride=2, **kwargs):
        super().__init__(**kwargs)
        self.in_channels = in_channels
        self.filters = filters
        self.stride = stride
        common = {"dtype": self.dtype_policy}
        self.conv = SpectralConv2D(
            filters,
            _KERNEL_SIZE,
            use_bias=False,
            resample="stride" if stride == 2 else "none",
            name="conv",
            **common,
        )
        self.norm = InstanceNorm(name="norm", **common)

    def build(self, *_):
        self.conv.build((None, None, None, self.in_channels))
        self.norm.build()
        self.built = True

    def call(self, x, training=False):
        return leaky_relu(self.norm(self.conv(x, training=training)))

    def compute_output_shape(self, input_shape):
        return self.conv.compute_output_shape(input_shape)

    def get_config(self):
        return super().get_config() | {
            "in_channels": self.in_channels,
            "filters": self.filters,
            "stride": self.stride,
        }


@keras.saving.register_keras_serializable("oasis_tf")
class PatchDiscriminator(SingleScaleDiscriminator):
    """PatchGAN on ``concat(one-hot(label_map), image)``: one logit per overlapping patch.

    4x4 convolutions, padded by 2 on every side. All but the last two have stride 2. Widths double
    from ``channels`` up to 8 times ``channels``. The first and the last convolution have a bias and
    no spectral norm. Those between have spectral norm, no bias, and instance normalisation without
    affine parameters. LeakyReLU follows all but the last.

    Args:
        num_classes: int N >= 1, number of label classes, including the unknown class.
        channels: int, default 64, output channels of the first convolution.
        num_layers: int >= 2, default 4, number of convolutions before the last.
        remat: bool, default False, as in ``Generator``.

    Call arguments:
        image: float [B, H, W, 3] in [-1, 1], of any size.
        label_map: int [B, H, W], values in 0..N-1.
        training: bool. True takes a power iteration.
        return_features: bool, default False.

    Returns:
        logits [B, H', W', 1] in the variable dtype, e.g. 35 x 35 for 256 x 256. With
        ``return_features``: ``(logits, [features])``, where features are the outputs of the
        ``num_layers`` activations in the compute dtype.

    Raises:
        ValueError: the label map is missing or does not fit the image.
    """

    takes_label_map = True
    size_multiple = 1

    def __init__(self, num_classes, channels=64, num_layers=4, remat=False, **kwargs):
        if num_layers < 2:
            raise ValueError(f"`num_layers` must be at least 2. Received: {num_layers}.")
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.channels = channels
        self.num_layers = num_layers
        self.remat = remat
        common = {"dtype": self.dtype_policy}
        widths = [channels * min(2**index, _MOST_WIDE) for index in range(num_layers)]
        strides = [2] * (num_layers - 2) + [1]
        self.rows = [
            PatchInput(num_classes, widths[0], name="row_0", **common),
            *(
                PatchRow(fan_in, fan_out, stride, name=f"row_{index}", **common)
                for index, (fan_in, fan_out, stride) in enumerate(
                    zip(widths[:-1], widths[1:], strides, strict=True), start=1
                )
            ),
        ]
        self.to_logits = keras.layers.Conv2D(
            1,
            _KERNEL_SIZE,
            data_format="channels_last",
            kernel_initializer=xavier_normal(),
            name="to_logits",
            **common,
        )
        self.build()

    def build(self, *_):
        if self.built:
            return
        for row in self.rows:
            row.build()
        self.to_logits.build((None, None, None, self.rows[-1].filters))
        self.built = True

    def features(self, image, label_map, training):
        mode = {"training": training, "remat": self.remat}
        features = [call_block(self.rows[0], image, label_map, **mode)]
        for row in self.rows[1:]:
            features.append(call_block(row, features[-1], **mode))
        return features

    def head(self, feature, label_map, training):
        margin = (_MARGIN, _MARGIN)
        return self.as_logits(self.to_logits(ops.pad(feature, ((0, 0), margin, margin, (0, 0)))))

    def feature_shapes(self, image_shape):
        return output_shapes(self.rows, image_shape)

    def logits_shape(self, image_shape):
        batch, *sides, _ = self.feature_shapes(image_shape)[-1]
        return (batch, *(None if side is None else side + 1 for side in sides), 1)

    def get_config(self):
        return super().get_config() | {
            "channels": self.channels,
            "num_layers": self.num_layers,
            "remat": self.remat,
        }
