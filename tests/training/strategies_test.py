"""Devices: what the name of a strategy means, who writes, and that replicas change nothing."""

import json
import os

import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.layers.compiled_parts import part
from oasis_tf.training import strategies


class Strategy:
    """As much of a `tf.distribute` strategy as the checks look at."""

    def __init__(self, replicas=1, resolver=None):
        self.num_replicas_in_sync = replicas
        self.cluster_resolver = resolver


def resolver(task_type, task_id, **jobs):
    cluster = {name: [f"{name}{k}:1" for k in range(count)] for name, count in jobs.items()}
    return tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(cluster), task_type=task_type, task_id=task_id
    )


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No cluster, whatever the tests run on."""
    for name in [name for name in os.environ if name.startswith("SLURM")] + ["TF_CONFIG"]:
        monkeypatch.delenv(name, raising=False)


def test_one_device_needs_no_strategy():
    default = tf.distribute.get_strategy()
    assert strategies.make_strategy("none") is default
    if len(tf.config.list_logical_devices("GPU")) < 2:
        assert strategies.make_strategy("auto") is default
    assert isinstance(strategies.make_strategy("mirrored"), tf.distribute.MirroredStrategy)


@pytest.mark.parametrize(
    ("found", "place"),
    [
        (None, (0, 1)),
        (resolver("", None), (0, 1)),
        (resolver("worker", 0, worker=2), (0, 2)),
        (resolver("worker", 1, worker=2), (1, 2)),
        (resolver("chief", 0, chief=1, worker=2), (0, 3)),
        (resolver("worker", 0, chief=1, worker=2), (1, 3)),
        (resolver("worker", 1, chief=1, worker=2), (2, 3)),
    ],
)
def test_one_process_writes(found, place):
    workers = strategies.Workers(Strategy(resolver=found))
    assert (workers.index, workers.count) == place
    assert workers.chief == (place[0] == 0)


def test_batch_size_must_divide():
    strategies.check_batch_size(Strategy(4), 8)
    with pytest.raises(ValueError, match="devices, 4. Received: batch_size=10. .*: 8 or 12."):
        strategies.check_batch_size(Strategy(4), 10)
    with pytest.raises(ValueError, match="batch_size=2. Nearest valid: 4."):
        strategies.check_batch_size(Strategy(4), 2)


def test_a_process_knows_its_own_devices():
    assert strategies.own_devices(strategies.make_strategy("none")) == ()
    (device,) = strategies.own_devices(tf.distribute.MirroredStrategy(["CPU:0"]))
    assert device.endswith("CPU:0")


def test_a_single_worker_has_all_bytes():
    workers = strategies.Workers(Strategy())
    assert workers.gather_bytes(b"abc") == [b"abc"] and workers.gather_bytes(b"") == [b""]


@pytest.mark.parametrize(
    "given", [(b"", b""), (b"abcde", b""), (b"", b"abc"), (b"\xff" * 4, b"\x00" * 9), (b"a", b"bc")]
)
def test_bytes_of_all_lengths_are_gathered(monkeypatch, given):
    """The sum over workers is made by hand; two real ones are in replicas_main.py."""
    pair = [strategies.Workers(Strategy(resolver=resolver("worker", k, worker=2))) for k in (0, 1)]
    monkeypatch.setattr(strategies, "_PIECE_BYTES", 4)
    rows = {0: [], 1: []}
    for worker, data in zip(pair, given, strict=True):
        monkeypatch.setattr(worker, "gather", lambda number: [len(one) for one in given])
        monkeypatch.setattr(
            worker, "_sum", lambda own, k=worker.index: rows[k].append(own) or tf.constant(own)
        )
        worker.gather_bytes(data)
    totals = [tf.constant(sum(parts)) for parts in zip(*rows.values(), strict=True)]
    assert len(totals) == -(-max(map(len, given)) // 4)
    for worker, data in zip(pair, given, strict=True):
        left = iter(totals)
        monkeypatch.setattr(worker, "_sum", lambda own, left=left: next(left))
        assert worker.gather_bytes(data) == list(given)


def test_distribute_asks_for_the_rows_of_this_worker():
    asked = []

    def batches(rows):
        asked.append(rows)
        return tf.data.Dataset.from_tensors(tf.range(*rows)).repeat(2)

    found = list(strategies.distribute(strategies.make_strategy("none"), 6, batches))
    assert asked == [(0, 6)]
    np.testing.assert_array_equal(found, [range(6)] * 2)


def test_a_step_runs_on_every_replica_and_its_values_are_those_of_one():
    one = tf.distribute.MirroredStrategy(["CPU:0"])

    def step(batch):
        replica = tf.distribute.get_replica_context()
        return {"sum": replica.all_reduce("SUM", tf.reduce_sum(batch))}

    for strategy in (one, tf.distribute.get_strategy()):
        found = strategies.replicated_step(strategy, step)(tf.constant([1.0, 2.0]))
        assert {name: float(value) for name, value in found.items()} == {"sum": 3.0}


class Alike(Strategy):
    """Several replicas that do the same."""

    def run(self, function, args):
        return function(*args)

    def experimental_local_results(self, value):
        return [value] * self.num_replicas_in_sync


@pytest.mark.parametrize("compiled", [False, True])
def test_xla_compiles_the_step_of_one_device_and_the_parts_of_several(compiled):
    def step(batch):
        return {"value": tf.tanh(part(lambda: tf.sin(batch)))}

    found = []
    for strategy in (tf.distribute.get_strategy(), Alike(2)):
        function = strategies.replicated_step(strategy, step, jit_compile=compiled)
        assert float(function(tf.constant(3.0))["value"]) == pytest.approx(np.tanh(np.sin(3)))
        concrete = function.get_concrete_function(tf.constant(3.0))
        whole = "_XlaMustCompile" in concrete.function_def.attr
        found.append((whole, {op.type for op in concrete.graph.get_operations()}))
    (whole, _), (whole_of_two, operations) = found
    assert (whole, whole_of_two) == (compiled, False)
    assert "Tanh" in operations and ("Sin" in operations) == (not compiled)


# === Clusters ===


def tf_config(cluster=None, task=None):
    cluster = {"worker": ["a:1", "b:2"]} if cluster is None else cluster
    return json.dumps({"cluster": cluster, "task": task or {"type": "worker", "index": 0}})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"cluster": ', "is not JSON"),
        ("[1]", 'must have a "cluster"'),
        ("{}", 'must have a "cluster"'),
        (tf_config({"worker": "a:1"}), "lists of addresses"),
        (tf_config({"worker": ["a:1"], "ps": ["b:1"]}), "tasks called chief or worker"),
        (tf_config({}), "tasks called chief or worker"),
        (tf_config({"worker": ["a:1", "b"]}), r"address host:port of its own, unlike \['b'\]"),
        (tf_config({"worker": ["a:1", 7]}), r"unlike \[7\]"),
        (tf_config({"worker": ["a:1", "a:1"]}), r"of its own, unlike \['a:1', 'a:1'\]"),
        (tf_config({"chief": ["a:1", "b:1"]}), "one chief at most"),
        (tf_config(task={"type": "worker", "index": 2}), "type and index are in its cluster"),
        (tf_config(task={"type": "worker"}), "type and index are in its cluster"),
        (tf_config(task={"type": "chief", "index": 0}), "type and index are in its cluster"),
        (tf_config(task=[3]), "type and index are in its cluster"),
    ],
)
@pytest.mark.parametrize("name", ["auto", "multi_worker"])
def test_a_bad_tf_config_is_refused(monkeypatch, name, text, problem):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=f"^TF_CONFIG .*{problem}.*It must look like"):
        strategies.make_strategy(name)


@pytest.mark.parametrize("index", [1, "1"])
def test_a_good_tf_config_is_taken(monkeypatch, index):
    monkeypatch.setattr(strategies, "_join", lambda resolver: resolver)
    monkeypatch.setenv("TF_CONFIG", tf_config(task={"type": "worker", "index": index}))
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "3")
    for name in ("auto", "multi_worker"):
        found = strategies.make_strategy(name)
        assert (found.task_type, found.task_id) == ("worker", 1)
        assert found.cluster_spec().as_dict() == {"worker": ["a:1", "b:2"]}


def test_several_workers_must_be_told_of_each_other():
    with pytest.raises(ValueError, match="multi_worker must be told of the other workers.*srun"):
        strategies.make_strategy("multi_worker")


def slurm(rank, nodes="n[1-2]", tasks="2(x2)", **more):
    """What SLURM sets for a task of a step of four on two nodes."""
    variables = {
        "SLURM_JOB_ID": "770",
        "SLURM_NTASKS": "4",
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_STEP_NODELIST": nodes,
        "SLURM_STEP_TASKS_PER_NODE": tasks,
        "SLURM_PROCID": str(rank),
    }
    return variables | more


def set_all(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_a_slurm_step_is_a_cluster(monkeypatch):
    monkeypatch.setattr(strategies, "_join", lambda resolver: resolver)
    set_all(monkeypatch, slurm(3, SLURMD_NODENAME="n2"))
    found = strategies.make_strategy("auto")
    addresses = ["n1:20032", "n1:20033", "n2:20032", "n2:20033"]
    assert found.cluster_spec().as_dict() == {"worker": addresses}
    assert (found.task_type, found.task_id, found.rpc_layer) == ("worker", 3, "grpc")


@pytest.mark.parametrize(
    "variables",
    [
        {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"},  # a batch script
        slurm(0, "n1", "1") | {"SLURM_STEP_NUM_TASKS": "1"},
    ],
)
def test_slurm_without_several_tasks_is_one_process(monkeypatch, variables):
    monkeypatch.setattr(strategies, "_join", lambda resolver: pytest.fail("joined"))
    set_all(monkeypatch, variables)
    assert strategies.make_strategy("auto") is not None


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"SLURM_STEP_NUM_TASKS": "4"}, "SLURM_PROCID not found"),
        ({"SLURM_STEP_NUM_TASKS": "four"}, "'four'"),
        (slurm(0, tasks="1(x2)"), "Requested 4 tasks but only 2"),
        (slurm(4), "Start all workers with one srun"),
        (slurm(1, SLURMD_NODENAME="n2"), "task 1 on n2 instead of n1. .*--distribution=block"),
    ],
)
def test_a_slurm_step_that_cannot_be_is_refused(monkeypatch, variables, problem):
    set_all(monkeypatch, variables)
    with pytest.raises(ValueError, match=f"SLURM.*{problem}"):
        strategies.make_strategy("auto")


@pytest.mark.parametrize(
    ("visible", "variables", "own"),
    [
        ("", {}, ["", ""]),
        ("abcd", {}, ["ab", "cd"]),
        ("abcd", {"SLURM_GPUS_ON_NODE": "4", "SLURM_TRES_PER_TASK": "cpu=8"}, ["ab", "cd"]),
        ("ab", {"SLURM_GPUS_ON_NODE": "4"}, ["ab", "ab"]),
        ("ab", {"SLURM_GPUS_PER_TASK": "2"}, ["ab", "ab"]),
        ("ab", {"SLURM_TRES_PER_TASK": "cpu=8,gres/gpu=2"}, ["ab", "ab"]),
        ("a", {}, ["a", "a"]),
    ],
)
def test_the_gpus_of_a_node_are_shared_unless_slurm_has_bound_them(visible, variables, own):
    assert [strategies._own_gpus(visible, 2, task, variables) for task in (0, 1)] == own


# === Lost workers ===


def explained(error, count):
    workers = strategies.Workers(Strategy(resolver=resolver("worker", 0, worker=count)))
    with workers.loss_explained(lambda: "Start again."):
        raise error


TRACE = 'Graph execution error:\n\nDetected at node Sum at:\n  File "<frozen>", line 1\n\n'


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (tf.errors.UnavailableError, "task 1\nis gone"),
        (tf.errors.InternalError, "Collective ops is aborted by: task 1\nis gone\n"),
        (tf.errors.DeadlineExceededError, f"{TRACE}task 1\nis gone\n\t [[node Sum]]"),
        (tf.errors.AbortedError, f"{TRACE}Collective ops is aborted by: task 1\n is gone"),
    ],
)
def test_a_lost_worker_is_one_line(kind, reason):
    with pytest.raises(ConnectionError) as caught:
        explained(kind(None, None, reason), 2)
    message = str(caught.value)
    assert message.startswith("Another worker no longer answers") and "\n" not in message
    assert message.endswith("Start again. TensorFlow's reason: task 1 is gone")


@pytest.mark.parametrize(
    ("error", "count"),
    [
        (tf.errors.UnavailableError(None, None, "no disk"), 1),
        (tf.errors.ResourceExhaustedError(None, None, "no memory"), 2),
        (ValueError("no"), 2),
    ],
)
def test_other_errors_stay_what_they_are(error, count):
    with pytest.raises(type(error)) as caught:
        explained(error, count)
    assert caught.value is error
