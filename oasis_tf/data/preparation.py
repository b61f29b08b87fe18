"""Converts the examples of a data set to shards and `dataset.json`.

Worker processes read, check and encode the examples. This process writes the shards one after the
other. Workers return encoded bytes in order, so the shards do not depend on the number of workers.
Only this process needs TensorFlow, whose import would cost every worker seconds and hundreds of
megabytes. The number of examples in progress bounds the memory.

`preparation.json`, the journal, lists the finished shards. `dataset.json` is written last, so that
after an interruption (even SIGKILL or a full disk) the folder is not a data set. The same command
then keeps every shard whose file is intact and whose sources are unchanged, writes the others, and
removes half-written files. The result has the same bytes as an uninterrupted run.

`contact_sheet.png` shows some of the records, as training will read them (see `overview`).
"""

import dataclasses
import hashlib
import io
import itertools
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf
from PIL import Image
from tqdm import tqdm

from oasis_tf.data import overview, tfrecord, workers
from oasis_tf.data.datasets import LabelSpace
from oasis_tf.data.examples import EncodedExample, Resized, Source
from oasis_tf.data.tfrecord import PreparedDataset, ShardInfo, SplitInfo
from oasis_tf.io import files, images, json_files
from oasis_tf.io.files import file_sha256
from oasis_tf.io.label_files import raw_picture
from oasis_tf.io.paths import local_path
from oasis_tf.io.problems import Problems
from oasis_tf.io.progress import progress_bar

JOURNAL_FILE = "preparation.json"
SHEET_FILE = "contact_sheet.png"
# Approximate limits of a shard if --num_shards is not given. Small shards are shuffled better in
# training, where a window holds records of several shards.
EXAMPLES_PER_SHARD = 512
BYTES_PER_SHARD = 64 * 2**20
_CHUNK = 8  # examples per task of a worker
_OWN_FILES = re.compile(
    r"dataset\.json|preparation\.json|contact_sheet\.png|(train|val)-\d{5}-of-\d{5}\.tfrecord"
    r"|\.(dataset|preparation|contact_sheet|(train|val)-\d{5}-of-\d{5})\.[0-9a-f]+\.tmp"
    r"\.(json|png|tfrecord)"
)


@dataclasses.dataclass(frozen=True)
class _Shard:
    """A planned shard: its split, its file and its examples."""

    split: str
    file: str
    sources: Sequence[Source]

    def digest(self, label_space: LabelSpace) -> str:
        """Returns a hash that changes when the contents of the shard may have changed."""
        identities = [source.identity() for source in self.sources]
        values = [tfrecord.FORMAT_VERSION, label_space.to_json(), identities]
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class _Finished:
    """A finished shard, as the journal lists it."""

    digest: str
    info: ShardInfo
    class_pixels: tuple[int, ...]
    class_images: tuple[int, ...]


def prepare(
    splits: dict[str, Sequence[Source]],
    label_space: LabelSpace,
    output: str,
    *,
    num_shards: int = 0,
    num_workers: int = 0,
    overwrite: bool = False,
    label_files: str | None = None,
    training_size: tuple[int, int] | None = None,
    synthetic: Mapping | None = None,
) -> PreparedDataset:
    """Writes a prepared data set to the folder `output`.

    Args:
        splits: examples of "train" and optionally "val" (see `layouts.find_examples`).
        label_space: their classes.
        output: folder; created if needed.
        num_shards: files per split, at most one per example; 0 chooses by size.
        num_workers: processes that read and check; 0 chooses, 1 uses this process alone. They do
            not import the main script: it needs no main guard. Examples of a class of the main
            script are read by this process.
        overwrite: whether to replace a data set in `output`.
        label_files: folder for the label maps of "val" (see `write_label_files`), or None.
        training_size: (height, width) to which the examples of "train" are resized; None: they keep
            their sizes, and training resizes them.
        synthetic: origin of generated images, stored in `dataset.json`; None: the images are real.

    Returns:
        The complete data set, loaded from its files.

    Raises:
        ValueError: files are damaged or contradict each other, label files have values of no class,
            or `output` is not empty. All files are decoded and checked before anything is written;
            the error counts all problems and names ten.
        OSError: a folder cannot be written or has too little room. Run again to continue.
    """
    if num_shards < 0 or num_workers < 0:
        raise ValueError(
            "--num_shards and --num_workers must be at least 0 (0: automatic). "
            f"Received: --num_shards={num_shards}, --num_workers={num_workers}."
        )
    if label_files and "val" not in splits:
        raise ValueError(
            f"--label_files={label_files} is for label maps of the validation split, and there are "
            "no validation images. Give some (--val_image_dir, --val_label_dir), split some off "
            "(--val_fraction), or leave the flag out."
        )
    if training_size and min(training_size) < 1:
        raise ValueError(
            "Training images must be at least 1×1. Received: --resize_height="
            f"{training_size[0]}, --resize_width={training_size[1]}."
        )
    output = local_path(output)
    _end_complete_run(output)
    _check_output(output, overwrite)
    sources = [source for split in splits for source in splits[split]]
    if any(type(source).__module__ == "__main__" for source in sources):
        num_workers = 1  # see `workers.pool`
    if training_size:
        resized = [Resized(source, *training_size) for source in splits["train"]]
        splits = splits | {"train": resized}
    with workers.pool(num_workers or _default_workers(len(sources)), label_space) as ordered_map:
        _check_sources(sources, ordered_map)
        shards = [shard for split in splits for shard in _plan(split, splits[split], num_shards)]
        _make_room(output, shards)
        finished = _write_shards(output, shards, label_space, ordered_map)
    prepared = _assembled(output, shards, finished, label_space)
    prepared = dataclasses.replace(prepared, synthetic=synthetic, training_size=training_size)
    if label_files:
        write_label_files(prepared, "val", label_files)
    _write_sheet(prepared)
    prepared.save()  # from here on the folder is a data set
    os.remove(os.path.join(output, JOURNAL_FILE))
    return PreparedDataset.load(output)


