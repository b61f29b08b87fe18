"""Mixed precision by name, and what loss scaling shows of itself."""

import keras
import pytest
import tensorflow as tf

from oasis_tf.training import precision
from oasis_tf.training.optimizer import Adam


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("none", ("float32", "float32")),
        ("bfloat16", ("bfloat16", "float32")),
        ("float16", ("float16", "float32")),
    ],
)
def test_policies(name, types):
    policy = keras.DTypePolicy(precision.policy(name))
    assert (policy.compute_dtype, policy.variable_dtype) == types


def test_float16_alone_scales_its_loss():
    plain = Adam(0.1, name="line")
    for name in ("none", "bfloat16"):
        assert precision.loss_scaling(plain, name) is plain
    scaled = precision.loss_scaling(plain, "float16")
    assert scaled.inner_optimizer is plain and scaled.name == "line_loss_scale"
    variable = keras.Variable([1.0, 2.0])
    for optimizer in (plain, scaled):
        optimizer.build([variable])
    assert float(precision.replica_loss(tf.constant(3.0), plain)) == 3
    assert float(precision.replica_loss(tf.constant(3.0), scaled)) == 3 * 2**15
    assert precision.loss_scales({"a": plain, "b": scaled}) == {"loss_scale/b": 2.0**15}
    scaled.apply([tf.constant([float("inf"), 1.0])], [variable])
    assert precision.loss_scales({"b": scaled}) == {"loss_scale/b": 2.0**14}
    assert variable.numpy().tolist() == [1, 2]


def test_replicas_share_the_loss():
    """A replica's share for an optimizer that sums gradients."""
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    assert float(strategy.run(lambda: precision.replica_loss(tf.constant(3.0), Adam(0.1)))) == 3


@pytest.mark.slow
def test_an_overflow_on_any_replica_is_one_of_all(run_module):
    """Keras asks the first replica alone; see `overflow_main.py`."""
    done = run_module("tests.training.overflow_main")
    assert done.stdout.split() == ["1.0", str(2.0**14)], done.stderr
