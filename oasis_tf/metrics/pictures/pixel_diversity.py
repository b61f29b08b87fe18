"""Pixel diversity (Shaham et al. 2019)."""

import numpy as np


def pixel_diversity(samples, training):
    """How much pixels vary over samples, against how much they vary over the training pictures.

    Args:
        samples: uint8 [S,H,W,3], S >= 2.
        training: uint8 [K,H,W,3].

    Returns:
        float: the standard deviation over the samples of every value, averaged; divided by the
        standard deviation of all pixels of a channel, averaged over channels and pictures. NaN if
        all pictures have one colour.
    """
    varied = np.std(samples.astype(np.float64), axis=0).mean()
    spread = np.std(training.astype(np.float64), axis=(1, 2)).mean()
    return float(varied / spread) if spread else float("nan")
