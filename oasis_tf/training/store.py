"""Checkpoints: whole or absent, verified when read, readable with NumPy alone.

    model_dir/checkpoints/step_00001500/
        training.npz    every variable of a run by name: networks, averages, optimizers, the step
        inference.npz   what the model needs for use beyond these, if anything
        manifest.json   size and SHA-256 of the others, written last

A checkpoint is written into a hidden folder beside its place and renamed when it is complete and on
disk. (``tf.train.Checkpoint`` is not used: it silently omits Keras layers held in lists.) Nothing
here needs TensorFlow.

Damaged is what is missing or not what the manifest says. What cannot be read, for lack of
permission or because of a device, may be whole: that is an error and nothing else.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil

import numpy as np
from absl import logging

from oasis_tf.io import files, json_files
from oasis_tf.training.metrics_file import best_checkpoint

FOLDER = "checkpoints"
_TRAINING, _INFERENCE, _MANIFEST = "training.npz", "inference.npz", "manifest.json"
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
        self.model_dir = model_dir
        self.folder = os.path.join(model_dir, FOLDER)
        self.max_to_keep = max_to_keep
        self.keep_every = keep_every

    def path(self, step):
        """Folder of the checkpoint of a step, whether it exists or not."""
        return os.path.join(self.folder, f"step_{step:08d}")

    def steps(self):
        """Steps that have a checkpoint, whole or not, ascending.

        Raises:
            OSError: the folder cannot be read.
        """
        return sorted(int(match[1]) for match in map(_NAME.fullmatch, self._names()) if match)

    def _names(self):
        with _explained(self.folder):
            try:
                return os.listdir(self.folder)
            except FileNotFoundError:
                return []

    def save(self, step, training, inference, best=None):
        """Writes a checkpoint of two mappings from names to arrays, then drops superseded ones.

        Args:
            step: int.
            training, inference: the mappings; of nothing for inference no file is written.
            best: function from the steps that have a checkpoint to the one to keep besides, or
                None.

        Raises:
            OSError: it cannot be written; earlier checkpoints are as they were.
        """
        path = self.path(step)
        aside = os.path.join(self.folder, files.unique_name(f"step_{step:08d}"))
        try:
            self._remove_leftovers()
            os.makedirs(aside)
            parts = {_TRAINING: training} | ({_INFERENCE: inference} if inference else {})
            for name, arrays in parts.items():
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
        self._drop_superseded(step, best)

    def read(self, step, name):
        """Arrays of one file, ``training`` or ``inference``, of a checkpoint, verified.

        Raises:
            DamagedCheckpointError: the file is missing, truncated or altered.
            OSError: it cannot be read.
        """
        path = self.path(step)
        with _explained(path):
            _verify(path, f"{name}.npz")
            with np.load(os.path.join(path, f"{name}.npz"), allow_pickle=False) as arrays:
                return dict(arrays)

    def newest(self):
        """``(step, training arrays)`` of the newest whole checkpoint; None if there is none at all.

        Damaged ones are skipped with a warning.

        Raises:
            DamagedCheckpointError: all are damaged.
            OSError: a checkpoint cannot be read.
        """
        damaged = []
        for step in reversed(self.steps()):
            try:
                with _explained(self.path(step)):
                    if _INFERENCE in _manifest(self.path(step)):
                        _verify(self.path(step), _INFERENCE)
                found = step, self.read(step, "training")
            except DamagedCheckpointError as error:
                damaged.append(str(error))
                continue
            for problem in damaged:
                logging.warning("%s Skipped for the one before it.", problem)
            return found
        if damaged:
            raise DamagedCheckpointError(
                f"No checkpoint of {self.model_dir} is whole. {' '.join(damaged)} Restore one of "
                f"them from a copy; or, to begin again from step 0, move {self.folder} away."
            )
        return None

    def load(self, checkpoint=None, best_metric=None):
        """``(step, training arrays)`` of a checkpoint, verified.

        Args:
            checkpoint: int step; "best", by the evaluations while training; None for the newest
                whole one.
            best_metric: value that decides which is best, as in ``MetricsFile.best_step``.

        Raises:
            ValueError: there is no such checkpoint, or (DamagedCheckpointError) it is damaged, or
                all are.
            FileNotFoundError: there is no checkpoint yet.
            OSError: it cannot be read.
        """
        if checkpoint is None:
            found = self.newest()
            if found is None:
                raise FileNotFoundError(
                    f"{self.model_dir} has no checkpoint yet. Train on, or use another --model_dir."
                )
            return found
        steps = self.steps()
        if checkpoint == "best":
            checkpoint = best_checkpoint(self.model_dir, steps, best_metric)
        if checkpoint not in steps:
            raise ValueError(f"{self.model_dir} has no checkpoint {checkpoint}. It has: {steps}.")
        return checkpoint, self.read(checkpoint, "training")

    def _remove_leftovers(self):
        """Removes what a killed process was writing: one process at a time saves here."""
        for name in self._names():
            if name.startswith(".step_"):
                shutil.rmtree(os.path.join(self.folder, name), ignore_errors=True)

    def _drop_superseded(self, saved, best):
        """Those of later steps than the saved one stay: they are damaged, and may be mended."""
        steps = [step for step in self.steps() if step <= saved]
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
        json.dump(json_files.sealed(entries), file, indent=2)


def _manifest(folder):
    """What the manifest says of every file; nothing if it is missing or damaged."""
    try:
        return dict(json_files.read(os.path.join(folder, _MANIFEST)))
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def _verify(folder, name):
    try:
        whole = _digest(os.path.join(folder, name)) == _manifest(folder).get(name)
    except FileNotFoundError:
        whole = False
    if not whole:
        raise DamagedCheckpointError(
            f"Checkpoint {folder} is damaged: {name} is not what {_MANIFEST} says."
        )


@contextlib.contextmanager
def _explained(path):
    """Says of an error in reading what to do about it."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"Cannot read {path}: {error.strerror or error}. It may be whole: mend the permissions "
            "or the file system, then repeat the command."
        ) from error


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
