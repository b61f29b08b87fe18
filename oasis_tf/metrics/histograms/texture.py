"""How far the textures of generated images are from real ones, class by class.

ICLR 2021 (section 4, figure 6) compares histograms of local binary patterns (Ojala et al., Pattern
Recognition 1996) by the χ² distance, per class, then the mean; it defines no more. Here:

- Grey is 0.2125 R + 0.7154 G + 0.0721 B (ITU-R BT.709, as in scikit-image), rounded to 8 bits.
- Patterns have 8 neighbours at a radius of one pixel and are uniform and invariant to rotation
  (`skimage.feature.local_binary_pattern`, "uniform"): bins 0..8 count the neighbours not darker
  than the centre where these adjoin, bin 9 holds all other patterns.
- A pixel counts for the class at its centre, whatever the classes of its neighbours. The outermost
  pixels of an image have no eight neighbours and are not counted.
- One histogram for each class over all images, shares p of the real and q of the generated ones;
  χ² = ½ Σ (p - q)² / (p + q) over bins where p + q > 0: 0 for equal, 1 for disjoint histograms.

A class has no distance (NaN) without real or without generated pixels; the unknown class has none.
The paper's patterns and its scale of χ² are not known, so values compare with each other only.
"""

import numpy as np

from oasis_tf.metrics.histograms.class_histograms import ClassHistograms, check_comparable

NEIGHBOURS = 8


class TextureStatistics(ClassHistograms):
    """Histograms of local binary patterns of every class: one channel, bins 0..9."""

    CHANNELS = 1
    BINS = NEIGHBOURS + 2
    BORDER = 1

    @staticmethod
    def _bins(image):
        from skimage.feature import local_binary_pattern  # here: an extra

        patterns = local_binary_pattern(_grey(image), NEIGHBOURS, R=1, method="uniform")
        return patterns[None, 1:-1, 1:-1].astype(np.int64)


def _grey(image):
    """Luminance, uint8 [H,W,3] -> uint8 [H,W]; in integers, so that halves round up everywhere."""
    return ((image @ np.array([2125, 7154, 721]) + 5000) // 10000).astype(np.uint8)


def distances(real, generated):
    """Texture distance of each class.

    Args:
        real, generated: `TextureStatistics` of the same classes.

    Returns:
        float64 [N] in [0, 1]; NaN for classes without real or without generated pixels and for the
        ignored class. `class_histograms.mean_over_classes` leaves those out.

    Raises:
        ValueError: the statistics are of different classes.
    """
    check_comparable(real, generated)
    p, q = real.histograms()[:, 0], generated.histograms()[:, 0]
    total = p + q  # NaN is not 0: classes without a histogram stay without a distance
    terms = np.divide((p - q) ** 2, total, out=np.zeros_like(total), where=total != 0)
    return terms.sum(axis=-1) / 2
