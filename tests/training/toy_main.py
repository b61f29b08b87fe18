"""Trains the toy as a command, which tests start, stop and kill.

    python -m tests.training.toy_main --model_dir=DIR --settings='{"steps": 9, …}'

With `--die_in=STAGE --die_at=STEP` the process kills itself while it saves its first checkpoint
from that step on. Nothing of Python runs after SIGKILL, so what lies on disk is what a crash of the
machine's making leaves. STAGE is the part of `CheckpointStore.save` that is under way.
"""

import io
import json
import os
import shutil
import signal

import numpy as np
from absl import flags

from oasis_tf.cli import runner
from oasis_tf.training import store

savez = np.savez


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def write_half(file, **arrays):
    whole = io.BytesIO()
    savez(whole, **arrays)
    file.write(whole.getvalue()[: whole.tell() // 2])
    file.flush()
    die()


STAGES = {
    "weights": (np, "savez", write_half),
    "manifest": (store, "_write_manifest", die),
    "rename": (os, "replace", die),
    "drop": (shutil, "rmtree", die),
}


def die_in_save(stage, step):
    """Has the process killed in a stage of saving the first checkpoint from `step` on."""
    save = store.CheckpointStore.save

    def fatal(store, at, *arrays):
        if at >= step:
            setattr(*STAGES[stage])
        save(store, at, *arrays)

    store.CheckpointStore.save = fatal


def define_flags(flag_values):
    where = {"flag_values": flag_values}
    flags.DEFINE_string("model_dir", None, "As in the train command.", **where)
    flags.DEFINE_string("settings", None, "`LoopSettings` as JSON.", **where)
    flags.DEFINE_integer("devices", 1, "Logical devices of the CPU.", **where)
    flags.DEFINE_string("die_in", None, "Stage of saving.", **where)
    flags.DEFINE_integer("die_at", 0, "Step.", **where)


def main(argv):
    del argv
    import tensorflow as tf

    from oasis_tf.training import loop
    from oasis_tf.training.settings import LoopSettings
    from tests.training.toy import ToyConfig, ToyTask

    args = flags.FLAGS
    if args.devices > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        devices = [tf.config.LogicalDeviceConfiguration()] * args.devices
        tf.config.set_logical_device_configuration(cpu, devices)
    if args.die_in:
        die_in_save(args.die_in, args.die_at)
    config = ToyConfig(training=LoopSettings(**json.loads(args.settings)))
    loop.train(config, args.model_dir, ToyTask)


if __name__ == "__main__":
    runner.run(main, define_flags)
