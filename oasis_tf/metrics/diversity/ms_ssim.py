"""Multi-scale structural similarity of pairs of images (Wang, Simoncelli & Bovik, Asilomar 2003).

OASIS measures diversity by it (ICLR 2021, table 2): the mean over all pairs of the images that were
generated from one label map, the lower the more diverse. In float64:

- An image of 8 bits has a range of L = 255; C1 = (0.01 L)², C2 = (0.03 L)². Local means, variances
  and covariances are those of an 11×11 Gaussian window (sigma 1.5, sum 1), taken where the window
  lies inside the image. The variances are the window's own, without Bessel's correction.
- From one scale to the next both sides are halved by means of 2×2 pixels; a side that is odd
  repeats its last line.
- The similarity is the product over scales of (mean contrast-structure)^weight, times the mean of
  luminance · contrast-structure, to the last weight, at the coarsest scale. A mean below zero has
  no real power and counts as 0 (so do most implementations, `tf.image.ssim_multiscale` among them):
  a pair that is anti-correlated at any scale has a similarity of 0.
- The three colour channels are compared each by itself and their similarities averaged, as
  `tf.image.ssim_multiscale` does. Wang et al. define luminance only.

The published definition has five scales and needs sides of 176 pixels. Smaller images get as many
scales as have room for the window, the finest ones; their weights are scaled to the sum 1. Such a
similarity compares with no published one, and `name` says how many scales it has. The five weights
of the publication are taken as they are: their sum is 1.0001.
"""

import functools

import numpy as np
import tensorflow as tf

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # finest scale first
WINDOW = 11
SIGMA = 1.5
C1 = (0.01 * 255) ** 2
C2 = (0.03 * 255) ** 2
PIXELS_AT_ONCE = 2**20  # images or pairs times pixels: 8 MiB for each tensor in between


def num_scales(height, width):
    """Scales that images of a size are compared at.

    Args:
        height, width: sides of the images, in pixels.

    Returns:
        int 1..5: the most for which the smaller side is at least 11 · 2^(scales - 1).

    Raises:
        ValueError: the window fits into no image of that size.
    """
    side = min(height, width)
    if side < WINDOW:
        raise ValueError(
            f"MS-SSIM needs images of at least {WINDOW}×{WINDOW} pixels, the size of its window. "
            f"Received: height={height}, width={width}. Use larger images or leave MS-SSIM out."
        )
    return min(len(WEIGHTS), (side // WINDOW).bit_length())


def name(height, width):
    """Name of the value for images of a size: `ms_ssim_5scales` is the published definition."""
    return f"ms_ssim_{num_scales(height, width)}scales"


def similarities(image, pairs):
    """MS-SSIM of pairs of images.

    What belongs to one image (its scales, local means and variances) is computed once and serves
    all of its pairs. Memory: a few float64 copies of one colour channel of all images and some
    100 MiB for what is computed in between, however many pairs there are.

    Args:
        image: uint8 [B,H,W,3].
        pairs: integers [P,2], indices of images in 0..B-1.

    Returns:
        float64 [P] in [0, 1]; 1 for equal images.

    Raises:
        ValueError: an image or a pair of another shape, type or range, or images below 11×11.
    """
    image, pairs = np.asarray(image), np.asarray(pairs)
    _check(image, pairs)
    scales = num_scales(*image.shape[1:3])
    if not len(pairs):
        return np.zeros(0)
    channels = [_channel(image[..., c], pairs, _weights(scales)) for c in range(3)]
    return np.mean(channels, axis=0)


def _weights(scales):
    """Weights of the scales, the finest first."""
    if scales == len(WEIGHTS):
        return WEIGHTS  # as published and as others use them, though their sum is 1.0001
    return np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])


def _check(image, pairs):
    if image.dtype != np.uint8 or image.ndim != 4 or image.shape[-1] != 3:
        raise ValueError(
            "`image` must be uint8 [B,H,W,3]. "
            f"Received: dtype={image.dtype}, shape={image.shape}. Convert the images first."
        )
    if not np.issubdtype(pairs.dtype, np.integer) or pairs.ndim != 2 or pairs.shape[-1] != 2:
        raise ValueError(
            "`pairs` must be integers [P,2], two image indices in each row. "
            f"Received: dtype={pairs.dtype}, shape={pairs.shape}"
        )
    if pairs.size and (pairs.min() < 0 or pairs.max() >= len(image)):
        raise ValueError(
            f"`pairs` must hold indices of the {len(image)} images, 0..{len(image) - 1}. "
            f"Received: values from {pairs.min()} to {pairs.max()}"
        )


