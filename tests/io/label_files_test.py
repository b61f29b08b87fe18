"""Label PNGs: finding them, reading their ids or colours, and errors that name the file."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from oasis_tf.data.datasets import LabelSpace
from oasis_tf.io import label_files

SPACE = LabelSpace(
    dataset="folder",
    class_names=("unknown", "sky", "sea"),
    palette=((0, 0, 0), (0, 0, 255), (0, 255, 0)),
    has_unknown=True,
    raw_ids=(255, 0, 7),
)


def write_grey_png(path, ids, bits):
    """Writes a grey PNG of 1, 2, 4, 8 or 16 bits without Pillow."""
    height, width = ids.shape
    as_bits = (ids[..., None] >> np.arange(bits)[::-1]) & 1
    rows = np.packbits(as_bits.reshape(height, -1).astype(np.uint8), axis=1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_ids_of_grey_files_of_every_depth(tmp_path, bits):
    ids = np.random.default_rng(bits).integers(0, 2**bits, (6, 9))
    ids[0, 0] = 2**bits - 1
    write_grey_png(tmp_path / "a.png", ids, bits)
    read = label_files.read_label_file(tmp_path / "a.png")
    assert np.issubdtype(read.dtype, np.integer)
    np.testing.assert_array_equal(read, ids)


def test_ids_of_palette_files_are_their_indices(tmp_path):
    ids = np.random.default_rng(0).integers(0, 4, (5, 6), np.uint8)
    image = Image.fromarray(ids)
    image = image.convert("P")
    image.putpalette([200, 10, 10, 0, 0, 0, 9, 9, 9, 1, 2, 3])
    image.putdata(ids.ravel().tolist())
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(label_files.read_label_file(tmp_path / "a.png"), ids)


def test_raw_ids_become_model_ids(tmp_path):
    Image.fromarray(np.array([[0, 7], [255, 7]], np.uint8)).save(tmp_path / "a.png")
    label_map = label_files.read_label_map(tmp_path / "a.png", SPACE)
    np.testing.assert_array_equal(label_map, [[1, 2], [0, 2]])


def test_values_outside_the_classes_are_named(tmp_path):
    Image.fromarray(np.array([[0, 7], [254, 3]], np.uint8)).save(tmp_path / "bad.png")
    with pytest.raises(ValueError, match=r"bad\.png.*3.*254"):
        label_files.read_label_map(tmp_path / "bad.png", SPACE)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_colours_are_refused(tmp_path, mode):
    Image.new(mode, (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=rf"one channel.*a\.png with channels {mode}.*not colours"):
        label_files.read_label_file(tmp_path / "a.png")


def test_unreadable_files_are_named(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").rename(tmp_path / "jpeg.png")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    Image.fromarray(noise).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:1000])
    for name in ("text.png", "jpeg.png", "cut.png", "missing.png"):
        with pytest.raises(ValueError, match=rf"Cannot be read as a PNG file: .*{name}"):
            label_files.read_label_file(tmp_path / name)


def test_files_are_found_sorted_in_all_subfolders(tmp_path):
    (tmp_path / "city").mkdir()
    for name in ("b.png", "city/a.PNG", "notes.txt", "c.png"):
        (tmp_path / name).touch()
    found = label_files.find_label_files(tmp_path)
    assert found == [str(tmp_path / name) for name in ("b.png", "c.png", "city/a.PNG")]
    assert label_files.find_label_files(tmp_path / "b.png") == [str(tmp_path / "b.png")]


def test_nothing_to_find_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"No such file or folder.*missing"):
        label_files.find_label_files(tmp_path / "missing")
    with pytest.raises(ValueError, match="holds no .png, .bmp, .tif, .tiff files"):
        label_files.find_label_files(tmp_path)


def test_equal_stems_are_refused(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.png").touch()
    (tmp_path / "sub" / "a.png").touch()
    with pytest.raises(ValueError, match=r"different stems.*a\.png and .*sub.a\.png"):
        label_files.find_label_files(tmp_path)


@pytest.mark.parametrize("size", [(6, 8), (12, 16), (3, 4), (5, 7), (1, 1), (13, 3)])
def test_resizing_takes_the_pixel_under_each_new_centre(size):
    label_map = np.arange(48, dtype=np.uint8).reshape(6, 8)
    resized = label_files.resize_label_map(label_map, *size)
    assert resized.shape == size
    assert resized.dtype == np.uint8
    for i in range(size[0]):
        for j in range(size[1]):
            row, column = int((i + 0.5) / size[0] * 6), int((j + 0.5) / size[1] * 8)
            assert resized[i, j] == label_map[row, column]


# === Colours ===

IDS = np.array([[1, 2, 0, 1], [2, 2, 1, 0]], np.uint8)  # model ids
COLOURS = np.array(SPACE.palette, np.uint8)[IDS]


def save_palette_file(path, indices, palette):
    picture = Image.fromarray(np.array(indices, np.uint8))
    picture.putpalette(np.array(palette, np.uint8).tobytes())
    picture.save(path)


def test_colours_become_model_ids(tmp_path):
    Image.fromarray(COLOURS).save(tmp_path / "rgb.png")
    Image.fromarray(COLOURS).convert("RGBA").save(tmp_path / "rgba.png")
    save_palette_file(tmp_path / "p.png", IDS + 3, [(9, 9, 9)] * 3 + list(SPACE.palette))
    for name, kind in (("rgb", "auto"), ("rgba", "auto"), ("rgb", "colors"), ("p", "colors")):
        label_map = label_files.read_label_map(tmp_path / f"{name}.png", SPACE, kind)
        np.testing.assert_array_equal(label_map, IDS)
        assert label_map.dtype == SPACE.dtype


def test_unknown_colours_are_listed_by_frequency(tmp_path):
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[0, :3] = (0, 0, 254)
    pixels[1, 0] = (255, 16, 1)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    want = r"a\.png: 2 colours are not.*palette: #0000fe \(3 pixels\), #ff1001 \(1 pixels\)\. Colo"
    with pytest.raises(ValueError, match=want):
        label_files.read_label_map(tmp_path / "a.png", SPACE)
    noise = np.random.default_rng(0).integers(1, 255, (8, 8, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"64 colours.* and 54 more\."):
        label_files.read_label_map(tmp_path / "b.png", SPACE)


def test_a_colour_of_several_classes_is_the_first_of_them(tmp_path):
    palette = ((9, 9, 9), (7, 7, 7), (7, 7, 7))
    space = LabelSpace("folder", SPACE.class_names, palette, True, SPACE.raw_ids)
    Image.fromarray(np.full((2, 2, 3), 7, np.uint8)).save(tmp_path / "a.png")
    assert (label_files.read_label_map(tmp_path / "a.png", space) == 1).all()


def test_palettes_that_contradict_their_indices_are_refused(tmp_path):
    swapped = {0: SPACE.palette[2], 7: SPACE.palette[1], 255: SPACE.palette[0]}
    entries = [swapped.get(raw, (1, 1, 1)) for raw in range(256)]
    raw = SPACE.to_raw_ids(IDS)
    save_palette_file(tmp_path / "a.png", raw, entries)
    with pytest.raises(ValueError, match=r"a\.png: the indices.*--label_format=ids or"):
        label_files.read_label_map(tmp_path / "a.png", SPACE)
    ids = label_files.read_label_map(tmp_path / "a.png", SPACE, "ids")
    np.testing.assert_array_equal(ids, IDS)
    by_colour = label_files.read_label_map(tmp_path / "a.png", SPACE, "colors")
    np.testing.assert_array_equal(by_colour, np.array([0, 2, 1])[IDS])
    # Colours that are not in the data set's palette have no meaning.
    save_palette_file(tmp_path / "b.png", raw, [(k, 3, 5) for k in range(256)])
    np.testing.assert_array_equal(label_files.read_label_map(tmp_path / "b.png", SPACE), IDS)


def test_files_that_hold_no_colours_are_refused(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "grey.png")
    Image.new("RGBA", (4, 4), (0, 0, 255, 254)).save(tmp_path / "clear.png")
    with pytest.raises(ValueError, match=r"must be a palette, RGB.*grey\.png with channels L"):
        label_files.read_label_map(tmp_path / "grey.png", SPACE, "colors")
    with pytest.raises(ValueError, match=r"clear\.png is transparent"):
        label_files.read_label_map(tmp_path / "clear.png", SPACE)
    with pytest.raises(ValueError, match="one of auto, ids, colors. Received: 'rgb'"):
        label_files.read_label_map(tmp_path / "grey.png", SPACE, "rgb")


# === Writing ===


def test_written_files_are_read_again_either_way(tmp_path):
    label_files.write_label_map(tmp_path / "a.png", IDS, SPACE, {"key": "value"})
    for kind in label_files.FORMATS:
        label_map = label_files.read_label_map(tmp_path / "a.png", SPACE, kind)
        np.testing.assert_array_equal(label_map, IDS)
    np.testing.assert_array_equal(
        label_files.read_label_file(tmp_path / "a.png"), SPACE.to_raw_ids(IDS)
    )
    assert Image.open(tmp_path / "a.png").text == {"key": "value"}


def test_large_raw_ids_are_written_as_grey_of_16_bits(tmp_path):
    space = LabelSpace("folder", SPACE.class_names, SPACE.palette, True, (300, 0, 7))
    label_files.write_label_map(tmp_path / "a.png", IDS, space)
    raw = label_files.read_label_file(tmp_path / "a.png")
    np.testing.assert_array_equal(raw, np.array([300, 0, 7])[IDS])
