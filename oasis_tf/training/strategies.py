"""Devices and processes: which ``tf.distribute`` strategy a run uses, how batches reach its
replicas, and how the workers of a run agree.

Workers find each other through ``TF_CONFIG`` or, started by ``srun``, through SLURM's variables.
All of them run the same command; the first one, the chief, is the one that writes.
"""

import contextlib
import json
import os
import re
import signal

import numpy as np
import tensorflow as tf

from oasis_tf.cli import leaving
from oasis_tf.layers.compiled_parts import compiled_parts

# How long a worker waits for another one that is alive but stuck. TensorFlow notices by itself when
# one has died or frozen (5 and 15 s were measured) or never starts (after an hour).
_PATIENCE_SECONDS = 3600
# Of one size, so that one graph gathers all bytes; and TensorFlow crashes on sums of nothing.
_PIECE_BYTES = 1 << 18
_JOBS = ("chief", "worker")
_ADDRESS = re.compile(r"\S+:\d{1,5}")
_EXAMPLE = (
    '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, '
    '"task": {"type": "worker", "index": 0}}'
)
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)


def make_strategy(name, batch_size=None):
    """Strategy of a name: ``auto``, ``none``, ``mirrored`` or ``multi_worker``.

    ``auto`` means several workers if ``TF_CONFIG`` is set or ``srun`` started several tasks, all
    GPUs if there are several, and otherwise the one device there is. With several workers, returns
    when all of them are there.

    Args:
        name: str.
        batch_size: int, with which ``auto`` takes one of several GPUs, and says so, if it does not
            divide by their number; None: GPUs are taken whatever the batch.

    Raises:
        ValueError: ``TF_CONFIG`` or SLURM's variables do not describe a cluster.
        OSError: the workers cannot reach each other.
    """
    if name == "multi_worker" or (name == "auto" and _has_cluster()):
        # Before anything that starts TensorFlow's devices: collectives can't be set up after.
        return _join(_cluster())
    devices = tf.config.list_logical_devices("GPU")
    if name == "auto" and batch_size and len(devices) > 1 and batch_size % len(devices):
        print(
            f"One device of {len(devices)} is used: batch_size={batch_size} does not divide by "
            f"{len(devices)}. To use all, give a --batch_size that does."
        )
        devices = devices[:1]
    if name == "mirrored" or (name == "auto" and len(devices) > 1):
        # Without GPUs: all logical CPU devices, which is how replication is tested.
        devices = devices or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()


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


def replicated_step(strategy, step, jit_compile=False):
    """One step on all replicas as one graph.

    Args:
        strategy: the run's.
        step: function of this replica's batch -> scalars by name, each the global batch's.
        jit_compile: bool, whether XLA compiles it: on one replica the whole step, on several its
            ``part``s, which lie between the sums over replicas.

    Returns:
        A function of a distributed batch -> those scalars.
    """
    whole = jit_compile and strategy.num_replicas_in_sync == 1

    def on_replica(batch):
        with compiled_parts(jit_compile and not whole):
            return step(batch)

    def on_replicas(batch):
        logs = strategy.run(on_replica, args=(batch,))
        # Every replica holds the same values.
        return {k: strategy.experimental_local_results(v)[0] for k, v in logs.items()}

    # No Python control flow to translate: tracing is faster and errors are clearer without.
    return tf.function(on_replicas, autograph=False, jit_compile=whole or None)


def check_whole_step(strategy, jit_compile):
    """Refuses XLA on several replicas, for a model whose networks have no ``part``s to compile.

    Raises:
        ValueError: XLA is asked for, and there are several.
    """
    if jit_compile and strategy.num_replicas_in_sync > 1:
        raise ValueError(
            "`jit_compile` works on one device with this system: its networks are not cut into "
            f"parts between sums over devices. Received: {strategy.num_replicas_in_sync} devices. "
            "Leave --jit_compile out, or give --strategy=none."
        )


def own_devices(strategy):
    """Names of the devices that this process has in a strategy; none where TensorFlow chooses."""
    if strategy is tf.distribute.get_strategy():
        return ()  # the default one refuses the question
    return tuple(strategy.extended.worker_devices)


