"""Our contender: oasis_tf in one precision, on the CPU, as a process of its own.

    python -m benchmarks.ours --precision=bfloat16

Started by `benchmarks.step` and `benchmarks.generate`; answers as `contender.py` says.
"""

import functools
import importlib

import numpy as np
from absl import flags

from benchmarks import contender
from oasis_tf.cli import runner

PRECISIONS = ("float32", "bfloat16", "float16")
_SETTLING_PASSES, _SETTLING_SIDE = 3, 64


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    flags.DEFINE_enum("precision", "float32", PRECISIONS, "Type of the arithmetic.", **where)
    flags.DEFINE_boolean("jit_compile", False, "Compile the step with XLA.", **where)
    flags.DEFINE_boolean("remat", False, "Compute activations again for gradients.", **where)
    flags.DEFINE_boolean("chunk_logits", False, "Write out no map of logits.", **where)


def main(argv):
    """Answers requests until standard input ends."""
    del argv
    args = flags.FLAGS
    options = {name: getattr(args, name) for name in ("jit_compile", "remat", "chunk_logits")}
    make = functools.partial(_make, precision=args.precision, **options)
    contender.serve(lambda: importlib.import_module("oasis_tf.systems.oasis.task"), make)


def _make(setup, **options):
    import keras
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    tf.config.threading.set_intra_op_parallelism_threads(setup["threads"])
    tf.config.threading.set_inter_op_parallelism_threads(setup["threads"])
    with np.load(setup["inputs"]) as inputs:
        arrays = dict(inputs)
    of_task = {"step": _step, "generate": _generate}[setup["task"]]
    run, variables = of_task(new_config(setup, **options), arrays)
    facts = {
        "state_bytes": sum(variable.numpy().nbytes for variable in variables),
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__},
    }
    return run, facts


def new_config(setup, precision, **options):
    """The ``Config`` that a setup stands for."""
    from oasis_tf.data.datasets import folder_label_space
    from oasis_tf.systems.oasis import config

    return config.Config(
        model=config.ModelConfig(
            num_classes=setup["num_classes"],
            has_unknown=setup["has_unknown"],
            has_discriminator=setup["task"] == "step",
            noise_channels=setup["noise_channels"],
            generator_channels=setup["channels"],
            discriminator_channels=setup["channels"],
            spade_channels=setup["spade_channels"],
        ),
        data=config.DataConfig(crop_height=setup["height"], crop_width=setup["width"]),
        training=config.TrainingConfig(
            steps=1,
            batch_size=setup["batch_size"],
            mixed_precision="none" if precision == "float32" else precision,
            **options,
        ),
        label_space=folder_label_space(setup["num_classes"], 0 if setup["has_unknown"] else None),
    )


def _step(config, arrays):
    """(run, variables) of training: the step that `oasis_tf.train` runs."""
    import tensorflow as tf

    from oasis_tf.systems.oasis.task import OASISTask
    from oasis_tf.training.strategies import make_strategy

    task = OASISTask(config, make_strategy("none"))
    pairs = zip(arrays["image"], arrays["label_map"], strict=True)
    batches = [tuple(map(tf.constant, pair)) for pair in pairs]

    def run(index):
        float(task.train_step(batches[index % len(batches)])["loss_d"])

    return run, task.variables().values()


def _generate(config, arrays):
    """(run, variables) of generating, as users do it."""
    from oasis_tf.systems.oasis.build import build_model, state_variables

    model = build_model(config, config.training.mixed_precision)
    label_maps, noise = arrays["label_map"], arrays["noise"]
    _settle(model, label_maps[0], noise[0])

    def run(index):
        index %= len(label_maps)
        model.generate(label_maps[index], noise=noise[index] if noise.shape[-1] else None)

    return run, state_variables(model).values()


def _settle(model, label_map, noise):
    """Gives fresh weights a sane scale: spectral norms need to have seen a few passes."""
    small = label_map[:, :_SETTLING_SIDE, :_SETTLING_SIDE]
    for _ in range(_SETTLING_PASSES):
        model.generator(*([small, noise] if noise.shape[-1] else [small]), training=True)
    model.generator_ema.set_weights(model.generator.get_weights())


if __name__ == "__main__":
    runner.run(main, define_flags)
