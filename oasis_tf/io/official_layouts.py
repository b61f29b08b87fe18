"""Layouts of the authors' PyTorch releases: kernels OIHW, and the vectors of spectral norm.

With spectral norm a layer has ``weight_orig``, ``weight_u`` [out] and ``weight_v`` [in * kh * kw].
"""

import numpy as np


def our_layout(official_name, array, state_dict):
    """Converts an official array to our layout: kernels HWIO, ``v`` flattened (kh, kw, in)."""
    array = np.asarray(array)
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if official_name.endswith("weight_v"):
        kernel = np.asarray(state_dict.get(official_name.removesuffix("weight_v") + "weight_orig"))
        # An array that does not fit its kernel stays unchanged; `fill` refuses it.
        if kernel.ndim == 4 and array.size == kernel[0].size:
            return array.reshape(kernel.shape[1:]).transpose(1, 2, 0).reshape(-1)
    return array


def official_layout(name, weights):
    """Converts an array to the official layout; inverse of `our_layout`.

    Args:
        name: our name of the array.
        weights: all our arrays by name.
    """
    array = np.asarray(weights[name])
    if array.ndim == 4:
        array = array.transpose(3, 2, 0, 1)
    elif name.endswith("/v"):
        height, width, channels, _ = weights[f"{name.removesuffix('v')}kernel"].shape
        array = array.reshape(height, width, channels).transpose(2, 0, 1).reshape(-1)
    return np.ascontiguousarray(array)
