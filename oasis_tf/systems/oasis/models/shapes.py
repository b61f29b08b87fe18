"""Checks of image and label map sizes at the door of both networks."""


def nearest_multiples(size, multiple):
    """The valid sizes next to ``size``: the multiple below (if positive) and the one above."""
    below = size // multiple * multiple
    return [m for m in (below, below + multiple) if m > 0]


def check_divisible(height, width, multiple, what):
    """Raises ValueError unless both sides (ints, or None where unknown) divide by ``multiple``."""
    for side, size in (("height", height), ("width", width)):
        if isinstance(size, int) and (size % multiple or size == 0):
            valid = " or ".join(map(str, nearest_multiples(size, multiple)))
            raise ValueError(
                f"The {side} of {what} must be a positive multiple of {multiple}. "
                f"Received: {side}={size}. Nearest valid: {valid}."
            )


def check_rank(shape, rank, what):
    """Raises ValueError unless ``shape`` has ``rank`` axes."""
    if len(shape) != rank:
        raise ValueError(f"`{what}` must have {rank} axes. Received: shape={tuple(shape)}.")
