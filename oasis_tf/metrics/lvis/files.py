"""The two files that `lvis` compares: LVIS annotations and a detector's results.

Results can be gigabytes, nearly all of them of classes that LVIS does not judge in that image: they
are read entry by entry, and only masks that count are kept.
"""

import codecs
import dataclasses
import json
from array import array
from collections import defaultdict
from collections.abc import Collection, Iterator

import numpy as np

from oasis_tf.io.text_files import check_mark, read_text
from oasis_tf.metrics.lvis.masks import Mask, run_length_size

Detections = dict[int, dict[int, list[tuple[float, Mask]]]]


@dataclasses.dataclass(frozen=True)
class LvisTruth:
    """What LVIS annotations say.

    Attributes:
        class_names: name by category id, ascending.
        all_images: every image id of the file.
        sizes: (height, width) of the images that are evaluated, by id.
        instances: category id -> image id -> masks.
        negatives: image id -> categories that were looked for and are not there.
        not_exhaustive: image id -> categories of which not every instance is annotated.
    """

    class_names: dict[int, str]
    all_images: frozenset[int]
    sizes: dict[int, tuple[int, int]]
    instances: dict[int, dict[int, list[Mask]]]
    negatives: dict[int, frozenset[int]]
    not_exhaustive: dict[int, frozenset[int]]

    def is_judged(self, image: int, category: int) -> bool:
        """Whether the annotations say if the class is in the image."""
        return category in self.negatives[image] or image in self.instances.get(category, ())


# === Annotations ===


def read_truth(path: str, images: Collection[int] | None = None) -> LvisTruth:
    """Reads a file in the layout of `lvis_v1_val.json`.

    Args:
        path: the file.
        images: ids of the images to evaluate; all if None.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not JSON or not LVIS's layout, ids are unknown or not unique, a mask is
            damaged, `images` are unknown, or none of them has an instance.
    """
    parts = _parts(path)
    names = _class_names(path, parts["categories"])
    entries = _images(path, parts["images"], names)
    chosen = frozenset(entries if images is None else images)
    if not chosen or not chosen <= entries.keys():
        unknown = sorted(chosen - entries.keys())
        raise ValueError(
            f"`images` must be ids of images that {path} annotates, and at least one. Received: "
            f"{len(chosen)} ids, {len(unknown)} of them unknown {unknown[:10]}."
        )
    sizes = {image: (entries[image]["height"], entries[image]["width"]) for image in sorted(chosen)}
    instances = _instances(path, parts["annotations"], names, entries.keys(), sizes)
    if not instances:
        raise ValueError(f"{path} annotates no instance in the {len(chosen)} images evaluated.")
    negatives, not_exhaustive = (
        {image: frozenset(entries[image][key]) for image in chosen}
        for key in ("neg_category_ids", "not_exhaustive_category_ids")
    )
    return LvisTruth(names, frozenset(entries), sizes, instances, negatives, not_exhaustive)


def _parts(path: str) -> dict:
    text = read_text(path)
    try:
        parts = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}).") from error
    _check_keys(parts, ("categories", "images", "annotations"), path)
    for key in ("categories", "images", "annotations"):
        if not isinstance(parts[key], list):
            raise ValueError(f"{path}: `{key}` must be a list.")
    return parts


def _class_names(path: str, categories: list) -> dict[int, str]:
    for k, category in enumerate(categories):
        _check_keys(category, ("id", "name"), f"{path}: category entry {k}")
        _check_integers(category, ("id",), f"{path}: category entry {k}")
    names = {category["id"]: category["name"] for category in categories}
    if not categories or len(set(names.values())) < len(categories):
        raise ValueError(f"{path}: categories need ids and names that are unique, one at least.")
    return dict(sorted(names.items()))


def _images(path: str, images: list, names: Collection[int]) -> dict[int, dict]:
    lists = ("neg_category_ids", "not_exhaustive_category_ids")
    for k, image in enumerate(images):
        where = f"{path}: image entry {k}"
        _check_keys(image, ("id", "height", "width", *lists), where)
        _check_integers(image, ("id", "height", "width"), where)
        for category in (*image[lists[0]], *image[lists[1]]):
            _check_known("category", category, names, where)
    entries = {image["id"]: image for image in images}
    if len(entries) < len(images):
        raise ValueError(f"{path}: image ids must be unique.")
    return entries


def _instances(path, annotations, names, all_images, sizes) -> dict[int, dict[int, list[Mask]]]:
    instances = defaultdict(lambda: defaultdict(list))
    for k, annotation in enumerate(annotations):
        where = f"{path}: annotation entry {k}"
        _check_keys(annotation, ("image_id", "category_id", "segmentation"), where)
        image, category = annotation["image_id"], annotation["category_id"]
        _check_known("image", image, all_images, where)
        _check_known("category", category, names, where)
        if image not in sizes:
            continue
        mask = _read_mask(annotation["segmentation"], sizes[image], where)
        if mask.size != sizes[image]:
            raise ValueError(f"{where}: its mask and its image must have the same size.")
        instances[category][image].append(mask)
    return {category: dict(by_image) for category, by_image in instances.items()}


# === Detections ===


