"""Shapes of the weights in files of other releases, from which settings are inferred."""

import numpy as np


def shapes(state_dict, source, kind):
    """A function of (name, number of dimensions): the shape of an entry.

    Args:
        state_dict: arrays by name.
        source: of them, in errors.
        kind: what they ought to be, in errors.

    The function raises ValueError if there is no such entry, or one of other or empty dimensions.
    """

    def shape(name, ndim):
        found = np.shape(state_dict.get(name))
        if len(found) != ndim or 0 in found:
            raise ValueError(
                f"{source} is not a {kind}: {name} must be an array of {ndim} dimensions. "
                f"Received: {found or 'nothing of this name'}."
            )
        return found

    return shape
