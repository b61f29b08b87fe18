"""ResNet-PatchGAN: the encoder of the OASIS U-Net as a patch discriminator."""

import keras

from oasis_tf.layers.activation import leaky_relu
from oasis_tf.layers.spectral_norm import SpectralConv2D
from oasis_tf.systems.oasis.model_settings import DISCRIMINATOR_WIDTHS
from oasis_tf.systems.oasis.models.discriminator import call_down_blocks, make_down_blocks
from oasis_tf.systems.oasis.models.single_scale import SingleScaleDiscriminator, output_shapes


@keras.saving.register_keras_serializable("oasis_tf")
class ResNetPatchDiscriminator(SingleScaleDiscriminator):
    """Down blocks on ``concat(one-hot(label_map), image)``, LeakyReLU, spectral 1x1 convolution.

    The paper specifies only the encoder (IJCV version, table on discriminators). LeakyReLU and 1x1
    convolution are a choice of this project.

    Args:
        num_classes: int N >= 1, number of label classes, including the unknown class.
        channels, widths, remat: as in ``Discriminator``.

    Call arguments:
        image: float [B, H, W, 3] in [-1, 1]; H and W divisible by 2**len(widths) = 64.
        label_map: int [B, H, W], values in 0..N-1.
        training: bool. True takes a power iteration.
        return_features: bool, default False.

    Returns:
        logits [B, H/64, W/64, 1] in the variable dtype. With ``return_features``:
        ``(logits, [features])``, where features are the outputs of the blocks in the compute dtype.

    Raises:
        ValueError: the sizes do not divide; the label map is missing or does not fit.
    """

    takes_label_map = True

    def __init__(
        self, num_classes, channels=64, widths=DISCRIMINATOR_WIDTHS, remat=False, **kwargs
    ):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.channels = channels
        self.widths = tuple(widths)
        self.remat = remat
        self.down_blocks = make_down_blocks(
            num_classes, [channels * width for width in self.widths], self.dtype_policy
        )
        self.to_logits = SpectralConv2D(1, 1, name="to_logits", dtype=self.dtype_policy)
        self.build()

    @property
    def size_multiple(self):
        """int: height and width must be multiples of this (64 with the default widths)."""
        return 2 ** len(self.widths)

    def build(self, *_):
        if self.built:
            return
        for block in self.down_blocks:
            block.build()
        self.to_logits.build((None, None, None, self.channels * self.widths[-1]))
        self.built = True

    def features(self, image, label_map, training):
        return call_down_blocks(self.down_blocks, image, label_map, training, self.remat)

    def head(self, feature, label_map, training):
        return self.as_logits(self.to_logits(leaky_relu(feature), training=training))

    def feature_shapes(self, image_shape):
        return output_shapes(self.down_blocks, image_shape)

    def logits_shape(self, image_shape):
        return self.to_logits.compute_output_shape(self.feature_shapes(image_shape)[-1])

    def get_config(self):
        return super().get_config() | {
            "channels": self.channels,
            "widths": list(self.widths),
            "remat": self.remat,
        }
