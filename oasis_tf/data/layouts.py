"""Folder layouts of the data sets: finds every example of a split and pairs its files.

Only directory listings and annotation files are read. Errors count all missing files and name the
first ten.
"""

import dataclasses
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping

from oasis_tf.data import shapes
from oasis_tf.data.class_files import CLASS_OPTIONS, folder_classes
from oasis_tf.data.datasets import (
    DATASETS,
    LabelSpace,
    lvis_label_space,
    published_label_space,
)
from oasis_tf.data.examples import (
    AnnotatedImage,
    FilePair,
    ShapesScene,
    Source,
    pycocotools_mask,
)

Splits = dict[str, list[Source]]

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_LABEL_SUFFIXES = (".png",)


# Options of each data set besides `source`.
OPTIONS = {
    "folder": (
        "image_dir",
        "label_dir",
        "val_image_dir",
        "val_label_dir",
        *CLASS_OPTIONS,
    ),
    "ade_outdoors": ("scene_list",),
    "shapes": ("num_train", "num_val", "height", "width", "seed"),
}


def find_examples(dataset: str, source: str | None, **options) -> tuple[Splits, LabelSpace]:
    """Finds all examples of a data set.

    Args:
        dataset: name in `DATASETS`.
        source: its folder; None for "shapes", which has none.
        **options: of that data set, see `OPTIONS`; `class_names` and `classes` are files.

    Returns:
        (examples of each split, label space).

    Raises:
        ValueError: the data set is unknown; an option is missing or of another data set; files are
            missing, unpaired or ambiguous.
        OSError: a file or folder cannot be read.
    """
    _check_options(dataset, source, options)
    if dataset == "folder":
        given = {name: options.pop(name) for name in CLASS_OPTIONS if name in options}
        label_space, label_format = folder_classes(**given)
        splits = {
            split: [dataclasses.replace(pair, label_format=label_format) for pair in pairs]
            for split, pairs in folder(source, **options).items()
        }
        return splits, label_space
    if dataset == "lvis":
        return lvis(source)
    if dataset == "shapes":
        return shapes_scenes(**options), published_label_space(dataset)
    layout = {
        "ade20k": ade20k,
        "ade_outdoors": ade_outdoors,
        "cityscapes": cityscapes,
        "coco_stuff": coco_stuff,
    }[dataset]
    return layout(source, **options), published_label_space(dataset)


def pair_folders(image_dir: str, label_dir: str) -> list[Source]:
    """Pairs images and label PNGs of the same stem. Folders are searched recursively.

    Raises:
        ValueError: a folder is missing or empty, files are unpaired, or stems are ambiguous.
    """
    images = _files_by_key(image_dir, _IMAGE_SUFFIXES, "images")
    labels = _files_by_key(label_dir, _LABEL_SUFFIXES, "label PNGs")
    return _paired(images, labels, image_dir, label_dir)


def folder(
    source: str | None,
    image_dir: str | None = None,
    label_dir: str | None = None,
    val_image_dir: str | None = None,
    val_label_dir: str | None = None,
) -> Splits:
    """Finds examples in folders of images and label PNGs. The validation split is optional.

    Args:
        source: holds train/images and train/labels; for validation also val/images and val/labels.
        image_dir, label_dir, val_image_dir, val_label_dir: replace these folders; relative to
            `source` if that is given too.

    Raises:
        ValueError: a folder is given without the other of its pair; or see `pair_folders`.
    """
    given = {"train": (image_dir, label_dir), "val": (val_image_dir, val_label_dir)}
    if not any(image_dir or label_dir for image_dir, label_dir in given.values()):
        if not source:
            raise ValueError(
                "A folder data set needs --image_dir and --label_dir, or a --source that holds "
                "train/images, train/labels (and val/images, val/labels)."
            )
        given = {split: (f"{split}/images", f"{split}/labels") for split in given}
        if not os.path.isdir(os.path.join(source, "val")):
            given["val"] = (None, None)
    splits = {}
    for split, folders in given.items():
        if all(folders):
            splits[split] = pair_folders(*(os.path.join(source or "", name) for name in folders))
        elif any(folders) or split == "train":
            prefix = "val_" if split == "val" else ""
            raise ValueError(
                f"--{prefix}image_dir and --{prefix}label_dir must be given together. "
                f"Received: {folders[0] or 'nothing'} and {folders[1] or 'nothing'}."
            )
    return splits


def ade20k(source: str) -> Splits:
    """ADE20K (`ADEChallengeData2016`). Raises ValueError as `pair_folders` does."""
    return {
        split: pair_folders(
            os.path.join(source, "images", folder), os.path.join(source, "annotations", folder)
        )
        for split, folder in (("train", "training"), ("val", "validation"))
    }


