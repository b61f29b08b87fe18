"""Folder layouts of the data sets: finds every example of a split and pairs its files.

Only directory listings and annotation files are read. Errors count all missing files and name the
first ten.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Mapping

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
    ShapesScene,
    Source,
    pycocotools_mask,
)
from oasis_tf.data.pairing import pair_folders
from oasis_tf.io.problems import Problems, counted
from oasis_tf.io.text_files import read_text

Splits = dict[str, list[Source]]

# Options of each data set besides `source`.
OPTIONS = {
    "folder": (
        "image_dir",
        "label_dir",
        "val_image_dir",
        "val_label_dir",
        "image_suffix",
        "label_suffix",
        "val_fraction",
        "seed",
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


def folder(
    source: str | None,
    image_dir: str | None = None,
    label_dir: str | None = None,
    val_image_dir: str | None = None,
    val_label_dir: str | None = None,
    image_suffix: str | None = None,
    label_suffix: str | None = None,
    val_fraction: float | None = None,
    seed: int | None = None,
) -> Splits:
    """Finds examples in folders of images and label files. The validation split is optional.

    Args:
        source: holds train/images and train/labels; for validation also val/images and val/labels.
        image_dir, label_dir, val_image_dir, val_label_dir: replace these folders; relative to
            `source` if that is given too.
        image_suffix, label_suffix: ends of the file names, see `pair_folders`.
        val_fraction: share of the training examples that becomes the validation split; see
            `split_off`.
        seed: of `val_fraction`; None is 0.

    Raises:
        ValueError: a folder is given without the other of its pair; there is a validation split
            beside `val_fraction`; or see `pair_folders`, for all folders together.
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
    for split, folders in given.items():
        if not all(folders) and (any(folders) or split == "train"):
            prefix = "val_" if split == "val" else ""
            raise ValueError(
                f"--{prefix}image_dir and --{prefix}label_dir must be given together. "
                f"Received: {folders[0] or 'nothing'} and {folders[1] or 'nothing'}."
            )
    given = {
        split: tuple(os.path.join(source or "", name) for name in folders)
        for split, folders in given.items()
        if all(folders)
    }
    splits = _paired_splits(given, image_suffix, label_suffix)
    if val_fraction is not None:
        if "val" in splits:
            raise ValueError(
                "--val_fraction makes a validation split of training examples, and there are "
                "validation folders. Leave it out, or give --image_dir and --label_dir alone."
            )
        return split_off(splits["train"], val_fraction, seed or 0)
    if seed is not None:
        raise ValueError("--dataset=folder takes --seed only with --val_fraction.")
    return splits


def split_off(sources: list[Source], fraction: float, seed: int = 0) -> Splits:
    """Divides examples into a training and a validation split.

    An example's place depends on its key and the seed alone: it stays when other files come or go,
    and on every machine. So about `fraction` of the examples are for validation; at least one is,
    and one is for training.

    Raises:
        ValueError: `fraction` is not between 0 and 1, `seed` is negative, or there is one example.
    """
    if not 0 < fraction < 1 or seed < 0 or len(sources) < 2:
        raise ValueError(
            "--val_fraction must lie between 0 and 1, --seed be at least 0, and there must be two "
            f"examples. Received: --val_fraction={fraction}, --seed={seed} and {len(sources)} "
            "examples."
        )
    places = {s.key: hashlib.sha256(f"{seed}:{s.key}".encode()).digest() for s in sources}
    order = sorted(sources, key=lambda source: places[source.key])
    bound = int(fraction * 2**64).to_bytes(8)
    count = sum(places[source.key][:8] < bound for source in sources)
    count = min(max(count, 1), len(sources) - 1)
    return {
        "train": sorted(order[count:], key=lambda source: source.key),
        "val": sorted(order[:count], key=lambda source: source.key),
    }


def _paired_splits(folders: Mapping[str, tuple[str, str]], *suffixes: str | None) -> Splits:
    """Pairs the files of each split's image and label folder; one error tells all problems."""
    splits, problems = {}, Problems()
    for split, (image_dir, label_dir) in folders.items():
        with problems.noted():
            splits[split] = pair_folders(image_dir, label_dir, *suffixes)
    problems.raise_if_any("Files of both splits cannot be paired")
    return splits


