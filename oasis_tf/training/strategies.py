"""Devices: which ``tf.distribute`` strategy a run uses, and how batches reach its replicas."""

import os

import tensorflow as tf


def make_strategy(name):
    """Strategy of a name: ``auto``, ``none``, ``mirrored`` or ``multi_worker``.

    ``auto`` means several workers if ``TF_CONFIG`` is set, all GPUs if there are several, and
    otherwise the one device there is.
    """
    if name == "auto" and os.environ.get("TF_CONFIG"):
        name = "multi_worker"
    if name == "multi_worker":
        # Before anything that starts TensorFlow's devices: collectives can't be set up after.
        return tf.distribute.MultiWorkerMirroredStrategy()
    devices = tf.config.list_logical_devices("GPU")
    if name == "mirrored" or (name == "auto" and len(devices) > 1):
        # Without GPUs: all logical CPU devices, which is how replication is tested.
        devices = devices or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()


def is_chief(strategy):
    """Whether this process is the one that writes."""
    resolver = strategy.cluster_resolver
    return (
        resolver is None
        or not resolver.task_type
        or (
            resolver.task_type == "chief"
            or (resolver.task_type == "worker" and resolver.task_id == 0)
        )
    )


def check_batch_size(strategy, batch_size):
    """Raises ValueError unless the global batch splits evenly over the replicas."""
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        below = batch_size // replicas * replicas
        valid = [str(size) for size in (below, below + replicas) if size]
        raise ValueError(
            f"`batch_size` is global and must divide by the number of devices, {replicas}. "
            f"Received: batch_size={batch_size}. Nearest valid: {' or '.join(valid)}."
        )


def distribute(strategy, batch_size, batches):
    """Hands row block i of every global batch to replica i.

    Args:
        strategy: the run's.
        batch_size: int, rows of the global batch.
        batches: function ``rows -> tf.data.Dataset`` of the rows [a, b) of every global batch.

    Returns:
        An iterable of (per-replica) batches.
    """
    per_replica = batch_size // strategy.num_replicas_in_sync

    def of_worker(context):
        rows = batch_size // context.num_input_pipelines
        first = context.input_pipeline_id * rows
        dataset = batches((first, first + rows))
        return dataset if rows == per_replica else dataset.rebatch(per_replica, drop_remainder=True)

    return strategy.distribute_datasets_from_function(of_worker)
