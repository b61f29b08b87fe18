"""Our contender: oasis_tf in one precision, on the CPU, as a process of its own.

    python -m benchmarks.ours --precision=bfloat16

Started by `benchmarks.step` and `benchmarks.generate`; answers as `contender.py` says.
"""

import functools
import importlib

import numpy as np
from absl import flags

from benchmarks import contender
from benchmarks.settings import module_of, names
from oasis_tf.cli import runner

PRECISIONS = ("float32", "bfloat16", "float16")
_SWITCHES = ("jit_compile", "remat", "chunk_logits")


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    flags.DEFINE_enum("precision", "float32", PRECISIONS, "Type of the arithmetic.", **where)
    flags.DEFINE_enum("system", "oasis", names(), "System that is measured.", **where)
    for name in _SWITCHES:
        flags.DEFINE_boolean(name, False, "Switch of the step, if the system has it.", **where)


def main(argv):
    """Answers requests until standard input ends."""
    del argv
    args = flags.FLAGS
    side = module_of(args.system, "ours")
    on = {name: True for name in _SWITCHES if getattr(args, name)}
    make = functools.partial(_make, side, precision=args.precision, **on)
    contender.serve(lambda: importlib.import_module(side.LIBRARIES), make)


def _make(side, setup, **options):
    import keras
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    tf.config.threading.set_intra_op_parallelism_threads(setup["threads"])
    tf.config.threading.set_inter_op_parallelism_threads(setup["threads"])
    with np.load(setup["inputs"]) as inputs:
        arrays = dict(inputs)
    run, variables = side.make(setup, arrays, **options)
    facts = {
        "state_bytes": sum(variable.numpy().nbytes for variable in variables),
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__},
    }
    return run, facts


if __name__ == "__main__":
    runner.run(main, define_flags)
