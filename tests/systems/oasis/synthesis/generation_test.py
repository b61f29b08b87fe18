"""Label files and photographs to images: what is planned, generated, kept and refused.

The model is a stand-in whose images show what they were generated from.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from oasis_tf.data.datasets import folder_label_space
from oasis_tf.io import images, label_pictures
from oasis_tf.systems.oasis import noise
from oasis_tf.systems.oasis.config import Config, DataConfig, ModelConfig, TrainingConfig
from oasis_tf.systems.oasis.synthesis import generation, input_files, segmentation

SPACE = folder_label_space(5, unknown_label=255)
CONFIG = Config(
    model=ModelConfig(num_classes=5, has_unknown=True),
    data=DataConfig(data_dir="somewhere", crop_height=64, crop_width=128),
    training=TrainingConfig(steps=1),
    label_space=SPACE,
)


class ShowsIds:
    """Red = model id, green = seed of the noise at the pixel, blue = 0.

    The noise of a seed is (seed, 1 - seed / 100).
    """

    label_space = SPACE
    discriminator = encoder_ema = None

    class generator_ema:
        vector_channels = 2
        variables = ()

    def __init__(self):
        self.step = tf.constant(7)
        self.batches = []

    def inference_engine(self):
        return self

    def __call__(self, label_map, noise):
        self.batches.append(len(label_map))
        noise = np.stack([v[i] for v, i in zip(noise.vectors, noise.index, strict=True)])
        image = np.stack([label_map, noise[..., 0], np.zeros(label_map.shape)], axis=-1)
        return tf.constant((image / 127.5 - 1).astype(np.float32))

    def segment(self, image):
        """Red is the class already."""
        assert image.dtype == np.uint8
        assert not image.shape[0] % 64
        assert not image.shape[1] % 64
        return image[..., 0].astype(np.int32)


@pytest.fixture(autouse=True)
def telling_noise(monkeypatch):
    monkeypatch.setattr(
        noise,
        "sample_noise",
        lambda seed, channels: tf.constant([[s, 1 - s / 100] for s in seed.numpy()], tf.float32),
    )


@pytest.fixture
def labels(tmp_path):
    """Three label files of raw ids, of different sizes."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "labels"
    folder.mkdir()
    for name, size in {"a": (64, 128), "b": (32, 64), "c": (90, 100)}.items():
        ids = rng.choice(np.array([0, 1, 2, 3, 255], np.uint8), size)
        Image.fromarray(ids).save(folder / f"{name}.png")
    return folder


def read(path):
    return np.asarray(Image.open(path))


def plan_of(labels, tmp_path, **options):
    return generation.plan_synthesis(CONFIG, labels, tmp_path / "out", **options)


def test_all_wrong_inputs_are_told_at_once(labels, tmp_path):
    Image.new("L", (8, 8), 90).save(labels / "a.png")
    (labels / "c.png").write_bytes(b"text")
    with pytest.raises(
        ValueError, match="2 of 3 inputs cannot be used(.|\n)*a.png.*90(.|\n)*c.png"
    ):
        plan_of(labels, tmp_path)
    for name in "ab":
        (labels / f"{name}.png").write_bytes(b"text")
    with pytest.raises(ValueError, match="3 of 3 inputs cannot(.|\n)*a.png(.|\n)*b.png"):
        plan_of(None, tmp_path, from_images=labels)
    assert not (tmp_path / "out").exists()


def test_every_label_file_is_generated_with_every_seed(labels, tmp_path):
    plan = plan_of(labels, tmp_path, seed=5, num_samples=3)
    assert not os.path.exists(plan.output_dir)
    model = ShowsIds()
    written = generation.synthesize(model, plan, batch_size=4)
    names = [f"{stem}_seed{seed}.png" for stem in "abc" for seed in (5, 6, 7)]
    assert written == [str(tmp_path / "out" / name) for name in names]
    assert sorted(os.listdir(tmp_path / "out")) == names
    assert model.batches == [3, 3, 3]
    ids = SPACE.to_model_ids(read(labels / "a.png"), "a")
    model = ShowsIds()
    generation.synthesize(model, plan, batch_size=2)
    assert model.batches == [2, 1] * 3
    for seed in (5, 6, 7):
        image = read(tmp_path / "out" / f"a_seed{seed}.png")
        np.testing.assert_array_equal(image[..., 0], ids)
        assert (image[..., 1] == seed).all()