def ade_outdoors(source: str, scene_list: str) -> Splits:
    """The images of ADE20K that show a scene of the file `scene_list` (one scene per line).

    Raises:
        ValueError: a scene does not occur in `sceneCategories.txt`, a split has no images; or see
            `ade20k`.
    """
    categories_path = os.path.join(source, "sceneCategories.txt")
    with open(categories_path, encoding="utf-8") as file:
        scene_of = dict(line.split()[:2] for line in file if line.strip())
    with open(scene_list, encoding="utf-8") as file:
        scenes = {line.strip() for line in file if line.strip()}
    strange = sorted(scenes - set(scene_of.values()))
    if strange or not scenes:
        problem = "no scene"
        if strange:
            problem = f"scenes that {categories_path} does not have: {_counted(strange)}"
        raise ValueError(f"{scene_list} names {problem}. Write one scene per line.")
    splits = {
        split: [pair for pair in pairs if scene_of.get(pair.key) in scenes]
        for split, pairs in ade20k(source).items()
    }
    for split, pairs in splits.items():
        if not pairs:
            raise ValueError(f"No {split} image of {source} shows a scene of {scene_list}.")
    return splits


def cityscapes(source: str) -> Splits:
    """Cityscapes with fine annotations. Raises ValueError as `pair_folders` does."""
    splits = {}
    for split in ("train", "val"):
        image_dir = os.path.join(source, "leftImg8bit", split)
        label_dir = os.path.join(source, "gtFine", split)
        images = _files_by_key(image_dir, ("_leftImg8bit.png",), "*_leftImg8bit.png")
        labels = _files_by_key(label_dir, ("_gtFine_labelIds.png",), "*_gtFine_labelIds.png")
        splits[split] = _paired(images, labels, image_dir, label_dir)
    return splits


def coco_stuff(source: str) -> Splits:
    """COCO-Stuff. Raises ValueError as `pair_folders` does."""
    return {
        split: pair_folders(
            os.path.join(source, f"{split}_img"), os.path.join(source, f"{split}_label")
        )
        for split in ("train", "val")
    }


def lvis(source: str) -> tuple[Splits, LabelSpace]:
    """LVIS: COCO images and `lvis_v1_{train,val}.json` (or `annotations/lvis_v1_…`) in `source`.

    `coco_url` gives the path of an image, such as `train2017/000000000009.jpg`, in `source` or in
    its folder `images`. Validation images come from both COCO folders.

    Raises:
        ValueError: the annotation files have different categories, or images are missing.
        FileNotFoundError: an annotation file is missing.
    """
    pycocotools_mask()  # if it is missing, fail before minutes of reading
    splits, names = {}, None
    for split in ("train", "val"):
        path = _lvis_annotations(source, f"lvis_v1_{split}.json")
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
        split_names = _category_names(values["categories"], path)
        if names not in (None, split_names):
            raise ValueError(f"{path} has other categories than the training annotations.")
        names = split_names
        splits[split] = _annotated_images(source, path, values, len(names))
    return splits, lvis_label_space(names)


def shapes_scenes(
    num_train: int = 2000, num_val: int = 200, height: int = 64, width: int = 64, seed: int = 0
) -> Splits:
    """Scenes of the procedural data set. Validation scenes do not depend on `num_train`.

    Raises:
        ValueError: a number is out of range.
    """
    if num_train < 1 or num_val < 1 or height < 8 or width < 8 or seed < 0:
        raise ValueError(
            "`shapes` needs --num_train ≥ 1, --num_val ≥ 1, --height and --width ≥ 8, --seed ≥ 0. "
            f"Received: num_train={num_train}, num_val={num_val}, height={height}, "
            f"width={width}, seed={seed}."
        )
    first = {"train": (0, num_train), "val": (shapes.VALIDATION_INDEX, num_val)}
    return {
        split: [
            ShapesScene(f"{split}_{k:07d}", seed, start + k, height, width) for k in range(count)
        ]
        for split, (start, count) in first.items()
    }


def _check_options(dataset: str, source: str | None, options: Mapping[str, object]) -> None:
    if dataset not in DATASETS:
        raise ValueError(
            f"--dataset must be one of {', '.join(DATASETS)}. Received: --dataset={dataset}."
        )
    strange = sorted(set(options) - set(OPTIONS.get(dataset, ())))
    if dataset == "shapes" and source:
        strange.append("source")
    if strange:
        takes = ", ".join(f"--{name}" for name in OPTIONS.get(dataset, ())) or "only --source"
        raise ValueError(
            f"--dataset={dataset} takes {takes}. Received: "
            f"{', '.join(f'--{name}' for name in strange)}."
        )
    if dataset == "ade_outdoors" and options.get("scene_list") is None:
        raise ValueError(f"--dataset={dataset} needs --scene_list.")
    if dataset not in ("folder", "shapes") and not source:
        raise ValueError(f"--dataset={dataset} needs --source, the folder it was unpacked to.")
    if source and not os.path.isdir(source):
        raise ValueError(f"--source={source} is not a folder.")


