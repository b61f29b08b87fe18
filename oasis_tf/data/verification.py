"""Looks for damaged records before a stream begins, so that the stream can do without them.

Every record of a split is read and decoded once, as the stream will do. The sound ones, in their
order, are then the whole of the split: stream positions, epochs and shuffling count these alone.
So under --skip_corrupt, too, a stream is a pure function of (seed, step) as long as the files stay
as they are, and where nothing is damaged it is the same stream as without.
"""

import functools
import os
import sys
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from oasis_tf.data import reading, tfrecord
from oasis_tf.data.datasets import LabelSpace
from oasis_tf.data.reading import Records, Run
from oasis_tf.data.tfrecord import PreparedDataset
from oasis_tf.io.progress import progress_bar


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
    if not records.count:
        raise ValueError(f"None of the {listed} can be used. {tfrecord.REMEDY}")
    count = prepared.num_examples(split) - records.count
    verdict = f"{count} cannot be used and are left out:" if count else "all can be used."
    text = "\n  ".join([f"Verified the {listed}: {verdict}", *left_out])
    tqdm.write(text, file=sys.stderr)
    return records


def verify(prepared: PreparedDataset, split: str) -> tuple[Records, list[str]]:
    """Reads and decodes a split.

    Args:
        prepared: the data set, loaded with `skip_corrupt=True`.
        split: one of its splits.

    Returns:
        The sound records, and a line for each shard that has others. No record is found after one
        whose stored length is wrong.

    Raises:
        ValueError: no such split.
    """
    listed = Records.listed(prepared, split)
    runs, left_out = [], []
    with progress_bar(listed.count, "records", f"verifying {split}") as progress:
        for run in listed.runs:
            is_sound = np.fromiter(_tried(listed.of_runs(run), prepared.label_space), bool)
            if is_sound.all():
                runs.append(run)
            else:
                path = listed.paths[run.shard]
                starts = tfrecord.record_starts(path)[:-1] if os.path.isfile(path) else []
                # What follows an unreadable record is read again, each record by itself.
                alone = [Run(run.shard, x, k, 1) for k, x in enumerate(starts[: run.count])]
                found = list(_tried(listed.of_runs(*alone), prepared.label_space))
                is_sound = np.array(found + [False] * (run.count - len(found)))
                runs += _runs(run.shard, starts, is_sound)
                first, count = np.argmin(is_sound), np.count_nonzero(~is_sound)
                left_out.append(f"{path}: {count} of {run.count}, the first is record {first}")
            progress.update(run.count)
    return listed.of_runs(*runs), left_out


def _tried(records: Records, space: LabelSpace) -> Iterator[bool]:
    """Whether each record is sound."""
    tried = records.in_file_order().map(
        lambda shard, index, contents: reading.decode(contents, space)[-1],
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return tried.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()


def _runs(shard: int, starts: list[int], is_sound: np.ndarray) -> list[Run]:
    """The sound records of a shard."""
    bounds = np.flatnonzero(np.diff(np.pad(is_sound, 1).astype(np.int8))).tolist()
    pairs = zip(bounds[::2], bounds[1::2], strict=True)
    return [Run(shard, starts[first], first, end - first) for first, end in pairs]
