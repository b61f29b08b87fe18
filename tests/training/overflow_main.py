"""A step of loss scaling on two replicas of which the second one overflows: weight and scale."""

import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])

import keras  # noqa: E402

from oasis_tf.training.optimizer import Adam  # noqa: E402
from oasis_tf.training.precision import loss_scaling  # noqa: E402

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    variable = keras.Variable([1.0])
    scaled = loss_scaling(Adam(0.1), "float16")
    scaled.build([variable])


@tf.function(autograph=False)
def step():
    def on_replica():
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        gradient = tf.where(tf.equal(number, 1), [float("inf")], [1.0])
        scaled.apply([gradient], [variable])

    strategy.run(on_replica)


step()
print(float(variable.numpy()[0]), float(scaled.dynamic_scale.numpy()))
