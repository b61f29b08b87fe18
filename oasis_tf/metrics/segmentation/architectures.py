"""Segmentation networks that are trained with and without synthetic images.

The papers use DeepLabV3 with a ResNeSt-50 (thesis, section 4.3.5). Here it is DeepLabV3 of
keras-hub, with a ResNet-50 instead of the ResNeSt.
"""

import dataclasses

import keras

from oasis_tf.environment import usual_settings
from oasis_tf.metrics.segmentation import compact_segmenter

COMPACT, DEEPLAB_V3 = "compact", "deeplab_v3"
NETWORKS = (COMPACT, DEEPLAB_V3)
_OUTPUT_STRIDE = 16


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A segmentation network and its optimizer.

    Attributes:
        name: one of `NETWORKS`.
        size_multiple: number that must divide height and width of its images.
        learning_rate: highest learning rate of its optimizer.
        feature_layer: layer whose output are the features below the logits.
    """

    name: str
    size_multiple: int
    learning_rate: float
    feature_layer: str

    def named(self, backbone_weights):
        """Its name in those of values: `compact`, `deeplab_v3` or `deeplab_v3_random`."""
        return self.name if self.name == COMPACT or backbone_weights else f"{self.name}_random"

    def build(self, num_outputs, seed, backbone_weights=None):
        """Builds an untrained network: float32 [B,H,W,3] in [-1, 1] -> logits [B,H,W,num_outputs].

        Args:
            num_outputs: int, number of classes.
            seed: seed of the initial weights.
            backbone_weights: weights file of DeepLabV3's ResNet-50, written by
                `Backbone.save_weights` of keras-hub; None: random weights.

        Raises:
            ValueError: keras-hub is missing, or the file does not fit.
        """
        if self.name == COMPACT:
            return compact_segmenter.build_network(
                num_outputs, compact_segmenter.SegmenterRecipe.widths, seed
            )
        return _deeplab_v3(num_outputs, seed, backbone_weights)

    def optimizer(self, steps):
        """Returns the optimizer for a number of steps.

        It is Adam with a cosine schedule for the compact network, and SGD with momentum 0.9 and
        polynomial decay (power 0.9) for DeepLabV3.
        """
        if self.name == COMPACT:
            return compact_segmenter.adam(self.learning_rate, steps)
        rate = keras.optimizers.schedules.PolynomialDecay(
            self.learning_rate, steps, end_learning_rate=0.0, power=0.9
        )
        return keras.optimizers.SGD(rate, momentum=0.9)


_ARCHITECTURES = {
    COMPACT: Architecture(
        COMPACT,
        compact_segmenter.SIZE_MULTIPLE,
        compact_segmenter.SegmenterRecipe.learning_rate,
        "up_0_relu",
    ),
    DEEPLAB_V3: Architecture(DEEPLAB_V3, _OUTPUT_STRIDE, 1e-2, "segmentation_head_relu"),
}


def architecture(name):
    """Returns the `Architecture` with a name.

    Raises:
        ValueError: there is no such network, or DeepLabV3 lacks the extra `segmenter`.
    """
    if name not in _ARCHITECTURES:
        raise ValueError(f"The network must be one of {', '.join(NETWORKS)}. Received: {name!r}.")
    if name == DEEPLAB_V3:
        _keras_hub()
    return _ARCHITECTURES[name]


def _keras_hub():
    try:
        import keras_hub
    except ImportError as error:
        raise ValueError(
            'DeepLabV3 needs keras-hub: run `pip install "oasis-tf[segmenter]"`, or use '
            "--network=compact."
        ) from error
    return keras_hub


@usual_settings()
def _deeplab_v3(num_outputs, seed, backbone_weights):
    """DeepLabV3 on a ResNet-50: output stride 16, dilation rates 6, 12 and 18, image pooling.

    The last stage keeps its resolution with stride 1 but without the dilation of 2 of the paper.
    Logits are computed at 1/16 of the resolution and upsampled.
    """
    models = _keras_hub().models
    # keras-hub's initializers cannot be given a seed.
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
    # The next layers of keras-hub would assume that level 5 has 1/32 of the resolution.
    x = whole.get_layer("segmentation_head_relu").output
    x = keras.layers.Conv2D(num_outputs, 1, data_format="channels_last", name="logits")(x)
    x = keras.layers.UpSampling2D(
        _OUTPUT_STRIDE, data_format="channels_last", interpolation="bilinear", name="upsampling"
    )(x)
    return keras.Model(whole.input, x, name="deeplab_v3")