def ade20k(source: str) -> Splits:
    """ADE20K (`ADEChallengeData2016`). Raises ValueError as `pair_folders` does."""
    return _paired_splits(
        {
            split: (
                os.path.join(source, "images", folder),
                os.path.join(source, "annotations", folder),
            )
            for split, folder in (("train", "training"), ("val", "validation"))
        }
    )


def ade_outdoors(source: str, scene_list: str) -> Splits:
    """The images of ADE20K that show a scene of the file `scene_list` (one scene per line).

    Raises:
        ValueError: a scene does not occur in `sceneCategories.txt`, a split has no images; or see
            `ade20k`.
    """
    categories_path = os.path.join(source, "sceneCategories.txt")
    categories = read_text(categories_path).splitlines()
    scene_of = dict(line.split()[:2] for line in categories if line.strip())
    scenes = {line.strip() for line in read_text(scene_list).splitlines() if line.strip()}
    strange = sorted(scenes - set(scene_of.values()))
    if strange or not scenes:
        problem = "no scene"
        if strange:
            problem = f"scenes that {categories_path} does not have: {counted(strange)}"
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
    folders = {
        split: (os.path.join(source, "leftImg8bit", split), os.path.join(source, "gtFine", split))
        for split in ("train", "val")
    }
    return _paired_splits(folders, "_leftImg8bit.png", "_gtFine_labelIds.png")


def coco_stuff(source: str) -> Splits:
    """COCO-Stuff. Raises ValueError as `pair_folders` does."""
    return _paired_splits(
        {
            split: (os.path.join(source, f"{split}_img"), os.path.join(source, f"{split}_label"))
            for split in ("train", "val")
        }
    )


def lvis(source: str) -> tuple[Splits, LabelSpace]:
    """LVIS: COCO images and `lvis_v1_{train,val}.json` (or `annotations/lvis_v1_…`) in `source`.

    `coco_url` gives the path of an image, such as `train2017/000000000009.jpg`, in `source` or in
    its folder `images`. Validation images come from both COCO folders. A path with other parts
    than plain names is refused, since it could leave `source`. Links in `source` are followed,
    wherever they lead.

    Raises:
        ValueError: an annotation file is damaged, both have different categories, or images are
            missing.
        FileNotFoundError: an annotation file is missing.
    """
    pycocotools_mask()  # if it is missing, fail before minutes of reading
    splits, names, problems = {}, None, Problems()
    for split in ("train", "val"):
        path = _lvis_annotations(source, f"lvis_v1_{split}.json")
        with _named(path):
            values = json.loads(read_text(path))
            split_names = _category_names(values["categories"], path)
        if names not in (None, split_names):
            raise ValueError(f"{path} has other categories than the training annotations.")
        names = split_names
        with _named(path), problems.noted():
            splits[split] = _annotated_images(source, path, values, len(names))
    problems.raise_if_any("Images of both splits are wrong")
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


# === LVIS ===


@contextlib.contextmanager
def _named(path: str):
    """Names an annotation file that is not what it should be."""
    try:
        yield
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is not a file of LVIS annotations, or damaged ({error!r}). Download it again."
        ) from error


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
    found, missing, strange = [], [], []
    for image in sorted(values["images"], key=lambda image: image["coco_url"]):
        parts = image["coco_url"].split("/")[-2:]
        if not all(map(_is_plain, parts)):
            strange.append(repr(image["coco_url"]))
            continue
        key = "/".join(parts)
        folders = (source, os.path.join(source, "images"))
        paths = [os.path.join(folder, *key.split("/")) for folder in folders]
        image_path = next(filter(os.path.isfile, paths), None)
        if image_path is None:
            missing.append(paths[0])
            continue
        size = (image["height"], image["width"])
        key = key.rsplit(".", 1)[0]
        found.append(AnnotatedImage(key, image_path, size, tuple(instances[image["id"]])))
    if strange:
        raise ValueError(
            f"{path} names images with other parts than plain names of a folder and a file, which "
            f"could lie outside of {source}: coco_url of {counted(strange)}. Take the file from "
            "lvisdataset.org, or correct these."
        )
    if missing:
        raise ValueError(
            f"Images that {path} annotates are missing: {counted(missing)}. Put COCO's folders "
            f"train2017 and val2017 into {source}."
        )
    if not found:
        raise ValueError(f"{path} annotates no image.")
    return found


def _is_plain(part: str) -> bool:
    """Whether a part of a path is the name of a file or folder, on every system."""
    return part not in ("", ".", "..") and part.isprintable() and not set(part) & set("\\:")
