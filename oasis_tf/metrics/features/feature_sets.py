"""What every metric of feature vectors asks of them: [images, dimensions], finite, in float64."""

import numpy as np


def checked(features, name="features", dimension=None):
    """Features as float64.

    Args:
        features: [B, D], any real type.
        name: their name in errors.
        dimension: the D that they must have, None for any.

    Returns:
        float64 [B, D]; the array itself if it was float64.

    Raises:
        ValueError: not [B, D], another D than `dimension`, or NaN or infinity among the values.
    """
    features = np.asarray(features)
    if features.ndim != 2 or not features.shape[1]:
        raise ValueError(
            f"`{name}` must be [images, dimensions]. Received: {name}.shape={features.shape}"
        )
    if dimension not in (None, features.shape[1]):
        raise ValueError(
            f"`{name}` must have {dimension} dimensions, one feature network for all. "
            f"Received: {name}.shape={features.shape}"
        )
    features = features.astype(np.float64, copy=False)
    broken = np.flatnonzero(~np.isfinite(features).all(1))
    if broken.size:
        raise ValueError(
            f"`{name}` must be finite. Received: NaN or infinity in {broken.size} of "
            f"{len(features)} rows, first in row {broken[0]}; look at the images of these rows and "
            "at the weights that made them."
        )
    return features


def checked_pair(real, generated, least):
    """Features of real and of generated images, fit to be compared.

    Args:
        real: [N, D], any real type.
        generated: [M, D], any real type.
        least: how many images each must hold.

    Returns:
        float64 [N, D] and float64 [M, D].

    Raises:
        ValueError: as `checked`, the dimensions differ, or there are fewer images than `least`.
    """
    real = checked(real, "real")
    generated = checked(generated, "generated", real.shape[1])
    if min(len(real), len(generated)) < least:
        raise ValueError(
            f"At least {least} real and {least} generated images are needed. "
            f"Received: {len(real)} real, {len(generated)} generated"
        )
    return real, generated
