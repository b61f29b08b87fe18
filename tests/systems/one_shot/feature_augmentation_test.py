"""Feature augmentation: rules on known tensors, and masks against a slow NumPy reference."""

import numpy as np
import pytest
import tensorflow as tf

from oasis_tf import randomness
from oasis_tf.systems.one_shot.feature_augmentation import content, layout, objects

KEY = randomness.make_key(3, randomness.named_stream("one_shot/test"))


# === Content ===


def test_content_is_copied_one_way_and_dropped():
    vectors = tf.reshape(tf.range(5 * 4, dtype=tf.float32), (5, 1, 1, 4)) + 1
    mix = np.array([[1, 0, 0, 1], [0, 1, 0, 0]], bool)
    found = content.apply(vectors, content.ContentDecisions(mix, np.zeros(4, bool)), 5)
    wanted = vectors.numpy()[:, 0, 0].copy()
    wanted[0, [0, 3]], wanted[2, 1] = wanted[1, [0, 3]], wanted[3, 1]
    np.testing.assert_array_equal(found[:, 0, 0], wanted)
    drop = np.array([0, 0, 1, 0], bool)
    dropped = content.apply(vectors, content.ContentDecisions(mix, drop), 5)
    np.testing.assert_array_equal(dropped[:, 0, 0], np.where(drop, 0, wanted))


def test_only_the_background_of_object_vectors_changes():
    vectors = tf.random.stateless_normal((6, 1, 1, 3), (1, 2))
    decisions = content.ContentDecisions(np.ones((1, 3), bool), np.zeros(3, bool))
    found = content.apply(vectors, decisions, 2)
    np.testing.assert_array_equal(found[2:], vectors[2:])
    np.testing.assert_array_equal(found[0], vectors[1])


def test_shares_and_coins_of_content():
    always = content.draw(KEY, 5, 100, 1.0)
    assert always.mix.shape == (2, 100)
    counts = [*np.sum(always.mix, axis=1), np.sum(always.drop)]
    assert all(10 <= count < 30 for count in counts) and len(set(counts)) > 1
    never = content.draw(KEY, 5, 100, 0.0)
    assert not np.any(never.mix) and not np.any(never.drop)


# === Rectangles ===


def test_rectangles_follow_the_rule():
    """Truncation towards zero, ends exclusive, shifted inside; the last row is never inside."""
    numbers = np.random.default_rng(0).random((500, 4), np.float32)
    found = layout.rectangles(tf.constant(numbers), 12, 16).numpy()
    for (a, b, s, t), (x1, x2, y1, y2) in zip(numbers, found, strict=True):
        for centre, length, side, got in ((a, s, 12, (x1, x2)), (b, t, 16, (y1, y2))):
            length = np.float32(0.1) + np.float32(0.5 - 0.1) * length
            first = int(np.float32((centre - length / 2) * side))
            last = int(np.float32((centre + length / 2) * side))
            if first < 0:
                first, last = 0, last - first
            if last >= side:
                first, last = first - (last - side + 1), side - 1
            assert got == (first, last)
    assert found[:, 1].max() <= 11 and found[:, 3].max() <= 15 and found.min() >= 0


def test_swap_and_paste():
    features = tf.random.stateless_normal((3, 6, 6, 2), (1, 2))
    chosen = layout.Rectangles(tf.constant([[1, 3, 2, 5]]), tf.constant([True]))
    swapped = layout.apply(features, chosen.source(3, 6, 6)).numpy()
    pasted = layout.apply(features, chosen.source(3, 6, 6, one_way=True)).numpy()
    wanted = features.numpy().copy()
    wanted[0, 1:3, 2:5] = features[1, 1:3, 2:5]
    wanted[1, 1:3, 2:5] = features[0, 1:3, 2:5]
    np.testing.assert_array_equal(swapped, wanted)
    wanted[1] = features[1]
    np.testing.assert_array_equal(pasted, wanted)
    off = layout.Rectangles(chosen.rectangle, tf.constant([False]))
    np.testing.assert_array_equal(layout.apply(features, off.source(3, 6, 6)), features)


# === Objects: the specification, loop by loop ===


