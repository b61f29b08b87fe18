"""Procedural scenes: determinism, variety, rarity of classes, sizes and style."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oasis_tf.data import shapes
from oasis_tf.data.datasets import published_label_space


@pytest.fixture(scope="module")
def scenes():
    """200 scenes at 64×64: images [200, 64, 64, 3] and label maps [200, 64, 64]."""
    images, label_maps = zip(*(shapes.scene(0, k, 64, 64) for k in range(200)), strict=True)
    return np.stack(images), np.stack(label_maps)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**40),
    index=st.integers(0, 2**40),
    height=st.integers(8, 90),
    width=st.integers(8, 90),
)
def test_pure_function_of_its_arguments_at_any_size(seed, index, height, width):
    image, label_map = shapes.scene(seed, index, height, width)
    assert image.shape == (height, width, 3) and image.dtype == np.uint8
    assert label_map.shape == (height, width) and label_map.dtype == np.uint8
    assert label_map.max() < published_label_space("shapes").num_classes
    again = shapes.scene(seed, index, height, width)
    np.testing.assert_array_equal(image, again[0])
    np.testing.assert_array_equal(label_map, again[1])


def test_every_index_and_seed_is_another_scene(scenes):
    _, label_maps = scenes
    assert len(np.unique(label_maps.reshape(200, -1), axis=0)) == 200
    assert (shapes.layout(1, 0, 64, 64) != label_maps[0]).any()


def test_all_classes_occur_and_some_are_rare(scenes):
    share = np.bincount(scenes[1].ravel(), minlength=12) / scenes[1].size
    assert (share > 0.0005).all()
    assert 2 <= (share < 0.005).sum() <= 3
    assert share.max() < 0.5


def test_geometry_does_not_depend_on_size():
    for index in range(5):
        small, large = shapes.layout(0, index, 64, 64), shapes.layout(0, index, 192, 192)
        # Pixel centres of the small map are those of every third pixel of the large one.
        assert (large[1::3, 1::3] == small).mean() > 0.999


def test_one_label_map_has_many_images():
    label_map = shapes.layout(0, 3, 64, 64)
    images = np.stack([shapes.render(label_map, 0, k) for k in range(20)]).astype(float)
    assert len({image.tobytes() for image in images}) == 20
    grass = label_map == shapes.GRASS
    assert images[:, grass].mean(1).std(0).max() > 10  # the colour of a class varies
    np.testing.assert_array_equal(shapes.scene(0, 3, 64, 64)[0], shapes.render(label_map, 0, 3))


def test_most_classes_are_recognised_by_colour(scenes):
    images, label_maps = scenes
    train, test = slice(0, 150), slice(150, 200)
    colors, labels = images[train].reshape(-1, 3) / 255.0, label_maps[train].ravel()
    means = np.stack([colors[labels == k].mean(0) for k in range(12)])
    covariances = [np.cov(colors[labels == k].T) + 1e-4 * np.eye(3) for k in range(12)]
    pixels = images[test].reshape(-1, 3) / 255.0
    scores = [
        -np.einsum("ni,ij,nj->n", pixels - m, np.linalg.inv(c), pixels - m)
        - np.linalg.slogdet(c)[1]
        for m, c in zip(means, covariances, strict=True)
    ]
    # A Gaussian for the colours of each class, without any context.
    assert (np.argmax(scores, 0) == label_maps[test].ravel()).mean() > 0.9


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="8×8 pixels. Received: height=7, width=64"):
        shapes.scene(0, 0, 7, 64)
    for seed, index in ((-1, 0), (0, -1)):
        with pytest.raises(ValueError, match=f"Received: seed={seed}, index={index}"):
            shapes.scene(seed, index, 64, 64)
