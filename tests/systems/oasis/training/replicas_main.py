"""Trains and evaluates always the same, on the devices or with the workers asked for.

    python replicas_main.py OUTPUT.npz none|mirrored_2|mirrored_4|auto|xla_2 float64|float32

A process of its own, because TensorFlow can split its CPU into devices, and join other workers,
only before it starts. `auto` is for one of several workers. `xla_2` only trains, a smaller model.
"""

import json
import os
import sys
import tempfile

import numpy as np
import tensorflow as tf

from oasis_tf import OASIS
from oasis_tf.data.datasets import published_label_space
from oasis_tf.data.examples import ShapesScene
from oasis_tf.data.preparation import prepare
from oasis_tf.data.tfrecord import PreparedDataset
from oasis_tf.systems.oasis.batch_statistics import StatisticsEstimator
from oasis_tf.systems.oasis.build import build_model, state_variables
from oasis_tf.systems.oasis.config import Config, DataConfig, ModelConfig, TrainingConfig
from oasis_tf.systems.oasis.evaluation import context_of
from oasis_tf.systems.oasis.inference.multi_device import DeviceSampler
from oasis_tf.systems.oasis.models import Discriminator, Generator
from oasis_tf.training.optimizer import Adam
from oasis_tf.training.strategies import (
    Workers,
    distribute,
    make_strategy,
    own_devices,
    replicated_step,
)
from oasis_tf.training.validation import Validation

BATCH, CLASSES, DEVICES = 4, 5, 4
STEPS = {"float64": 10, "float32": 2}
METRICS = ["fid", "kid", "segmentation"]
BETA_1 = 0.5  # not 0, so that the optimizers remember the gradients of the first step


def make_model(dtype, widths, **generator):
    common = {"dtype": dtype}
    model = OASIS(
        Generator(CLASSES, 3, 1, 4, widths=(*widths, 1), name="generator", **generator, **common),
        Discriminator(CLASSES, 1, widths=widths, name="discriminator", **common),
        has_unknown=True,
        ema_decay=0.5,
        seed=3,
        name="oasis",
        **common,
    )
    rng = np.random.default_rng(0)
    for variable in (*model.generator.variables, *model.discriminator.variables):
        value = rng.normal(0, 0.3, variable.shape)
        variable.assign(abs(value) + 0.1 if variable.name == "moving_variance" else value)
    model.generator_ema.set_weights(model.generator.get_weights())
    model.compile(*(Adam(1e-3, BETA_1, name=f"{name}_optimizer") for name in "gd"))
    return model


