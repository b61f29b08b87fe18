"""Label PNGs: found, read as the ids in the file, refused with the file's name."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from oasis_tf import label_files
from oasis_tf.data.datasets import LabelSpace

SPACE = LabelSpace(
    dataset="folder",
    class_names=("unknown", "sky", "sea"),
    palette=((0, 0, 0), (0, 0, 255), (0, 255, 0)),
    has_unknown=True,
    raw_ids=(255, 0, 7),
)


def write_grey_png(path, ids, bits):
    """A grey PNG of 1, 2, 4, 8 or 16 bits, written by hand."""
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
def test_grey_files_of_every_depth_give_their_own_ids(tmp_path, bits):
    ids = np.random.default_rng(bits).integers(0, 2**bits, (6, 9))
    ids[0, 0] = 2**bits - 1
    write_grey_png(tmp_path / "a.png", ids, bits)
    read = label_files.read_label_file(tmp_path / "a.png")
    assert np.issubdtype(read.dtype, np.integer)
    np.testing.assert_array_equal(read, ids)


def test_palette_files_give_their_indices(tmp_path):
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
    with pytest.raises(ValueError, match="holds no PNG files"):
        label_files.find_label_files(tmp_path)


def test_equal_stems_are_refused(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.png").touch()
    (tmp_path / "sub" / "a.png").touch()
    with pytest.raises(ValueError, match=r"different stems.*a\.png and .*sub.a\.png"):
        label_files.find_label_files(tmp_path)


@pytest.mark.parametrize("size", [(6, 8), (12, 16), (3, 4), (5, 7), (1, 1), (13, 3)])
def test_resize_takes_the_pixel_under_each_new_centre(size):
    label_map = np.arange(48, dtype=np.uint8).reshape(6, 8)
    resized = label_files.resize_label_map(label_map, *size)
    assert resized.shape == size
    assert resized.dtype == np.uint8
    for i in range(size[0]):
        for j in range(size[1]):
            row, column = int((i + 0.5) / size[0] * 6), int((j + 0.5) / size[1] * 8)
            assert resized[i, j] == label_map[row, column]