def read_detections(path: str, truth: LvisTruth, max_per_image: int = 300) -> tuple:
    """Reads a list of COCO results: `image_id`, `category_id`, `segmentation`, `score` each.

    Masks are at the size of their annotated image or all at one other size, that of the generated
    images. Of each image only the `max_per_image` highest scores count (first in the file among
    equal ones); of those, only classes that are judged in the image.

    Returns:
        (category id -> image id -> [(score, mask)], highest score first; number of images that
        have any detection). Detections of images that are not evaluated are left out.

    Raises:
        OSError: the file cannot be read.
        ValueError: ijson is not installed; the file is no JSON list, or empty; an entry lacks a
            key, has an unknown id, a score that is no number, or a damaged mask; sizes are
            inconsistent.
    """
    images, scores, judged, sizes = array("q"), array("d"), {}, _Sizes(path)
    k = -1
    for k, entry in enumerate(_entries(path)):
        where = f"{path}: entry {k}"
        _check_entry(entry, truth, where)
        image, category = entry["image_id"], entry["category_id"]
        if image not in truth.sizes:
            continue
        size = _entry_size(entry["segmentation"], truth.sizes[image], where)
        sizes.add(k, size, truth.sizes[image])
        if truth.is_judged(image, category):
            mask = _read_mask(entry["segmentation"], truth.sizes[image], where)
            judged[len(scores)] = (category, mask)
        images.append(image)
        scores.append(entry["score"])
    if not scores:
        raise ValueError(
            f"{path} holds no detection in the {len(truth.sizes)} images evaluated (of {k + 1} "
            "entries). Run the detector on the generated images, image ids as annotated."
        )
    sizes.check()
    images, scores = np.array(images), np.array(scores)
    found = defaultdict(lambda: defaultdict(list))
    for index in _highest(images, scores, max_per_image).tolist():
        if index in judged:
            category, mask = judged[index]
            found[category][int(images[index])].append((float(scores[index]), mask))
    return found, len(np.unique(images))


def _entries(path: str) -> Iterator:
    """Yields the entries of the list that a JSON file holds, one at a time."""
    ijson = json_reader()
    with open(path, "rb") as file:
        start = file.read(1024)
        check_mark(start, path)
        text = start.removeprefix(codecs.BOM_UTF8)
        if not text.lstrip().startswith(b"["):
            raise ValueError(f"{path} is not a JSON list.")
        file.seek(len(start) - len(text))
        try:
            yield from ijson.items(file, "item", use_float=True)
        except ijson.JSONError as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"{path} is not a JSON list ({reason}).") from error


def json_reader():
    """The module `ijson`.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import ijson
    except ImportError as error:
        raise ValueError('LVIS needs ijson: run `pip install "oasis-tf[lvis]"`.') from error
    return ijson


def _highest(images: np.ndarray, scores: np.ndarray, count: int) -> np.ndarray:
    """Indices of the `count` highest scores of each image, by image and falling score."""
    order = np.lexsort((-scores, images))
    _, first, counts = np.unique(images[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(first, counts)
    return order[rank < count]


class _Sizes:
    """Finds out whether the masks' sizes are the annotated images', or else one for all."""

    def __init__(self, path: str):
        self.path = path
        self.seen = {}
        self.other = None

    def add(self, index: int, size: tuple[int, int], annotated: tuple[int, int]) -> None:
        self.seen.setdefault(size, index)
        if size != annotated and self.other is None:
            self.other = (index, size, annotated)

    def check(self) -> None:
        if self.other is None or len(self.seen) == 1:
            return
        index, size, annotated = self.other
        other_size, other_index = next((s, k) for s, k in self.seen.items() if s != size)
        raise ValueError(
            f"{self.path}: masks must all have the size of the annotated image, or all one size. "
            f"Received (height × width): {_text(size)} in entry {index}, whose image is annotated "
            f"at {_text(annotated)}, and {_text(other_size)} in entry {other_index}. Run the "
            "detector on images of one size."
        )


def _check_entry(entry, truth: LvisTruth, where: str) -> None:
    _check_keys(entry, ("image_id", "category_id", "score"), where)
    if "segmentation" not in entry:
        raise ValueError(
            f"{where} has no `segmentation`. LVIS mAP compares masks: run an instance segmenter "
            "and write its masks; boxes alone are another metric."
        )
    _check_known("image", entry["image_id"], truth.all_images, where)
    _check_known("category", entry["category_id"], truth.class_names, where)
    if type(entry["score"]) not in (int, float):
        raise ValueError(f"{where}: `score` must be a number. Received: {entry['score']!r}.")


def _entry_size(segmentation, annotated: tuple[int, int], where: str) -> tuple[int, int]:
    if isinstance(segmentation, list):
        return annotated
    try:
        return run_length_size(segmentation)
    except ValueError as error:
        raise ValueError(f"{where}: {error}.") from error


# === Checks ===


def _check_keys(entry, keys: tuple[str, ...], where: str) -> None:
    missing = [key for key in keys if not isinstance(entry, dict) or key not in entry]
    if missing:
        raise ValueError(f"{where} must be a JSON object with `{'`, `'.join(missing)}`.")


def _check_integers(entry: dict, keys: tuple[str, ...], where: str) -> None:
    for key in keys:
        if type(entry[key]) is not int or entry[key] < 1:
            raise ValueError(f"{where}: `{key}` must be a positive integer: {entry[key]!r}.")


def _check_known(kind: str, value, known: Collection[int], where: str) -> None:
    if type(value) is not int or value not in known:
        raise ValueError(
            f"{where}: {kind} id {value!r} is not among the {len(known)} of the annotations "
            f"({min(known)}…{max(known)}). The file must use LVIS's own ids."
        )


def _read_mask(segmentation, image_size: tuple[int, int], where: str) -> Mask:
    try:
        return Mask.read(segmentation, image_size)
    except ValueError as error:
        raise ValueError(f"{where}: {error}.") from error


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"
