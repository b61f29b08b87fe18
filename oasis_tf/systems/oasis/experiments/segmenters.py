"""Segmentation networks that are trained with and without synthetic images.

The papers take DeepLabV3 with a ResNeSt-50 (thesis, section 4.3.5). keras-hub keeps a DeepLabV3;
its ResNet-50 takes the place of the ResNeSt.
"""

import dataclasses

import keras

from oasis_tf.metrics.segmentation import compact_segmenter

COMPACT, DEEPLAB_V3 = "compact", "deeplab_v3"
NETWORKS = (COMPACT, DEEPLAB_V3)
_OUTPUT_STRIDE = 16


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A segmentation network by name, and how it is optimised.

    Attributes:
        name: of `NETWORKS`.
        size_multiple: what the sides of its images must be divisible by.
        learning_rate: peak rate that goes with its optimizer.
    """

    name: str
    size_multiple: int
    learning_rate: float

    def build(self, num_outputs, seed, backbone_weights=None):
        """An untrained network: image float32 [B,H,W,3] in [-1, 1] -> logits [B,H,W,num_outputs].

        Args:
            num_outputs: int, classes told apart.
            seed: of the initial weights.
            backbone_weights: weights file of the ResNet-50, as `Backbone.save_weights` of keras-hub
                writes it; DeepLabV3 alone.

        Raises:
            ValueError: keras-hub is missing, or the file does not fit.
        """
        if self.name == COMPACT:
            return compact_segmenter.build_network(
                num_outputs, compact_segmenter.SegmenterRecipe.widths, seed
            )
        return _deeplab_v3(num_outputs, seed, backbone_weights)

    def optimizer(self, steps):
        """Adam along a cosine for the compact network; SGD with momentum 0.9 and polynomial decay
        (power 0.9) for DeepLabV3."""
        if self.name == COMPACT:
            return compact_segmenter.adam(self.learning_rate, steps)
        rate = keras.optimizers.schedules.PolynomialDecay(
            self.learning_rate, steps, end_learning_rate=0.0, power=0.9
        )
        return keras.optimizers.SGD(rate, momentum=0.9)


_ARCHITECTURES = {
    COMPACT: Architecture(
        COMPACT, compact_segmenter.SIZE_MULTIPLE, compact_segmenter.SegmenterRecipe.learning_rate
    ),
    DEEPLAB_V3: Architecture(DEEPLAB_V3, _OUTPUT_STRIDE, 1e-2),
}


def architecture(name):
    """The `Architecture` of a name.

    Raises:
        ValueError: no such network, or DeepLabV3 without the extra `segmenter`.
    """
    if name not in _ARCHITECTURES:
        raise ValueError(f"The network must be one of {', '.join(NETWORKS)}. Received: {name!r}")
    if name == DEEPLAB_V3:
        _keras_hub()
    return _ARCHITECTURES[name]


def _keras_hub():
    try:
        import keras_hub
    except ImportError as error:
        raise ValueError(
            'DeepLabV3 needs keras-hub: pip install "oasis-tf[segmenter]". Or take '
            "--network=compact."
        ) from error
    return keras_hub


def _deeplab_v3(num_outputs, seed, backbone_weights):
    """DeepLabV3 at output stride 16, rates 6, 12, 18 and image pooling, on a ResNet-50.

    The last stage keeps its resolution by stride 1, without the dilation of 2 of the paper; logits
    are computed at a sixteenth of the resolution and upsampled.
    """
    models = _keras_hub().models
    # Initialisers of keras-hub take no seed of ours.
    keras.utils.set_random_seed(seed)
    encoder = models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=[3, 4, 6, 3],
        stackwise_num_strides=[1, 2, 2, 1],
        block_type="bottleneck_block",
    )
    if backbone_weights:
        encoder.load_weights(backbone_weights)
    whole = models.DeepLabV3Backbone(
        image_encoder=encoder,
        spatial_pyramid_pooling_key="P5",
        upsampling_size=1,
        dilation_rates=[6, 12, 18],
    )
    # What follows there takes level 5 for a 32nd of the resolution.
    x = whole.get_layer("segmentation_head_relu").output
    x = keras.layers.Conv2D(num_outputs, 1, name="logits")(x)
    x = keras.layers.UpSampling2D(_OUTPUT_STRIDE, interpolation="bilinear", name="upsampling")(x)
    return keras.Model(whole.input, x, name="deeplab_v3")