def test_label_maps_are_resized_to_the_crop_or_as_asked(labels, tmp_path):
    written = generation.synthesize(ShowsIds(), plan_of(labels / "b.png", tmp_path))
    ids = SPACE.to_model_ids(read(labels / "b.png"), "b")
    np.testing.assert_array_equal(read(written[0])[..., 0], ids.repeat(2, 0).repeat(2, 1))
    plan = plan_of(labels / "b.png", tmp_path, height=32, width=192, overwrite=True)
    written = generation.synthesize(ShowsIds(), plan)
    np.testing.assert_array_equal(read(written[0])[..., 0], ids.repeat(3, 1))


def test_contact_sheet_shows_colours_then_samples(labels, tmp_path):
    grid = str(tmp_path / "sheets" / "grid.png")
    plan = plan_of(labels, tmp_path, num_samples=2, grid=grid)
    assert generation.synthesize(ShowsIds(), plan, batch_size=4)[-1] == grid
    sheet = read(grid)
    assert sheet.shape == (3 * 66 - 2, 3 * 130 - 2, 3)
    colours = SPACE.colorize(SPACE.to_model_ids(read(labels / "a.png"), "a"))
    np.testing.assert_array_equal(sheet[:64, :128], colours)
    for row, stem in enumerate("abc"):
        for column, seed in enumerate((0, 1), start=1):
            tile = sheet[66 * row : 66 * row + 64, 130 * column : 130 * column + 128]
            np.testing.assert_array_equal(tile, read(tmp_path / "out" / f"{stem}_seed{seed}.png"))


def test_contact_sheet_stops_at_its_last_row(labels, tmp_path):
    pixels = read(labels / "a.png")
    for k in range(generation.GRID_ROWS):
        Image.fromarray(pixels).save(labels / f"d{k}.png")
    plan = plan_of(labels, tmp_path, height=32, width=32, grid=str(tmp_path / "grid.png"))
    written = generation.synthesize(ShowsIds(), plan)
    assert len(written) == generation.GRID_ROWS + 3 + 1
    assert read(tmp_path / "grid.png").shape[0] == generation.GRID_ROWS * 34 - 2