# === Pairing ===


def _files_by_key(directory: str, suffixes: tuple[str, ...], kind: str) -> dict[str, str]:
    """Returns the files in a folder and its subfolders, by relative path without suffix."""
    if not os.path.isdir(directory):
        raise ValueError(f"{directory} is not a folder; {kind} are expected there.")
    found = defaultdict(list)
    for folder, _, names in os.walk(directory, followlinks=True):
        for name in names:
            suffix = next((s for s in suffixes if name.lower().endswith(s.lower())), None)
            if suffix and not name.startswith("."):
                path = os.path.join(folder, name)
                key = os.path.relpath(path, directory)[: -len(suffix)]
                found[key.replace(os.sep, "/")].append(path)
    if not found:
        raise ValueError(f"{directory} holds no {kind} ({', '.join(suffixes)}).")
    ambiguous = [paths for _, paths in sorted(found.items()) if len(paths) > 1]
    if ambiguous:
        named = _counted([" and ".join(sorted(paths)) for paths in ambiguous])
        raise ValueError(f"Names must be unique without their suffix; they are not for {named}.")
    return {key: paths[0] for key, paths in found.items()}


def _paired(
    images: Mapping[str, str], labels: Mapping[str, str], image_dir: str, label_dir: str
) -> list[Source]:
    problems = []
    without_label = sorted(set(images) - set(labels))
    without_image = sorted(set(labels) - set(images))
    if without_label:
        files = _counted([images[key] for key in without_label])
        problems.append(f"no label map in {label_dir} for {files}")
    if without_image:
        files = _counted([labels[key] for key in without_image])
        problems.append(f"no image in {image_dir} for {files}")
    if problems:
        raise ValueError(
            f"Unpaired files: {'; '.join(problems)}. Every image needs a label PNG of the same "
            "name; add or remove these files."
        )
    return [FilePair(key, images[key], labels[key]) for key in sorted(images)]


def _counted(items: Iterable[str]) -> str:
    """Returns "3 of them (a, b, c)", with ten items at most."""
    items = list(items)
    more = f" and {len(items) - 10} more" if len(items) > 10 else ""
    return f"{len(items)} of them ({', '.join(items[:10])}{more})"


# === LVIS ===


def _lvis_annotations(source: str, name: str) -> str:
    candidates = [os.path.join(source, name), os.path.join(source, "annotations", name)]
    for path in candidates:
        if os.path.isfile(path):
            return path
    raise FileNotFoundError(f"{candidates[0]} is missing (nor is it at {candidates[1]}).")


def _category_names(categories: list[dict], path: str) -> list[str]:
    names = {category["id"]: category["name"] for category in categories}
    if sorted(names) != list(range(1, len(categories) + 1)):
        raise ValueError(f"{path}: category ids must be 1…{len(categories)} without gaps.")
    return [names[index] for index in sorted(names)]


def _annotated_images(source: str, path: str, values: dict, num_categories: int) -> list[Source]:
    instances = defaultdict(list)
    for annotation in values["annotations"]:
        if not 1 <= annotation["category_id"] <= num_categories:
            raise ValueError(
                f"{path}: annotation {annotation['id']} has category {annotation['category_id']}, "
                f"outside 1…{num_categories}."
            )
        instances[annotation["image_id"]].append(
            (
                annotation["area"],
                annotation["id"],
                annotation["category_id"],
                annotation["segmentation"],
            )
        )
    found, missing = [], []
    for image in sorted(values["images"], key=lambda image: image["coco_url"]):
        key = "/".join(image["coco_url"].split("/")[-2:])
        folders = (source, os.path.join(source, "images"))
        paths = [os.path.join(folder, *key.split("/")) for folder in folders]
        image_path = next(filter(os.path.isfile, paths), None)
        if image_path is None:
            missing.append(paths[0])
            continue
        size = (image["height"], image["width"])
        key = key.rsplit(".", 1)[0]
        found.append(AnnotatedImage(key, image_path, size, tuple(instances[image["id"]])))
    if missing:
        raise ValueError(
            f"Images that {path} annotates are missing: {_counted(missing)}. Put COCO's folders "
            f"train2017 and val2017 into {source}."
        )
    if not found:
        raise ValueError(f"{path} annotates no image.")
    return found
