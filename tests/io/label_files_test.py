"""Label files: finding them, reading their ids or colours, and errors that name the file."""

import dataclasses
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from oasis_tf.data.datasets import LabelSpace, folder_label_space, published_label_space
from oasis_tf.io import label_files

SPACE = LabelSpace(
    dataset="folder",
    class_names=("unknown", "sky", "sea"),
    palette=((0, 0, 0), (0, 0, 255), (0, 255, 0)),
    has_unknown=True,
    raw_ids=(255, 0, 7),
)


def write_png(path, ids, bits, colour=0, width=None):
    """Writes a PNG of 1, 2, 4, 8 or 16 bits and a colour type (0: grey) without Pillow."""
    height, width = len(ids), width or ids.shape[1]
    as_bits = (ids[..., None] >> np.arange(bits)[::-1]) & 1
    rows = np.packbits(as_bits.reshape(height, -1).astype(np.uint8), axis=1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_ids_of_grey_files_of_every_depth(tmp_path, bits):
    ids = np.random.default_rng(bits).integers(0, 2**bits, (6, 9))
    ids[0, 0] = 2**bits - 1
    write_png(tmp_path / "a.png", ids, bits)
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
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_ids_in_equal_opaque_channels(tmp_path, mode, suffix):
    ids = np.random.default_rng(0).integers(0, 256, (5, 6), np.uint8)
    Image.fromarray(ids).convert(mode).save(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(label_files.read_label_file(tmp_path / f"a{suffix}"), ids)


IDS_8 = np.arange(48, dtype=np.uint8).reshape(6, 8)


@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".tiff"])
def test_other_formats_that_keep_values(tmp_path, suffix):
    rng = np.random.default_rng(0)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(IDS_8).save(path)
    np.testing.assert_array_equal(label_files.read_label_file(path), IDS_8)
    palette = rng.integers(0, 256, (256, 3), np.uint8)
    save_palette_file(path, IDS_8, palette)
    np.testing.assert_array_equal(label_files.read_label_file(path), IDS_8)
    Image.fromarray(COLOURS).save(path)
    np.testing.assert_array_equal(label_files.read_label_map(path, SPACE), IDS)
    if suffix == ".bmp":
        return
    deep = rng.integers(0, 65536, (5, 6), np.uint16)
    for picture in (Image.fromarray(deep), Image.fromarray(deep.astype(np.int32))):
        for compression in (None, "tiff_lzw"):
            picture.save(path, compression=compression)
            np.testing.assert_array_equal(label_files.read_label_file(path), deep)


