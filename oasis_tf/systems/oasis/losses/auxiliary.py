"""Auxiliary losses without trainable weights: feature matching and KL divergence."""

from keras import ops
from keras.backend import standardize_dtype

from oasis_tf.layers.replicas import num_replicas


def feature_matching_loss(features_fake, features_real):
    """L1 distance between D's features of generated and of real images.

    Args:
        features_fake, features_real: one list of feature maps per scale, as a discriminator returns
            with ``return_features=True``. No gradient flows into the real ones. Means of features
            in half precision are taken in float32.

    Returns:
        a scalar: the mean over scales of the sum over layers of ``mean(|fake - real|)``.

    Raises:
        ValueError: the numbers of scales or layers differ, or there are none.
    """
    if not features_fake:
        raise ValueError("Feature matching needs features of at least one scale. Received: none.")
    scales = [
        sum(_mean_distance(*layer) for layer in zip(fake, real, strict=True))
        for fake, real in zip(features_fake, features_real, strict=True)
    ]
    return sum(scales) / len(scales)


def _mean_distance(fake, real):
    distance = ops.abs(fake - ops.stop_gradient(real))
    half = standardize_dtype(distance.dtype) in ("float16", "bfloat16")
    return ops.mean(ops.cast(distance, "float32") if half else distance)


def kld_loss(mean, log_variance):
    """KL divergence of the encoder's normal distributions from the standard normal.

    ``-0.5 * sum(1 + log_variance - mean**2 - exp(log_variance))`` is a sum over the global batch
    and all dimensions, not a mean. Every replica multiplies its sum by the number of replicas, so
    that the mean of the replicas' losses is the sum over the global batch.

    Args:
        mean, log_variance: float [B, Z].

    Returns:
        a scalar.
    """
    terms = 1 + log_variance - ops.square(mean) - ops.exp(log_variance)
    return -0.5 * ops.sum(terms) * num_replicas()
