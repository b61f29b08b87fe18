"""The train command, killed by itself while it saves a checkpoint.

    python kills_main.py STAGE STEP FLAGS...

Nothing of Python runs after SIGKILL, so what lies on disk is what a crash of the machine's making
leaves. STAGE is the part of `CheckpointStore.save` that is under way.
"""

import io
import os
import shutil
import signal
import sys

import numpy as np

from oasis_tf import train
from oasis_tf.cli import system_runner
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


if __name__ == "__main__":
    die_in_save(sys.argv[1], int(sys.argv[2]))
    del sys.argv[1:3]
    system_runner.run(train.main, train.define_flags)