def reference(numbers, mask, p):
    numbers = objects.ObjectNumbers(*(np.asarray(x) for x in numbers))
    batch, height, width, classes = mask.shape
    state = np.arange(batch * height * width).reshape(batch, height, width)

    def now():
        return mask.reshape(-1, classes)[state]

    def touches(image, area):
        return np.abs(now()[image][area][:, 1:]).sum() > 0.01

    def area_of(rectangle):
        area = np.zeros((height, width), bool)
        area[rectangle[0] : rectangle[1], rectangle[2] : rectangle[3]] = True
        return area

    def rectangle(values, like=None):
        like = None if like is None else tf.constant(like)
        return layout.rectangles(tf.constant(values), height, width, like).numpy()

    for image in range(batch):  # background copied
        goal = rectangle(numbers.copy[image, 0])
        for values in numbers.copy[image, 1:]:
            origin = rectangle(values, goal)
            if (area_of(goal) & area_of(origin)).any() or touches(image, area_of(origin)):
                continue
            if numbers.coins[image, 0] < p and not touches(image, area_of(goal)):
                state[image][area_of(goal)] = state[image][area_of(origin)]
            break
    for pair in range(batch // 2):
        a, b = 2 * pair, 2 * pair + 1
        for values in numbers.swap[pair]:
            area = area_of(rectangle(values))
            if not touches(a, area) and not touches(b, area):
                if numbers.coins[a, 1] < p:
                    state[a][area], state[b][area] = state[b][area], state[a][area]
                break
        number = 1 + int(numbers.pasted[pair] * (classes - 1))
        area = now()[a].argmax(-1) == number
        if numbers.coins[a, 2] < p and not touches(b, area):
            state[b][area] = state[a][area]
    for image in range(batch):
        count = 1 + int(numbers.coins[image, 3] * (classes - 1))
        for turn, number in enumerate(1 + np.argsort(numbers.order[image])[:count]):
            move_object(state, now, numbers, p, image, turn, number)
    return state


def move_object(state, now, numbers, p, image, turn, number):
    height, width = state.shape[1:]
    labels = now()[image].argmax(-1)
    rows, columns = np.nonzero(labels == number)
    if not len(rows):
        return
    x1, x2, y1, y2 = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    for values in numbers.offsets[turn, image]:
        dx = int(values[0] * np.float32(height - (x2 - x1) + 1)) - x1
        dy = int(values[1] * np.float32(width - (y2 - y1) + 1)) - y1
        if (labels[rows + dx, columns + dy] == 0).all():
            break
    else:
        return
    if numbers.moves[turn, image, 0] < p:
        state[image, rows + dx, columns + dy] = state[image, rows, columns].copy()
    if numbers.moves[turn, image, 1] < p:
        state[image, x1:x2, y1:y2] = state[image, x1 + dx : x2 + dx, y1 + dy : y2 + dy].copy()


def scene(rng, batch=5, height=12, width=16, classes=4):
    """Masks with a small rectangle of most classes in every image."""
    labels = np.zeros((batch, height, width), np.int64)
    for image in range(batch):
        for number in range(1, classes):
            if rng.random() < 0.8:
                x, y = rng.integers(0, height - 3), rng.integers(0, width - 4)
                labels[image, x : x + 1 + rng.integers(3), y : y + 1 + rng.integers(4)] = number
    return np.eye(classes, dtype=np.float32)[labels]


@pytest.mark.parametrize("probability", [1.0, 0.5])
def test_objects_against_the_reference(probability):
    rng, changed = np.random.default_rng(1), 0
    for trial in range(12):
        mask = scene(rng)
        numbers = objects.draw(randomness.folded(KEY, trial), 5, 4)
        found = objects.source(numbers, tf.constant(mask), probability).numpy()
        np.testing.assert_array_equal(found, reference(numbers, mask, probability))
        changed += (found != np.arange(found.size).reshape(found.shape)).any()
    assert changed == 12


def test_nothing_happens_without_probability():
    mask = scene(np.random.default_rng(0))
    found = objects.source(objects.draw(KEY, 5, 4), tf.constant(mask), 0.0)
    np.testing.assert_array_equal(found, layout.unchanged(5, 12, 16))
