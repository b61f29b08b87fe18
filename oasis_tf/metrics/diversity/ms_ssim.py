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

import numpy as np
import scipy.ndimage

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # finest scale first
WINDOW = 11
SIGMA = 1.5
C1 = (0.01 * 255) ** 2
C2 = (0.03 * 255) ** 2


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
    all of its pairs. Memory: a few float64 copies of one colour channel of all images, however many
    pairs there are.

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
    plane, product = plane.astype(np.float64), np.ones(len(pairs))
    for scale, weight in enumerate(weights):
        coarsest = scale == len(weights) - 1
        product *= np.maximum(_compare(plane, pairs, with_luminance=coarsest), 0) ** weight
        plane = _halve(plane)
    return product


def _compare(plane, pairs, with_luminance):
    """Mean contrast-structure of pairs, perhaps times luminance: float64 [B,H,W] -> float64 [P]."""
    mean = _blur(plane)
    variance = _blur(plane**2) - mean**2
    values = []
    for a, b in pairs:
        covariance = _blur(plane[a] * plane[b]) - mean[a] * mean[b]
        similarity = (2 * covariance + C2) / (variance[a] + variance[b] + C2)
        if with_luminance:
            similarity *= (2 * mean[a] * mean[b] + C1) / (mean[a] ** 2 + mean[b] ** 2 + C1)
        values.append(similarity.mean())
    return np.array(values)


def _blur(planes):
    """Windowed mean, [...,H,W] -> [...,H - 10,W - 10]."""
    radius = WINDOW // 2
    blurred = scipy.ndimage.gaussian_filter(planes, SIGMA, radius=radius, axes=(-2, -1))
    return blurred[..., radius:-radius, radius:-radius]


def _halve(plane):
    """Means of 2×2 pixels, [B,H,W] -> [B,ceil(H/2),ceil(W/2)]."""
    plane = np.pad(plane, [(0, 0), *((0, side % 2) for side in plane.shape[1:])], "edge")
    rows = plane[:, ::2] + plane[:, 1::2]
    return (rows[:, :, ::2] + rows[:, :, 1::2]) / 4
