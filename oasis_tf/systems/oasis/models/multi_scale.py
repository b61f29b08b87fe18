"""Several discriminators of one kind, each at half the resolution of the one before."""

import math

import keras

from oasis_tf.layers.label_conv import downsample
from oasis_tf.layers.resampling import smooth_half
from oasis_tf.systems.oasis.models.named_classes import NamedClasses
from oasis_tf.systems.oasis.models.shapes import check_divisible


def scales_of(discriminator):
    """The single-scale networks of a discriminator, the finest first."""
    return getattr(discriminator, "discriminators", [discriminator])


@keras.saving.register_keras_serializable("oasis_tf")
class MultiScale(NamedClasses, keras.Model):
    """Discriminators with separate weights at scales 1, 1/2, ... (Wang et al. 2018).

    From scale to scale the image is averaged over 3x3 windows around every second pixel; pixels
    outside the image do not count. The label map keeps every second pixel.

    Args:
        discriminators: sequence of single-scale networks, the finest first, with the same
            ``num_classes`` and ``takes_label_map`` and with different names.

    Call arguments:
        image: float [B, H, W, 3] in [-1, 1]; H and W divisible by ``size_multiple``.
        label_map: int [B, H, W], values in 0..num_classes-1; None if the networks take none.
        training: bool. True takes a power iteration.
        return_features: bool, default False.

    Returns:
        list of the networks' logits, one per scale. With ``return_features``:
        ``(logits, features)``, where features has one list of feature maps per scale.

    Raises:
        ValueError: the networks do not match, or one of them refuses the input.
    """

    def __init__(self, discriminators, **kwargs):
        discriminators = list(discriminators)
        _check_same(discriminators)
        # No autocast, so that the image is averaged in full precision. Each network casts itself.
        super().__init__(autocast=False, **kwargs)
        self.discriminators = discriminators
        self.built = True

    @property
    def named_parts(self):
        """The networks by the names of their scales (see ``oasis_tf.training.named_weights``)."""
        return {f"scale_{scale}": part for scale, part in enumerate(self.discriminators)}

    @property
    def num_classes(self):
        """int: number of label classes, including the unknown class."""
        return self.discriminators[0].num_classes

    @property
    def takes_label_map(self):
        """bool: whether the networks are called with a label map."""
        return self.discriminators[0].takes_label_map

    @property
    def size_multiple(self):
        """int: height and width must be multiples of this."""
        multiples = (network.size_multiple for network in self.discriminators)
        return math.lcm(*(m * 2**scale if m > 1 else 1 for scale, m in enumerate(multiples)))

    def build(self, *_):
        # The constructors of the networks have built them.
        self.built = True

    def call(self, image, label_map=None, training=False, return_features=False):
        check_divisible(*image.shape[1:3], self.size_multiple, "an image to discriminate")
        logits, features = [], []
        for scale, network in enumerate(self.discriminators):
            if scale:
                image = smooth_half(image)
                label_map = None if label_map is None else downsample(label_map, 2)
            # Asking for features costs nothing: they are computed anyway.
            of_scale, [maps] = network(
                image, label_map=label_map, training=training, return_features=True
            )
            logits.append(of_scale)
            features.append(maps)
        return (logits, features) if return_features else logits

    def compute_output_shape(self, image_shape, label_map_shape=None):
        shapes = self._image_shapes(image_shape)
        return [
            network.compute_output_shape(shape)
            for network, shape in zip(self.discriminators, shapes, strict=True)
        ]

    def compute_output_spec(self, image, label_map=None, training=False, return_features=False):
        check_divisible(*image.shape[1:3], self.size_multiple, "an image to discriminate")
        logits, features = [], []
        for network, shape in zip(
            self.discriminators, self._image_shapes(image.shape), strict=True
        ):
            at_scale = keras.KerasTensor(shape, image.dtype)
            labels = None if label_map is None else keras.KerasTensor(shape[:-1], label_map.dtype)
            of_scale, [maps] = network.compute_output_spec(at_scale, labels, return_features=True)
            logits.append(of_scale)
            features.append(maps)
        return (logits, features) if return_features else logits

    def _image_shapes(self, shape):
        """Shape of the image at every scale."""
        batch, *sides, channels = shape
        return [
            (batch, *(None if side is None else -(-side // 2**scale) for side in sides), channels)
            for scale in range(len(self.discriminators))
        ]

    def get_config(self):
        return super().get_config() | {
            "discriminators": list(map(keras.saving.serialize_keras_object, self.discriminators)),
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        networks = map(keras.saving.deserialize_keras_object, config["discriminators"])
        return super().from_config(config | {"discriminators": list(networks)})


def _check_same(discriminators):
    """Raises ValueError unless there are networks, all of one kind, with different names."""
    kinds = {(network.num_classes, network.takes_label_map) for network in discriminators}
    names = [network.name for network in discriminators]
    if len(kinds) != 1:
        raise ValueError(
            "`discriminators` must be one or more networks that agree on (num_classes, "
            f"takes_label_map). Received: {sorted(kinds)}."
        )
    # Optimizers and files identify weights by these names.
    if len(set(names)) < len(names):
        raise ValueError(f"`discriminators` must have different names. Received: {names}.")
