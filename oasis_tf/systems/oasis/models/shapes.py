"""Checks of the shapes of images and label maps, for all networks."""


def nearest_multiples(size, multiple):
    """The multiples below (if positive) and above ``size``."""
    below = size // multiple * multiple
    return [m for m in (below, below + multiple) if m > 0]


def check_divisible(height, width, multiple, what):
    """Raises ValueError unless both sides (int, or None if unknown) divide by ``multiple``."""
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
