"""What workers tell each other of an evaluation."""

import numpy as np

from oasis_tf.training import validation


def test_states_come_back_as_they_were():
    rng = np.random.default_rng(0)
    states = [
        {"real/mean": rng.normal(size=4), "generated/index": np.arange(3)},
        {},
        {"a": np.zeros((0, 5), np.float32), "count": np.int64(7), "b/c/d": np.array(["x", "yz"])},
    ]
    back = validation._unpacked(validation._packed(states))
    assert len(back) == 3
    for got, want in zip(back, states, strict=True):
        assert set(got) == set(want)
        for name, array in want.items():
            np.testing.assert_array_equal(got[name], array)
            assert got[name].dtype == np.asarray(array).dtype
