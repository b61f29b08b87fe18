"""Turns the examples of a data set into shards and `dataset.json`.

Shards are written one after the other by this process, from examples that worker processes have
read, checked and encoded. Workers hand back finished bytes in order, so shards do not depend on
how many there are; and only this process needs TensorFlow, whose import would cost every worker
seconds and hundreds of megabytes. Memory is bounded by the examples under way.

What is finished is noted in `preparation.json`. After an interruption, be it a SIGKILL or a full
disk, the folder is not a data set: `dataset.json` comes last. The same command then keeps every
shard whose file is intact and whose sources are unchanged, writes the others, and removes what was
left half-written; the result has the bytes of an undisturbed run.
"""

import dataclasses
import hashlib
import io
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

from oasis_tf.data import tfrecord, workers
from oasis_tf.data.datasets import LabelSpace
from oasis_tf.data.examples import EncodedExample, Source
from oasis_tf.data.tfrecord import PreparedDataset, ShardInfo, SplitInfo
from oasis_tf.io import files
from oasis_tf.io.files import file_sha256
from oasis_tf.io.label_files import raw_picture
from oasis_tf.io.progress import progress_bar

JOURNAL_FILE = "preparation.json"
# Where --num_shards is not given, shards are at most about so long. Small ones mix better in
# training, where windows of records are drawn from several shards.
EXAMPLES_PER_SHARD = 512
BYTES_PER_SHARD = 64 * 2**20
_CHUNK = 8  # examples a worker takes at once
_PICTURE_ASIDE = re.compile(r"\.(.+)\.\d+\.tmp\.png")
_OWN_FILES = re.compile(
    r"dataset\.json|preparation\.json|(train|val)-\d{5}-of-\d{5}\.tfrecord"
    r"|\.(dataset|preparation|(train|val)-\d{5}-of-\d{5})\.\d+\.tmp\.(json|tfrecord)"
)


@dataclasses.dataclass(frozen=True)
class _Shard:
    """One shard to be: its split, its file and what goes into it."""

    split: str
    file: str
    sources: Sequence[Source]

    def digest(self, label_space: LabelSpace) -> str:
        """Changes whenever the contents of the shard may."""
        identities = [source.identity() for source in self.sources]
        values = [tfrecord.FORMAT_VERSION, label_space.to_json(), identities]
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class _Finished:
    """A written shard as the journal notes it."""

    digest: str
    info: ShardInfo
    class_pixels: tuple[int, ...]


def prepare(
    splits: dict[str, Sequence[Source]],
    label_space: LabelSpace,
    output: str,
    *,
    num_shards: int = 0,
    num_workers: int = 0,
    overwrite: bool = False,
    label_files: str | None = None,
    synthetic: Mapping | None = None,
) -> PreparedDataset:
    """Writes a prepared data set to the folder `output`.

    Args:
        splits: examples of "train" and, if there is one, "val" (see `layouts.find_examples`).
        label_space: their classes.
        output: folder, made when needed.
        num_shards: files of each split (at most one an example); 0 chooses by size.
        num_workers: processes that read and check; 0 takes what the machine has, 1 uses none.
        overwrite: replace a data set that `output` holds.
        label_files: folder for the label maps of "val" (see `write_label_files`), or None.
        synthetic: where generated images come from, noted in `dataset.json`; None: they are real.

    Returns:
        The data set, complete and loaded again.

    Raises:
        ValueError: damaged or contradicting files (all are checked before anything is written,
            label values when they are read), or `output` holds something already.
        OSError: a folder cannot be written or has too little room; run again to continue.
    """
    if num_shards < 0 or num_workers < 0:
        raise ValueError(
            "--num_shards and --num_workers must be at least 0 (0: chosen). "
            f"Received: --num_shards={num_shards}, --num_workers={num_workers}."
        )
    if label_files and "val" not in splits:
        raise ValueError(
            f"--label_files={label_files} is for label maps of the validation split, and there are "
            "no validation images. Give some (--val_image_dir, --val_label_dir), or drop it."
        )
    _end_complete_run(output)
    _check_output(output, overwrite)
    shards = [shard for split in splits for shard in _plan(split, splits[split], num_shards)]
    count = sum(len(shard.sources) for shard in shards)
    with workers.pool(num_workers or _default_workers(count), label_space) as ordered_map:
        _check_sources([source for shard in shards for source in shard.sources], ordered_map)
        _make_room(output, shards)
        finished = _write_shards(output, shards, label_space, ordered_map)
    prepared = _assembled(output, shards, finished, label_space)
    prepared = dataclasses.replace(prepared, synthetic=synthetic)
    if label_files:
        write_label_files(prepared, "val", label_files)
    prepared.save()  # makes the folder a data set
    os.remove(os.path.join(output, JOURNAL_FILE))
    return PreparedDataset.load(output)


# === Plan ===


def _plan(split: str, sources: Sequence[Source], num_shards: int) -> list[_Shard]:
    """Cuts a split into shards of nearly equal length."""
    sources = sorted(sources, key=lambda source: source.key)
    if split == "train":
        # A random order that is the same everywhere: what lies together in the source (a city, a
        # film) is spread, so that shuffling within a window at training time is enough.
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
    """As many as there are processors, but none to be started for a small data set."""
    return min(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        1 + num_examples // 200,
    )


# === Checks before work starts ===


