"""Losses beside the adversarial one, without weights of their own: feature matching and KL."""

from keras import ops
from keras.backend import standardize_dtype

from oasis_tf.layers.replicas import num_replicas


def feature_matching_loss(features_fake, features_real):
    """How far D's features of generated images are from those of the real ones.

    Args:
        features_fake, features_real: for every scale a list of feature maps, as a discriminator
            returns them with ``return_features=True``. No gradient flows into the real ones. Means
            of features in half precision are taken in float32.

    Returns:
        a scalar: the mean over scales of the sum over layers of ``mean(|fake - real|)``.

    Raises:
        ValueError: other numbers of scales or layers on the two sides, or none.
    """
    if not features_fake:
        raise ValueError("Feature matching needs the features of one scale at least.")
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
    """KL divergence of the encoder's normal distributions from the standard one.

    ``-0.5 * sum(1 + log_variance - mean**2 - exp(log_variance))`` is a sum over the global batch
    and all dimensions, not a mean. A replica's share is counted as many times as there are
    replicas, so that the mean of the replicas' losses is that sum.

    Args:
        mean, log_variance: float [B, Z].

    Returns:
        a scalar.
    """
    terms = 1 + log_variance - ops.square(mean) - ops.exp(log_variance)
    return -0.5 * ops.sum(terms) * num_replicas()
