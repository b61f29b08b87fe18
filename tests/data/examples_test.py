"""Single examples are read, checked and encoded."""

import io
import os
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oasis_tf.data import reading
from oasis_tf.data.datasets import folder_label_space, lvis_label_space
from oasis_tf.data.examples import AnnotatedImage, FilePair, ShapesScene, instance_mask
from oasis_tf.data.shapes import scene
from oasis_tf.io.images import read_photograph


@pytest.fixture
def pair(tmp_path, write_pairs):
    """A JPEG of width 12 and height 10 with its label PNG."""
    write_pairs(tmp_path, tmp_path, ["a"])
    return FilePair("a", str(tmp_path / "a.jpg"), str(tmp_path / "a.png"))


def decoded(contents):
    return np.asarray(Image.open(io.BytesIO(contents)))


def test_jpeg_and_png_bytes_are_kept(tmp_path, pair):
    image = Image.open(pair.image_path)
    image.save(tmp_path / "b.png", optimize=True)
    for path, image_format in ((pair.image_path, "jpeg"), (tmp_path / "b.png", "png")):
        example = FilePair("a", str(path), pair.label_path).encode(folder_label_space(4))
        assert example.image == Path(path).read_bytes()
        assert example.image_format == image_format
        assert (example.height, example.width) == (10, 12)


def test_other_formats_become_png(tmp_path, pair):
    image = Image.open(pair.image_path)
    for suffix in ("bmp", "tiff"):
        image.save(tmp_path / f"b.{suffix}")
        example = FilePair("a", str(tmp_path / f"b.{suffix}"), pair.label_path).encode(
            folder_label_space(4)
        )
        assert example.image_format == "png"
        np.testing.assert_array_equal(decoded(example.image), np.asarray(image))


def test_labels_are_mapped_and_counted(pair):
    example = pair.encode(folder_label_space(4, 3))
    raw = np.asarray(Image.open(pair.label_path)).astype(int)
    np.testing.assert_array_equal(decoded(example.label), (raw + 1) % 4)
    assert decoded(example.label).dtype == np.uint8
    np.testing.assert_array_equal(
        example.class_pixels, np.bincount(((raw + 1) % 4).ravel(), minlength=4)
    )


def test_many_classes_are_stored_in_16_bits(tmp_path, write_pairs):
    write_pairs(tmp_path, tmp_path, ["a"], values=[0, 255, 256, 1203], dtype=np.uint16)
    pair = FilePair("a", str(tmp_path / "a.jpg"), str(tmp_path / "a.png"))
    example = pair.encode(folder_label_space(1204))
    assert example.label[24] == 16  # bit depth in the PNG header
    raw = np.asarray(Image.open(pair.label_path))
    np.testing.assert_array_equal(decoded(example.label), raw)


def test_labels_of_palette_files_are_the_indices(pair):
    raw = np.asarray(Image.open(pair.label_path))
    image = Image.fromarray(raw, "P")
    image.putpalette([7, 200, 13] * 256)
    image.save(pair.label_path)
    assert pair.check(folder_label_space(4)) == []
    np.testing.assert_array_equal(decoded(pair.encode(folder_label_space(4)).label), raw)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_labels_in_equal_channels_are_ids_and_in_others_colours(pair, mode):
    picture = Image.open(pair.label_path)
    picture.convert(mode).save(pair.label_path)
    assert pair.check(folder_label_space(4)) == []
    np.testing.assert_array_equal(decoded(pair.encode(folder_label_space(4)).label), picture)
    Image.new("RGB", picture.size, (1, 1, 2)).save(pair.label_path)
    with pytest.raises(ValueError, match="a.png holds colours, such as #010102.*--classes=FILE"):
        pair.encode(folder_label_space(4))


