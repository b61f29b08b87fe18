"""Pairs the images and label files of two folders, or of one, by their names."""

import bisect
import os
import re
from collections import defaultdict
from collections.abc import Mapping

from oasis_tf.data.examples import FilePair, Source
from oasis_tf.io import finding
from oasis_tf.io.label_files import IMAGE_SUFFIXES, label_files_among
from oasis_tf.io.label_pictures import SUFFIXES as LABEL_SUFFIXES
from oasis_tf.io.problems import counted

_NEIGHBOURS = 10  # names on either side among which a likely partner is looked for


def pair_folders(
    image_dir: str,
    label_dir: str,
    image_suffix: str | None = None,
    label_suffix: str | None = None,
) -> list[Source]:
    """Pairs images and label files whose paths are equal up to a suffix.

    Folders are searched with their subfolders (see `finding.files_below`). They may be the same, or
    lie in each other: a file that could be both is of the kind whose suffix or folder says more of
    its path, else of the kind whose suffix is given.

    Args:
        image_dir, label_dir: folders.
        image_suffix, label_suffix: end of the names, such as ".jpg", "_L.png", or "_L" for files of
            every format; several are separated by commas. None: files of every format. Label files
            hide others as in `label_files_among`.

    Raises:
        ValueError: a folder is missing or empty, files are unpaired, or names are ambiguous. If
            names would pair with suffixes, the error gives them.
        OSError: a folder cannot be read.
    """
    images = _search(image_dir, _suffixes(image_suffix, IMAGE_SUFFIXES), "images")
    labels = _search(label_dir, _suffixes(label_suffix, LABEL_SUFFIXES), "label files")
    labels = {path: labels[path] for path in label_files_among(labels)}
    _divide(images, image_dir, image_suffix, labels, label_dir, label_suffix)
    images, labels = _by_name(images, "--image_suffix"), _by_name(labels, "--label_suffix")
    return _paired(images, labels, image_dir, label_dir)


def _search(directory: str, suffixes: tuple[str, ...], kind: str) -> dict[str, str]:
    """Finds the files whose names end in a suffix, of any case.

    Args:
        directory: folder, searched with its subfolders.
        suffixes: ends of names.
        kind: of these files, in errors.

    Returns:
        paths, each with the path relative to `directory` and without its suffix.

    Raises:
        ValueError: the folder is missing, or there are no such files. OSError: it cannot be read.
    """
    if not os.path.isdir(directory):
        raise ValueError(f"{directory} is not a folder; {kind} are expected there.")
    found = {}
    for path in finding.files_below(directory):
        name = os.path.basename(path).lower()
        ends = [end for end in suffixes if name.endswith(end.lower()) and len(name) > len(end)]
        if ends:
            key = os.path.relpath(path, directory)[: -max(map(len, ends))]
            found[path] = key.replace(os.sep, "/")
    if not found:
        raise ValueError(f"{directory} holds no {kind} ({', '.join(f'*{s}' for s in suffixes)}).")
    return found


def _by_name(found: Mapping[str, str], flag: str) -> dict[str, str]:
    """Returns the paths that `_search` found, by their names.

    Args:
        found: as `_search` returns it.
        flag: that chooses among files of equal names.

    Raises:
        ValueError: several files have one name.
    """
    paths = defaultdict(list)
    for path, key in found.items():
        paths[key].append(path)
    ambiguous = [sorted(paths) for _, paths in sorted(paths.items()) if len(paths) > 1]
    if ambiguous:
        named = counted([" and ".join(paths) for paths in ambiguous])
        suffix = os.path.splitext(ambiguous[0][0])[1]
        raise ValueError(
            f"Names must be unique without their suffix; they are not for {named}. Choose some of "
            f"them, such as {flag}={suffix}."
        )
    return {key: path for key, (path,) in paths.items()}


