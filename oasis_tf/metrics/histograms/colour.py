"""How far the colours of generated images are from real ones, class by class.

ICLR 2021 (section 4, figure 6) computes "color histograms in LAB space" and the earth mover's
distance "between the real and generated sets", per class, then the mean; it defines no more. Here:

- CIE LAB of sRGB images under illuminant D65, 2° observer (`skimage.color.rgb2lab`).
- One histogram for each class and channel over all pixels of the class in all images, and the
  one-dimensional earth mover's distance between the real and the generated one, in LAB units: the
  area between their distribution functions. The distance of a class is the mean of L, a and b, so
  a class whose a alone is shifted by d has the distance d / 3.
- Bins are 0.25 LAB units wide and centred on multiples of that, so that grey has the bin of zero to
  itself. Unlike most distances this one needs no coarse bins: it tends to that of the colours
  themselves, and is never further from it than one width.

A class has no distance (NaN) without real or without generated pixels; the unknown class has none.
The paper's bins and treatment of the three channels are not known, so values compare with each
other and with the published ones in order and size only.
"""

import numpy as np

from oasis_tf.metrics.histograms.class_histograms import ClassHistograms, check_comparable

BIN_WIDTH = 0.25
# The channels share one axis: L lies in 0..100, a and b of sRGB colours in -108..99.
BIN_CENTRES = np.arange(-128, 128 + BIN_WIDTH, BIN_WIDTH)


class ColourStatistics(ClassHistograms):
    """LAB histograms of every class; channels L, a, b, bins centred on `BIN_CENTRES`."""

    CHANNELS = 3
    BINS = len(BIN_CENTRES)

    @staticmethod
    def _bins(image):
        from skimage.color import rgb2lab  # here: an extra

        places = (rgb2lab(image) - BIN_CENTRES[0]) / BIN_WIDTH
        return np.moveaxis(np.rint(places).astype(np.int64), -1, 0)


def distances(real, generated):
    """Colour distance of each class.

    Args:
        real, generated: `ColourStatistics` of the same classes.

    Returns:
        float64 [N], in LAB units, at least 0; NaN for classes without real or without generated
        pixels and for the ignored class. `class_histograms.mean_over_classes` leaves those out.

    Raises:
        ValueError: the statistics are of different classes.
    """
    check_comparable(real, generated)
    difference = np.cumsum(real.histograms() - generated.histograms(), axis=-1)
    return np.abs(difference).sum(axis=-1).mean(axis=-1) * BIN_WIDTH