TURNED = Image.Exif()
TURNED[0x0112] = 6  # stored lying on its left side


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_turned_images_are_stored_upright(tmp_path, pair, suffix):
    upright = np.asarray(Image.open(pair.image_path))
    options = {"lossless": True} if suffix == "webp" else {}
    path = tmp_path / f"b.{suffix}"
    Image.fromarray(np.rot90(upright).copy()).save(path, exif=TURNED, **options)
    turned = FilePair("a", str(path), pair.label_path)
    assert turned.check(folder_label_space(4)) == []
    example = turned.encode(folder_label_space(4))
    stored = Image.open(io.BytesIO(example.image))
    assert 0x0112 not in stored.getexif() and example.image_format == "png"
    np.testing.assert_array_equal(stored, read_photograph(path))
    assert (example.height, example.width) == (10, 12)


def test_exif_data_behind_the_pixels_of_a_png(pair):
    image = Image.open(pair.image_path)
    data = TURNED.tobytes().removeprefix(b"Exif\0\0")
    chunk = b"eXIf" + data
    chunk = len(data).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    contents = io.BytesIO()
    image.transpose(Image.Transpose.ROTATE_90).save(contents, "PNG")
    path = Path(pair.image_path).with_suffix(".image.png")
    path.write_bytes(contents.getvalue()[:-12] + chunk + contents.getvalue()[-12:])
    late = FilePair("a", str(path), pair.label_path)
    assert late.check(folder_label_space(4)) == []
    stored = Image.open(io.BytesIO(late.encode(folder_label_space(4)).image))
    np.testing.assert_array_equal(stored, image)


def test_images_without_a_rule_are_refused(tmp_path, pair):
    for values in (np.zeros((10, 12), np.float32), np.zeros((10, 12), np.int32)):
        Image.fromarray(values).save(tmp_path / "b.tif")
        wrong = FilePair("a", str(tmp_path / "b.tif"), pair.label_path)
        (problem,) = wrong.check(folder_label_space(4))
        assert "b.tif holds" in str(problem)
    Image.new("RGBA", (12, 10), (0, 0, 0, 9)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"b\.png is transparent.*remove the pair"):
        FilePair("a", str(tmp_path / "b.png"), pair.label_path).encode(folder_label_space(4))
    Image.open(pair.image_path).save(tmp_path / "b.png")
    contents = bytearray((tmp_path / "b.png").read_bytes())
    contents[-16] ^= 1  # in the checksum of the pixels
    (tmp_path / "b.png").write_bytes(contents)
    with pytest.raises(ValueError, match=r"b\.png is damaged: the checksum of its chunk at byte"):
        FilePair("a", str(tmp_path / "b.png"), pair.label_path).encode(folder_label_space(4))


def test_what_is_stored_is_what_all_decoders_read(tmp_path, pair):
    grey = Image.open(pair.image_path).convert("L")
    pictures = {
        "grey16.png": Image.fromarray(np.asarray(grey).astype(np.uint16) * 256 + 77),
        "palette.png": Image.open(pair.image_path).quantize(16),
        "bits.png": grey.convert("1"),
        "opaque.png": grey.convert("LA"),
        "grey.jpg": grey,
        "cmyk.jpg": Image.open(pair.image_path).convert("CMYK"),
    }
    for name, picture in pictures.items():
        picture.save(tmp_path / name)
        example = FilePair("a", str(tmp_path / name), pair.label_path).encode(folder_label_space(4))
        in_training = reading.decode_image(example.image).numpy().astype(int)
        difference = np.abs(in_training - read_photograph(tmp_path / name)).max()
        assert difference <= name.endswith(".jpg"), name  # two builds of one library may round


def test_sizes_must_agree(pair):
    Image.fromarray(np.zeros((10, 11), np.uint8)).save(pair.label_path)
    (problem,) = pair.check(folder_label_space(4))
    assert f"a.jpg is 12×10 but {pair.label_path} is 11×10 (width×height, turned" in str(problem)
    with pytest.raises(ValueError, match="a.jpg is 12×10 but .*a.png is 11×10"):
        pair.encode(folder_label_space(4))


