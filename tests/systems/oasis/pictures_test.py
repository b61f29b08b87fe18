"""PIL images from label files, pictures and arrays in one call."""

import numpy as np
import pytest
from PIL import Image

from oasis_tf import OASIS
from oasis_tf.data.datasets import folder_label_space
from oasis_tf.io.images import to_uint8
from oasis_tf.io.label_files import write_label_map
from oasis_tf.systems.oasis.models import Generator

SPACE = folder_label_space(4, 255, ["sky", "tree", "road"])  # raw ids 255, 0, 1, 2


@pytest.fixture(scope="module")
def model():
    model = OASIS(Generator(4, 3, 1, 4, widths=(2, 2, 2, 1)), None, True, label_space=SPACE)
    rng = np.random.default_rng(0)
    for variable in model.generator_ema.variables:
        variable.assign(variable + rng.normal(0, 0.3, variable.shape))
    return model


@pytest.fixture(scope="module")
def label_map():
    """Model ids of a size that the network takes."""
    return np.random.default_rng(0).integers(0, 4, (4, 6)).repeat(2, 0).repeat(2, 1)


def arrays(pictures):
    assert all(isinstance(one, Image.Image) and one.mode == "RGB" for one in pictures)
    return np.stack([np.asarray(one) for one in pictures])


def forms(label_map, folder):
    """The same label map in every form that is taken."""
    raw = SPACE.to_raw_ids(label_map)
    path = folder / "map.png"
    write_label_map(path, label_map, SPACE)
    colours = SPACE.colorize(label_map)
    return {
        "path": path,
        "text": str(path),
        "folder": folder,
        "grey": Image.fromarray(raw),
        "palette": Image.open(path),
        "colours": Image.fromarray(colours),
        "raw ids": raw,
        "wide raw ids": raw.astype(np.int64),
        "batch": raw[None],
        "list": raw.tolist(),
        "array of colours": colours,
        "files": [path],
    }


def test_every_form_of_a_label_map(model, label_map, tmp_path):
    want = to_uint8(model.generate(label_map, seed=[0, 1]))
    for form, labels in forms(label_map, tmp_path).items():
        got = arrays(model.generate_images(labels, num_samples=2))
        np.testing.assert_array_equal(got, want, err_msg=form)
        np.testing.assert_array_equal(model.read_label_map(labels), label_map, err_msg=form)


def test_samples_seeds_and_several_maps(model, label_map):
    raw = SPACE.to_raw_ids(label_map)
    got = arrays(model.generate_images([raw, Image.fromarray(raw[::-1])], seed=[7, 2**40]))
    maps = np.stack([label_map, label_map, label_map[::-1], label_map[::-1]])
    np.testing.assert_array_equal(got, to_uint8(model.generate(maps, seed=[7, 2**40] * 2)))
    (alone,) = arrays(model.generate_images(raw))
    np.testing.assert_array_equal(alone, to_uint8(model.generate(label_map, seed=0)))


def test_sizes(model, label_map):
    raw = SPACE.to_raw_ids(label_map)[:7, :11]
    (image,) = model.generate_images(raw)
    assert image.size == (11, 7)
    padded = np.pad(label_map[:7, :11], [(0, 1), (0, 1)], mode="edge")
    want = to_uint8(model.generate(padded, seed=0))[:7, :11]
    np.testing.assert_array_equal(np.asarray(image), want)
    (image,) = model.generate_images(raw, height=16, width=32)
    assert image.size == (32, 16)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (np.full((4, 4), 7), {}, "the array: label values 7"),
        (Image.fromarray(np.full((4, 4), 7, np.uint8)), {}, "the picture: label values 7"),
        (Image.fromarray(np.full((4, 4, 3), 9, np.uint8)), {}, "the picture: "),
        (Image.new("CMYK", (4, 4)), {}, "PIL image of mode CMYK"),
        (np.zeros((4, 4)), {}, r"must be a path.*dtype=float64, shape=\(4, 4\)"),
        (np.zeros((2, 2, 4, 4), int), {}, "must be a path"),
        (np.zeros((4, 4), int), {"label_format": "colors"}, "label_format=colors"),
        ("nothing.png", {}, "nothing.png"),
        (np.zeros((4, 4), int), {"num_samples": 0}, "num_samples=0"),
        (np.zeros((4, 4), int), {"num_samples": 2, "seed": [1, 2]}, "num_samples=2, 2 seeds"),
        (np.zeros((4, 4), int), {"height": 16}, "height and width"),
        (np.zeros((4, 4), int), {"height": 15, "width": 16}, "height"),
    ],
)
def test_what_is_no_label_map_is_refused(model, labels, options, message):
    with pytest.raises(ValueError, match=message):
        model.generate_images(labels, **options)


def test_one_label_map_is_read(model):
    with pytest.raises(ValueError, match="single label map. Received: 2"):
        model.read_label_map(np.zeros((2, 4, 4), int))


def test_without_a_label_space_raw_ids_are_model_ids(label_map):
    model = OASIS(Generator(4, 0, 1, 4, widths=(2, 2, 1)), None, has_unknown=False)
    np.testing.assert_array_equal(model.read_label_map(label_map), label_map)
    with pytest.raises(ValueError, match="label values 4"):
        model.read_label_map(label_map + 1)