def test_existing_files_are_kept_unless_told_otherwise(labels, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b_seed1.png").write_text("precious")
    with pytest.raises(ValueError, match=r"1 of 6 output files exist.*b_seed1\.png.*--overwrite"):
        plan_of(labels, tmp_path, num_samples=2)
    assert (tmp_path / "out" / "b_seed1.png").read_text() == "precious"
    plan = plan_of(labels, tmp_path, num_samples=2, overwrite=True)
    generation.synthesize(ShowsIds(), plan)
    assert read(tmp_path / "out" / "b_seed1.png").shape == (64, 128, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"height": 64}, "both height and width.*height=64, width=None"),
        ({"height": 64, "width": 72}, "multiple of 32.*width=72. Nearest valid: 64 or 96"),
        ({"height": 0, "width": 64}, "multiple of 32.*height=0"),
        ({"num_samples": 0}, "at least 1.*num_samples=0"),
        ({"grid": "sheet.jpg"}, r"must be a \.png file.*sheet\.jpg"),
    ],
)
def test_bad_requests_are_refused(labels, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        plan_of(labels, tmp_path, **options)
    assert not (tmp_path / "out").exists()


def test_bad_label_values_are_refused_before_any_work(labels, tmp_path):
    Image.fromarray(np.full((8, 8), 4, np.uint8)).save(labels / "z.png")
    with pytest.raises(ValueError, match=r"z\.png.*\b4\b"):
        plan_of(labels, tmp_path)


def test_paths_in_each_others_way_are_refused(labels, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="must be a folder.*file"):
        generation.plan_synthesis(CONFIG, labels, tmp_path / "file")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(labels / "a_seed0.png")
    with pytest.raises(ValueError, match=r"an input, have the same path: .*a_seed0\.png"):
        generation.plan_synthesis(CONFIG, labels, labels, overwrite=True)
    with pytest.raises(ValueError, match=r"same path: .*a_seed0\.png"):
        plan_of(labels, tmp_path, grid=str(tmp_path / "out" / "a_seed0.png"))


# === Edits ===


def seeds_of(tmp_path, name):
    return read(tmp_path / "out" / f"{name}.png")[..., 1]


def test_samples_differ_in_the_named_classes_only(labels, tmp_path):
    plan = plan_of(
        labels / "a.png", tmp_path, seed=3, num_samples=3, resample_classes=["class_1", "3"]
    )
    generation.synthesize(ShowsIds(), plan)
    names = ["a_seed3", "a_seed3_class_1-class_3_seed4", "a_seed3_class_1-class_3_seed5"]
    assert sorted(os.listdir(tmp_path / "out")) == [f"{name}.png" for name in names]
    inside = np.isin(read(labels / "a.png"), [1, 3])
    for name, seed in zip(names, (3, 4, 5), strict=True):
        np.testing.assert_array_equal(seeds_of(tmp_path, name), np.where(inside, seed, 3))


def test_samples_differ_inside_a_mask_only(labels, tmp_path):
    mask = np.zeros((64, 128), np.uint8)
    mask[5:20, 7:90] = 1
    Image.fromarray(mask).save(tmp_path / "m.png")
    plan = plan_of(labels / "a.png", tmp_path, num_samples=2, region=str(tmp_path / "m.png"))
    generation.synthesize(ShowsIds(), plan)
    np.testing.assert_array_equal(seeds_of(tmp_path, "a_seed0"), 0)
    np.testing.assert_array_equal(seeds_of(tmp_path, "a_seed0_region-m_seed1"), mask)


def test_a_folder_holds_a_mask_for_each(labels, tmp_path):
    (tmp_path / "masks").mkdir()
    for k, name in enumerate("abc"):
        mask = np.zeros(read(labels / f"{name}.png").shape, np.uint8)
        mask[k:] = 255
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
    options = {"num_samples": 2, "region": str(tmp_path / "masks")}
    generation.synthesize(ShowsIds(), plan_of(labels, tmp_path, **options, size="native"))
    for k, name in enumerate("abc"):
        image = seeds_of(tmp_path, f"{name}_seed0_region_seed1")
        assert (image[:k] == 0).all()
        assert (image[k:] == 1).all()
    os.remove(tmp_path / "masks" / "b.png")
    with pytest.raises(ValueError, match=r"Without a mask in .*masks: b\."):
        plan_of(labels, tmp_path / "other", **options)


@pytest.mark.parametrize("classes", [(), ("class_2",)])
def test_interpolations_go_from_each_seed_to_the_next(labels, tmp_path, classes):
    plan = plan_of(
        labels / "a.png",
        tmp_path,
        seed=100,
        num_samples=2,
        interpolate=5,
        resample_classes=classes,
        animations=("webp", "gif"),
        frame_ms=50,
        grid=str(tmp_path / "grid.png"),
    )
    # Two steps of a seed between frames, so that green tells them apart.
    steps = {100: 0, 101: 8, 102: 16}

    class ShowsSteps(ShowsIds):
        def __call__(self, label_map, noise):
            seed, other = np.moveaxis(noise.vectors, -1, 0)
            vectors = np.stack([8 * (seed - 100), other], axis=-1)
            return super().__call__(label_map, noise._replace(vectors=vectors))

    written = generation.synthesize(ShowsSteps(), plan)
    assert sorted(written[:-1]) == [
        str(tmp_path / "out" / n) for n in sorted(os.listdir(tmp_path / "out"))
    ]
    assert len(written) == 2 * (5 + 2) + 1
    edit = "_class_2" if classes else ""
    inside = read(labels / "a.png") == 2 if classes else np.ones((64, 128), bool)
    for seed in (100, 101):
        start = f"a_seed{seed}{edit}_to_seed{seed + 1}"
        frames = [seeds_of(tmp_path, f"{start}_frame0{k}of5") for k in range(5)]
        for k, frame in enumerate(frames):
            np.testing.assert_array_equal(frame, np.where(inside, steps[seed] + 2 * k, steps[seed]))
        with Image.open(tmp_path / "out" / f"{start}.webp") as animation:
            assert animation.n_frames == 5
            animation.seek(4)
            np.testing.assert_array_equal(np.asarray(animation.convert("RGB"))[..., 1], frames[-1])
    assert read(tmp_path / "grid.png").shape == (2 * 66 - 2, 6 * 130 - 2, 3)


def test_spherical_interpolation_has_other_frames_and_names(labels, tmp_path):
    for spherical in (False, True):
        options = {"seed": 40, "interpolate": 3, "spherical": spherical}
        plan = plan_of(labels / "b.png", tmp_path, **options)
        generation.synthesize(ShowsIds(), plan)
    names = sorted(os.listdir(tmp_path / "out"))
    assert [name for name in names if "spherical" in name] == [
        f"b_seed40_to_seed41_spherical_frame0{k}of3.png" for k in range(3)
    ]
    assert len(names) == 6


def test_classes_that_no_label_map_has_are_refused(labels, tmp_path):
    ids = read(labels / "b.png").copy()
    ids[ids == 1] = 0
    Image.fromarray(ids).save(labels / "b.png")
    edit = {"num_samples": 2, "resample_classes": ["class_1"]}
    assert "1 label maps have no pixel of class_1" in plan_of(labels, tmp_path, **edit).notes[-1]
    with pytest.raises(ValueError, match="No label map has a pixel of class_1"):
        plan_of(labels / "b.png", tmp_path, **edit)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resample_classes": ["class_7"]}, "No class is named 'class_7'.*class_"),
        ({"resample_classes": ["class_1", "1"]}, "each class once. Received: class_1, 1"),
        ({"resample_classes": ["class_1"], "num_samples": 1}, "first sample is the base"),
        ({"resample_classes": ["class_1"], "region": "m.png"}, "both name what"),
        ({"interpolate": 1}, "at least 2 frames.*interpolate=1"),
        ({"animations": ("gif",)}, r"--animation.* give --interpolate=K"),
        ({"region": "missing.png"}, r"Cannot be read as a PNG, .*: missing\.png"),
        ({"overwrite": True, "skip_existing": True}, "Give one"),
        ({"size": "native", "height": 64, "width": 64}, "native keeps the size"),
        ({"size": "half"}, "must be crop or native. Received: size=half"),
        ({"from_images": "photos"}, "Name either label files.*Received: both"),
    ],
)
def test_bad_edits_are_refused(labels, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        plan_of(labels, tmp_path, **{"num_samples": 2} | options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((32, 64), np.uint8), "no pixel that is not 0"),
        (np.ones((64, 64), np.uint8), "64 x 64 for 32 x 64"),
        (np.eye(3, dtype=np.uint8)[np.ones((32, 64), int)], "one channel.*channels RGB"),
    ],
)
def test_bad_masks_are_refused(labels, tmp_path, mask, message):
    Image.fromarray(mask).save(tmp_path / "m.png")
    with pytest.raises(ValueError, match=message):
        plan_of(labels / "b.png", tmp_path, num_samples=2, region=str(tmp_path / "m.png"))


