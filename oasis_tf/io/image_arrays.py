"""Images that callers give as arrays: one rule for their types and ranges."""

import warnings

import numpy as np

# Floats may leave [-1, 1] by rounding.
_ROUNDING = 1e-3


def checked_images(images, name="image"):
    """Images as uint8, or as floats in [-1, 1].

    Integers of any width mean 0...255, floats lie in [-1, 1]. Nothing is scaled by a guess. Floats
    that all lie in [0, 1] are warned of, once: they are usually meant as 0 for black.

    Args:
        images: array of any shape, anything that NumPy reads, or a TensorFlow tensor.
        name: name of the argument in messages.

    Returns:
        NumPy array, uint8 or as it was.

    Raises:
        ValueError: neither integers nor floats, integers outside 0...255, floats outside [-1, 1] or
            not finite.
    """
    images = np.asarray(images)
    if images.dtype.name == "bfloat16":
        images = images.astype(np.float32)
    if images.dtype.kind not in "iuf":
        raise ValueError(
            f"`{name}` must be integers in 0...255 or floats in [-1, 1]. Received: "
            f"dtype={images.dtype}, shape={images.shape}."
        )
    if images.dtype == np.uint8 or not images.size:
        return images
    low, high = images.min(), images.max()
    if images.dtype.kind != "f":
        if low < 0 or high > 255:
            raise ValueError(
                f"`{name}` of integers must lie in 0...255. Received: dtype={images.dtype}, values "
                f"from {low} to {high}. Scale it to 8 bits first; of 16 bits, for example, by "
                f'`({name} // 256).astype("uint8")`.'
            )
        return images.astype(np.uint8)
    if not (low >= -1 - _ROUNDING and high <= 1 + _ROUNDING):  # NaN, too
        raise ValueError(
            f"`{name}` of floats must lie in [-1, 1], -1 for black. Received: "
            f"dtype={images.dtype}, values from {low:g} to {high:g}. Of values in 0...255 give "
            f"`{name} / 127.5 - 1`, or integers; values beyond [-1, 1] after resizing are to be "
            "clipped."
        )
    if low >= 0:
        warnings.warn(
            "An image of floats lies in [0, 1] as a whole. Floats are taken to lie in [-1, 1], so "
            "that 0 is mid grey. If 0 is black in it, give `2 * image - 1`, or integers.",
            stacklevel=1,
        )
    return images
