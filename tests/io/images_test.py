"""8-bit values, PNG files, contact sheets, animations and photographs."""

import numpy as np
import pytest
from PIL import Image

from oasis_tf.io import images, label_files


def test_every_8_bit_value_survives_the_round_trip():
    values = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(images.to_uint8(values / np.float32(127.5) - 1), values)


def test_values_are_rounded_and_clipped():
    values = np.array([-1.5, -1.0, -1 + 0.4 / 127.5, -1 + 0.6 / 127.5, 1.0, 1.5])
    np.testing.assert_array_equal(images.to_uint8(values), [0, 0, 0, 1, 255, 255])


def test_png_keeps_the_pixels(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    images.write_png(tmp_path / "deep" / "a.png", image)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "deep" / "a.png")), image)


def test_contact_sheet_places_every_tile():
    tiles = np.random.default_rng(0).integers(0, 255, (3, 2, 4, 5, 3), np.uint8)
    sheet = images.contact_sheet([list(row) for row in tiles])
    assert sheet.shape == (3 * 6 - 2, 2 * 7 - 2, 3)
    outside = np.ones(sheet.shape[:2], bool)
    for i in range(3):
        for j in range(2):
            place = np.s_[6 * i : 6 * i + 4, 7 * j : 7 * j + 5]
            np.testing.assert_array_equal(sheet[place], tiles[i, j])
            outside[place] = False
    assert (sheet[outside] == 255).all()


def test_contact_sheet_is_padded_with_white():
    rng = np.random.default_rng(1)
    large, small, flat = (
        rng.integers(0, 255, s, np.uint8) for s in ((6, 4, 3), (3, 5, 3), (1, 1, 3))
    )
    sheet = images.contact_sheet([[large, small], [flat]])
    assert sheet.shape == (2 * 8 - 2, 2 * 7 - 2, 3)
    np.testing.assert_array_equal(sheet[:6, :4], large)
    np.testing.assert_array_equal(sheet[:3, 7:12], small)
    np.testing.assert_array_equal(sheet[8:9, :1], flat)
    assert (sheet[9:] == 255).all()
    assert (sheet[:8, 4:7] == 255).all()


def test_png_texts_are_read_back(tmp_path):
    pixels = np.zeros((4, 4, 3), np.uint8)
    images.write_png(tmp_path / "a.png", pixels, {"oasis_tf": '{"seed": 3}', "other": "ü"})
    assert images.read_texts(tmp_path / "a.png") == {"oasis_tf": '{"seed": 3}', "other": "ü"}
    images.write_png(tmp_path / "b.png", pixels)
    assert images.read_texts(tmp_path / "b.png") == {}
    (tmp_path / "c.png").write_text("no image")
    with pytest.raises(ValueError, match=r"Cannot be read as a PNG file: .*c\.png"):
        images.read_texts(tmp_path / "c.png")


def frames_of(path):
    with Image.open(path) as animation:
        assert animation.info["loop"] == 0
        found = []
        for k in range(animation.n_frames):
            animation.seek(k)
            found.append(np.asarray(animation.convert("RGB")))
            assert animation.info.get("duration", 120) == 120
        return found


@pytest.mark.parametrize("kind", images.ANIMATIONS)
def test_animation_keeps_its_frames(tmp_path, kind):
    rng = np.random.default_rng(2)
    colours = rng.integers(0, 256, (200, 3), np.uint8)
    frames = list(colours[rng.integers(0, 200, (5, 12, 16))])
    images.write_animation(tmp_path / f"a.{kind}", frames, frame_ms=120)
    found = frames_of(tmp_path / f"a.{kind}")
    # 200 colours fit into a palette of 256; k-means may change one by rounding.
    np.testing.assert_allclose(np.int64(found), np.int64(frames), atol=1 if kind == "gif" else 0)


def test_unchanged_pixels_do_not_flicker(tmp_path):
    rng = np.random.default_rng(3)
    first = rng.integers(0, 256, (32, 32, 3), np.uint8)  # more colours than a palette has
    second = first.copy()
    second[:8] = rng.integers(0, 256, (8, 32, 3), np.uint8)
    images.write_animation(tmp_path / "a.gif", [first, second])
    with Image.open(tmp_path / "a.gif") as animation:
        before = np.asarray(animation.convert("RGB"))
        animation.seek(1)
        after = np.asarray(animation.convert("RGB"))
    np.testing.assert_array_equal(before[8:], after[8:])
    assert (before[:8] != after[:8]).any(-1).mean() > 0.9


