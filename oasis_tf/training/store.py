"""Checkpoints: whole or absent, verified when read, readable with NumPy alone.

    model_dir/checkpoints/step_00001500/
        training.npz    every variable of a run by name: both networks, the average, both optimizers
        inference.npz   re-estimated batch statistics (and u, v) of the averaged generator
        manifest.json   size and SHA-256 of the two, written last

A checkpoint is written into a hidden folder beside its place and renamed when it is complete and on
disk. (``tf.train.Checkpoint`` is not used: it silently omits Keras layers held in lists.)
"""

import contextlib
import hashlib
import json
import os
import re
import shutil

import numpy as np
from absl import logging

from oasis_tf.systems.oasis.build import build_model, state_variables
from oasis_tf.systems.oasis.config import Config
from oasis_tf.training.metrics_file import best_checkpoint
from oasis_tf.training.named_weights import named_weights

FOLDER = "checkpoints"
_MANIFEST = "manifest.json"
_NAME = re.compile(r"step_(\d{8,})")


class DamagedCheckpointError(ValueError):
    """A checkpoint whose files are not what its manifest says."""


class CheckpointStore:
    """The checkpoints of one model directory.

    Args:
        model_dir: str.
        max_to_keep: int, newest checkpoints kept.
        keep_every: int, keep for good the first checkpoint in every so many steps; 0: none.
    """

    def __init__(self, model_dir, max_to_keep=2, keep_every=0):
        self.folder = os.path.join(model_dir, FOLDER)
        self.max_to_keep = max_to_keep
        self.keep_every = keep_every

    def path(self, step):
        """Folder of the checkpoint of a step, whether it exists or not."""
        return os.path.join(self.folder, f"step_{step:08d}")

    def steps(self):
        """Steps that have a checkpoint, ascending."""
        names = os.listdir(self.folder) if os.path.isdir(self.folder) else []
        return sorted(int(match[1]) for match in map(_NAME.fullmatch, names) if match)

    def save(self, step, training, inference, best=None):
        """Writes a checkpoint of two mappings from names to arrays, then drops superseded ones.

        Args:
            step: int.
            training, inference: the mappings.
            best: function from the steps that have a checkpoint to the one to keep besides, or
                None.

        Raises:
            OSError: it cannot be written; earlier checkpoints are as they were.
        """
        path = self.path(step)
        aside = os.path.join(self.folder, f".step_{step:08d}.{os.getpid()}")
        try:
            self._remove_leftovers()
            os.makedirs(aside)
            for name, arrays in (("training.npz", training), ("inference.npz", inference)):
                with _synced(os.path.join(aside, name), "wb") as file:
                    np.savez(file, **arrays)
            _write_manifest(aside)
            if os.path.isdir(path):
                shutil.rmtree(path)
            os.replace(aside, path)
            _sync_folder(self.folder)
        except OSError as error:
            shutil.rmtree(aside, ignore_errors=True)
            raise OSError(
                f"Cannot write checkpoint {path}: {error.strerror or error}. Make room or mend the "
                "permissions, then repeat the command: it continues from the one before."
            ) from error
        self._drop_superseded(best)

    def read(self, step, name):
        """Arrays of one file, ``training`` or ``inference``, of a checkpoint, verified.

        Raises:
            DamagedCheckpointError: the file is missing, truncated or altered.
        """
        path = self.path(step)
        _verify(path, f"{name}.npz")
        with np.load(os.path.join(path, f"{name}.npz"), allow_pickle=False) as arrays:
            return dict(arrays)

    def newest(self):
        """``(step, training arrays)`` of the newest whole checkpoint, or None; warns of damaged."""
        for step in reversed(self.steps()):
            try:
                _verify(self.path(step), "inference.npz")
                return step, self.read(step, "training")
            except DamagedCheckpointError as error:
                logging.warning("%s Skipped for the one before it.", error)
        return None

    def _remove_leftovers(self):
        """Removes what a killed process was writing."""
        for name in os.listdir(self.folder) if os.path.isdir(self.folder) else []:
            if name.startswith(".step_"):
                shutil.rmtree(os.path.join(self.folder, name), ignore_errors=True)

    def _drop_superseded(self, best):
        steps = self.steps()
        kept = set(steps[-self.max_to_keep :])
        if best is not None:
            kept.add(best(steps))
        if self.keep_every:
            periods = {}
            for step in steps:
                periods.setdefault(step // self.keep_every, step)
            kept |= {step for period, step in periods.items() if period > 0}
        for step in set(steps) - kept:
            shutil.rmtree(self.path(step))


@contextlib.contextmanager
def _synced(path, mode):
    """A file that is on disk when the block ends."""
    with open(path, mode) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(path):
    with open(path, "rb") as file:
        return {
            "bytes": os.path.getsize(path),
            "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
        }


def _write_manifest(folder):
    entries = {name: _digest(os.path.join(folder, name)) for name in sorted(os.listdir(folder))}
    with _synced(os.path.join(folder, _MANIFEST), "w") as file:
        json.dump(entries, file, indent=2)


def _verify(folder, name):
    try:
        with open(os.path.join(folder, _MANIFEST), encoding="utf-8") as file:
            wanted = json.load(file)[name]
        whole = _digest(os.path.join(folder, name)) == wanted
    except (OSError, ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise DamagedCheckpointError(
            f"Checkpoint {folder} is damaged: {name} is not what {_MANIFEST} says."
        )


def assign_all(variables, arrays, source):
    """Gives every variable the array of its name; extra arrays are ignored.

    Raises:
        ValueError: arrays that are missing or of another shape, all listed; nothing is assigned.
    """
    problems = []
    for name, variable in variables.items():
        if name not in arrays:
            problems.append(f"{name} is missing")
        elif tuple(arrays[name].shape) != tuple(variable.shape):
            problems.append(f"{name} has shape {arrays[name].shape}, not {tuple(variable.shape)}")
    if problems:
        raise ValueError(f"{source} does not fit this model: {'; '.join(problems)}.")
    for name, variable in variables.items():
        variable.assign(arrays[name])


def load_model(model_dir, step=None):
    """The ``OASIS`` of a model directory, ready for use: see ``OASIS.load``."""
    config = Config.load(model_dir)
    store = CheckpointStore(model_dir)
    if step == "best":
        step = best_checkpoint(model_dir, store.steps())
    if step is None:
        found = store.newest()
        if found is None:
            raise FileNotFoundError(
                f"{model_dir} has no whole checkpoint yet. Train on, or use another --model_dir."
            )
        step, arrays = found
    elif step not in store.steps():
        raise ValueError(f"{model_dir} has no checkpoint {step}. It has: {store.steps()}.")
    else:
        arrays = store.read(step, "training")
    model = build_model(config)
    assign_all(state_variables(model), arrays, store.path(step))
    statistics, average = store.read(step, "inference"), named_weights(model.generator_ema)
    assign_all({name: average[name] for name in statistics}, statistics, store.path(step))
    return model
