"""What discriminators of one scale share: checks of their inputs, and features on request."""

import keras
from keras import ops

from oasis_tf.systems.oasis.models.shapes import check_divisible, check_rank


class SingleScaleDiscriminator(keras.Model):
    """A chain of feature maps, and logits computed from the last.

    Subclasses define ``size_multiple``, ``logits_shape`` and ``feature_shapes`` (of an image's
    shape), ``features(image, label_map, training)``, a list, and ``head(feature, label_map,
    training)``; and they set ``num_classes`` and ``takes_label_map``.

    Call arguments:
        image: float [B, H, W, 3] in [-1, 1]; H and W divisible by ``size_multiple``.
        label_map: int [B, H, W], values in 0..num_classes-1; None for networks that do not take it.
        training: bool. True takes a power iteration.
        return_features: bool, default False.

    Returns:
        logits in the variable dtype (float32 under mixed precision); with ``return_features``
        ``(logits, [features])``, where features are the network's feature maps, first to last, in
        the compute dtype, and the outer list has one entry per scale.

    Raises:
        ValueError: sizes that do not divide or differ; a label map where none is taken, or none
            where one is.
    """

    def call(self, image, label_map=None, training=False, return_features=False):
        self.check_inputs(image, label_map)
        features = self.features(image, label_map, training)
        logits = self.head(features[-1], label_map, training)
        return (logits, [features]) if return_features else logits

    def check_inputs(self, image, label_map=None):
        """Raises ValueError: axes, channels or sizes that do not fit."""
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
                f"{type(self).__name__} sees the image alone: `label_map` must be None. "
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
        """``x`` in the dtype that the losses are computed in."""
        return ops.cast(x, self.variable_dtype)

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def output_shapes(blocks, shape):
    """Shapes behind each of ``blocks``, one after the other, of an input of ``shape``."""
    shapes = []
    for block in blocks:
        shape = block.compute_output_shape(shape)
        shapes.append(shape)
    return shapes
