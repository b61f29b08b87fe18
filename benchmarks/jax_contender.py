"""Our contender on Keras' JAX backend, as a process of its own: the device is what JAX finds.

    python -m benchmarks.jax_contender

Started by `benchmarks.gpu`; answers as `contender.py` says. It needs no TensorFlow.
"""

import time

import numpy as np

from benchmarks import contender
from benchmarks.environment import use_jax

LABELS = ("lookup", "one_hot")  # how labels enter dense modulation


def _make(setup):
    import jax
    import keras

    facts = {"versions": {"jax": jax.__version__, "keras": keras.__version__}}
    facts["device"] = jax.devices()[0].device_kind
    run, found = {"parity": _parity, "step": _step, "generate": _generate}[setup["task"]](setup)
    return run, facts | found


def _parity(setup):
    """Compares with the golden file; there is nothing to run."""
    import jax

    from benchmarks.oasis import jax_parity

    rows = jax_parity.compare(setup["precision"])
    jax.config.update("jax_enable_x64", False)
    return None, {"rows": [vars(row) for row in rows]}


def _step(setup):
    """A training iteration whose state stays on the device."""
    from oasis_tf.systems.oasis import memory

    config, model, batches = _inputs(setup)
    state = [model.state()]
    step, facts = _compiled(setup, model.iteration, state[0], batches[0], donate=(0,))
    counts = [
        sum(int(np.prod(v.shape)) for v in network.trainable_variables)
        for network in (model.generator, model.discriminator)
    ]

    def run(index):
        state[0], logs = step(state[0], batches[index % len(batches)])
        logs["loss_d"].block_until_ready()

    return run, facts | {"estimated_bytes": memory.step_bytes(config, counts)}


def _generate(setup):
    """Images for a batch of label maps, all at the same time, as an array."""
    _, model, batches = _inputs(setup)
    average = model.state()["generator_ema"]
    generate, facts = _compiled(setup, model.generate, average, batches[0])

    def run(index):
        np.asarray(generate(average, batches[index % len(batches)]))

    return run, facts


def _inputs(setup):
    """(``Config``, `JaxOASIS`, batches on the device)."""
    import jax

    from benchmarks.oasis.jax_iteration import JaxOASIS

    with np.load(setup["inputs"]) as inputs:
        arrays = dict(inputs)
    batches = [jax.device_put({name: array[index] for name, array in arrays.items()})
               for index in range(len(arrays["image"]))]  # fmt: skip
    config = new_config(setup)
    return config, JaxOASIS.from_config(config, setup["labels"] == "one_hot"), batches


def new_config(setup):
    """The ``Config`` that a setup stands for.

    Raises:
        ValueError: a setting is invalid.
    """
    from oasis_tf.data.datasets import folder_label_space
    from oasis_tf.systems.oasis.run_settings import resolve

    of_setup = {"batch_size": setup["batch_size"], "steps": 1, "data_dir": "none"}
    of_setup["modulation"] = "dense"  # JAX has no other
    of_setup["mixed_precision"] = "bfloat16" if setup["precision"] == "bfloat16" else "none"
    label_space = folder_label_space(setup["num_classes"], None)
    return resolve(setup["settings"] | of_setup, label_space=label_space, num_examples=1)


def _compiled(setup, function, *arguments, **options):
    """(executable, seconds and bytes that it took and takes)."""
    from benchmarks.oasis import jax_iteration

    start = time.perf_counter()
    found = jax_iteration.compiled(function, *arguments, precision=setup["precision"], **options)
    seconds = time.perf_counter() - start
    return found, {"compile_seconds": seconds, "memory": jax_iteration.memory_bytes(found)}


if __name__ == "__main__":
    contender.serve(use_jax, _make)
