"""The reduced pipe: draws, label maps, rotation. Golden numbers are in the tests of `one_shot`."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from oasis_tf import randomness
from oasis_tf.augmentation import reduced

KEY = randomness.make_key(0, randomness.named_stream("augmentation/test"))
HEIGHT, WIDTH = 16, 24


def images(batch=3, scales=3):
    rng = np.random.default_rng(0)
    full = rng.random((batch, HEIGHT, WIDTH, 3), np.float32)
    found = [full]
    for _ in range(scales - 1):
        x = found[0]
        found.insert(0, x.reshape(batch, x.shape[1] // 2, 2, x.shape[2] // 2, 2, 3).mean((2, 4)))
    return [tf.constant(x) for x in found]


def draws(**given):
    """Draws of three samples, everything off but what is given."""
    values = {"zoom_top": [3, 0, 16], "zoom_left": [1, 24, 7], "crop_height": 13, "crop_width": 19}
    values |= {"crop_top": [0, 3, 1], "crop_left": [5, 0, 2], "angle": [8.0, -5.0, 0.0]}
    values |= {"down": [0.3, -0.2, 0.1], "right": [-0.06, 0.11, 0.2]}
    return reduced.ReducedDraws(**{k: np.array(v) for k, v in values.items()} | given)


CASES = ("zoom", "crop", "rotate", "flip", "shift_down", "shift_right")


def test_scales_are_aligned():
    """Every scale shows what the full size shows: of smooth images the means agree."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    full = np.stack([np.sin(y / 9), np.cos(x / 11), (x + y) / 40], -1)[None].repeat(3, 0)
    small = full.reshape(3, HEIGHT // 2, 2, WIDTH // 2, 2, 3).mean((2, 4))
    given = draws(zoom=True, crop=True, flip=True, shift_down=True, shift_right=True)
    (found, whole), _, _ = reduced.apply(given, [tf.constant(small), tf.constant(full)])
    halves = whole.numpy().reshape(3, HEIGHT // 2, 2, WIDTH // 2, 2, 3).mean((2, 4))
    np.testing.assert_allclose(found, halves, atol=0.02)


@pytest.mark.parametrize("case", CASES)
def test_label_maps_take_the_same_places(case):
    """A label map of coarse blocks is where its one-hot mask is largest."""
    blocks = np.random.default_rng(1).integers(0, 5, (3, HEIGHT // 4, WIDTH // 4))
    label_map = blocks.repeat(4, 1).repeat(4, 2).astype(np.int32)
    mask = np.eye(5, dtype=np.float32)[label_map]
    _, soft, hard = reduced.apply(draws(**{case: True}), images(), tf.constant(mask), label_map)
    soft, hard = soft.numpy(), hard.numpy()
    assert hard.dtype == np.int32 and hard.shape == label_map.shape
    sure = soft.max(-1) > 0.7
    assert sure.mean() > 0.4
    agree = soft.argmax(-1)[sure] == hard[sure]
    assert agree.mean() > (0.97 if case == "rotate" else 0.999)
    assert (hard != label_map).any()


def test_rotation_is_scipys():
    full = images(1, 1)[0]
    given = draws(rotate=True)._replace(angle=np.array([7.0]))
    found = reduced.apply(given, [full])[0][0].numpy()[0]
    turned = ndimage.rotate(full.numpy()[0], -7, axes=(0, 1), reshape=False, order=1)
    other = ndimage.rotate(full.numpy()[0], 7, axes=(0, 1), reshape=False, order=1)
    height, width = int(0.8 * HEIGHT), int(0.8 * WIDTH)
    top, left = (HEIGHT - height) // 2, (WIDTH - width) // 2
    y = np.clip((np.arange(HEIGHT) + 0.5) * height / HEIGHT - 0.5, 0, height - 1) + top
    x = np.clip((np.arange(WIDTH) + 0.5) * width / WIDTH - 0.5, 0, width - 1) + left
    grid = np.meshgrid(y, x, indexing="ij")
    both = [
        np.stack([ndimage.map_coordinates(t[..., c], grid, order=1) for c in range(3)], -1)
        for t in (turned, other)
    ]
    # SciPy leaves a margin of half a pixel out; look at the inside.
    inside = np.s_[4:-4, 4:-4]
    assert min(np.abs(found[inside] - b[inside]).max() for b in both) < 1e-5


def test_small_scales_are_blurred_unless_switched_off():
    given, scales = draws(**dict.fromkeys(CASES, tf.constant(False))), images()
    blurred = reduced.apply(given, scales)[0]
    exact = reduced.apply(given, scales, blur=False)[0]
    np.testing.assert_allclose(blurred[-1], scales[-1], atol=1e-6)
    assert np.abs(blurred[0] - scales[0]).max() > 0.01
    for got, want in zip(exact, scales, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-6)


def test_gradients_flow():
    full = images(3, 1)[0]
    with tf.GradientTape() as tape:
        tape.watch(full)
        given = draws(rotate=tf.constant(True), zoom=True)
        total = tf.reduce_sum(reduced.apply(given, [full])[0][0])
    assert np.count_nonzero(tape.gradient(total, full)) > 100


def test_draws_have_their_ranges_and_probabilities():
    drawn = [reduced.draw(randomness.folded(KEY, k), 4, 64, 96, 0.4) for k in range(60)]
    share = {name: np.mean([bool(getattr(d, name)) for d in drawn]) for name in CASES}
    for name, wanted in (("zoom", 0.2), ("crop", 0.2), ("rotate", 0.2), ("flip", 0.4)):
        assert abs(share[name] - wanted) < 0.16, name
    assert not any(d.crop & d.rotate for d in drawn)
    for d in drawn:
        assert 48 <= d.crop_height <= 64 and 72 <= d.crop_width <= 96
        assert min(d.crop_top) >= 0 and max(d.crop_top) <= 64 - d.crop_height
        assert min(d.zoom_left) >= 0 and max(d.zoom_left) <= 96
        assert np.abs(d.angle).max() <= 8
        assert np.abs(d.down).min() >= 0.05 and np.abs(d.right).max() < 0.3
    signs = np.sign([d.down for d in drawn])
    assert 0.4 < (signs > 0).mean() < 0.6