def test_animations_of_other_kinds_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"must be a \.gif or \.webp file.*a\.mp4"):
        images.write_animation(tmp_path / "a.mp4", [np.zeros((4, 4, 3), np.uint8)])
    monkeypatch.setattr(images.features, "check", lambda name: False)
    with pytest.raises(ValueError, match="cannot write WebP"):
        images.check_animation("a.webp")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_every_orientation_in_every_format(tmp_path, orientation, suffix):
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16], upright[:8, 16:], upright[8:, :16] = 250, 170, 90
    stored = {  # what must be done to `upright` so that this orientation undoes it
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a{suffix}"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif, quality=100)
    read = images.read_photograph(path).astype(int)
    assert read.shape == upright.shape and np.abs(read - upright).max() < 12
    with Image.open(path) as opened:
        assert images.upright_size(opened) == (32, 16)


def test_damaged_exif_data_turn_nothing(tmp_path):
    pixels = np.zeros((6, 8, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=b"Exif\0\0garbage that is no TIFF")
    np.testing.assert_array_equal(images.read_photograph(tmp_path / "a.jpg"), pixels)


RAMP = np.linspace(0, 65535, 64).astype(np.uint16)[None].repeat(2, 0)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_the_upper_8_bits_of_16(tmp_path, suffix):
    Image.fromarray(RAMP).save(tmp_path / f"a{suffix}")
    read = images.read_photograph(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read, (RAMP >> 8)[..., None].repeat(3, -1))


def test_16_bits_of_tiff_with_big_ends_and_with_white_as_zero(tmp_path):
    swapped = Image.frombytes("I;16B", RAMP.shape[::-1], RAMP.astype(">u2").tobytes())
    swapped.save(tmp_path / "a.tif")
    np.testing.assert_array_equal(images.read_photograph(tmp_path / "a.tif")[..., 0], RAMP >> 8)
    Image.fromarray(RAMP).save(tmp_path / "b.tif")
    photometric = b"\x06\x01\x03\0\x01\0\0\0"  # tag 262, one short
    contents = (tmp_path / "b.tif").read_bytes()
    assert contents.count(photometric + b"\x01\0") == 1
    contents = contents.replace(photometric + b"\x01\0", photometric + b"\0\0")
    (tmp_path / "b.tif").write_bytes(contents)
    read = images.read_photograph(tmp_path / "b.tif")
    np.testing.assert_array_equal(read[..., 0], 255 - (RAMP >> 8))


@pytest.mark.parametrize(("dtype", "what"), [(np.int32, "integers of 32 bits"), (np.float32, "fl")])
def test_values_without_a_known_white_are_refused(tmp_path, dtype, what):
    Image.fromarray(RAMP.astype(dtype)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=rf"a\.tif holds {what}.*Scale it to 8 bits"):
        images.read_photograph(tmp_path / "a.tif")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_other_channels_become_rgb(tmp_path, mode):
    picture = Image.new("RGB", (4, 4), (255, 255, 255)).convert(mode)
    picture.save(tmp_path / "a.tif")
    assert (images.read_photograph(tmp_path / "a.tif") == 255).all()


def test_the_limit_of_pixels_says_what_to_do(tmp_path, monkeypatch):
    Image.new("1", (64, 64)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    for read in (images.read_photograph, label_files.read_label_file):
        with pytest.raises(ValueError, match=r"a\.png has more than 4,000 pixels.*into tiles"):
            read(tmp_path / "a.png")


def test_photographs_are_read_upright_and_opaque(tmp_path):
    pixels = np.random.default_rng(4).integers(0, 256, (6, 8, 3), np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6  # rotate by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=turned)
    np.testing.assert_array_equal(images.read_photograph(tmp_path / "a.png"), np.rot90(pixels, -1))
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png")
    grey = np.repeat(pixels[..., :1], 3, axis=-1)
    np.testing.assert_array_equal(images.read_photograph(tmp_path / "grey.png"), grey)
    Image.fromarray(pixels).convert("RGBA").save(tmp_path / "opaque.png")
    np.testing.assert_array_equal(images.read_photograph(tmp_path / "opaque.png"), pixels)
    Image.new("RGBA", (4, 4), (1, 2, 3, 100)).save(tmp_path / "clear.png")
    with pytest.raises(ValueError, match=r"clear\.png is transparent"):
        images.read_photograph(tmp_path / "clear.png")
    Image.new("P", (4, 4)).save(tmp_path / "glass.png", transparency=0)
    with pytest.raises(ValueError, match=r"glass\.png is transparent"):
        images.read_photograph(tmp_path / "glass.png")
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(ValueError, match=r"Cannot be read as an image: .*text\.jpg"):
        images.read_photograph(tmp_path / "text.jpg")


def test_images_are_resized_as_in_training():
    import tensorflow as tf

    ramp = np.linspace(0, 3, 24)[:, None, None] + np.linspace(0, 5, 40)[None, :, None]
    image = np.uint8(127 + 100 * np.sin(ramp + np.arange(3)))  # smooth, as photographs are
    assert images.resize_image(image, 24, 40) is image
    want = tf.image.resize(image, (16, 64), method="bicubic", antialias=True).numpy()
    assert np.abs(images.resize_image(image, 16, 64) - want).max() < 1.5
