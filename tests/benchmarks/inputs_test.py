"""Scenes for contenders, and labels brought to other numbers of classes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import inputs


@given(st.integers(2, 40), st.integers(2, 1300), st.booleans())
def test_classes(of, num_classes, has_unknown):
    ids = inputs.to_classes(np.arange(of), num_classes, of=of, has_unknown=has_unknown)
    assert ids.dtype == np.int32
    assert ids.min() == 0 and ids.max() < num_classes
    if has_unknown:
        assert ids[0] == 0 and (ids[1:] > 0).all()
    if num_classes >= of:
        assert len(set(ids)) == of
        assert of < 3 or ids[-1] == num_classes - 1
    else:
        assert set(ids) == set(range(num_classes))


def test_classes_by_hand():
    def of_three(num_classes, **options):
        return inputs.to_classes(np.array([[0, 1, 2]]), num_classes, of=3, **options).tolist()

    assert of_three(3, has_unknown=False) == [[0, 1, 2]]
    assert of_three(8, has_unknown=False) == [[0, 3, 7]]
    assert of_three(8, has_unknown=True) == [[0, 1, 7]]
    assert of_three(2, has_unknown=False) == [[0, 1, 0]]
    assert of_three(2, has_unknown=True) == [[0, 1, 1]]


def test_arrays():
    scenes = inputs.drawn(6, 64, 128)
    found = inputs.arrays(scenes, batch_size=3, num_classes=23, noise_channels=5)
    assert {name: (a.shape, a.dtype.name) for name, a in found.items()} == {
        "image": ((2, 3, 64, 128, 3), "uint8"),
        "label_map": ((2, 3, 64, 128), "int32"),
        "noise": ((2, 3, 5), "float32"),
        "discriminator_noise": ((2, 3, 5), "float32"),
        "labelmix_bits": ((2, 23), "int32"),
    }
    np.testing.assert_array_equal(found["image"][1, 0], scenes.images[3])
    np.testing.assert_array_equal(found["label_map"][1, 0], scenes.label_maps[3] * 2)
    again = inputs.arrays(inputs.drawn(6, 64, 128), 3, 23, 5)
    for name, array in found.items():
        np.testing.assert_array_equal(array, again[name])


def test_prepared(data_dir):
    from oasis_tf.data import shapes

    scenes = inputs.prepared(data_dir, "val", 4, 64, 64)
    assert (scenes.num_classes, scenes.has_unknown) == (12, False)
    for index in range(4):  # of three
        image, label_map = shapes.scene(1, index % 3, 64, 64)
        np.testing.assert_array_equal(scenes.label_maps[index], label_map)
        np.testing.assert_array_equal(scenes.images[index], image)
    assert inputs.prepared(data_dir, "val", 1, 32, 96).images.shape == (1, 32, 96, 3)
    with pytest.raises(ValueError, match="test"):
        inputs.prepared(data_dir, "test", 1, 64, 64)