def _paired(
    images: Mapping[str, str], labels: Mapping[str, str], image_dir: str, label_dir: str
) -> list[Source]:
    """Returns the pairs of files of equal names, sorted.

    Args:
        images, labels: paths by name, as from `_by_name`.
        image_dir, label_dir: where they were found, for errors.

    Raises:
        ValueError: some names have an image or a label file alone.
    """
    problems = []
    without_label = sorted(set(images) - set(labels))
    without_image = sorted(set(labels) - set(images))
    if without_label:
        files = counted([images[key] for key in without_label])
        problems.append(f"no label map in {label_dir} for {files}")
    if without_image:
        files = counted([labels[key] for key in without_image])
        problems.append(f"no image in {image_dir} for {files}")
    if problems:
        remedy = _suffixes_that_pair(images, labels) or "Add or remove these files."
        raise ValueError(
            f"Unpaired files: {'; '.join(problems)}. Every image needs a label file of the same "
            f"name, apart from the suffix. {remedy}"
        )
    return [FilePair(key, images[key], labels[key]) for key in sorted(images)]


def _suffixes(given: str | None, formats: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the ends of names that `pair_folders` looks for."""
    if not given:
        return formats
    ends = []
    for end in given.split(","):
        if f".{end}" in IMAGE_SUFFIXES:  # "png"
            end = f".{end}"
        every = not end.lower().endswith(IMAGE_SUFFIXES)
        ends += [end + suffix for suffix in formats] if every else [end]
    return tuple(ends)


def _divide(images, image_dir, image_suffix, labels, label_dir, label_suffix) -> None:
    """Removes each file from that search which it does not belong to; see `pair_folders`."""
    image_of = {_place(path, image_dir): path for path in images}
    label_of = {_place(path, label_dir): path for path in labels}
    undecided = []
    for place in set(image_of) & set(label_of):
        image, label = image_of[place], label_of[place]
        # The shorter the name that is left, the more of the path was asked for.
        is_image = (-len(images[image]), bool(image_suffix))
        is_label = (-len(labels[label]), bool(label_suffix))
        if is_image == is_label:
            undecided.append(image)
        elif is_image > is_label:
            del labels[label]
        else:
            del images[image]
    if undecided:
        remedy = _suffixes_that_pair(
            {key: path for path, key in images.items()}, {key: path for path, key in labels.items()}
        )
        raise ValueError(
            f"These files could be images and label files: {counted(sorted(undecided))}. "
            + (remedy or "Say which are which: --image_suffix=.jpg --label_suffix=.png.")
        )


def _place(path: str, directory: str) -> str:
    return os.path.join(os.path.realpath(directory), os.path.relpath(path, directory))


# === Suffixes that would pair ===


def _suffixes_that_pair(images: Mapping[str, str], labels: Mapping[str, str]) -> str | None:
    """Returns a sentence with the suffixes under which most files would pair, or None.

    Names are likely to pair if they lie near each other in alphabetical order.
    """
    names = sorted(images)
    label = min(set(labels) - set(images), default=None) or max(sorted(labels), key=len)
    at = bisect.bisect(names, label)
    most, best = 1, None  # one pair is no rule
    for image in names[max(at - _NEIGHBOURS, 0) : at + _NEIGHBOURS]:
        for ends in _differing_ends(image, label):
            stems = [name.removesuffix(ends[0]) for name in names if name.endswith(ends[0])]
            stems = [s for s in stems if os.path.basename(s) and s + ends[1] in labels]
            if len(stems) > most:
                most, best = len(stems), (stems, ends)
    if best is None or 2 * most < min(len(images), len(labels)):
        return None
    stems, ends = best
    flags = [
        f"--{kind}_suffix={end}{_common_suffix(files, [stem + end for stem in stems])}"
        for kind, files, end in (("image", images, ends[0]), ("label", labels, ends[1]))
        if end
    ]
    return f"With {' '.join(flags)} {most} of them would pair."


def _differing_ends(image: str, label: str) -> list[tuple[str, str]]:
    """Returns ways to end two names such that their stems are equal, the likeliest first."""
    letters = os.path.commonprefix([image, label])
    words = re.sub(r"[^/_.\- ]*$", "", letters).rstrip("_.- ")
    ways = [(image[len(stem) :], label[len(stem) :]) for stem in (letters, words)]
    if any(end[:1] not in ("", *"_.- ") for end in ways[0]):
        ways.reverse()  # "_left" and "_label" rather than "eft" and "abel"
    return [ends for ends in ways if ends[0] != ends[1]]


def _common_suffix(files: Mapping[str, str], keys: list[str]) -> str:
    """Returns what follows the names in their paths, or nothing if that differs."""
    suffixes = {files[key].replace(os.sep, "/").rsplit(key, 1)[1] for key in keys}
    return suffixes.pop() if len(suffixes) == 1 else ""
