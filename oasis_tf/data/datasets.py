"""Label spaces: the classes of a data set. Those of published data sets are found by name.

*Raw* ids are the values in the files of a data set. *Model* ids are 0…N−1. If a data set has an
unknown label, it is model id 0, and the known classes keep their order as 1…N−1. Without one, raw
and model ids are equal. Class counts follow the OASIS paper (ICLR 2021, section 4) and its official
release; LVIS follows the supplementary section on long-tailed synthesis.
"""

import collections
import dataclasses
import functools
import importlib.resources
import operator
from collections.abc import Sequence

import numpy as np

from oasis_tf.io.problems import WrongValues
from oasis_tf.io.text_files import read_text

DATASETS = ("folder", "ade20k", "ade_outdoors", "cityscapes", "coco_stuff", "lvis", "shapes")
UNKNOWN = "unknown"
LVIS_CLASSES = 1203
DISTINCT_COLORS = 2048
MAX_RAW_ID = 65535  # label PNGs have at most 16 bits

SHAPES_CLASSES = (
    ("sky", (110, 170, 230)),
    ("hill", (120, 90, 160)),
    ("grass", (100, 180, 70)),
    ("water", (30, 80, 190)),
    ("road", (90, 90, 95)),
    ("wall", (230, 190, 150)),
    ("roof", (190, 50, 40)),
    ("window", (90, 235, 225)),
    ("tree", (20, 100, 45)),
    ("sun", (255, 150, 20)),
    ("boat", (240, 240, 245)),
    ("balloon", (225, 40, 160)),
)


