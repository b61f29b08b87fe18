"""`editing_figures`: what the tiles of a figure show, and the files of the command."""

import numpy as np
import pytest
from absl import flags
from PIL import Image

from benchmarks.oasis import editing_figures
from oasis_tf.data.shapes import scene
from oasis_tf.systems.oasis import editing

TILES = {  # rows and columns of each figure
    "figure_2": (4, 6),
    "figure_f": (4, 6),
    "figure_h": (4, 5),
    "kinds": (3, 5),
    "figure_i": (4, 6),
    "figure_j": (5, 7),
    "figure_k": (3, 6),
    "figure_l": (4, 7),
}
RED = editing_figures.RED


@pytest.fixture(scope="module")
def model(model_dir):
    from oasis_tf import OASIS

    return OASIS.load(model_dir)


@pytest.fixture(scope="module")
def scenes():
    found = [scene(5, k, 64, 64) for k in range(4)]
    return tuple(np.stack(part) for part in zip(*found, strict=True))


@pytest.fixture(scope="module")
def figures(model, scenes):
    return dict(editing_figures.FigureMaker(model, scenes, 7).figures())


def test_figures_have_their_tiles(figures):
    assert {k: (len(rows), len(rows[0])) for k, rows in figures.items()} == TILES
    for rows in figures.values():
        for row in rows:
            assert {(tile.shape, tile.dtype.name) for tile in row} == {((64, 64, 3), "uint8")}


def red(tile):
    return (tile == np.uint8(RED)).all(axis=-1)


def changed(first, second):
    return np.abs(first.astype(int) - second).mean(axis=-1)


def test_local_rows_differ_where_they_are_red(figures):
    rows = figures["figure_2"][2:] + figures["figure_f"][1::2] + figures["figure_j"]
    for marked, first, *others in rows:
        where, last = red(marked), others[SAMPLES_AFTER]
        assert where.any() and not where.all()
        difference = changed(first, last)
        assert difference[where].mean() > difference[~where].mean()


SAMPLES_AFTER = editing_figures.SAMPLES - 2  # the last image after the first


def test_global_rows_are_the_seeds(figures, model, scenes):
    label_map = scenes[1][0].astype(np.int32)
    colours, *tiles = figures["figure_2"][0]
    np.testing.assert_array_equal(colours, model.label_space.colorize(label_map))
    for seed, tile in enumerate(tiles, start=7):
        want = (model.generate(label_map, seed=seed) + 1) * 127.5
        assert np.abs(tile - want).max() <= 0.51


def test_regions_hold_the_second_noise(figures, model, scenes):
    for number, (marked, first, second, both, change) in enumerate(figures["figure_h"], start=7):
        label_map = scenes[1][number % 4].astype(np.int32)
        base, other = (editing.image_noise(64, 64, seed, 4) for seed in (7, 8))
        fields = [base, other, editing.resample(base, red(marked), 8)]
        for tile, field in zip((first, second, both), fields, strict=True):
            want = (model.generate(label_map, noise=field) + 1) * 127.5
            assert np.abs(tile - want).max() <= 0.51
        np.testing.assert_array_equal(change, editing_figures.change_tile(first, both))


@pytest.mark.parametrize("name", editing_figures.REGIONS)
def test_regions_are_parts_at_any_size(name):
    region = editing_figures.region(name, (32, 64))
    assert region.shape == (32, 64) and region.dtype == bool
    assert 0.2 < region.mean() < 0.6


def test_interpolations_join_their_ends(figures, model, scenes):
    first, last = figures["figure_i"][1][1], figures["figure_i"][1][-1]
    label_map = scenes[1][12 % 4].astype(np.int32)
    for tile, seed in ((first, 9), (last, 10)):
        want = (model.generate(label_map, seed=seed) + 1) * 127.5
        assert np.abs(tile - want).max() <= 0.51


def test_photographs_are_recreated_from_what_the_discriminator_sees(figures, model, scenes):
    true, image, seen, *again = figures["figure_k"][0]
    np.testing.assert_array_equal(image, scenes[0][15 % 4])
    np.testing.assert_array_equal(true, model.label_space.colorize(scenes[1][15 % 4]))
    segmentation = model.segment(image)
    np.testing.assert_array_equal(seen, model.label_space.colorize(segmentation))
    want = (model.generate(segmentation, seed=8) + 1) * 127.5
    assert np.abs(again[1] - want).max() <= 0.51


def test_change_is_shown_in_grey():
    first, second = np.zeros((1, 2, 3), np.uint8), np.array([[[3, 6, 9], [255] * 3]], np.uint8)
    want = [[[24] * 3, [255] * 3]]
    np.testing.assert_array_equal(editing_figures.change_tile(first, second), want)
    np.testing.assert_array_equal(editing_figures.change_tile(second, first), want)


def test_command(monkeypatch, model_dir, figures, tmp_path, capsys):
    """The figures are made once only, for all tests."""
    makers = []

    def made(maker):
        makers.append(maker)
        return figures.items()

    monkeypatch.setattr(editing_figures.FigureMaker, "figures", made)
    values = flags.FlagValues()
    editing_figures.define_flags(values)
    values(["figures", f"--model_dir={model_dir}", f"--output={tmp_path / 'out'}", "--scale=2"])
    monkeypatch.setattr(flags, "FLAGS", values)
    editing_figures.main([])
    found = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert found == sorted(f"editing_{name}.webp" for name in TILES)
    assert len(makers) == 1
    with Image.open(tmp_path / "out" / "editing_figure_k.webp") as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (2 * (3 * 66 - 2), 2 * (6 * 66 - 2), 3)
    np.testing.assert_array_equal(pixels[:128:2, :128:2], figures["figure_k"][0][0])
    assert len(capsys.readouterr().out.splitlines()) == len(TILES)


def test_scenes_with_the_most_classes_come_first(model, data_dir):
    _, label_maps = editing_figures.read_scenes(model, data_dir)
    counts = [len(np.unique(label_map)) for label_map in label_maps]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]
