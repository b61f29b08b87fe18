"""Intra-cluster LPIPS (Ojha et al. 2021): how much images near one training picture differ.

A model that copies its training pictures has clusters of equal images, and a value of 0.
"""

from typing import NamedTuple

import numpy as np

from oasis_tf.io.images import resize_image
from oasis_tf.io.progress import progress_bar
from oasis_tf.metrics.features.networks import PIECE

PUBLISHED_SAMPLES = 1000
MOST = 50  # images of a cluster whose pairs are compared
_SIDE = 256  # of images in the published protocol


class Intra(NamedTuple):
    """What was found.

    Attributes:
        value: mean over the clusters of at least two images; NaN if there is none.
        by_cluster: mean over the pairs of each cluster, floats; NaN of fewer than two images.
        sizes: images in each cluster, ints, before any is left out.
    """

    value: float
    by_cluster: list
    sizes: list


def score(lpips, generated, training, seed=0):
    """The value of generated images.

    Every image goes to the cluster of its nearest training picture. Of a cluster at most ``MOST``,
    drawn at random, are compared in pairs; the training picture is not one of them.

    Args:
        lpips: ``PerceptualDistance``.
        generated: uint8 [S,H,W,3].
        training: uint8 [K,H,W,3].
        seed: int, of the draw.

    Returns:
        ``Intra``.
    """
    nearest = _nearest(lpips, generated, _resized(training))
    rng, by_cluster = np.random.default_rng(seed), []
    sizes = np.bincount(nearest, minlength=len(training))
    with progress_bar(len(training), "cluster", "intra-LPIPS") as progress:
        for k in range(len(training)):
            members = rng.permutation(np.flatnonzero(nearest == k))[:MOST]
            by_cluster.append(_mean_of_pairs(lpips, generated[members]))
            progress.update()
    of_pairs = [value for value in by_cluster if not np.isnan(value)]
    value = float(np.mean(of_pairs)) if of_pairs else float("nan")
    return Intra(value, by_cluster, sizes.tolist())


def _nearest(lpips, generated, training):
    """Numbers int64 [S] of the nearest training pictures."""
    found = []
    with progress_bar(len(generated), "image", "clusters") as progress:
        for k in range(0, len(generated), PIECE):
            piece = _resized(generated[k : k + PIECE])
            found.append(lpips.to_references(piece, training).argmin(1))
            progress.update(len(piece))
    return np.concatenate(found)


def _mean_of_pairs(lpips, images):
    if len(images) < 2:
        return float("nan")
    pairs = np.stack(np.triu_indices(len(images), 1), axis=1)
    return float(lpips.distances(_resized(images), pairs).mean())


def _resized(images):
    return np.stack([resize_image(image, _SIDE, _SIDE) for image in images])