@dataclasses.dataclass(frozen=True)
class LabelSpace:
    """Classes of a data set in model-id order, stored in `dataset.json` and `config.json`.

    Attributes:
        dataset: name in `DATASETS`.
        class_names: N names; the first is "unknown" if `has_unknown`.
        palette: N RGB colours, 0…255.
        has_unknown: whether model id 0 is the unknown label.
        raw_ids: raw value of each model id; negative for a class that files cannot hold.
        further_raw_ids: (raw value, model id) of classes that files hold under several values.
        further_colors: (red, green, blue, model id) of classes that files show in several colours.

    Raises:
        ValueError: the attributes contradict each other.
    """

    dataset: str
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    has_unknown: bool
    raw_ids: tuple[int, ...]
    further_raw_ids: tuple[tuple[int, int], ...] = ()
    further_colors: tuple[tuple[int, int, int, int], ...] = ()

    def __post_init__(self):
        sizes = (len(self.class_names), len(self.palette), len(self.raw_ids))
        if len(set(sizes)) != 1 or not sizes[0]:
            raise ValueError(
                "A label space needs one name, one colour and one raw id for every class. "
                f"Received: {sizes[0]} names, {sizes[1]} colours, {sizes[2]} raw ids."
            )
        raw_ids = (*self.raw_ids, *(raw for raw, _ in self.further_raw_ids))
        if len(set(raw_ids)) != len(raw_ids) or max(raw_ids) > MAX_RAW_ID:
            raise ValueError(
                f"Raw ids must differ from each other and be at most {MAX_RAW_ID}. "
                f"Received: raw_ids={raw_ids}."
            )
        further = {further[-1] for further in (*self.further_raw_ids, *self.further_colors)}
        if not further <= set(range(sizes[0])):
            raise ValueError(
                f"Further raw ids and colours must be of model ids 0…{sizes[0] - 1}. "
                f"Received: {sorted(further)}."
            )
        if self.has_unknown and self.class_names[0] != UNKNOWN:
            raise ValueError(
                f'Model id 0 must be named "{UNKNOWN}" where there is an unknown label. '
                f"Received: {self.class_names[0]!r}."
            )

    @property
    def num_classes(self) -> int:
        """N, the unknown class included."""
        return len(self.class_names)

    @property
    def dtype(self) -> np.dtype:
        """Integer type of stored label maps: uint8, or uint16 for more than 256 classes."""
        return np.dtype(np.uint8 if self.num_classes <= 256 else np.uint16)

    def to_model_ids(self, raw: np.ndarray, source: str) -> np.ndarray:
        """Maps raw values to model ids.

        Args:
            raw: integers of any shape.
            source: file or argument that the error names.

        Returns:
            Array of the same shape, of type `dtype`.

        Raises:
            WrongValues: values outside the classes. The error names `source` and the first ten.
        """
        raw = np.asarray(raw)
        if raw.dtype.kind not in "iu":
            raise ValueError(f"{source}: label maps hold integers. Received: dtype={raw.dtype}.")
        index = raw
        if raw.dtype != np.uint8:  # the last entry is for all values that no file can hold
            index = np.clip(raw.astype(np.int64), -1, MAX_RAW_ID + 1)
        model_ids = self._model_id_table[index]
        invalid = model_ids < 0
        if invalid.any():
            values = np.unique(raw[invalid])
            raise WrongValues(self._invalid_values(values, source), map(str, values))
        return model_ids.astype(self.dtype)

    def to_raw_ids(self, label_map: np.ndarray) -> np.ndarray:
        """Maps model ids to raw values of the same shape: uint8, or uint16 if one exceeds 255.

        A class without a raw value (negative raw id) becomes the unknown label.

        Raises:
            ValueError: model ids outside 0…N−1.
        """
        label_map = self._checked(label_map)
        raw_ids = np.asarray(self.raw_ids)
        raw_ids = np.where(raw_ids < 0, raw_ids[0], raw_ids)
        return raw_ids.astype(np.uint8 if raw_ids.max() < 256 else np.uint16)[label_map]

    def colorize(self, label_map: np.ndarray) -> np.ndarray:
        """Converts model ids [...] to the colours of the palette, uint8 [..., 3].

        Raises:
            ValueError: model ids outside 0…N−1.
        """
        return np.asarray(self.palette, np.uint8)[self._checked(label_map)]

    def known_colors(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns all colours that stand for a class, uint8 [M, 3], and their model ids [M].

        The palette comes first, in model-id order.
        """
        further = np.array(self.further_colors, np.int64).reshape(-1, 4)
        colors = np.concatenate([np.array(self.palette, np.int64), further[:, :3]])
        ids = np.concatenate([np.arange(self.num_classes), further[:, 3]])
        return colors.astype(np.uint8), ids

    def classes(self) -> list[dict]:
        """Returns one dict per class, in model-id order: `id`, `name`, `color` and `raw_id`.

        Classes that files hold under several values or colours also have lists of the others,
        `further_raw_ids` and `further_colors`.
        """
        rows = zip(self.class_names, self.palette, self.raw_ids, strict=True)
        classes = [
            {"id": i, "name": name, "color": list(color), "raw_id": raw_id}
            for i, (name, color, raw_id) in enumerate(rows)
        ]
        for raw_id, i in self.further_raw_ids:
            classes[i].setdefault("further_raw_ids", []).append(raw_id)
        for *color, i in self.further_colors:
            classes[i].setdefault("further_colors", []).append(color)
        return classes

    @classmethod
    def from_classes(cls, dataset: str, has_unknown: bool, classes: list[dict]) -> "LabelSpace":
        """Creates a label space from what `classes` returned.

        Raises:
            ValueError, KeyError, TypeError: the classes lack something or contradict each other.
        """
        return cls(
            dataset,
            tuple(one["name"] for one in classes),
            tuple(tuple(one["color"]) for one in classes),
            has_unknown,
            tuple(one["raw_id"] for one in classes),
            tuple(
                (raw, i) for i, one in enumerate(classes) for raw in one.get("further_raw_ids", ())
            ),
            tuple((*c, i) for i, one in enumerate(classes) for c in one.get("further_colors", ())),
        )

    def to_json(self) -> dict:
        """Returns plain lists and values for `json.dump`; `from_json` is the inverse."""
        values = dataclasses.asdict(self)
        return {k: v for k, v in values.items() if v or not k.startswith("further_")}

    @classmethod
    def from_json(cls, values: dict) -> "LabelSpace":
        """Creates a label space from what `to_json` returned (tuples may have become lists).

        `others_are_unknown`, which label spaces of Cityscapes once had, is ignored.

        Raises:
            ValueError: fields are missing or unknown.
        """
        values = {k: v for k, v in values.items() if k != "others_are_unknown"}
        try:
            values["class_names"] = tuple(values["class_names"])
            values["raw_ids"] = tuple(values["raw_ids"])
            for name in ("palette", "further_raw_ids", "further_colors"):
                values[name] = tuple(map(tuple, values.get(name, ())))
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"A label space has the fields {[f.name for f in dataclasses.fields(cls)]}. "
                f"Received: {sorted(values)}."
            ) from error

    @functools.cached_property
    def _model_id_table(self) -> np.ndarray:
        table = np.full(MAX_RAW_ID + 2, -1, np.int32)
        for model_id, raw_id in enumerate(self.raw_ids):
            if raw_id >= 0:
                table[raw_id] = model_id
        for raw_id, model_id in self.further_raw_ids:
            table[raw_id] = model_id
        return table

    def _checked(self, label_map) -> np.ndarray:
        label_map = np.asarray(label_map)
        if label_map.dtype.kind not in "iu":
            raise ValueError(f"Label maps hold integers. Received: dtype={label_map.dtype}.")
        if label_map.size and (label_map.min() < 0 or label_map.max() >= self.num_classes):
            raise ValueError(
                f"Model ids must lie in 0…{self.num_classes - 1}. "
                f"Received: {label_map.min()}…{label_map.max()}."
            )
        return label_map

    def _invalid_values(self, values: np.ndarray, source: str) -> str:
        shown = ", ".join(str(value) for value in values[:10])
        more = f" and {len(values) - 10} more" if len(values) > 10 else ""
        allowed = _ranges((*self.raw_ids, *(raw for raw, _ in self.further_raw_ids)))
        remedy = "Correct the label map"
        if self.dataset == "folder":
            remedy += (
                ", or give the classes that it holds (prepare: --num_classes and --unknown_label, "
                "--raw_ids or --classes)"
            )
        elif self.dataset == "cityscapes":
            remedy += "; of the files of Cityscapes, *_labelIds.png hold the class ids"
        return (
            f"{source}: label values {shown}{more} are outside the classes; allowed are "
            f"{allowed}. {remedy}."
        )


def published_label_space(dataset: str) -> LabelSpace:
    """Returns the label space of a published data set.

    Cityscapes keeps the 35 channels of the official release (label ids −1…33). The last one,
    "license plate", does not occur in label files, so its channel is unused. LVIS gets the names of
    its classes from the annotation file when it is prepared; here they are numbered.

    Raises:
        ValueError: `dataset` is not a published one ("folder" has no fixed classes).
    """
    if dataset in ("ade20k", "ade_outdoors"):
        names, palette = _shipped_classes("ade20k")
        return LabelSpace(dataset, names, palette, True, tuple(range(151)))
    if dataset == "cityscapes":
        names, palette = _shipped_classes("cityscapes")
        return LabelSpace(dataset, names, palette, True, (*range(34), -1))
    if dataset == "coco_stuff":
        names, _ = _shipped_classes("coco_stuff")
        return LabelSpace(dataset, names, generate_palette(183), True, (255, *range(182)))
    if dataset == "lvis":
        return lvis_label_space([f"class_{index + 1}" for index in range(LVIS_CLASSES)])
    if dataset == "shapes":
        names, palette = zip(*SHAPES_CLASSES, strict=True)
        return LabelSpace(dataset, names, palette, False, tuple(range(len(names))))
    raise ValueError(
        f"`dataset` must be one of {', '.join(DATASETS[1:])}. Received: dataset={dataset!r}."
    )


def lvis_label_space(category_names: Sequence[str]) -> LabelSpace:
    """Returns the label space of LVIS: class 0 is background, class k is category k."""
    names = ("background", *category_names)
    return LabelSpace("lvis", names, generate_palette(len(names)), False, tuple(range(len(names))))


def folder_label_space(
    num_classes: int, unknown_label: int | None = None, class_names: Sequence[str] | None = None
) -> LabelSpace:
    """Returns the label space of a folder of label files whose class ids are numbered.

    Args:
        num_classes: N, the unknown class included.
        unknown_label: raw value of the unknown label, or None. If it lies in 0…N−1, the known
            classes are the other values of that range. If it lies outside (such as 255), they are
            0…N−2.
        class_names: N names in raw-id order, or N−1 names of the known classes.

    Raises:
        ValueError: a number is out of range, or there are too few or too many names.
    """
    least = 1 if unknown_label is None else 2
    if not least <= num_classes <= MAX_RAW_ID + 1:
        raise ValueError(
            f"`num_classes` must lie in {least}…{MAX_RAW_ID + 1}, the unknown class included. "
            f"Received: num_classes={num_classes}."
        )
    _check_unknown_label(unknown_label)
    raw_ids = _folder_raw_ids(num_classes, unknown_label)
    return _folder(raw_ids, unknown_label, class_names, sorted(raw_ids))


def listed_label_space(
    raw_ids: Sequence[int],
    unknown_label: int | None = None,
    class_names: Sequence[str] | None = None,
) -> LabelSpace:
    """Returns the label space of a folder of label files with these class ids.

    Args:
        raw_ids: raw value of every class, in the order of the model's classes. The unknown label
            may be left out.
        unknown_label: raw value of the unknown label, or None. It becomes model id 0.
        class_names: a name for each of `raw_ids`, or for each but the unknown label.

    Raises:
        ValueError: values out of range or given twice, or too few or too many names.
    """
    listed = list(raw_ids)
    counts = collections.Counter(listed)
    wrong = [raw for raw, count in counts.items() if not 0 <= raw <= MAX_RAW_ID or count > 1]
    if wrong or not set(listed) - {unknown_label}:
        named = f"wrong are {', '.join(map(str, wrong))}" if wrong else "no class"
        raise ValueError(
            f"Raw ids must be values 0…{MAX_RAW_ID} that differ, one for each class. "
            f"Received: {', '.join(map(str, listed)) or 'none'}; {named}."
        )
    _check_unknown_label(unknown_label)
    if unknown_label is None:
        return _folder(tuple(listed), None, class_names, listed)
    ordered = (unknown_label, *(raw for raw in listed if raw != unknown_label))
    names_of = listed if unknown_label in listed else ordered
    return _folder(ordered, unknown_label, class_names, names_of)


def parse_raw_ids(text: str) -> list[int]:
    """Parses a value of --raw_ids: integers separated by commas.

    Raises:
        ValueError: something else stands between the commas.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() for part in parts):
        raise ValueError(
            "--raw_ids must list the values of the classes in label files, separated by commas, "
            f"such as 0,7,255. Received: --raw_ids={text}."
        )
    return [int(part) for part in parts]


