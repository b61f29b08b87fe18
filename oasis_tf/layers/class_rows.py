"""Weights with a row for each class: where the rows lie, and how another model's take their place.

A layer that knows classes says so of its weights, so that nobody else needs to know their layout.
"""

from typing import NamedTuple

import numpy as np


class ClassRows(NamedTuple):
    """Where the rows of the classes lie in a weight.

    Attributes:
        axis: int, the axis along which the rows lie.
        first: int, rows before that of class 0. Those after that of the last class are no class'.
        shape: tuple, form of the weight in which ``axis`` counts; None: its own.
        drawn: bool, whether a class without a row to carry over keeps the one that was drawn;
            otherwise it has zeros.
    """

    axis: int
    first: int = 0
    shape: tuple | None = None
    drawn: bool = True


def mark(variable, *where, **further):
    """Notes the ``ClassRows`` of a Keras variable, given by their attributes."""
    variable.class_rows = ClassRows(*where, **further)


def class_rows(variable):
    """The ``ClassRows`` of a Keras variable; None if it does not depend on the classes."""
    return getattr(variable, "class_rows", None)


def carried_over(drawn, other, rows, sources):
    """A weight of a new model with the rows of another model's, class by class.

    Args:
        drawn: array of the new model.
        other: array of the other model, which may have another number of classes.
        rows: ``ClassRows`` of both.
        sources: for each class of the new model, the class of the other one whose row it takes, or
            None for no row.

    Returns:
        array like ``drawn``. Rows of no class, such as those of noise, are the other model's.
    """
    shape = list(rows.shape or drawn.shape)
    shape[rows.axis] = -1
    new, old = (np.moveaxis(array.reshape(shape), rows.axis, 0) for array in (drawn, other))
    end = len(old) - (len(new) - rows.first - len(sources))
    kept = new if rows.drawn else np.zeros_like(new)
    classes = [
        kept[rows.first + index] if source is None else old[rows.first + source]
        for index, source in enumerate(sources)
    ]
    joined = np.concatenate([old[: rows.first], np.stack(classes), old[end:]])
    return np.moveaxis(joined, 0, rows.axis).reshape(drawn.shape).astype(drawn.dtype)