def test_one_mask_must_fit_every_label_map(labels, tmp_path):
    Image.fromarray(np.ones((64, 128), np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(ValueError, match="64 x 128 for 32 x 64"):
        plan_of(labels, tmp_path, num_samples=2, region=str(tmp_path / "m.png"))


# === Reading ===


def test_a_label_file_is_decoded_once_if_it_can_be_kept(labels, tmp_path, monkeypatch):
    decoded, read = [], label_pictures.read

    def recorded(path, name):
        decoded.append(os.path.basename(path))
        return read(path, name)

    monkeypatch.setattr(label_pictures, "read", recorded)

    def images_of(folder):
        options = {"num_samples": 2, "resample_classes": ["class_0"]}
        written = generation.synthesize(ShowsIds(), plan_of(labels, tmp_path / folder, **options))
        return [Path(path).read_bytes() for path in written]

    want = images_of("kept")
    assert sorted(decoded) == ["a.png", "b.png", "c.png"]
    decoded.clear()
    monkeypatch.setattr(input_files, "_KEPT_BYTES", 64 * 128)
    assert images_of("one_kept") == want
    assert sorted(decoded) == ["a.png", "b.png", "b.png", "c.png", "c.png"]


# === Sizes ===


def test_native_sizes_are_padded_and_cut_back(labels, tmp_path):
    plan = plan_of(labels, tmp_path, size="native")
    assert "1 of 3 inputs are padded to sides that divide by 32" in plan.notes[0]
    sizes = []

    class Recording(ShowsIds):
        def __call__(self, label_map, noise):
            sizes.append(label_map)
            return super().__call__(label_map, noise)

    model = Recording()
    generation.synthesize(model, plan)
    assert [maps.shape[1:] for maps in sizes] == [(64, 128), (32, 64), (96, 128)]
    for name in "abc":
        ids = SPACE.to_model_ids(read(labels / f"{name}.png"), name)
        np.testing.assert_array_equal(read(tmp_path / "out" / f"{name}_seed0.png")[..., 0], ids)
    np.testing.assert_array_equal(sizes[2][0, 90:, :100], np.repeat(ids[-1:], 6, axis=0))


def test_what_is_resized_is_said(labels, tmp_path):
    assert plan_of(labels, tmp_path).notes == (
        "2 of 3 inputs are resized to 64 x 128 (height x width).",
    )
    assert plan_of(labels / "a.png", tmp_path).notes == ()
    assert (
        "trained on images resized to 64 x 128"
        in plan_of(labels / "b.png", tmp_path, size="native").notes[0]
    )


# === Going on ===


def test_going_on_makes_what_is_missing(labels, tmp_path):
    grid = str(tmp_path / "grid.png")
    options = {"num_samples": 2, "resample_classes": ["class_0"], "grid": grid}
    written = generation.synthesize(ShowsIds(), plan_of(labels, tmp_path, **options))
    before = {path: Path(path).read_bytes() for path in written}
    for path in (written[2], written[5], grid):
        os.remove(path)
    os.utime(written[0], ns=(5, 5))
    plan, model = plan_of(labels, tmp_path, **options, skip_existing=True), ShowsIds()
    assert generation.synthesize(model, plan) == written
    assert model.batches == [1, 1]
    assert os.stat(written[0]).st_mtime_ns == 5
    assert {path: Path(path).read_bytes() for path in written} == before
    idle = ShowsIds()
    generation.synthesize(idle, plan)
    assert idle.batches == []


@pytest.mark.parametrize("other", ["step", "label", "size", "classes", "foreign"])
def test_files_of_other_requests_are_not_kept(labels, tmp_path, other):
    options = {"num_samples": 2, "resample_classes": ["class_0"], "skip_existing": True}
    first, last = generation.synthesize(ShowsIds(), plan_of(labels / "a.png", tmp_path, **options))
    os.remove(first if other == "classes" else last)
    model = ShowsIds()
    if other == "step":
        model.step = tf.constant(8)
    elif other == "label":
        Image.fromarray(read(labels / "a.png")[::-1]).save(labels / "a.png")
    elif other == "size":
        options |= {"height": 64, "width": 64}
    elif other == "foreign":
        Image.new("RGB", (128, 64)).save(first)
    elif other == "classes":
        text = images.read_texts(last)["oasis_tf"].replace('"classes": [1]', '"classes": [2]')
        images.write_png(last, np.zeros((64, 128, 3), np.uint8), {"oasis_tf": text})
    plan = plan_of(labels / "a.png", tmp_path, **options)
    with pytest.raises(ValueError, match="was not made by this request.*--overwrite"):
        generation.synthesize(model, plan)
    assert model.batches == []


# === Photographs ===


@pytest.fixture
def photographs(tmp_path):
    """Two photographs whose red is the class."""
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(1)
    for name, size in {"x": (64, 128), "y": (50, 70)}.items():
        pixels = rng.integers(0, 5, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{name}.png")
    return tmp_path / "photos"


def test_photographs_are_recreated(photographs, tmp_path):
    grid = str(tmp_path / "grid.png")
    options = {"from_images": photographs, "num_samples": 2, "size": "native", "grid": grid}
    generation.synthesize(ShowsIds(), plan_of(None, tmp_path, **options))
    for name in "xy":
        for seed in (0, 1):
            image = read(tmp_path / "out" / f"{name}_seed{seed}.png")
            np.testing.assert_array_equal(image[..., 0], read(photographs / f"{name}.png")[..., 0])
            assert (image[..., 1] == seed).all()
    sheet = read(grid)
    assert sheet.shape == (2 * 66 - 2, 4 * 130 - 2, 3)
    np.testing.assert_array_equal(sheet[:64, :128], read(photographs / "x.png"))
    np.testing.assert_array_equal(
        sheet[66:116, 130:200], SPACE.colorize(read(photographs / "y.png")[..., 0])
    )


def test_photographs_are_segmented_into_raw_ids(photographs, tmp_path):
    def plan(**options):
        return segmentation.plan_segmentation(
            CONFIG, photographs, tmp_path / "out", size="native", **options
        )

    written = segmentation.segment_files(ShowsIds(), plan())
    assert written == [str(tmp_path / "out" / f"{name}.png") for name in "xy"]
    for path, name in zip(written, "xy", strict=True):
        want = SPACE.to_raw_ids(read(photographs / f"{name}.png")[..., 0])
        np.testing.assert_array_equal(read(path), want)
    with pytest.raises(ValueError, match="2 of 2 output files exist"):
        plan()
    os.remove(written[1])
    os.utime(written[0], ns=(5, 5))
    segmentation.segment_files(ShowsIds(), plan(skip_existing=True))
    assert os.stat(written[0]).st_mtime_ns == 5
    assert os.path.exists(written[1])
    with pytest.raises(ValueError, match="have the same path"):
        segmentation.plan_segmentation(CONFIG, photographs, photographs, overwrite=True)
