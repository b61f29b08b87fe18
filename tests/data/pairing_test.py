"""Images and label files become pairs by their names."""

import pytest

from oasis_tf.data.pairing import pair_folders


@pytest.fixture
def pairs(tmp_path):
    """function(image_dir, label_dir, *suffixes) -> (key, image, label) of each pair."""

    def found(image_dir, label_dir, *suffixes):
        sources = pair_folders(str(tmp_path / image_dir), str(tmp_path / label_dir), *suffixes)
        root = f"{tmp_path}/"
        return [
            (s.key, s.image_path.removeprefix(root), s.label_path.removeprefix(root))
            for s in sources
        ]

    return found


def test_labels_of_every_lossless_format_are_found(touch, pairs):
    touch("i/a.jpg", "i/b.jpg", "i/c.jpg", "i/d.jpg")
    touch("l/a.png", "l/a.tif", "l/b.BMP", "l/c.tif", "l/d.tiff", "l/e.jpg", "l/f.txt")
    assert [label for _, _, label in pairs("i", "l")] == [
        "l/a.png",
        "l/b.BMP",
        "l/c.tif",
        "l/d.tiff",
    ]


def test_suffixes_of_names(touch, pairs):
    touch("i/x.jpg", "i/s/y.jpg", "l/x_L.png", "l/s/y_L.PNG", "l/x_color.png")
    expected = [("s/y", "i/s/y.jpg", "l/s/y_L.PNG"), ("x", "i/x.jpg", "l/x_L.png")]
    assert pairs("i", "l", None, "_L.png") == expected
    assert pairs("i", "l", ".jpg", "_L") == expected  # of every format
    assert pairs("i", "l", ".jpeg,jpg", "_L.bmp,_L.png") == expected


def test_one_folder(touch, pairs):
    touch("d/a.jpg", "d/a.png", "d/a.bmp", "d/b.jpg", "d/b.png", "d/b.bmp")
    expected = [("a", "d/a.jpg", "d/a.bmp"), ("b", "d/b.jpg", "d/b.bmp")]
    assert pairs("d", "d", ".jpg", ".bmp") == expected
    with pytest.raises(ValueError, match=r"could be images and label files: 3 of them .*b\.bmp"):
        touch("e/a.png", "e/a.bmp", "e/b.tif", "e/b.bmp", "e/c.jpg")
        pairs("e", "e", None, None)
    with pytest.raises(
        ValueError, match=r"unique.*a\.jpg and .*Choose some .*--image_suffix=\.jpg"
    ):
        pairs("d", "d", None, ".bmp")
    assert [label for _, _, label in pairs("d", "d", ".jpg")] == ["d/a.png", "d/b.png"]


def test_one_folder_of_one_format(tmp_path, touch, pairs):
    touch("d/a.png", "d/a_L.png", "d/b.png", "d/b_L.png")
    expected = [("a", "d/a.png", "d/a_L.png"), ("b", "d/b.png", "d/b_L.png")]
    assert pairs("d", "d", ".png", "_L.png") == pairs("d", "d", None, "_L") == expected
    swapped = [(key, label, image) for key, image, label in expected]
    assert pairs("d", "d", "_L.png") == swapped
    with pytest.raises(ValueError, match=r"With --label_suffix=_L\.png 2 of them would pair"):
        pairs("d", "d")
    (tmp_path / "link").symlink_to("d")  # the same folder under another name
    with pytest.raises(ValueError, match="could be images and label files"):
        pairs("d", "link")


def test_a_folder_of_labels_inside_that_of_images(touch, pairs):
    touch("d/a.png", "d/b/c.png", "d/labels/a.png", "d/labels/b/c.png")
    expected = [("a", "d/a.png", "d/labels/a.png"), ("b/c", "d/b/c.png", "d/labels/b/c.png")]
    assert pairs("d", "d/labels") == expected
    assert pairs("d/labels", "d") == [(key, label, image) for key, image, label in expected]


@pytest.mark.parametrize(
    ("images", "labels", "flags"),
    [
        (("01.jpg", "02.JPG"), ("01_L.png", "02_L.png"), "--label_suffix=_L.png"),
        (("1.jpg", "10.jpg"), ("1mask.png", "10mask.bmp"), "--label_suffix=mask"),
        (("x_1_img.jpg", "x_2_img.jpg"), ("x_1.png", "x_2.png"), "--image_suffix=_img.jpg"),
        (
            ("s/1_left.jpg", "s/2_left.jpg", "s/3_left.jpg"),
            ("s/1_label.png", "s/2_label.png", "t/3_label.png"),
            "--image_suffix=_left.jpg --label_suffix=_label.png",
        ),
    ],
)
def test_suffixes_that_would_pair_are_named(touch, pairs, images, labels, flags):
    touch(*(f"i/{name}" for name in images), *(f"l/{name}" for name in labels))
    with pytest.raises(ValueError, match=rf"apart from the suffix\. With {flags} 2 of them would"):
        pairs("i", "l")
    suffixes = dict(flag.removeprefix("--").split("=") for flag in flags.split())
    if len(images) == 2:
        given = suffixes.get("image_suffix"), suffixes.get("label_suffix")
        assert len(pairs("i", "l", *given)) == 2


def test_names_without_a_likeness_get_no_advice_on_suffixes(touch, pairs):
    touch("i/cat.jpg", "i/dog.jpg", "i/cow.jpg", "l/0.png", "l/1.png", "l/2.png")
    with pytest.raises(ValueError, match=r"apart from the suffix\. Add or remove these files\.$"):
        pairs("i", "l")