def batches(steps, rows):
    """Global batches whose rows have other classes, so that counts must be summed to be right."""
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (steps, BATCH, 16, 16, 3)).astype(np.uint8)
    label_map = rng.integers(0, 3, (steps, BATCH, 16, 16)).astype(np.uint8)
    label_map[:, BATCH // 2 :] += 2
    return tf.data.Dataset.from_tensor_slices((image[:, slice(*rows)], label_map[:, slice(*rows)]))


def train(strategy, dtype):
    """The model, and what it found: as `steps`, and what a step sends, by name."""
    with strategy.scope():
        model = make_model(dtype, widths=(2, 2))
    step = replicated_step(strategy, model.train_step)
    found = steps(step, model, distributed(strategy, STEPS[dtype]))
    return model, found | operations(step, strategy)


def train_with_xla(dtype, devices):
    """`steps` of one device, eager, by `one/NAME`, and of several with XLA by `many/NAME`.

    One block of G has all that blocks have: two batch norms, upsampling, a learned shortcut.
    """
    small = {"widths": (2,), "upsamples": [True], "dense": True}
    one = make_model(dtype, **small)
    found = {"one": steps(one.train_step, one, batches(3, (0, BATCH)))}
    strategy = strategy_of(f"mirrored_{devices}")
    with strategy.scope():
        many = make_model(dtype, **small)
    step = replicated_step(strategy, many.train_step, jit_compile=True)
    found["many"] = steps(step, many, distributed(strategy, 3)) | operations(step, strategy)
    return {f"{which}/{k}": v for which, values in found.items() for k, v in values.items()}


def distributed(strategy, count):
    return distribute(strategy, BATCH, lambda rows: batches(count, rows))


def steps(step, model, data):
    """Losses of every step, first gradients and the state after all, by name."""
    state, found = state_variables(model), {}
    for index, batch in enumerate(data):
        found |= {f"log/{index}/{k}": v.numpy() for k, v in step(batch).items()}
        if index == 0:
            momentums = {k: v.numpy() for k, v in state.items() if k.endswith("_momentum")}
            found |= {f"gradient/{k}": v / (1 - BETA_1) for k, v in momentums.items()}
    return found | {k: v.numpy() for k, v in state.items()}


def operations(step, strategy):
    """What a step of this process sends, and what of it XLA compiles.

    ``collectives``: collective operations. ``copies``: tensors that a device takes from another.
    ``compiled``: computations by XLA. ``convolutions``: those outside of these.
    """
    batch = next(iter(distributed(strategy, 1)))
    found = dict.fromkeys(("collectives", "copies", "compiled", "convolutions"), 0)
    for operation in step.get_concrete_function(batch).graph.get_operations():
        found["collectives"] += operation.type.startswith("Collective")
        found["compiled"] += "_XlaMustCompile" in operation.node_def.attr
        found["convolutions"] += operation.type.startswith("Conv2D")
        for tensor in operation.inputs:
            devices = {operation.device, tensor.op.device} - {""}
            found["copies"] += len(devices) > 1 and tensor.op.type not in ("Placeholder", "Const")
    found |= {"devices": len(own_devices(strategy)) or 1, "replicas": strategy.num_replicas_in_sync}
    return {f"operations/{name}": count for name, count in found.items()}


def use(strategy, model, dtype):
    """Re-estimated statistics and evaluations by name."""
    data = distributed(strategy, STEPS[dtype])
    estimated = StatisticsEstimator(model, strategy).estimate(data, STEPS[dtype])
    check_assignment(strategy, model)
    check_gathering(Workers(strategy))
    return {f"statistics/{k}": v for k, v in estimated.items()} | evaluate(strategy)


def check_assignment(strategy, model):
    """A value that is assigned, as a checkpoint's is, reaches every replica of this process."""
    replicas = len(strategy.experimental_local_results(model.step.value))
    assert replicas * Workers(strategy).count == strategy.num_replicas_in_sync
    for variable in model.variables:
        variable.assign(variable.numpy() + 1)
        copies = strategy.experimental_local_results(variable.value)
        assert len(copies) == replicas, variable.path
        for copy in copies:
            np.testing.assert_array_equal(copy.numpy(), variable.numpy(), err_msg=variable.path)


def check_gathering(workers):
    """Bytes of every length come from every worker, those of the chief first."""
    for lengths in ((0, 0), (5, 0), (0, 3), (4, 8), (600_000, 1)):
        every = [np.random.default_rng(k).bytes(n) for k, n in enumerate(lengths)][: workers.count]
        assert workers.gather_bytes(every[workers.index]) == every, lengths


def small_config(data_dir):
    """Of a model for 32×32 scenes of shapes."""
    space = published_label_space("shapes")
    model = ModelConfig(
        num_classes=space.num_classes,
        has_unknown=False,
        noise_channels=3,
        generator_channels=1,
        discriminator_channels=1,
        spade_channels=4,
        generator_widths=(2, 2, 1),
        discriminator_widths=(2, 2),
    )
    data = DataConfig(data_dir=data_dir, crop_height=32, crop_width=32)
    training = TrainingConfig(steps=1, batch_size=BATCH)
    return Config(model=model, data=data, training=training, label_space=space)


def evaluate(strategy):
    """Generated images, and what the evaluations of training find, by name.

    19 images are two batches: one for each of two workers, the second one padded. Other weights are
    evaluated first, so that what is left of them would show.
    """
    workers = Workers(strategy)
    with tempfile.TemporaryDirectory() as folder:
        scenes = [ShapesScene(f"{k}", 1, k, 32, 32) for k in range(19)]
        prepare({"train": scenes[:4], "val": scenes}, published_label_space("shapes"), folder)
        config = small_config(folder)
        with strategy.scope():
            model = build_model(config)
        context = context_of(
            model, folder, own_devices(strategy), dataset=PreparedDataset.load(folder)
        )
        validation = Validation(context, METRICS, workers)
        for seed in (1, 0):
            randomise(model, seed)
            values = validation.measure(seed)
        written = os.path.isdir(os.path.join(folder, "evaluations"))
        assert written == workers.chief and bool(values) == workers.chief
        values = json.loads(workers.gather_bytes(json.dumps(values).encode())[0])
    label_map = np.random.default_rng(2).integers(0, 12, (5, 4, 4)).repeat(8, 1).repeat(8, 2)
    generated = DeviceSampler(model, own_devices(strategy))(label_map, np.arange(5))
    return {f"evaluation/{k}": v for k, v in values.items()} | {"generated": generated}


def randomise(model, seed):
    """Random weights, the same everywhere: a new model gives the same image for all label maps."""
    rng = np.random.default_rng(seed)
    for network in (model.generator, model.discriminator):
        for variable in network.trainable_variables:
            variable.assign(rng.normal(0, 0.3, variable.shape))
    model.generator_ema.set_weights(model.generator.get_weights())


def strategy_of(name):
    """`mirrored_N` is the mirrored strategy over N devices of this process."""
    kind, _, devices = name.partition("_")
    if kind == "mirrored":
        return tf.distribute.MirroredStrategy([f"CPU:{k}" for k in range(int(devices))])
    return make_strategy(name)


def main(output, name, dtype):
    if name not in ("none", "auto"):
        cpu = tf.config.list_physical_devices("CPU")[0]
        devices = [tf.config.LogicalDeviceConfiguration()] * DEVICES
        tf.config.set_logical_device_configuration(cpu, devices)
    if name.startswith("xla"):
        np.savez(output, **train_with_xla(dtype, devices=2))
        return
    strategy = strategy_of(name)
    model, found = train(strategy, dtype)
    np.savez(output, **found | use(strategy, model, dtype))


if __name__ == "__main__":
    main(*sys.argv[1:])
