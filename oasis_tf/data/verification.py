"""Looks for damaged records before a stream begins, so that the stream can do without them.

Every record of a split is read and decoded once, as the stream will do. The sound ones, in their
order, are then the whole of the split: stream positions, epochs and shuffling count these alone.
So under --skip_corrupt, too, a stream is a pure function of (seed, step) as long as the files stay
as they are, and where nothing is damaged it is the same stream as without.
"""

import dataclasses
import functools
import os
import sys

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from oasis_tf.data import damage, reading, tfrecord
from oasis_tf.data.datasets import LabelSpace
from oasis_tf.data.reading import Records, Run
from oasis_tf.data.tfrecord import PreparedDataset
from oasis_tf.io.progress import progress_bar


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """Records, one behind the other in a shard, that cannot be used.

    Attributes:
        path: the shard.
        first, last: indices of the first and the last of them in the shard.
        key: of the first one, where it can be read.
        reason: why.
    """

    path: str
    first: int
    last: int
    key: str | None
    reason: str

    @property
    def count(self) -> int:
        """How many they are."""
        return self.last - self.first + 1

    def __str__(self) -> str:
        if self.count == 1:
            return f"{damage.name(self.path, self.first, self.key)}: {self.reason}"
        return (
            f"{self.path}, records {self.first} to {self.last} (counted from 0): from the first on "
            f"none can be found, {self.reason}"
        )


def usable_records(prepared: PreparedDataset, split: str, skip_corrupt: bool) -> Records:
    """The records of a split that a stream reads.

    Args:
        prepared: the data set, loaded with the same `skip_corrupt`.
        split: one of its splits.
        skip_corrupt: leave out what cannot be read or decoded. That takes reading and decoding
            everything, once in a process; what is left out is reported on standard error.
            Otherwise these are all records listed, and nothing is read.

    Returns:
        The records; `count` is how many they are.

    Raises:
        ValueError: no such split, or none of its records can be used.
    """
    if not skip_corrupt:
        return Records.listed(prepared, split)
    state = tuple(map(_file_state, prepared.shard_paths(split)))
    return _sound_records(prepared.data_dir, split, state)


def _file_state(path: str) -> tuple[int, int] | None:
    if not os.path.isfile(path):
        return None
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=8)
def _sound_records(data_dir: str, split: str, state: tuple) -> Records:
    """Verifies and reports once for every `state` of the files."""
    del state
    prepared = PreparedDataset.load(data_dir, skip_corrupt=True)
    records, left_out = verify(prepared, split)
    listed = f"{prepared.num_examples(split)} records of {split} in {data_dir}"
    count = sum(part.count for part in left_out)
    if not records.count:
        raise ValueError(f"None of the {listed} can be used. First: {left_out[0]}")
    verdict = f"{count} cannot be used and are left out:" if count else "all can be used."
    _say("\n  ".join([f"Verified the {listed}: {verdict}", *map(str, left_out)]))
    return records


def verify(prepared: PreparedDataset, split: str) -> tuple[Records, list[LeftOut]]:
    """Reads and decodes a split.

    Behind a record whose contents are damaged, reading goes on. Behind one whose stored length is,
    no other can be found in that shard.

    Args:
        prepared: the data set, loaded with `skip_corrupt=True`.
        split: one of its splits.

    Returns:
        The sound records, and the others in file order.

    Raises:
        ValueError: no such split.
    """
    search = _Search(Records.listed(prepared, split), prepared.label_space)
    runs = search.listed.runs
    with progress_bar(search.listed.count, "records", f"verifying {split}") as search.progress:
        while runs:
            runs = search.look_through(runs)
    return search.sound(), sorted(search.left_out, key=lambda part: (part.path, part.first))


class _Search:
    """What is found while a split is looked through."""

    def __init__(self, listed: Records, space: LabelSpace):
        self.listed = listed
        self.left_out = []
        self.progress = None
        self._space = space
        self._is_sound = [np.zeros(run.count, bool) for run in listed.runs]

    def look_through(self, runs: tuple[Run, ...]) -> tuple[Run, ...]:
        """Decodes records; what lies behind unreadable ones is returned, to be looked through."""
        stopped_at = {}
        for shard, index, contents, sound in self._tried(self.listed.of_runs(*runs)):
            if sound:
                self._is_sound[shard][index] = True
                self.progress.update()
            elif contents:
                self._leave_out(shard, index, index, damage.undecodable(contents, self._space))
            else:
                stopped_at.setdefault(shard, index)
        behind = [self._behind(shard, index) for shard, index in stopped_at.items()]
        return tuple(run for run in behind if run.count)

    def sound(self) -> Records:
        """The sound ones of the records looked through."""
        shards = range(len(self._is_sound))
        return self.listed.of_runs(*(run for shard in shards for run in self._sound_runs(shard)))

    def _tried(self, records: Records):
        def attempt(shard, index, contents):
            _, _, sound = reading.decode(contents, self._space)
            return shard, index, tf.where(sound, "", contents), sound

        tried = records.in_file_order().map(attempt, num_parallel_calls=tf.data.AUTOTUNE)
        return tried.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()

    def _behind(self, shard: int, index: int) -> Run:
        """Leaves out an unreadable record, with all behind it if they cannot be found."""
        path, count = self.listed.paths[shard], len(self._is_sound[shard])
        starts = tfrecord.record_starts(path) if os.path.isfile(path) else [0]
        can_go_on = index + 1 < len(starts)
        following, offset = (index + 1, starts[index + 1]) if can_go_on else (count, 0)
        self._leave_out(shard, index, following - 1, damage.unreadable(path, index))
        return Run(shard, offset, following, count - following)

    def _leave_out(self, shard, first, last, problem: tuple[str | None, str]) -> None:
        part = LeftOut(self.listed.paths[shard], int(first), int(last), *problem)
        self.left_out.append(part)
        self.progress.update(part.count)

    def _sound_runs(self, shard: int) -> list[Run]:
        is_sound = self._is_sound[shard]
        if is_sound.all():
            return [self.listed.runs[shard]]
        if not is_sound.any():
            return []
        starts = tfrecord.record_starts(self.listed.paths[shard])
        bounds = np.flatnonzero(np.diff(np.pad(is_sound, 1).astype(np.int8))).tolist()
        pairs = zip(bounds[::2], bounds[1::2], strict=True)
        return [Run(shard, starts[a], a, b - a) for a, b in pairs]


def _say(text: str) -> None:
    tqdm.write(text, file=sys.stderr)