# === Plan ===


def _plan(split: str, sources: Sequence[Source], num_shards: int) -> list[_Shard]:
    """Divides a split into shards of nearly equal length."""
    sources = sorted(sources, key=lambda source: source.key)
    if split == "train":
        # A random order, the same on every machine. It separates similar neighbours (of one city
        # or film), so that shuffling within a window is enough in training.
        sources.sort(key=lambda source: hashlib.sha256(source.key.encode()).digest())
    count = min(num_shards or _default_shards(sources), len(sources))
    bounds = [len(sources) * k // count for k in range(count + 1)]
    return [
        _Shard(split, tfrecord.shard_name(split, k, count), sources[bounds[k] : bounds[k + 1]])
        for k in range(count)
    ]


def _default_shards(sources: Sequence[Source]) -> int:
    num_bytes = sum(source.num_bytes() for source in sources)
    return 1 + max((len(sources) - 1) // EXAMPLES_PER_SHARD, num_bytes // BYTES_PER_SHARD)


def _default_workers(num_examples: int) -> int:
    """Returns the number of processors, or less for a small data set."""
    return min(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        1 + num_examples // 200,
    )


# === Checks before work starts ===


def _end_complete_run(output: str) -> None:
    """Removes the journal of a run that was killed after its data set was complete."""
    journal = os.path.join(output, JOURNAL_FILE)
    if os.path.isfile(os.path.join(output, tfrecord.METADATA_FILE)) and os.path.isfile(journal):
        os.remove(journal)


def _check_output(output: str, overwrite: bool) -> None:
    if os.path.exists(output) and not os.path.isdir(output):
        raise ValueError(f"--output={output} is a file; name a folder.")
    names = os.listdir(output) if os.path.isdir(output) else []
    if tfrecord.METADATA_FILE in names and not overwrite:
        raise ValueError(
            f"{output} holds a prepared data set already. Choose another --output, or replace the "
            "data set with --overwrite."
        )
    if not any(map(_OWN_FILES.fullmatch, names)):
        foreign = sorted(name for name in names if not name.startswith("."))
        if foreign:
            raise ValueError(
                f"{output} holds other files ({', '.join(foreign[:10])}). Choose an empty or new "
                "folder as --output."
            )


def _check_sources(sources: Sequence[Source], ordered_map) -> None:
    """Decodes and checks all files. One error reports all problems."""
    chunks = _chunked(sources, _CHUNK)
    problems, unusable = Problems(), 0
    with progress_bar(len(sources), "images", "checking") as progress:
        for chunk, found in zip(chunks, ordered_map(workers.check, chunks), strict=True):
            unusable += sum(map(bool, found))
            for error in itertools.chain(*found):
                problems.add(error)
            progress.update(len(chunk))
    if unusable:
        raise problems.error(f"{unusable} of {len(sources)} examples cannot be used")


def _make_room(output: str, shards: Sequence[_Shard]) -> None:
    """Creates the folder, checks the free space, and removes files of earlier runs."""
    planned = {shard.file for shard in shards} | {JOURNAL_FILE}
    needed = sum(source.num_bytes() for shard in shards for source in shard.sources)
    try:
        os.makedirs(output, exist_ok=True)
        own = [name for name in sorted(os.listdir(output)) if _OWN_FILES.fullmatch(name)]
        free = shutil.disk_usage(output).free
        free += sum(os.path.getsize(os.path.join(output, name)) for name in own)
        if needed > free:
            raise tfrecord.unwritable(
                output, f"about {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free"
            )
        # dataset.json first, so that the folder is not a data set from here on.
        for name in sorted(own, key=lambda name: name != tfrecord.METADATA_FILE):
            if name not in planned:
                os.remove(os.path.join(output, name))
    except OSError as error:
        if error.strerror is None:
            raise
        raise tfrecord.unwritable(output, error.strerror) from error


# === Work ===


def _write_shards(
    output: str, shards: Sequence[_Shard], label_space: LabelSpace, ordered_map
) -> dict[str, _Finished]:
    """Writes the shards that are not finished yet. Returns all of them by file name."""
    digests = {shard.file: shard.digest(label_space) for shard in shards}
    finished = _still_good(output, digests)
    if finished:
        _say(f"{output}: keeping {len(finished)} of {len(shards)} shards that are finished.")
    todo = [shard for shard in shards if shard.file not in finished]
    chunks = [chunk for shard in todo for chunk in _chunked(shard.sources, _CHUNK)]
    encoded = (example for chunk in ordered_map(workers.encode, chunks) for example in chunk)
    count = sum(len(shard.sources) for shard in todo)
    with progress_bar(count, "images", "writing") as progress:
        for shard in todo:
            counts = np.zeros((2, label_space.num_classes), np.int64)
            records = _records(encoded, len(shard.sources), counts, progress)
            info = tfrecord.write_shard(os.path.join(output, shard.file), records)
            finished[shard.file] = _Finished(
                digests[shard.file], info, *map(tuple, counts.tolist())
            )
            _save_journal(output, finished)
    return finished


def _records(
    encoded: Iterator[EncodedExample], count: int, counts: np.ndarray, progress: tqdm
) -> Iterator[bytes]:
    """Yields the next `count` records and adds the pixels and images of each class to `counts`."""
    for _ in range(count):
        example = next(encoded)
        counts += example.class_pixels, example.class_pixels > 0
        progress.update()
        yield tfrecord.serialize_example(
            key=example.key,
            image=example.image,
            image_format=example.image_format,
            label=example.label,
            height=example.height,
            width=example.width,
        )


def _assembled(
    output: str,
    shards: Sequence[_Shard],
    finished: dict[str, _Finished],
    label_space: LabelSpace,
) -> PreparedDataset:
    """Returns the data set of all shards; its `dataset.json` is not written yet."""
    splits = {}
    for split in dict.fromkeys(shard.split for shard in shards):
        parts = [finished[shard.file] for shard in shards if shard.split == split]
        counts = np.sum([(part.class_pixels, part.class_images) for part in parts], axis=0)
        infos = tuple(part.info for part in parts)
        splits[split] = SplitInfo(infos, *map(tuple, counts.tolist()))
    return PreparedDataset(output, label_space, splits)


# === Journal ===


def _still_good(output: str, digests: dict[str, str]) -> dict[str, _Finished]:
    """Returns the finished shards with the planned contents and intact files."""
    kept = {}
    for finished in _load_journal(output):
        path = os.path.join(output, finished.info.file)
        if (
            digests.get(finished.info.file) == finished.digest
            and os.path.isfile(path)
            and file_sha256(path) == finished.info.sha256
        ):
            kept[finished.info.file] = finished
    return kept


def _load_journal(output: str) -> list[_Finished]:
    path = os.path.join(output, JOURNAL_FILE)
    if not os.path.isfile(path):
        return []
    try:
        entries = json_files.read(path)["shards"]
        return [
            _Finished(
                entry["digest"],
                ShardInfo(**entry["info"]),
                tuple(entry["class_pixels"]),
                tuple(entry["class_images"]),
            )
            for entry in entries
        ]
    except (ValueError, KeyError, TypeError):
        _say(f"{path} is damaged; all shards are written again.")
        return []


def _save_journal(output: str, finished: dict[str, _Finished]) -> None:
    shards = [dataclasses.asdict(entry) for entry in finished.values()]
    tfrecord.write_json(os.path.join(output, JOURNAL_FILE), {"shards": shards})


def _chunked(items: Sequence, size: int) -> list[Sequence]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)


# === Pictures ===


def _write_sheet(prepared: PreparedDataset) -> None:
    path = os.path.join(prepared.data_dir, SHEET_FILE)
    try:
        images.write_png(path, overview.contact_sheet(prepared))
    except OSError as error:
        raise tfrecord.unwritable(path, error.strerror or str(error)) from error


def write_label_files(prepared: PreparedDataset, split: str, folder: str) -> int:
    """Writes the label maps of a split as palette PNGs of raw ids, named KEY.png.

    A palette has 256 entries. Data sets with larger raw ids get 16-bit grey PNGs.

    Args:
        prepared: the data set. Only its shards are needed; `dataset.json` need not exist yet.
        split: one of its splits.
        folder: created if needed. Files of the same names are replaced.

    Returns:
        Number of files written.

    Raises:
        ValueError: no such split. OSError: the folder cannot be written.
    """
    count = 0
    for record in tf.data.TFRecordDataset(prepared.shard_paths(split)).as_numpy_iterator():
        example = tfrecord.parse_example(record)
        with Image.open(io.BytesIO(example["label"].numpy())) as label:
            picture = raw_picture(np.asarray(label), prepared.label_space)
        name = example["key"].numpy().decode().replace("/", "_")
        _save_picture(picture, os.path.join(folder, f"{name}.png"))
        count += 1
    return count


def _save_picture(picture: Image.Image, path: str) -> None:
    try:
        with files.written_aside(path) as aside:
            picture.save(aside)
    except OSError as error:
        raise OSError(
            f"Cannot write {path}: {error.strerror or error}. Make room there or name another "
            "folder (--label_files), then run the same command again: finished shards are kept."
        ) from error
