"""The base of single-scale discriminators: input checks, and features on request."""

import keras
from keras import ops

from oasis_tf.systems.oasis.models.named_classes import NamedClasses
from oasis_tf.systems.oasis.models.shapes import check_divisible, check_rank


class SingleScaleDiscriminator(NamedClasses, keras.Model):
    """Computes a chain of feature maps, and logits from the last one.

    Subclasses set ``num_classes``, ``takes_label_map`` and ``size_multiple``. They define
    ``features(image, label_map, training)``, which returns a list, ``head(feature, label_map,
    training)``, which returns logits, and ``feature_shapes`` and ``logits_shape``, which take the
    shape of an image.

    Call arguments:
        image: float [B, H, W, 3] in [-1, 1]; H and W divisible by ``size_multiple``.
        label_map: int [B, H, W], values in 0..num_classes-1; None if the network takes none.
        training: bool. True takes a power iteration.
        return_features: bool, default False.

    Returns:
        logits in the variable dtype (float32 under mixed precision). With ``return_features``:
        ``(logits, [features])``, where features are the feature maps, first to last, in the compute
        dtype. The outer list has one entry per scale.

    Raises:
        ValueError: the sizes do not divide or differ; a label map is given but not taken, or taken
            but not given.
    """

    def call(self, image, label_map=None, training=False, return_features=False):
        self.check_inputs(image, label_map)
        features = self.features(image, label_map, training)
        logits = self.head(features[-1], label_map, training)
        return (logits, [features]) if return_features else logits

    def check_inputs(self, image, label_map=None):
        """Raises ValueError if axes, channels or sizes do not fit."""
        check_rank(image.shape, 4, "image")
        if image.shape[-1] != 3:
            raise ValueError(f"`image` must have 3 channels. Received: {tuple(image.shape)}.")
        check_divisible(*image.shape[1:3], self.size_multiple, "an image to discriminate")
        if label_map is None:
            if self.takes_label_map:
                raise ValueError(f"{type(self).__name__} needs a `label_map`. Received: None.")
            return
        if not self.takes_label_map:
            raise ValueError(
                f"{type(self).__name__} takes only the image: `label_map` must be None. "
                f"Received: shape={tuple(label_map.shape)}."
            )
        check_rank(label_map.shape, 3, "label_map")
        for got, want in zip(label_map.shape, image.shape[:3], strict=True):
            if None not in (got, want) and got != want:
                raise ValueError(
                    f"`label_map` must fit the image: {tuple(image.shape[:3])}. "
                    f"Received: {tuple(label_map.shape)}."
                )

    def compute_output_shape(self, image_shape, label_map_shape=None):
        return self.logits_shape(image_shape)

    def compute_output_spec(self, image, label_map=None, training=False, return_features=False):
        self.check_inputs(image, label_map)
        logits = keras.KerasTensor(self.logits_shape(image.shape), self.variable_dtype)
        if not return_features:
            return logits
        shapes = self.feature_shapes(image.shape)
        return logits, [[keras.KerasTensor(shape, self.compute_dtype) for shape in shapes]]

    def as_logits(self, x):
        """Casts ``x`` to the dtype in which the losses are computed."""
        return ops.cast(x, self.variable_dtype)

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
            "name": self.name,
        }


def output_shapes(blocks, shape):
    """Output shapes of ``blocks``, applied one after the other to an input of ``shape``."""
    shapes = []
    for block in blocks:
        shape = block.compute_output_shape(shape)
        shapes.append(shape)
    return shapes