def read_class_names(path: str) -> list[str]:
    """Reads one class name per line (empty lines are skipped).

    Raises:
        ValueError: the file is not UTF-8, has no name, or one name twice.
    """
    names = [line.strip() for line in read_text(path).split("\n") if line.strip()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        problem = f"names {', '.join(twice[:10])} more than once" if twice else "holds no name"
        raise ValueError(f"{path} {problem}; write one class name per line.")
    return names


@functools.cache
def generate_palette(num_colors: int) -> tuple[tuple[int, int, int], ...]:
    """Returns distinct colours: black, then each time the farthest from all so far (CIELAB).

    Deterministic. A longer palette begins with the shorter one. After `DISTINCT_COLORS` colours
    they repeat.
    """
    levels = np.round(np.linspace(0, 255, 17)).astype(np.int64)
    candidates = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
    # Rounded, so that the order does not depend on the last bits of a platform's `pow`.
    lab = np.round(_rgb_to_lab(candidates / 255.0), 3)
    chosen = [0]
    distance = ((lab - lab[0]) ** 2).sum(1)
    while len(chosen) < min(num_colors, DISTINCT_COLORS):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((lab - lab[chosen[-1]]) ** 2).sum(1))
    colors = [tuple(map(int, candidates[index])) for index in chosen]
    return tuple(colors[index % DISTINCT_COLORS] for index in range(num_colors))


