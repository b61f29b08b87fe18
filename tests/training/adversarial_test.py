"""Losses of logits against closed forms."""

import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.training import adversarial

RNG = np.random.default_rng(0)
MAPS = [RNG.normal(size=(3, 4, 5, 1)), RNG.normal(size=(3, 1, 1, 1))]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    ("loss", "of", "wanted"),
    [
        ("bce", "real", lambda x: -np.log(sigmoid(x))),
        ("bce", "fake", lambda x: -np.log(1 - sigmoid(x))),
        ("bce", "generator", lambda x: -np.log(sigmoid(x))),
        ("hinge", "real", lambda x: np.maximum(1 - x, 0)),
        ("hinge", "fake", lambda x: np.maximum(1 + x, 0)),
        ("hinge", "generator", lambda x: -x),
        ("wgan", "real", lambda x: -x),
        ("wgan", "fake", lambda x: x),
        ("wgan", "generator", lambda x: -x),
    ],
)
def test_losses_of_logits(loss, of, wanted):
    found = adversarial.of_logits([tf.constant(x) for x in MAPS], of, loss)
    np.testing.assert_allclose(found, [wanted(x).mean() for x in MAPS], rtol=1e-12)
