"""Re-estimated statistics: a derived copy, equal to running the batches by hand."""

import numpy as np
import tensorflow as tf

from oasis_tf.data.pipeline import training_batches
from oasis_tf.systems.oasis import noise
from oasis_tf.systems.oasis.batch_statistics import StatisticsEstimator
from oasis_tf.training.named_weights import forward_state, named_weights


def batches(data_dir, count, seed=9):
    stream = training_batches(data_dir, crop_height=32, crop_width=32, batch_size=2, seed=seed)
    return list(stream.take(count))


def test_equals_the_passes_by_hand_and_changes_nothing(task, data_dir):
    model, step = task.model, 4
    scenes = batches(data_dir, 2)
    before = {name: v.numpy() for name, v in task.variables().items()}
    got = StatisticsEstimator(model, tf.distribute.get_strategy()).estimate(scenes, step)
    for name, variable in task.variables().items():
        np.testing.assert_array_equal(variable.numpy(), before[name], err_msg=name)

    average = model.generator_ema
    for index, (_, label_map) in enumerate(scenes):
        z = noise.training_noise(model.seed, step, noise.STATISTICS, 2, 4, index)
        average(tf.cast(label_map, tf.int32), z, training=True)
    assert set(got) == set(forward_state(average))
    weights = named_weights(average)
    for name, array in got.items():
        np.testing.assert_allclose(array, weights[name].numpy(), rtol=1e-4, atol=1e-6, err_msg=name)
        start = before[f"generator_ema/{name}"]
        assert (array != start).any() or array.size == 1, name


def test_state_is_put_back_after_an_error(task, data_dir):
    before = {name: v.numpy() for name, v in forward_state(task.model.generator_ema).items()}

    def broken():
        yield batches(data_dir, 1)[0]
        raise OSError("disk gone")

    estimator = StatisticsEstimator(task.model, tf.distribute.get_strategy())
    try:
        estimator.estimate(broken(), 0)
    except OSError as error:
        assert "disk gone" in str(error)
    for name, variable in forward_state(task.model.generator_ema).items():
        np.testing.assert_array_equal(variable.numpy(), before[name])