def _rgb_to_lab(rgb: np.ndarray) -> np.ndarray:
    """Converts sRGB [..., 3] in 0…1 to CIELAB, white point D65."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    xyz = linear @ (to_xyz / to_xyz.sum(1, keepdims=True)).T
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), xyz * (24389 / 27 / 116) + 16 / 116)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def _shipped_classes(name: str) -> tuple[tuple[str, ...], tuple[tuple[int, int, int], ...]]:
    """Returns names and colours (if the file has them) of a data set, in model-id order."""
    file = importlib.resources.files(__package__).joinpath("class_names", f"{name}.txt")
    rows = [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines()]
    palette = tuple(tuple(map(int, row[1].split())) for row in rows if len(row) > 1)
    return tuple(row[0] for row in rows), palette


def _folder_raw_ids(num_classes: int, unknown_label: int | None) -> tuple[int, ...]:
    if unknown_label is None:
        return tuple(range(num_classes))
    last = num_classes if unknown_label < num_classes else num_classes - 1
    return (unknown_label, *(raw for raw in range(last) if raw != unknown_label))


def _folder(raw_ids, unknown_label, class_names, names_of) -> LabelSpace:
    """The label space of classes in model-id order; names are those of the raw ids `names_of`."""
    known = raw_ids if unknown_label is None else raw_ids[1:]
    if class_names is None:
        names = {raw: f"class_{raw}" for raw in known}
    elif len(class_names) == len(names_of):
        names = dict(zip(names_of, class_names, strict=True))
    elif len(class_names) == len(known):
        in_order = [raw for raw in names_of if raw != unknown_label]
        names = dict(zip(in_order, class_names, strict=True))
    else:
        counts = sorted({len(known), len(raw_ids)})
        raise ValueError(
            f"{' or '.join(map(str, counts))} class names are needed (in raw-id order, with or "
            f"without the unknown label). Received: {len(class_names)}."
        )
    names[unknown_label] = UNKNOWN
    palette = generate_palette(len(raw_ids))
    in_order = tuple(names[raw] for raw in raw_ids)
    return LabelSpace("folder", in_order, palette, unknown_label is not None, raw_ids)


def _check_unknown_label(unknown_label: int | None) -> None:
    if unknown_label is not None and not 0 <= unknown_label <= MAX_RAW_ID:
        raise ValueError(
            f"`unknown_label` must be a raw value, 0…{MAX_RAW_ID}. "
            f"Received: unknown_label={unknown_label}."
        )


def _ranges(values: Sequence[int]) -> str:
    """Returns the values ≥ 0, sorted, as in "0…10, 255"."""
    values = sorted(map(operator.index, (value for value in values if value >= 0)))
    starts = [v for i, v in enumerate(values) if i == 0 or values[i - 1] != v - 1]
    ends = [v for i, v in enumerate(values) if i == len(values) - 1 or values[i + 1] != v + 1]
    return ", ".join(str(a) if a == b else f"{a}…{b}" for a, b in zip(starts, ends, strict=True))
