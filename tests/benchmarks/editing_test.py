"""`benchmarks.oasis.editing`: its means and correlations in closed form, and the command."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from absl import flags
from scipy import stats

from benchmarks.oasis import editing
from oasis_tf.data.datasets import published_label_space
from oasis_tf.systems.oasis import noise

SEED = 3
CHANNELS = 3  # of noise: the three colours
# Two maps of sky (0), the first with grass (2), the second with a tree (8).
LABEL_MAPS = np.zeros((2, 32, 32), np.int32)
LABEL_MAPS[0, 16:] = 2
LABEL_MAPS[1, 24:, :8] = 8


class NoisePictures:
    """A model whose pictures are `scale` times each pixel's noise plus `leak` times the mean."""

    label_space = published_label_space("shapes")
    generator = SimpleNamespace(noise_channels=CHANNELS)

    def __init__(self, leak=0.0, scale=1.0):
        self._leak, self._scale = leak, scale
        self.generated = []

    def generate(self, label_map, noise):
        self.generated.append(noise)
        assert label_map.shape == (len(noise), 32, 32)
        dense = self._scale * np.stack([field.dense() for field in noise]).astype(np.float64)
        return dense + self._leak * dense.mean(axis=(1, 2), keepdims=True)


class AbsoluteDistance:
    """Mean absolute difference of uint8 images."""

    name = "absolute"

    def distances(self, image, pairs):
        assert image.dtype == np.uint8
        return np.array([np.abs(image[i].astype(float) - image[j]).mean() for i, j in pairs])


class ScriptedDistance:
    """Distances that are given."""

    def __init__(self, *values):
        self._values = values

    def distances(self, image, pairs):
        assert [tuple(pair) for pair in pairs] == [(0, k + 1) for k in range(len(self._values))]
        return np.array(self._values)


def vector(seed):
    return noise.sample_noise(np.array([seed]), CHANNELS).numpy()[0].astype(np.float64)


def difference(map_number):
    """Change of a pixel in the units of images in 0..1 when the noise of a map is drawn again."""
    first = SEED + 2 * map_number
    return np.abs(vector(first) - vector(first + 1)).mean() / 2


def test_what_is_resampled_changes_and_nothing_else():
    found = editing.measure_changes(NoisePictures(), LABEL_MAPS, SEED)
    both = (difference(0) + difference(1)) / 2
    want = {
        "sky": (2, both, 0, (0.5 + 15 / 16) / 2),
        "grass": (1, difference(0), 0, 0.5),
        "tree": (1, difference(1), 0, 1 / 16),
        "all classes": (4, both, 0, (0.5 + 15 / 16 + 0.5 + 1 / 16) / 4),
        "left half": (2, both, 0, 0.5),
        "whole image": (2, both, None, 1),
    }
    assert list(found) == list(want)
    for name, (edits, inside, outside, area) in want.items():
        assert found[name]["edits"] == edits
        assert found[name]["inside"] == pytest.approx(inside, rel=1e-5), name
        assert found[name]["outside"] == outside
        assert found[name]["area"] == pytest.approx(area)


def test_leakage_is_what_changes_outside():
    found = editing.measure_changes(NoisePictures(leak=0.4), LABEL_MAPS, SEED)
    for name, share in (("grass", 1 / 2), ("tree", 1 / 16)):
        moved = difference(0 if name == "grass" else 1)
        assert found[name]["outside"] == pytest.approx(0.4 * share * moved, rel=1e-5)
        assert found[name]["inside"] == pytest.approx((1 + 0.4 * share) * moved, rel=1e-5)


def test_steady_interpolation_is_in_order():
    found = editing.measure_orders(
        NoisePictures(scale=0.4), LABEL_MAPS, AbsoluteDistance(), 5, SEED
    )
    assert list(found) == [
        f"{kind}, {where}"
        for kind in ("linear", "spherical")
        for where in ("whole image", "largest class")
    ]
    for where in ("whole image", "largest class"):
        row = found[f"linear, {where}"]
        assert (row["maps"], row["mean"], row["lowest"], row["reaching"]) == (2, 1, 1, 2)
    assert found["linear, whole image"]["distance"] > found["linear, largest class"]["distance"] > 0


