"""Intra-cluster LPIPS and the roughness of paths, against slow references."""

import numpy as np
import pytest

from oasis_tf.io.images import resize_image
from oasis_tf.metrics.diversity import perceptual
from oasis_tf.metrics.pictures import intra_lpips, path_roughness


@pytest.fixture(scope="module")
def lpips():
    return perceptual.lpips()


def near(picture, count, seed):
    """Pictures that differ a little from one, uint8 [count,32,32,3]."""
    noise = np.random.default_rng(seed).integers(-9, 10, (count, *picture.shape))
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def test_clusters_and_pairs(lpips):
    """Two clusters that have pairs, and one of a single image, which does not count."""
    rng = np.random.default_rng(0)
    training = rng.integers(0, 256, (3, 2, 2, 3), np.uint8).repeat(16, 1).repeat(16, 2)
    groups = [near(training[0], 3, 1), near(training[1], 2, 2), near(training[2], 1, 3)]
    order = rng.permutation(6)
    found = intra_lpips.score(lpips, np.concatenate(groups)[order], training)
    assert found.sizes == [3, 2, 1]
    large = [np.stack([resize_image(image, 256, 256) for image in group]) for group in groups]
    pairs = [
        [lpips.distances(group, [[i, j]])[0] for i in range(len(group)) for j in range(i)]
        for group in large
    ]
    wanted = [np.mean(pairs[0]), np.mean(pairs[1])]
    np.testing.assert_allclose(found.by_cluster[:2], wanted, rtol=1e-5)
    assert np.isnan(found.by_cluster[2])
    assert found.value == pytest.approx(np.mean(wanted), rel=1e-5)


def test_copies_have_none(lpips, monkeypatch):
    """Equal images differ in nothing; of a large cluster only some are compared."""
    monkeypatch.setattr(intra_lpips, "MOST", 4)
    picture = np.full((1, 32, 32, 3), 90, np.uint8)
    compared = []
    distances = lpips.distances
    monkeypatch.setattr(lpips, "distances", lambda x, p: compared.append(len(p)) or distances(x, p))
    found = intra_lpips.score(lpips, picture.repeat(9, 0), picture)
    assert (found.value, found.sizes, compared) == (0, [9], [6])


def test_no_pairs_at_all(lpips):
    picture = np.full((2, 32, 32, 3), [[[[90]]], [[[200]]]], np.uint8)
    assert np.isnan(intra_lpips.score(lpips, picture, picture).value)


def test_roughness_of_paths():
    """A path that jumps once: its largest step against the mean of all."""

    def walk(first, second, steps):
        share = np.linspace(0, 1, steps)
        place = 0.5 * share + (share > 0.7) if first == 2 else share
        return np.ones((steps, 4, 4, 3), np.float32) * (0.3 * place[:, None, None, None] - 0.2)

    values = path_roughness.values(walk)
    assert len(values) == path_roughness.LINES
    np.testing.assert_allclose(np.delete(values, 1), 1, rtol=1e-3)
    assert values[1] == pytest.approx((1 + 0.5 / 32) / (1.5 / 32), rel=1e-3)