def test_unreadable_files_are_named(pair):
    for path in map(Path, (pair.image_path, pair.label_path)):
        contents = path.read_bytes()
        for broken in (b"no image at all", contents[: len(contents) * 2 // 3], None):
            if broken is None:
                path.unlink()
            else:
                path.write_bytes(broken)
            (problem,) = pair.check(folder_label_space(4))
            assert str(path) in str(problem)
            with pytest.raises((ValueError, OSError), match=path.name):
                pair.encode(folder_label_space(4))
        path.write_bytes(contents)
    assert pair.check(folder_label_space(4)) == []


def test_all_problems_of_a_pair_are_told(pair):
    Path(pair.image_path).write_bytes(b"no image at all")
    image, values = pair.check(folder_label_space(2))
    assert "a.jpg" in str(image) and values.values == ("2", "3")
    Image.new("RGB", (11, 10)).save(pair.image_path)
    values, sizes = pair.check(folder_label_space(2))
    assert values.values == ("2", "3") and "is 11×10 but" in str(sizes)


def test_wrong_values_name_the_label_file(pair):
    with pytest.raises(ValueError, match="a.png: label values 3 are outside the classes"):
        pair.encode(folder_label_space(3))


def test_identity_follows_the_files(pair):
    before = pair.identity()
    assert pair.identity() == before
    os.utime(pair.label_path, (1, 1))
    assert pair.identity() != before


def test_shapes_scene():
    example = ShapesScene("k", 3, 4, 16, 24).encode(folder_label_space(12))
    image, label_map = scene(3, 4, 16, 24)
    np.testing.assert_array_equal(decoded(example.image), image)
    np.testing.assert_array_equal(decoded(example.label), label_map)


# === Instance annotations ===

SQUARE = [[2.0, 1.0, 6.0, 1.0, 6.0, 5.0, 2.0, 5.0]]  # x 2…5, y 1…4
COLUMN = {"size": [10, 12], "counts": [30, 10, 80]}  # x = 3: runs go down the columns


def test_masks_of_polygons_and_run_lengths():
    coco_mask = pytest.importorskip("pycocotools.mask")
    square = np.zeros((10, 12), bool)
    square[1:5, 2:6] = True
    np.testing.assert_array_equal(instance_mask(SQUARE, 10, 12), square)
    both = instance_mask([*SQUARE, [8.0, 8.0, 10.0, 8.0, 10.0, 10.0, 8.0, 10.0]], 10, 12)
    square[8:10, 8:10] = True
    np.testing.assert_array_equal(both, square)
    column = np.zeros((10, 12), bool)
    column[:, 3] = True
    np.testing.assert_array_equal(instance_mask(COLUMN, 10, 12), column)
    compressed = coco_mask.encode(np.asfortranarray(column.astype(np.uint8)))
    compressed["counts"] = compressed["counts"].decode()  # as JSON has it
    np.testing.assert_array_equal(instance_mask(compressed, 10, 12), column)


def test_small_instances_cover_large_ones(tmp_path, write_pairs):
    pytest.importorskip("pycocotools.mask")
    write_pairs(tmp_path, tmp_path, ["a"])
    space = lvis_label_space(["large", "small"])
    instances = ((16.0, 1, 1, SQUARE), (10.0, 2, 2, COLUMN))
    for order in (instances, instances[::-1]):
        image = AnnotatedImage("a", str(tmp_path / "a.jpg"), (10, 12), order)
        assert image.check(space) == []
        labels = decoded(image.encode(space).label)
        assert (labels[:, 3] == 2).all() and labels[1, 2] == 1 and labels[0, 0] == 0
    wrong = AnnotatedImage("a", str(tmp_path / "a.jpg"), (10, 13), instances)
    (problem,) = wrong.check(space)
    assert "a.jpg is 12×10 but its annotation is 13×10" in str(problem)
    with pytest.raises(ValueError, match="its annotation is 13×10"):
        wrong.encode(space)
    for segmentation in ({}, None, [], [[1.0, "x"]]):
        wrong = AnnotatedImage("a", str(tmp_path / "a.jpg"), (10, 12), ((1.0, 5, 1, segmentation),))
        (problem,) = wrong.check(space)
        assert "Annotation 5 of " in str(problem)


def test_missing_pycocotools_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(ValueError, match=r'pip install "oasis-tf\[lvis\]"'):
        instance_mask(SQUARE, 10, 12)