def test_interpolation_goes_from_seed_to_seed_where_it_should():
    model = NoisePictures()
    editing.measure_orders(model, LABEL_MAPS[1:], AbsoluteDistance(), 3, SEED)
    linear, linear_region, spherical, _ = model.generated
    ends = vector(SEED), vector(SEED + 1)
    for fields in (linear, spherical):
        for field, end in zip((fields[0], fields[-1]), ends, strict=True):
            np.testing.assert_allclose(field.vectors, [end], rtol=1e-6)
    np.testing.assert_allclose(linear[1].vectors, [np.mean(ends, axis=0)], rtol=1e-5)
    assert not np.allclose(spherical[1].vectors, linear[1].vectors)
    dense, sky = linear_region[1].dense(), LABEL_MAPS[1] == 0
    np.testing.assert_array_equal(dense[~sky], np.broadcast_to(ends[0], dense[~sky].shape))
    np.testing.assert_allclose(dense[0, 0], np.mean(ends, axis=0), rtol=1e-5)


def test_frames_out_of_order_are_told():
    row = editing.measure_orders(
        NoisePictures(scale=0.4), LABEL_MAPS, ScriptedDistance(1, 3, 2, 4), 5, 0
    )
    for found in row.values():
        want = {"maps": 2, "mean": 0.8, "lowest": 0.8, "reaching": 0, "distance": 4}
        assert found == pytest.approx(want)


def test_rank_correlation_is_spearmans():
    rng = np.random.default_rng(0)
    for values in (rng.random(8), rng.integers(0, 4, 9), [3, 2, 1]):
        want = stats.spearmanr(values, np.arange(len(values))).statistic
        assert editing.rank_correlation(values) == pytest.approx(want, abs=1e-12)
    assert editing.rank_correlation([2.0, 2.0, 2.0]) == 0


@pytest.mark.parametrize(("mean", "verdict"), [(0.95, "is reached"), (0.85, "is not reached")])
def test_table_says_whether_the_order_is_good_enough(mean, verdict):
    change = {"edits": 1, "inside": 0.5, "outside": None, "area": 1.0}
    order = {"maps": 20, "mean": mean, "lowest": 0.5, "reaching": 7, "distance": 0.25}
    good = order | {"mean": 0.99}
    text = editing.as_table({"change": {"x": change}, "order": {"a": good, "b": order}}, "lpips")
    assert f"a mean of 0.9 {verdict} by every kind" in text
    assert "nan" not in text


def test_command(monkeypatch, data_dir, model_dir, tmp_path, capsys):
    path = tmp_path / "found.json"
    values = flags.FlagValues()
    editing.define_flags(values)
    values(["editing", f"--model_dir={model_dir}", "--maps=1", "--frames=3", f"--json={path}"])
    monkeypatch.setattr(flags, "FLAGS", values)
    editing.main([])
    found, printed = json.loads(path.read_text()), capsys.readouterr().out
    assert found["settings"]["distance"] == "lpips_seeded64"
    assert found["settings"]["data_dir"] == data_dir
    change, order = found["figures"]["change"], found["figures"]["order"]
    assert change["whole image"]["edits"] == order["linear, whole image"]["maps"] == 1
    assert change["all classes"]["inside"] > change["all classes"]["outside"]
    for name in [*change, *order]:
        assert f"\n{name} " in printed


def test_scenes_that_do_not_fit_are_refused(data_dir):
    class Model:
        label_space = published_label_space("shapes")

    with pytest.raises(ValueError, match=r"Received: 4, of 3\. Lower --maps"):
        editing.read_scenes(Model, data_dir, "val", 4)
    Model.label_space = published_label_space("cityscapes")
    with pytest.raises(ValueError, match="same classes"):
        editing.read_scenes(Model, data_dir, "val", 3)
