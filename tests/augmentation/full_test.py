"""The whole list of augmentations: identity without coins, and each part by hand."""

import numpy as np
import tensorflow as tf

from oasis_tf import randomness
from oasis_tf.augmentation import full

KEY = randomness.make_key(0, randomness.named_stream("augmentation/test"))
SIZE = (4, 16, 24)
IMAGE = tf.random.stateless_uniform((*SIZE, 3), (0, 1), -1.0, 1.0)


def nothing():
    return full.draw(KEY, *SIZE, 0.0)


def test_nothing_without_probability():
    half = IMAGE[:, ::2, ::2]
    mask = tf.nn.softmax(IMAGE)
    label_map = np.arange(np.prod(SIZE)).reshape(SIZE).astype(np.int32)
    changed, soft, hard = full.apply(nothing(), [half, IMAGE], mask, label_map)
    np.testing.assert_allclose(changed[1], IMAGE, atol=2e-5)
    np.testing.assert_allclose(changed[0], half, atol=2e-5)
    np.testing.assert_allclose(soft, mask, atol=2e-5)
    np.testing.assert_array_equal(hard, label_map)


def test_a_graph_computes_the_same():
    def augmented(image):
        return full.apply(full.draw(KEY, *SIZE, 0.7), [image])[0][0]

    found = tf.function(augmented, autograph=False)(IMAGE)
    np.testing.assert_allclose(found, augmented(IMAGE), atol=1e-4)


def test_geometry_is_shared_and_colours_are_of_images_alone():
    drawn = full.draw(KEY, *SIZE, 1.0)
    label_map = np.random.default_rng(0).integers(0, 4, SIZE).astype(np.int32)
    mask = tf.one_hot(label_map, 4)
    _, soft, hard = full.apply(drawn, [IMAGE], mask, label_map)
    sure = soft.numpy().max(-1) > 0.8
    assert sure.any()
    np.testing.assert_array_equal(soft.numpy().argmax(-1)[sure], hard.numpy()[sure])
    np.testing.assert_allclose(np.sum(soft, -1), 1, atol=1e-5)  # margins are mirrored


def test_a_flip_and_a_shift():
    flip = np.tile([[1.0, 0, 0], [0, -1, 0]], (4, 1, 1))
    changed, _, _ = full.apply(nothing()._replace(geometry=flip), [IMAGE])
    np.testing.assert_allclose(changed[0], IMAGE[:, :, ::-1], atol=2e-5)
    shift = np.tile([[1.0, 0, 2 * 2 / 16], [0, 1, 0]], (4, 1, 1))
    changed, _, _ = full.apply(nothing()._replace(geometry=shift), [IMAGE])
    np.testing.assert_allclose(changed[0][:, :-2], IMAGE[:, 2:], atol=2e-5)


def test_colours():
    where = lambda on: lambda k, value, other=0.0: tf.where(k == on, value, other)  # noqa: E731
    u, n = tf.fill([10, 1], 0.75), tf.fill([12, 1], 1.0)
    grey, red = np.array([0.3, 0.3, 0.3, 1.0]), np.array([0.9, -0.3, -0.3, 1.0])

    def of(k, colour):
        return full._colours(where(k), u, n).numpy()[0] @ colour

    np.testing.assert_allclose(of(8, grey), grey[:3] + 0.2, atol=1e-6)  # brightness
    np.testing.assert_allclose(of(9, red), red[:3] * 2**0.5, atol=1e-6)  # contrast
    np.testing.assert_allclose(of(11, grey), grey[:3], atol=1e-6)  # hue keeps grey
    np.testing.assert_allclose(np.sum(of(11, red)), np.sum(red[:3]), atol=1e-6)
    np.testing.assert_allclose(of(12, red) - 0.1, (red[:3] - 0.1) * 2, atol=1e-6)  # saturation


def test_bands_add_up():
    x = full._filtered(IMAGE, tf.ones([4, 4]))
    np.testing.assert_allclose(x, IMAGE, atol=1e-5)
    low = full._filtered(IMAGE, tf.constant([[1.0, 0, 0, 0]] * 4))
    assert np.std(low) < 0.5 * np.std(IMAGE)


def test_cut_out_and_noise():
    cut = np.tile([0.25, 0.75, 0.5, 1.0], (4, 1))
    changed = full.apply(nothing()._replace(cut=cut), [IMAGE])[0][0].numpy()
    assert not changed[:, 4:12, 12:].any() and changed[:, :4].any()
    noisy = nothing()._replace(strength=np.full(4, 0.1, np.float32))
    scales = [tf.zeros((4, 8, 12, 3)), tf.zeros((4, 16, 24, 3))]
    small, large = full.apply(noisy, scales)[0]
    assert abs(np.std(large) - 0.1) < 0.01
    pooled = large.numpy().reshape(4, 8, 2, 12, 2, 3).mean((2, 4))
    np.testing.assert_allclose(small, pooled, atol=1e-6)


def test_each_sample_for_itself():
    drawn = full.draw(KEY, 64, 8, 8, 0.3)
    cuts = np.asarray(drawn.cut)
    share = (cuts[:, 1] > cuts[:, 0]).mean()
    assert 0.1 < share < 0.5
    assert len(np.unique(np.asarray(drawn.geometry).reshape(64, -1), axis=0)) > 32


def test_the_basic_transforms_are_a_part_of_all():
    """No rotation, stretch, hue, bands or noise; what is left is drawn as it is among all."""
    basic, whole = (full.draw(KEY, *SIZE, 1.0, kinds) for kinds in (full.BASIC, full.ALL))
    geometry = basic.geometry.numpy()
    assert not geometry[:, 0, 1].any() and not geometry[:, 1, 0].any()
    np.testing.assert_allclose(np.abs(geometry[:, 0, 0]), np.abs(geometry[:, 1, 1]), rtol=1e-6)
    assert (geometry[:, 1, 1] < 0).any() and len(np.unique(geometry[:, 0, 0])) == 4  # flip, scale
    assert geometry[:, :, 2].any(0).all()  # translation
    assert basic.bands is None and basic.noise is None
    np.testing.assert_array_equal(basic.cut, whole.cut)
    grey = np.full((4, 3, 1), 0.5) @ np.ones((1, 1))
    shown = basic.colours.numpy()[:, :, :3] @ grey + basic.colours.numpy()[:, :, 3:]
    np.testing.assert_allclose(shown, shown[:, :1].repeat(3, 1), rtol=1e-5)  # grey stays grey


def test_a_label_map_goes_with_its_image():
    """An image that shows its label map shows the augmented one; what is cut out keeps labels."""
    drawn = full.draw(KEY, *SIZE, 1.0, full.BASIC)
    label_map = np.random.default_rng(0).integers(0, 3, SIZE).astype(np.int32)
    plain = drawn._replace(colours=np.tile(np.eye(3, 4, dtype=np.float32), (4, 1, 1)))
    (shown,), _, _ = full.apply(plain, [tf.one_hot(label_map, 3)])
    moved = full.moved_labels(drawn, label_map).numpy()
    shown = shown.numpy()
    sure = shown.max(-1) > 0.76  # the nearest pixel has a quarter at least
    assert 0.1 < sure.mean() < 0.9 and (moved != label_map).any() and moved.dtype == np.int32
    np.testing.assert_array_equal(shown.argmax(-1)[sure], moved[sure])
    cut = ~shown.any(-1)
    assert cut.any() and (moved[cut] > 0).any()
