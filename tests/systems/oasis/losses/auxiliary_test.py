"""Feature matching and KL divergence against NumPy and SciPy."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate, stats

from oasis_tf.systems.oasis import losses
from oasis_tf.systems.oasis.losses import auxiliary

SHAPES = [[(2, 8, 8, 3), (2, 4, 4, 5)], [(2, 4, 4, 3), (2, 2, 2, 5), (2, 2, 2, 7)]]


def features(seed, dtype="float64"):
    rng = np.random.default_rng(seed)
    return [[tf.constant(rng.normal(size=shape), dtype) for shape in scale] for scale in SHAPES]


def test_feature_matching_equals_numpy():
    fake, real = features(0), features(1)
    scales = [
        sum(abs(a.numpy() - b.numpy()).mean() for a, b in zip(*pair, strict=True))
        for pair in zip(fake, real, strict=True)
    ]
    got = losses.feature_matching_loss(fake, real)
    np.testing.assert_allclose(got, np.mean(scales), rtol=1e-12)
    assert losses.feature_matching_loss(fake, fake) == 0


def test_feature_matching_gradients_reach_only_the_generated_features():
    fake, real = features(0), features(1)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([fake, real])
        loss = losses.feature_matching_loss(fake, real)
    assert all(g is None for scale in tape.gradient(loss, real) for g in scale)
    slope = tape.gradient(loss, fake)[1][2].numpy()
    want = np.sign(fake[1][2].numpy() - real[1][2].numpy()) / slope.size / len(SHAPES)
    np.testing.assert_allclose(slope, want, rtol=1e-12)


def test_feature_matching_averages_half_precision_in_float32():
    ones = [[tf.ones((64, 64), "bfloat16")]]
    uneven = [[tf.concat([tf.ones((64, 63), "bfloat16"), tf.zeros((64, 1), "bfloat16")], 1)]]
    loss = losses.feature_matching_loss(ones, uneven)
    assert loss.dtype == "float32" and loss == 1 / 64


def test_feature_matching_refuses_features_that_do_not_match():
    with pytest.raises(ValueError):
        losses.feature_matching_loss(features(0), features(0)[:1])
    with pytest.raises(ValueError):
        losses.feature_matching_loss(features(0), [scale[:2] for scale in features(0)])
    with pytest.raises(ValueError, match="at least one scale. Received: none"):
        losses.feature_matching_loss([], [])


def test_kld_equals_numerical_integration():
    rng = np.random.default_rng(0)
    mean, log_variance = rng.normal(size=(2, 3, 4))

    def divergence(mean, deviation):
        p, q = stats.norm(mean, deviation), stats.norm()
        function = lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x))  # noqa: E731
        return integrate.quad(function, mean - 12 * deviation, mean + 12 * deviation)[0]

    want = np.vectorize(divergence)(mean, np.exp(log_variance / 2)).sum()
    np.testing.assert_allclose(losses.kld_loss(mean, log_variance), want, rtol=1e-7)
    assert losses.kld_loss(np.zeros((2, 3)), np.zeros((2, 3))) == 0


def test_the_mean_of_the_replicas_kld_is_the_sum_over_the_global_batch(monkeypatch):
    mean, log_variance = np.random.default_rng(0).normal(size=(2, 4, 3))
    whole = float(losses.kld_loss(mean, log_variance))
    monkeypatch.setattr(auxiliary, "num_replicas", lambda: 2)
    halves = [losses.kld_loss(mean[i : i + 2], log_variance[i : i + 2]) for i in (0, 2)]
    np.testing.assert_allclose(np.mean(halves), whole, rtol=1e-12)
