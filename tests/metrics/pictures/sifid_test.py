"""SIFID against the definition with a matrix root, ranks by hand, networks of spatial features."""

import numpy as np
import pytest
import scipy.linalg

from oasis_tf.metrics.features import seeded
from oasis_tf.metrics.pictures import sifid
from oasis_tf.metrics.pictures.pixel_diversity import pixel_diversity
from oasis_tf.metrics.pictures.spatial_features import spatial_features


def by_definition(a, b):
    """|m₁ - m₂|² + tr(C₁ + C₂ - 2 √(C₁ C₂)), covariances with n - 1."""
    c1, c2 = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(c1 @ c2).real
    return np.square(a.mean(0) - b.mean(0)).sum() + np.trace(c1 + c2 - 2 * root)


@pytest.mark.parametrize("sizes", [(60, 40), (5, 7)], ids=["full rank", "few pixels"])
def test_distance_is_frechets(sizes):
    rng = np.random.default_rng(0)
    a, b = (rng.normal(k, 1 + k, (n, 8)) for k, n in enumerate(sizes))
    found = sifid.distance(sifid.gaussian(a), sifid.gaussian(b))
    assert found == pytest.approx(by_definition(a, b), rel=1e-4)
    assert sifid.distance(sifid.gaussian(a), sifid.gaussian(a)) < 1e-12


def test_scores_are_means_over_the_pictures_of_a_clip():
    class Network:
        depths = ("3", "6")

        def __call__(self, image):
            pixels = image.reshape(-1, 3).astype(np.float64)
            return [pixels, None]

    rng = np.random.default_rng(1)
    samples, clip = (rng.integers(0, 256, (n, 4, 5, 3), np.uint8) for n in (3, 2))
    table = sifid.scores(Network(), samples, clip)
    assert table.shape == (3, 2) and np.isnan(table[:, 1]).all()
    flat = [x.reshape(len(x), -1, 3) for x in (samples, clip)]
    wanted = [np.mean([by_definition(a, b) for b in flat[1]]) for a in flat[0]]
    np.testing.assert_allclose(table[:, 0], wanted, rtol=1e-4)


def test_the_filter_drops_the_worst_mean_ranks():
    # Ranks 1 2 3 4 and 4 1 3 2: means 2.5, 1.5, 3, 3; of the last two the later one goes first.
    table = np.array([[0.1, 9.0], [0.2, 1.0], [0.3, 3.0], [100.0, 2.0]])
    np.testing.assert_array_equal(sifid.kept(table, 0.25), [0, 1, 2])
    np.testing.assert_array_equal(sifid.kept(table, 0.5), [0, 1])
    with_gap = np.concatenate([table, np.full((4, 1), np.nan)], axis=1)
    np.testing.assert_array_equal(sifid.kept(with_gap, 0.5), [0, 1])


def test_fifteen_of_a_hundred_are_dropped():
    table = np.random.default_rng(2).random((100, 4))
    stay = sifid.kept(table)
    assert len(stay) == 85 and len(set(stay)) == 85
    ranks = np.array([[np.sum(column < x) for x in column] for column in table.T]).sum(0)
    dropped = np.setdiff1d(np.arange(100), stay)
    assert ranks[dropped].min() >= ranks[stay].max()


def test_features_of_the_seeded_network():
    network = spatial_features()
    image = np.random.default_rng(3).integers(0, 256, (48, 64, 3), np.uint8)
    maps = network(image)
    assert network.name == "seeded64" and network.depths[0] == "_stage0"
    assert [x.shape for x in maps] == [
        (48 * 64 >> 2 * k, width) for k, width in enumerate(seeded.WIDTHS)
    ]
    wanted = seeded.stage_network()(image[None] / np.float32(127.5) - 1)[1]
    np.testing.assert_allclose(maps[1], np.reshape(wanted, (-1, 32)), atol=1e-5)
    assert network(image[:16]) == [None] * 4


def test_only_files_of_inception_are_taken(tmp_path):
    with pytest.raises(ValueError, match=r"(?s)no weight file .*inception_v3_google"):
        spatial_features(str(tmp_path / "absent.pth"))
    (tmp_path / "weights.h5").write_bytes(b"")
    with pytest.raises(ValueError, match=r"must end in \.pth or \.pb for sifid"):
        spatial_features(str(tmp_path / "weights.h5"))


def test_pixel_diversity_by_loops():
    rng = np.random.default_rng(4)
    samples, picture = (
        rng.integers(0, 256, (4, 3, 5, 3), np.uint8),
        rng.integers(0, 256, (1, 3, 5, 3), np.uint8),
    )
    varied = [
        np.std([float(s[i, j, c]) for s in samples])
        for i in range(3)
        for j in range(5)
        for c in range(3)
    ]
    spread = [np.std([float(v) for v in picture[0, :, :, c].ravel()]) for c in range(3)]
    found = pixel_diversity(samples, picture)
    assert found == pytest.approx(np.mean(varied) / np.mean(spread))
    assert np.isnan(pixel_diversity(samples, np.full((1, 3, 5, 3), 9, np.uint8)))
