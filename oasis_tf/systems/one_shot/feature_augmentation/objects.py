"""Augmentation of layout features with masks: background copied, objects pasted and moved."""

from typing import Any, NamedTuple

import tensorflow as tf

from oasis_tf import randomness
from oasis_tf.systems.one_shot.feature_augmentation import layout

_TOUCH = 0.01


class ObjectNumbers(NamedTuple):
    """Uniform numbers that decide, with the masks, what happens in a global batch of B images.

    Attributes:
        copy: [B, 1 + ATTEMPTS, 4] rectangles of background, the first is the goal.
        swap: [B // 2, ATTEMPTS, 4] rectangles.
        offsets: [N - 1, B, ATTEMPTS, 2], where objects may go.
        order: [B, N - 1], which objects move, and their order.
        coins: [B, 4], for copy, swap, paste, and how many objects move.
        pasted: [B // 2], which class.
        moves: [N - 1, B, 2], coins of duplicating and of removing.
    """

    copy: Any
    swap: Any
    offsets: Any
    order: Any
    coins: Any
    pasted: Any
    moves: Any


def draw(key, batch, num_classes):
    """``ObjectNumbers`` of a key of ``oasis_tf.randomness``."""
    tries, objects = layout.ATTEMPTS, num_classes - 1
    shapes = {
        "copy": [batch, 1 + tries, 4],
        "swap": [batch // 2, tries, 4],
        "offsets": [objects, batch, tries, 2],
        "order": [batch, objects],
        "coins": [batch, 4],
        "pasted": [batch // 2],
        "moves": [objects, batch, 2],
    }
    return ObjectNumbers(
        **{
            name: randomness.uniform(randomness.folded(key, k), shape)
            for k, (name, shape) in enumerate(shapes.items())
        }
    )


def source(numbers, mask, probability):
    """The map of sources int32 [B, h, w] that follows from numbers and masks.

    Args:
        numbers: ``ObjectNumbers``.
        mask: float [B, h, w, N] of the global batch, soft or hard.
        probability: float, of every kind of change.
    """
    mask = tf.cast(tf.stop_gradient(mask), tf.float32)
    state = layout.unchanged(*mask.shape[:3])
    state = _background_copied(state, numbers, mask, probability)
    state = _exchanged(state, numbers, mask, probability)
    for turn in range(mask.shape[-1] - 1):
        state = _moved(state, numbers, mask, probability, turn)
    return state


def _now(mask, state):
    """Masks as they are after the changes so far."""
    return tf.gather(tf.reshape(mask, (-1, mask.shape[-1])), state)


def _objects(mask):
    return tf.reduce_sum(tf.abs(mask[..., 1:]), axis=-1)


def _touches(region, objects):
    """Whether regions [..., h, w] touch objects [..., h, w]."""
    return tf.reduce_sum(tf.where(region, objects, 0.0), axis=(-2, -1)) > _TOUCH


def _first(accepted, values):
    """(any, the first accepted one of ``values``) of attempts in axis 1."""
    choice = tf.argmax(tf.cast(accepted, tf.int32), axis=1)
    return tf.reduce_any(accepted, axis=1), tf.gather(values, choice, axis=1, batch_dims=1)


def _background_copied(state, numbers, mask, probability):
    batch, height, width = state.shape
    objects = _objects(mask)
    goal = layout.rectangles(numbers.copy[:, 0], height, width)
    tries = layout.rectangles(numbers.copy[:, 1:], height, width, goal[:, None])
    region = layout.inside(goal, height, width)
    # x2, y2 are exclusive.
    x1, x2, y1, y2 = tf.unstack(goal[:, None], axis=-1)
    a1, a2, b1, b2 = tf.unstack(tries, axis=-1)
    apart = (a2 <= x1) | (x2 <= a1) | (b2 <= y1) | (y2 <= b1)
    free = ~_touches(layout.inside(tries, height, width), objects[:, None])
    possible, origin = _first(apart & free, tries)
    on = possible & ~_touches(region, objects) & (numbers.coins[:, 0] < probability)
    step = tf.stack([origin[:, 0] - goal[:, 0], origin[:, 2] - goal[:, 2]], axis=-1)
    return tf.where(region & on[:, None, None], _stepped(state, step), state)


def _stepped(values, step):
    """``values`` [B, h, w] at places that are ``step`` [B, 2] further; the nearest inside."""
    batch, height, width = values.shape
    rows = tf.clip_by_value(tf.range(height)[None] + step[:, :1], 0, height - 1)
    columns = tf.clip_by_value(tf.range(width)[None] + step[:, 1:], 0, width - 1)
    values = tf.gather(values, rows, axis=1, batch_dims=1)
    return tf.gather(values, columns, axis=2, batch_dims=1)


def _exchanged(state, numbers, mask, probability):
    """Background swapped between the images of pairs, then an object of the first pasted."""
    pairs = state.shape[0] // 2
    if not pairs:
        return state
    height, width = state.shape[1:]
    coins = numbers.coins[: 2 * pairs]
    first, second = (_objects(_now(mask, state))[k : 2 * pairs : 2] for k in (0, 1))
    tries = layout.rectangles(numbers.swap, height, width)
    touched = _touches(layout.inside(tries, height, width), (first + second)[:, None])
    possible, chosen = _first(~touched, tries)
    on = possible & (coins[0::2, 1] < probability)
    state = layout.exchanged(state, layout.inside(chosen, height, width) & on[:, None, None])
    return _pasted(state, numbers, mask, probability, pairs)


def _pasted(state, numbers, mask, probability, pairs):
    now = _now(mask, state)
    first, second = (now[k : 2 * pairs : 2] for k in (0, 1))
    objects = mask.shape[-1] - 1
    number = 1 + tf.cast(numbers.pasted * objects, tf.int32)
    area = tf.argmax(first, axis=-1, output_type=tf.int32) == number[:, None, None]
    on = ~_touches(area, _objects(second)) & (numbers.coins[0 : 2 * pairs : 2, 2] < probability)
    sources = [state[k : 2 * pairs : 2] for k in (0, 1)]
    pasted = tf.where(area & on[:, None, None], *sources)
    return layout.rejoined(sources[0], pasted, state)


def _moved(state, numbers, mask, probability, turn):
    """One object of every image, the ``turn``-th, duplicated or removed."""
    batch, height, width = state.shape
    objects = mask.shape[-1] - 1
    count = 1 + tf.cast(numbers.coins[:, 3] * objects, tf.int32)
    number = 1 + tf.argsort(numbers.order, axis=-1)[:, turn]
    labels = tf.argmax(_now(mask, state), axis=-1, output_type=tf.int32)
    area = labels == number[:, None, None]
    box = _box(area)
    steps = _steps(numbers.offsets[turn], box, height, width)
    free = [
        tf.reduce_all(~area | (_stepped(labels, steps[:, k]) == 0), axis=(1, 2))
        for k in range(layout.ATTEMPTS)
    ]
    possible, step = _first(tf.stack(free, axis=1), steps)
    possible &= tf.reduce_any(area, axis=(1, 2)) & (turn < count)
    duplicate, remove = (
        (possible & (numbers.moves[turn, :, k] < probability))[:, None, None] for k in (0, 1)
    )
    # The moved area lies inside the map, so that places at its margin are not taken for it.
    goal = _stepped(area, -step) & layout.inside(_moved_box(box, step), height, width)
    state = tf.where(goal & duplicate, _stepped(state, -step), state)
    old = layout.inside(box, height, width)
    return tf.where(old & remove, _stepped(state, step), state)


def _box(area):
    """The bounding box (x1, x2, y1, y2) int [B, 4] of areas bool [B, h, w], ends exclusive."""
    parts = []
    for axis in (2, 1):
        present = tf.cast(tf.reduce_any(area, axis=axis), tf.int32)
        size = present.shape[1]
        first = tf.argmax(present, axis=1, output_type=tf.int32)
        last = size - tf.argmax(present[:, ::-1], axis=1, output_type=tf.int32)
        parts += [first, last]
    return tf.stack(parts, axis=-1)


def _steps(numbers, box, height, width):
    """Steps int [B, ATTEMPTS, 2] of boxes, uniform over their places inside the map."""
    steps = []
    for k, side in enumerate((height, width)):
        first, last = box[:, None, 2 * k], box[:, None, 2 * k + 1]
        places = tf.cast(side - (last - first) + 1, tf.float32)
        steps.append(tf.cast(numbers[..., k] * places, tf.int32) - first)
    return tf.stack(steps, axis=-1)


def _moved_box(box, step):
    return box + tf.repeat(step, 2, axis=-1)
