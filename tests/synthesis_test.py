"""Label files to images: what is planned, painted and refused, with a stand-in for the model."""

import dataclasses
import os

import numpy as np
import pytest
from PIL import Image

from oasis_tf import synthesis
from oasis_tf.config import Config, DataConfig, ModelConfig, TrainingConfig
from oasis_tf.data.datasets import folder_label_space

SPACE = folder_label_space(5, unknown_label=255)
CONFIG = Config(
    model=ModelConfig(num_classes=5, has_unknown=True),
    data=DataConfig(data_dir="somewhere", crop_height=64, crop_width=128),
    training=TrainingConfig(steps=1),
    label_space=SPACE,
)


@dataclasses.dataclass
class PaintsIds:
    """Red = model id, green = seed, blue = 0."""

    label_space = SPACE
    batches: list = dataclasses.field(default_factory=list)

    def generate(self, label_map, seed):
        self.batches.append(len(label_map))
        seed = np.broadcast_to(seed[:, None, None], label_map.shape)
        image = np.stack([label_map, seed, np.zeros_like(seed)], axis=-1)
        return (image / 127.5 - 1).astype(np.float32)


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
    return synthesis.plan_synthesis(CONFIG, labels, tmp_path / "out", **options)


def test_every_label_file_is_painted_with_every_seed(labels, tmp_path):
    plan = plan_of(labels, tmp_path, seed=5, num_samples=3)
    assert not os.path.exists(plan.output_dir)
    model = PaintsIds()
    written = synthesis.synthesize(model, plan, batch_size=4)
    names = [f"{stem}_seed{seed}.png" for stem in "abc" for seed in (5, 6, 7)]
    assert written == [str(tmp_path / "out" / name) for name in names]
    assert sorted(os.listdir(tmp_path / "out")) == names
    assert model.batches == [4, 4, 1]
    ids = SPACE.to_model_ids(read(labels / "a.png"), "a")
    for seed in (5, 6, 7):
        image = read(tmp_path / "out" / f"a_seed{seed}.png")
        np.testing.assert_array_equal(image[..., 0], ids)
        assert (image[..., 1] == seed).all()


def test_label_maps_are_resized_to_the_crop_or_as_asked(labels, tmp_path):
    written = synthesis.synthesize(PaintsIds(), plan_of(labels / "b.png", tmp_path))
    ids = SPACE.to_model_ids(read(labels / "b.png"), "b")
    np.testing.assert_array_equal(read(written[0])[..., 0], ids.repeat(2, 0).repeat(2, 1))
    plan = plan_of(labels / "b.png", tmp_path, height=32, width=192, overwrite=True)
    written = synthesis.synthesize(PaintsIds(), plan)
    np.testing.assert_array_equal(read(written[0])[..., 0], ids.repeat(3, 1))


def test_contact_sheet_shows_colours_then_samples(labels, tmp_path):
    grid = str(tmp_path / "sheets" / "grid.png")
    plan = plan_of(labels, tmp_path, num_samples=2, grid=grid)
    assert synthesis.synthesize(PaintsIds(), plan, batch_size=4)[-1] == grid
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
    for k in range(synthesis.GRID_ROWS):
        Image.fromarray(pixels).save(labels / f"d{k}.png")
    plan = plan_of(labels, tmp_path, height=32, width=32, grid=str(tmp_path / "grid.png"))
    written = synthesis.synthesize(PaintsIds(), plan)
    assert len(written) == synthesis.GRID_ROWS + 3 + 1
    assert read(tmp_path / "grid.png").shape[0] == synthesis.GRID_ROWS * 34 - 2


def test_existing_files_are_kept_unless_told_otherwise(labels, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b_seed1.png").write_text("precious")
    with pytest.raises(ValueError, match=r"1 of 6 output files exist.*b_seed1\.png.*--overwrite"):
        plan_of(labels, tmp_path, num_samples=2)
    assert (tmp_path / "out" / "b_seed1.png").read_text() == "precious"
    plan = plan_of(labels, tmp_path, num_samples=2, overwrite=True)
    synthesis.synthesize(PaintsIds(), plan)
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


def test_bad_label_values_are_refused_before_anything_is_painted(labels, tmp_path):
    Image.fromarray(np.full((8, 8), 4, np.uint8)).save(labels / "z.png")
    with pytest.raises(ValueError, match=r"z\.png.*\b4\b"):
        plan_of(labels, tmp_path)


def test_paths_in_each_others_way_are_refused(labels, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="must be a folder.*file"):
        synthesis.plan_synthesis(CONFIG, labels, tmp_path / "file")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(labels / "a_seed0.png")
    with pytest.raises(ValueError, match=r"a label file, have the same path: .*a_seed0\.png"):
        synthesis.plan_synthesis(CONFIG, labels, labels, overwrite=True)
    with pytest.raises(ValueError, match=r"same path: .*a_seed0\.png"):
        plan_of(labels, tmp_path, grid=str(tmp_path / "out" / "a_seed0.png"))
