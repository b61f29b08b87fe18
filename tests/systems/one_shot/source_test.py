"""Training pictures: one file, frames, pictures with masks; and what is refused."""

import numpy as np
import pytest
from PIL import Image

from oasis_tf.systems.one_shot import source
from oasis_tf.systems.one_shot.data_settings import DataConfig


def picture(path, height=48, width=64, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def mask(path, values, palette=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(values, np.uint8))
    if palette:
        image.putpalette(list(range(256)) * 3)
    image.save(path)


def settings(path, **more):
    return DataConfig(data_dir=str(path), **more)


def test_one_picture(tmp_path):
    pixels = picture(tmp_path / "a.png")
    found = source.inspect(settings(tmp_path / "a.png"))
    assert (found.pictures, found.height, found.width, found.num_classes) == (1, 48, 64, 0)
    images, masks = source.read(settings(tmp_path / "a.png"), found, 48, 64)
    np.testing.assert_array_equal(images[0], pixels)
    assert masks is None and source.Source.from_json(found.to_json()) == found


def test_frames_in_order_and_by_steps(tmp_path):
    frames = [picture(tmp_path / f"{k:02}.png", seed=k) for k in range(5)]
    (tmp_path / "notes.txt").write_text("no frame")
    given = settings(tmp_path, frame_step=2)
    found = source.inspect(given)
    assert found.pictures == 3
    np.testing.assert_array_equal(source.read(given, found, 48, 64)[0], frames[::2])
    assert found.digest != source.inspect(settings(tmp_path)).digest


def test_the_filters(tmp_path):
    picture(tmp_path / "image" / "a.jpg", 96, 128)
    values = np.arange(64 * 32).reshape(32, 64) % 3
    mask(tmp_path / "mask" / "a.png", values)
    found = source.inspect(settings(tmp_path))
    images, masks = source.read(settings(tmp_path), found, 16, 32)
    with Image.open(tmp_path / "image" / "a.jpg") as image:
        wanted = np.asarray(image.resize((32, 16), Image.BILINEAR))
    np.testing.assert_array_equal(images[0], wanted)
    np.testing.assert_array_equal(masks[0], values[1::2, 1::2])  # pixel centres
    assert (found.num_classes, found.binary) == (3, False)
    assert source.inspect(settings(tmp_path, masks=False)).num_classes == 0


@pytest.mark.parametrize(
    ("values", "palette", "kind", "classes", "binary"),
    [
        ([[0, 255], [128, 0]], False, "auto", 2, True),
        ([[0, 29], [0, 0]], False, "binary", 2, True),
        ([[0, 1], [2, 3]], False, "auto", 4, False),
        ([list(range(40))], True, "auto", 40, False),
    ],
)
def test_what_masks_hold(tmp_path, values, palette, kind, classes, binary):
    picture(tmp_path / "image" / "a.png")
    mask(tmp_path / "mask" / "a.png", values, palette)
    found = source.inspect(settings(tmp_path, mask_values=kind))
    assert (found.num_classes, found.binary) == (classes, binary)


def no_picture(path):
    path.mkdir(exist_ok=True)


def two_sizes(path):
    picture(path / "a.png")
    picture(path / "b.png", 64, 64)


def damaged(path):
    picture(path / "a.png")
    (path / "b.png").write_bytes(b"no picture")


def mask_alone(path):
    mask(path / "mask" / "a.png", [[0, 1]])


def other_stems(path):
    picture(path / "image" / "a.png")
    mask(path / "mask" / "b.png", [[0, 1]])


def with_mask(values):
    def write(path):
        picture(path / "image" / "a.png")
        mask(path / "mask" / "a.png", values)

    return write


def deep_mask(path):
    picture(path / "image" / "a.png")
    (path / "mask").mkdir()
    Image.fromarray(np.array([[0, 1, 300]], np.uint16)).save(path / "mask" / "a.png")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (no_picture, "at least one picture"),
        (two_sizes, r"one size. Received: .*a.png of 48x64.*and .*b.png of 64x64"),
        (damaged, "Cannot be read as an image: .*b.png"),
        (mask_alone, "of masks must have one of pictures beside it"),
        (other_stems, "Without the other: a.png, b.png"),
        (with_mask([[0, 1, 3]]), r"no gaps. Received: .*a.png with 3, but .* has 2"),
        (with_mask([[0, 0]]), "must have an object"),
        (deep_mask, r"values in 0...255. Received: .*a.png with 300"),
    ],
)
def test_bad_input(tmp_path, write, message):
    write(tmp_path)
    with pytest.raises(ValueError, match=message):
        source.inspect(settings(tmp_path))


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="Not found: .*absent"):
        source.inspect(settings(tmp_path / "absent"))