def _end_complete_run(output: str) -> None:
    """Does the last act of a run that was killed when its data set was complete already."""
    journal = os.path.join(output, JOURNAL_FILE)
    if os.path.isfile(os.path.join(output, tfrecord.METADATA_FILE)) and os.path.isfile(journal):
        os.remove(journal)


def _check_output(output: str, overwrite: bool) -> None:
    if os.path.exists(output) and not os.path.isdir(output):
        raise ValueError(f"--output={output} is a file; name a folder.")
    names = os.listdir(output) if os.path.isdir(output) else []
    if tfrecord.METADATA_FILE in names and not overwrite:
        raise ValueError(
            f"{output} holds a prepared data set already. Choose another --output, or replace it "
            "with --overwrite."
        )
    if not any(map(_OWN_FILES.fullmatch, names)):
        foreign = sorted(name for name in names if not name.startswith("."))
        if foreign:
            raise ValueError(
                f"{output} holds other files ({', '.join(foreign[:10])}). Choose an empty or new "
                "folder as --output."
            )


def _check_sources(sources: Sequence[Source], ordered_map) -> None:
    """Compares the headers of all files; reports every problem at once."""
    chunks = _chunked(sources, 8 * _CHUNK)
    with progress_bar(len(sources), "images", "checking") as progress:
        problems = []
        for chunk, found in zip(chunks, ordered_map(workers.check, chunks), strict=True):
            problems += filter(None, found)
            progress.update(len(chunk))
    if problems:
        more = f"\nand {len(problems) - 10} more" if len(problems) > 10 else ""
        named = "\n".join(problems[:10])
        raise ValueError(
            f"{len(problems)} of {len(sources)} examples cannot be used:\n{named}{more}"
        )


def _make_room(output: str, shards: Sequence[_Shard]) -> None:
    """Makes the folder, sees whether the shards will fit, and removes leftovers."""
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
        # dataset.json first: from here on the folder is not a data set.
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
    """Writes every shard that is not finished yet; all of them by file name."""
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
            pixels = np.zeros(label_space.num_classes, np.int64)
            records = _records(encoded, len(shard.sources), pixels, progress)
            info = tfrecord.write_shard(os.path.join(output, shard.file), records)
            finished[shard.file] = _Finished(digests[shard.file], info, tuple(pixels.tolist()))
            _save_journal(output, finished)
    return finished


def _records(
    encoded: Iterator[EncodedExample], count: int, class_pixels: np.ndarray, progress: tqdm
) -> Iterator[bytes]:
    """The next `count` records; their pixels are added to `class_pixels`."""
    for _ in range(count):
        example = next(encoded)
        class_pixels += example.class_pixels
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
    """The data set that all shards make, not yet declared one."""
    splits = {}
    for split in dict.fromkeys(shard.split for shard in shards):
        parts = [finished[shard.file] for shard in shards if shard.split == split]
        pixels = np.sum([part.class_pixels for part in parts], axis=0)
        splits[split] = SplitInfo(tuple(part.info for part in parts), tuple(pixels.tolist()))
    return PreparedDataset(output, label_space, splits)


# === Journal ===


def _still_good(output: str, digests: dict[str, str]) -> dict[str, _Finished]:
    """Finished shards that have the planned contents and whose files are intact."""
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
        with open(path, encoding="utf-8") as file:
            entries = json.load(file)["shards"]
        return [
            _Finished(entry["digest"], ShardInfo(**entry["info"]), tuple(entry["class_pixels"]))
            for entry in entries
        ]
    except (ValueError, KeyError, TypeError):
        _say(f"{path} is damaged; all shards are written anew.")
        return []


def _save_journal(output: str, finished: dict[str, _Finished]) -> None:
    shards = [dataclasses.asdict(entry) for entry in finished.values()]
    tfrecord.write_json(os.path.join(output, JOURNAL_FILE), {"shards": shards})


def _chunked(items: Sequence, size: int) -> list[Sequence]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)


# === Label files ===


def write_label_files(prepared: PreparedDataset, split: str, folder: str) -> int:
    """Writes the label maps of a split as palette PNGs of raw ids, KEY.png each.

    Palettes have 256 entries: data sets with larger raw ids get 16-bit grey PNGs.

    Args:
        prepared: the data set; its shards are enough, `dataset.json` need not exist yet.
        split: one of its splits.
        folder: made when needed; files of the same names are replaced, and what a killed run left
            half-written of them is removed.

    Returns:
        How many were written.

    Raises:
        ValueError: no such split. OSError: the folder cannot be written.
    """
    names = set()
    for record in tf.data.TFRecordDataset(prepared.shard_paths(split)).as_numpy_iterator():
        example = tfrecord.parse_example(record)
        with Image.open(io.BytesIO(example["label"].numpy())) as label:
            picture = raw_picture(np.asarray(label), prepared.label_space)
        name = example["key"].numpy().decode().replace("/", "_")
        _save_picture(picture, os.path.join(folder, f"{name}.png"))
        names.add(name)
    for file in os.listdir(folder):
        aside = _PICTURE_ASIDE.fullmatch(file)
        if aside and aside[1] in names:
            os.remove(os.path.join(folder, file))
    return len(names)


def _save_picture(picture: Image.Image, path: str) -> None:
    try:
        with files.written_aside(path) as aside:
            picture.save(aside)
    except OSError as error:
        raise OSError(
            f"Cannot write {path}: {error.strerror or error}. Make room there or name another "
            "folder (--label_files), then run the same command again: finished shards are kept."
        ) from error