def _channel(plane, pairs, weights):
    """MS-SSIM of pairs in one channel: uint8 [B,H,W] -> float64 [P]."""
    plane = tf.constant(plane, tf.float64)
    product = np.ones(len(pairs))
    for weight in weights[:-1]:
        product *= np.maximum(_compare(_contrast, plane, pairs), 0) ** weight
        plane = _halve(plane)
    return product * np.maximum(_compare(_similarity, plane, pairs), 0) ** weights[-1]


def _compare(measure, plane, pairs):
    """`measure` of pairs of planes, few at a time: float64 [B,H,W] -> float64 [P]."""
    at_once = max(1, PIXELS_AT_ONCE // int(plane.shape[1] * plane.shape[2]))
    moments = [_moments(plane[k : k + at_once]) for k in range(0, len(plane), at_once)]
    mean, variance = [tf.concat(parts, axis=0) for parts in zip(*moments, strict=True)]
    values = []
    for start in range(0, len(pairs), at_once):
        chunk = tf.constant(pairs[start : start + at_once], tf.int32)
        values.append(measure(plane, mean, variance, chunk).numpy())
    return np.concatenate(values)


@functools.cache
def _window():
    """Half of the symmetric window of one dimension, from its edge to its centre, as floats."""
    offsets = np.arange(WINDOW) - WINDOW // 2
    window = np.exp(-0.5 * (offsets / SIGMA) ** 2)
    return tuple((window / window.sum())[: WINDOW // 2 + 1].tolist())


def _blur(planes):
    """Windowed mean, [B,H,W] -> [B,H - 10,W - 10]."""
    # Sums of shifted planes take less than half the time of a float64 convolution on a CPU.
    lines = _weighted_sum(lambda k: planes[:, k : k - WINDOW + 1 or None])
    return _weighted_sum(lambda k: lines[:, :, k : k - WINDOW + 1 or None])


def _weighted_sum(shifted):
    """Sum of the planes `shifted(0)`..`shifted(10)` with the weights of the window."""
    *sides, centre = _window()
    terms = [weight * (shifted(k) + shifted(WINDOW - 1 - k)) for k, weight in enumerate(sides)]
    return tf.add_n([centre * shifted(WINDOW // 2), *terms])


PLANES = tf.TensorSpec([None, None, None], tf.float64)
PAIRS = tf.TensorSpec([None, 2], tf.int32)


@tf.function(input_signature=[PLANES])
def _moments(plane):
    mean = _blur(plane)
    return mean, _blur(plane**2) - mean**2


@tf.function(input_signature=[PLANES, PLANES, PLANES, PAIRS])
def _contrast(plane, mean, variance, pairs):
    return tf.reduce_mean(_contrast_map(plane, mean, variance, pairs), axis=(1, 2))


@tf.function(input_signature=[PLANES, PLANES, PLANES, PAIRS])
def _similarity(plane, mean, variance, pairs):
    first, second = tf.gather(mean, pairs[:, 0]), tf.gather(mean, pairs[:, 1])
    luminance = (2 * first * second + C1) / (first**2 + second**2 + C1)
    return tf.reduce_mean(luminance * _contrast_map(plane, mean, variance, pairs), axis=(1, 2))


def _contrast_map(plane, mean, variance, pairs):
    """Contrast-structure of pairs at every place of the window, [P,H - 10,W - 10]."""

    def both(planes):
        return tf.gather(planes, pairs[:, 0]), tf.gather(planes, pairs[:, 1])

    covariance = _blur(tf.multiply(*both(plane))) - tf.multiply(*both(mean))
    return (2 * covariance + C2) / (tf.add(*both(variance)) + C2)


def _halve(plane):
    """Means of 2×2 pixels, [B,H,W] -> [B,ceil(H/2),ceil(W/2)]."""
    height, width = plane.shape[1:]
    plane = tf.pad(plane, [[0, 0], [0, height % 2], [0, width % 2]], "SYMMETRIC")
    rows = plane[:, ::2] + plane[:, 1::2]
    return (rows[:, :, ::2] + rows[:, :, 1::2]) / 4