class Workers:
    """The processes of a run, and what they tell each other.

    Attributes:
        count: int, how many there are.
        index: int, which one this is.
        chief: bool, whether this is the one that writes.
    """

    def __init__(self, strategy):
        self._strategy = strategy
        self.index, self.count = _place(strategy.cluster_resolver)
        self.chief = self.index == 0
        self._sum = tf.function(self._summed, autograph=False)

    def gather(self, number=0):
        """The ints that all workers gave, the chief's first; each waits for all others.

        A single worker does nothing for it.

        Raises:
            tf.errors.OpError: another worker is lost.
        """
        return [number] if self.count == 1 else self.ask(number).numpy().tolist()

    def gather_bytes(self, data):
        """The bytes that all workers gave, the chief's first; each waits for all others.

        A single worker does nothing for it.

        Raises:
            tf.errors.OpError: another worker is lost.
        """
        if self.count == 1:
            return [data]
        lengths = self.gather(len(data))
        pieces = []
        for first in range(0, max(lengths), _PIECE_BYTES):
            piece = np.zeros((self.count, _PIECE_BYTES), np.uint8)
            own = np.frombuffer(data[first : first + _PIECE_BYTES], np.uint8)
            piece[self.index, : len(own)] = own
            pieces.append(self._sum(piece.view(np.int32)).numpy())
        return [b"".join(p[k].tobytes() for p in pieces)[:n] for k, n in enumerate(lengths)]

    def ask(self, number):
        """What `gather` gives, as a tensor: devices may still be at work on it."""
        numbers = np.zeros(self.count, np.int64)
        numbers[self.index] = number
        return self._sum(numbers)

    def _summed(self, numbers):
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, numbers, axis=None)

    @contextlib.contextmanager
    def loss_explained(self, remedy):
        """Turns TensorFlow's error about a lost worker into one line.

        Args:
            remedy: function without arguments that gives the last sentence.

        Raises:
            ConnectionError: another worker has died or cannot be reached.
        """
        try:
            yield
        except tf.errors.OpError as error:
            if self.count == 1 or not _is_loss(error):
                raise
            raise ConnectionError(
                "Another worker no longer answers: it failed (its own output says why), was "
                f"killed (memory, preemption) or lost its network. {remedy()} TensorFlow's "
                f"reason: {_reason(error)}"
            ) from error


def _is_loss(error):
    return isinstance(error, _LOST) or "Collective ops is aborted" in error.message


def _reason(error, length=200):
    """The telling part of TensorFlow's message, what follows its stack trace, on one line."""
    text = re.split(r'\n  File "[^\n]*\n', error.message)[-1].partition("\n\t [[")[0]
    return " ".join((text.partition("aborted by: ")[2] or text).split())[:length]


def _place(resolver):
    """(index of this worker, number of workers), the chief first."""
    if resolver is None or not resolver.task_type:
        return 0, 1
    jobs = resolver.cluster_spec().as_dict()
    chiefs, others = (len(jobs.get(job, ())) for job in _JOBS)
    first = 0 if resolver.task_type == "chief" else chiefs
    return first + resolver.task_id, chiefs + others


# === Joining a cluster ===


def _join(resolver):
    """Strategy over all workers, once they are all there."""
    addresses = [a for job in resolver.cluster_spec().as_dict().values() for a in job]
    own = f"{resolver.task_type} {resolver.task_id}"
    print(f"This is {own}. Waiting for all of {', '.join(addresses)}.", flush=True)
    options = tf.distribute.experimental.CommunicationOptions(timeout_seconds=_PATIENCE_SECONDS)
    try:
        with _interruptible():
            strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver, options)
            Workers(strategy).gather()
    except tf.errors.OpError as error:
        raise OSError(
            f"The workers {', '.join(addresses)} did not come together; this is {own}. See that "
            "each is started, that its port is free and that nothing blocks the network, then "
            f"start all workers again. TensorFlow's reason: {_reason(error)}"
        ) from error
    leaving.tidily()  # TensorFlow's good-bye lets the others end in peace
    # Batches never run out: workers need not ask each other at every step whether one has.
    strategy.extended.experimental_enable_get_next_as_optional = False
    return strategy


