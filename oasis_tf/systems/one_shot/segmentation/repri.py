"""The classifier of RePRI on fixed features: few numbers, fitted to a support and to the query.

(Boudiaf et al. 2021.) A pixel is of the object with probability sigmoid(20 (cos(z, w) - b)), z its
feature. The prototype w begins as the mean feature of the support's object, b as the mean cosine of
the query. Both take 50 steps of SGD on the cross-entropy of the support, on the entropy of the
query, and on the divergence of the query's mean prediction from a share of the object that is
estimated on the way.
"""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from oasis_tf.io.label_files import resize_label_map
from oasis_tf.metrics.segmentation import compact_segmenter

SHOTS = 10  # generated pairs that are added to the one of the support
_SCALE, _STEPS, _RATE, _ESTIMATED_AT = 20.0, 50, 0.025, 10
_LEAST = 1e-10


@dataclasses.dataclass(frozen=True)
class Features:
    """A network that gives features of pixels.

    Attributes:
        network: Keras model, float32 [B,H,W,3] in [-1, 1] -> [B,h,w,C].
        name: as in names of values.
    """

    network: keras.Model
    name: str

    def __call__(self, images):
        """float32 [B,h,w,C] of unit length, of uint8 [B,H,W,3]."""
        found = self.network.predict_on_batch(compact_segmenter.normalized(images))
        return tf.math.l2_normalize(tf.cast(found, tf.float32), axis=-1, epsilon=_LEAST)


def features_of(network, architecture, name):
    """`Features` of a segmenter: what lies below its logits."""
    output = network.get_layer(architecture.feature_layer).output
    return Features(keras.Model(network.input, output), name)


def logits(features, prototype, bias):
    """Logits of the object, of features of unit length: [...,C] -> [...]."""
    cosine = tf.tensordot(features, tf.math.l2_normalize(prototype), axes=1)
    return _SCALE * (cosine - bias)


def probabilities(features, prototype, bias):
    """Probabilities of the object, of features of unit length: [...,C] -> [...]."""
    return tf.sigmoid(logits(features, prototype, bias))


def entropy(p, q):
    """Cross-entropy of a probability p with respect to q, both of an object."""
    of_object, of_rest = (tf.math.log(tf.maximum(share, _LEAST)) for share in (q, 1 - q))
    return -(p * of_object + (1 - p) * of_rest)


def loss(support, mask, query, prototype, bias, share, divergence_weight):
    """What the classifier minimises.

    Args:
        support: float32 [K,h,w,C], features of unit length.
        mask: float32 [K,h,w], 1 on the object.
        query: float32 [h,w,C].
        prototype, bias: float32 [C] and scalar.
        share: scalar, the estimated share of the object in the query.
        divergence_weight: float.
    """
    # Of logits: single precision rounds probabilities near 1 to 1.
    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits
    of_query = logits(query, prototype, bias)
    found = tf.sigmoid(of_query)
    mean = tf.reduce_mean(found)
    known = tf.reduce_mean(cross_entropy(mask, logits(support, prototype, bias)))
    divergence = entropy(mean, share) - entropy(mean, mean)
    own = tf.reduce_mean(cross_entropy(found, of_query)) / tf.cast(
        tf.shape(support)[0], found.dtype
    )
    return known + divergence_weight * divergence + own


def classify(support, mask, query):
    """Fits the classifier and applies it to the query.

    Args:
        support: float32 [K,h,w,C], features of unit length.
        mask: bool [K,h,w].
        query: float32 [h,w,C].

    Returns:
        float32 [h,w], probabilities of the object.

    Raises:
        ValueError: no pixel of the support is of the object.
    """
    if not mask.any():
        raise ValueError(
            "The object must be in the support at the size of the features. Received: masks "
            f"{mask.shape} without a pixel of it."
        )
    support, query = tf.convert_to_tensor(support), tf.convert_to_tensor(query)
    mask, shots = tf.constant(mask.astype(np.float32)), len(mask)
    area = tf.reduce_sum(mask, axis=(1, 2), keepdims=True)
    present = tf.cast(area[:, 0, 0] > 0, tf.float32)
    means = tf.reduce_sum(support * (mask / tf.maximum(area, 1))[..., None], axis=(1, 2))
    prototype = tf.reduce_sum(means, axis=0) / tf.reduce_sum(present)
    bias = tf.reduce_mean(tf.tensordot(query, tf.math.l2_normalize(prototype), axes=1))
    weight = tf.constant(1 / shots)
    for step in range(_STEPS):
        if step in (0, _ESTIMATED_AT):
            share = tf.reduce_mean(probabilities(query, prototype, bias))
        if step == _ESTIMATED_AT:
            weight += 1
        prototype, bias = _stepped(support, mask, query, prototype, bias, share, weight)
    return probabilities(query, prototype, bias)


@tf.function(autograph=False, reduce_retracing=True)
def _stepped(support, mask, query, prototype, bias, share, weight):
    """(prototype, bias) after a step."""
    with tf.GradientTape() as tape:
        tape.watch([prototype, bias])
        value = loss(support, mask, query, prototype, bias, share, weight)
    of_prototype, of_bias = tape.gradient(value, [prototype, bias])
    return prototype - _RATE * of_prototype, bias - _RATE * of_bias


def predict(features, support_images, support_masks, image, height, width):
    """The object in a query image.

    Args:
        features: `Features`.
        support_images: uint8 [K,H,W,3]. support_masks: bool [K,H,W].
        image: uint8 [H,W,3].
        height, width: of the result.

    Returns:
        bool [height,width].
    """
    support = features(support_images)
    (query,) = features(image[None])
    size = support.shape[1:3]
    mask = np.stack([resize_label_map(one, *size) for one in support_masks])
    found = classify(support, mask, query)
    return tf.image.resize(found[..., None], (height, width)).numpy()[..., 0] > 0.5