def test_label_files_are_turned_as_their_exif_data_say(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    for suffix in (".png", ".tif"):
        Image.fromarray(IDS_8).save(tmp_path / f"a{suffix}", exif=turned)
        read = label_files.read_label_file(tmp_path / f"a{suffix}")
        np.testing.assert_array_equal(read, np.rot90(IDS_8, -1))


@pytest.mark.parametrize(
    ("name", "picture", "options", "message"),
    [
        ("a.jpg", Image.fromarray(IDS_8), {}, r"a\.jpg is a JPEG file.*as PNG"),
        ("a.webp", Image.fromarray(IDS_8), {"lossless": True}, "is a WEBP file"),
        ("a.tif", Image.fromarray(IDS_8), {"compression": "jpeg"}, "TIFF file compressed as jpeg"),
        ("a.tif", Image.fromarray(IDS_8.astype(np.float32)), {}, r"a\.tif holds floats"),
        ("a.tif", Image.new("CMYK", (4, 4)), {}, "holds channels CMYK"),
        ("a.png", Image.new("RGB", (4, 4), (7, 8, 7)), {}, "holds colours, such as #070807"),
        ("a.png", Image.new("RGBA", (4, 4), (7, 7, 7, 254)), {}, "is transparent in places"),
        ("a.png", Image.new("LA", (4, 4), (7, 0)), {}, "is transparent in places"),
    ],
)
def test_what_holds_no_ids_is_refused(tmp_path, name, picture, options, message):
    picture.save(tmp_path / name, **options)
    with pytest.raises(ValueError, match=message):
        label_files.read_label_file(tmp_path / name)


def test_several_channels_of_16_bits_are_refused(tmp_path):
    write_png(tmp_path / "a.png", np.full((2, 2 * 3), 3), bits=16, colour=2, width=2)
    with pytest.raises(ValueError, match="16 bits in each of several channels"):
        label_files.read_label_file(tmp_path / "a.png")


def test_every_flipped_bit_of_a_png_is_noticed(tmp_path):
    Image.fromarray(IDS_8 % 4).save(tmp_path / "a.png")
    sound = (tmp_path / "a.png").read_bytes()
    for bit in range(8 * len(sound)):
        contents = bytearray(sound)
        contents[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match="a flip"):
            label_files.read_label_file(bytes(contents), name="a flip")


def test_unreadable_files_are_named(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").rename(tmp_path / "jpeg.png")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    Image.fromarray(noise).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:1000])
    for name in ("text.png", "cut.png", "missing.png"):
        with pytest.raises(ValueError, match=rf"Cannot be read as a PNG, BMP or TIFF .*{name}"):
            label_files.read_label_file(tmp_path / name)
    with pytest.raises(ValueError, match=r"jpeg\.png is a JPEG file"):
        label_files.read_label_file(tmp_path / "jpeg.png")


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
    with pytest.raises(ValueError, match=r"holds no \.png, \.bmp, \.tif, \.tiff files"):
        label_files.find_label_files(tmp_path)


def test_png_files_hide_others_of_their_stem(tmp_path):
    for name in ("a.tif", "b.bmp"):
        (tmp_path / name).touch()
    assert len(label_files.find_label_files(tmp_path)) == 2
    (tmp_path / "a.png").touch()
    found = label_files.find_label_files(tmp_path)
    assert found == [str(tmp_path / "a.png"), str(tmp_path / "b.bmp")]


def test_each_scene_of_cityscapes_is_found_once(tmp_path):
    kinds = ("color", "instanceIds", "labelIds", "labelTrainIds")
    for name in [f"bonn/a_gtFine_{kind}.png" for kind in kinds] + ["a_color.png"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = label_files.find_label_files(tmp_path)
    assert found == [str(tmp_path / "a_color.png"), str(tmp_path / "bonn/a_gtFine_labelIds.png")]


@pytest.mark.parametrize("kind", ["color", "instanceIds", "labelTrainIds"])
def test_other_files_of_cityscapes_are_refused_by_name(tmp_path, kind):
    path = tmp_path / f"a_gtFine_{kind}.png"
    Image.fromarray(IDS_8 % 4).save(path)
    with pytest.raises(ValueError, match=rf"a_gtFine_{kind}.*Take a_gtFine_labelIds\.png"):
        label_files.read_label_map(path, published_label_space("cityscapes"))
    # Somebody may have trained on such files.
    label_files.read_label_map(path, folder_label_space(4))


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
    palette = ((9, 9, 9), (7, 7, 8), (7, 7, 8))
    space = LabelSpace("folder", SPACE.class_names, palette, True, SPACE.raw_ids)
    label_files.write_label_map(tmp_path / "b.png", IDS, space)
    np.testing.assert_array_equal(label_files.read_label_map(tmp_path / "b.png", space), IDS)
    Image.new("RGB", (2, 2), palette[1]).save(tmp_path / "a.png")
    assert (label_files.read_label_map(tmp_path / "a.png", space) == 1).all()


def test_palettes_that_contradict_their_indices_are_refused(tmp_path):
    swapped = {0: SPACE.palette[2], 7: SPACE.palette[1], 255: SPACE.palette[0]}
    entries = [swapped.get(raw, (1, 1, 1)) for raw in range(256)]
    raw = SPACE.to_raw_ids(IDS)
    save_palette_file(tmp_path / "a.png", raw, entries)
    with pytest.raises(ValueError, match=r"a\.png can be read as class ids and as.*_format=ids or"):
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
    with pytest.raises(ValueError, match=r"must have a palette.*grey\.png with channels L"):
        label_files.read_label_map(tmp_path / "grey.png", SPACE, "colors")
    with pytest.raises(ValueError, match=r"clear\.png is transparent"):
        label_files.read_label_map(tmp_path / "clear.png", SPACE)
    with pytest.raises(ValueError, match="one of auto, ids, colors. Received: 'rgb'"):
        label_files.read_label_map(tmp_path / "grey.png", SPACE, "rgb")


def test_palettes_of_known_colours_are_read_where_their_indices_are_no_ids(tmp_path):
    save_palette_file(tmp_path / "a.png", IDS + 3, [(9, 9, 9)] * 3 + list(SPACE.palette))
    np.testing.assert_array_equal(label_files.read_label_map(tmp_path / "a.png", SPACE), IDS)


def test_equal_channels_are_ids_or_colours_and_doubts_are_refused(tmp_path):
    palette = ((0, 0, 0), (90, 90, 90), (7, 7, 7))
    space = LabelSpace("folder", SPACE.class_names, palette, True, (255, 0, 7))

    def read(values, label_format="auto"):
        grey = np.array([values], np.uint8)
        Image.fromarray(np.dstack([grey] * 3)).save(tmp_path / "a.png")
        return label_files.read_label_map(tmp_path / "a.png", space, label_format).tolist()

    assert read([0, 255]) == [[1, 0]]  # 255 is no colour
    assert read([0, 90]) == [[0, 1]]  # 90 is no id
    assert read([7, 7]) == [[2, 2]]  # is both, and means the same
    with pytest.raises(ValueError, match=r"a\.png can be read as class ids and as colours"):
        read([0, 7])
    assert read([0, 7], "ids") == [[1, 2]] and read([0, 7], "colors") == [[0, 2]]
    with pytest.raises(ValueError, match="label values 8 are outside"):
        read([8, 0])


def test_further_ids_and_colours_of_a_class(tmp_path):
    space = dataclasses.replace(
        SPACE, further_raw_ids=((9, 2),), further_colors=((1, 2, 3, 2), (0, 0, 255, 2))
    )
    Image.fromarray(np.array([[9, 7]], np.uint8)).save(tmp_path / "a.png")
    assert label_files.read_label_map(tmp_path / "a.png", space).tolist() == [[2, 2]]
    Image.fromarray(np.array([[(1, 2, 3), (0, 0, 255)]], np.uint8)).save(tmp_path / "a.png")
    assert label_files.read_label_map(tmp_path / "a.png", space).tolist() == [[2, 1]]


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