@contextlib.contextmanager
def _interruptible():
    """Lets Ctrl-C end the process at once, even while TensorFlow waits outside Python."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _has_cluster():
    # Not SLURM_NTASKS: that is set in a batch script too, which is one process until it says srun.
    return bool(os.environ.get("TF_CONFIG")) or os.environ.get("SLURM_STEP_NUM_TASKS", "1") != "1"


def _cluster():
    """Resolver of the cluster that ``TF_CONFIG`` or, without it, SLURM describes."""
    if os.environ.get("TF_CONFIG"):
        _check_tf_config(os.environ["TF_CONFIG"])
        return tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if "SLURM_STEP_NUM_TASKS" in os.environ:
        return _slurm_cluster()
    raise ValueError(
        "--strategy=multi_worker must be told of the other workers: start all of them with srun, "
        f"or set TF_CONFIG on each, such as {_EXAMPLE}. Neither was found. To use all GPUs of one "
        "machine, give --strategy=mirrored."
    )


def _check_tf_config(text):
    """Raises ValueError unless ``TF_CONFIG`` describes a cluster and this worker's place in it."""
    try:
        config = json.loads(text)
    except ValueError as error:
        problem = f"is not JSON ({error})"
    else:
        parts = config if isinstance(config, dict) else {}
        cluster, task = parts.get("cluster"), parts.get("task")
        problem = _cluster_problem(cluster) or _task_problem(cluster, task)
    if problem:
        raise ValueError(
            f"TF_CONFIG {problem}. Received: {text}. It must look like {_EXAMPLE}, the same on "
            "every worker but for the index."
        )


def _cluster_problem(cluster):
    if not isinstance(cluster, dict) or not all(isinstance(v, list) for v in cluster.values()):
        return 'must have a "cluster" with lists of addresses'
    addresses = [address for job in cluster.values() for address in job]
    bad = [a for a in addresses if not isinstance(a, str) or not _ADDRESS.fullmatch(a)]
    if set(cluster) - set(_JOBS) or not addresses:
        return f'must have a "cluster" of tasks called {" or ".join(_JOBS)}, for no others train'
    if bad or len(set(addresses)) < len(addresses):
        return f"must give every task an address host:port of its own, unlike {bad or addresses}"
    return "must have one chief at most" if len(cluster.get("chief", [])) > 1 else None


def _task_problem(cluster, task):
    task = task if isinstance(task, dict) else {}
    tasks = cluster.get(str(task.get("type")), [])
    if str(task.get("index")) in map(str, range(len(tasks))):
        return None
    return 'must have a "task" whose type and index are in its cluster'


# === SLURM ===


def _slurm_cluster():
    """Resolver of the job step that this process belongs to."""
    try:
        tasks = int(os.environ["SLURM_STEP_NUM_TASKS"])
        # Addresses only: TensorFlow would also hand out GPUs, but fails where there are none and
        # where SLURM has bound them to the tasks already.
        found = tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=_slurm_port(os.environ.get("SLURM_JOB_ID", "0")),
            gpus_per_node=tasks,
            gpus_per_task=1,
            auto_set_gpu=False,
        )
        cluster = found.cluster_spec()
        addresses = cluster.job_tasks("worker")
        own = addresses[found.task_id]
    except (RuntimeError, ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"SLURM's variables do not describe a job step of several tasks ({error}). Start all "
            "workers with one srun, or set TF_CONFIG on each."
        ) from error
    host = _host(own)
    _check_slurm_node(host)
    on_node = [address for address in addresses if _host(address) == host]
    gpus = _own_gpus(
        tf.config.list_physical_devices("GPU"), len(on_node), on_node.index(own), os.environ
    )
    tf.config.set_visible_devices(gpus, "GPU")
    return tf.distribute.cluster_resolver.SimpleClusterResolver(
        cluster,
        task_type=found.task_type,
        task_id=found.task_id,
        num_accelerators={"GPU": len(gpus)},
        rpc_layer="grpc",
    )


def _host(address):
    return address.rpartition(":")[0]


def _slurm_port(job):
    """First port of a job's workers on a node; jobs that share a node should not share ports."""
    return 20000 + 16 * (int(job) % 768)


def _check_slurm_node(host):
    """TensorFlow sorts nodes by name and fills one after the other, whatever SLURM did."""
    node = os.environ.get("SLURMD_NODENAME", host)
    if node != host:
        raise ValueError(
            "SLURM must place its tasks node by node, nodes sorted by name. Received: task "
            f"{os.environ['SLURM_PROCID']} on {node} instead of {host}. Give srun "
            "--distribution=block, or set TF_CONFIG on each worker."
        )


def _own_gpus(visible, tasks, task, environment):
    """The GPUs that one of ``tasks`` tasks of a node takes: all it sees if SLURM bound them."""
    on_node = int(environment.get("SLURM_GPUS_ON_NODE", len(visible)))
    per_task = "SLURM_GPUS_PER_TASK" in environment
    per_task |= "gpu" in environment.get("SLURM_TRES_PER_TASK", "")
    if per_task or len(visible) < max(on_node, tasks):
        return visible
    share = len(visible) // tasks
    return visible[task * share : (task + 1) * share]
