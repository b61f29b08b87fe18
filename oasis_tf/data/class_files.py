"""The classes of an own data set, as flags of prepare give them: a number, a list or a CSV file."""

import csv
import dataclasses
import io
import itertools

from oasis_tf.data.datasets import (
    MAX_RAW_ID,
    UNKNOWN,
    LabelSpace,
    folder_label_space,
    generate_palette,
    listed_label_space,
    parse_raw_ids,
    read_class_names,
)
from oasis_tf.io.problems import MOST
from oasis_tf.io.text_files import read_text

CLASS_OPTIONS = (
    "num_classes",
    "unknown_label",
    "class_names",
    "raw_ids",
    "classes",
    "label_format",
)
HEADER = ("id", "name", "red", "green", "blue")


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the file: a raw id, the name of its class, and its colour or None."""

    line: int
    raw_id: int
    name: str
    color: tuple[int, int, int] | None


def folder_classes(
    num_classes: int | None = None,
    unknown_label: int | None = None,
    class_names: str | None = None,
    raw_ids: str | None = None,
    classes: str | None = None,
    label_format: str = "auto",
) -> tuple[LabelSpace, str]:
    """Returns what the flags of these names say of an own data set.

    Args:
        num_classes: see `folder_label_space`; with `raw_ids` or `classes`, what must follow from
            them.
        unknown_label: raw id of the unknown label, or None.
        class_names: file with a name per line, see `read_class_names`; not with `classes`.
        raw_ids: see `parse_raw_ids`.
        classes: CSV file, see `read_classes`.
        label_format: see `label_files.read_label_map`.

    Returns:
        (label space, label format of its files).

    Raises:
        ValueError: flags that contradict each other, or wrong values in them or in a file.
        OSError: a file cannot be read.
    """
    if classes and (raw_ids is not None or class_names):
        raise ValueError(
            "--classes names ids and classes: leave out --raw_ids and --class_names. "
            f"Received: --classes={classes}, --raw_ids={raw_ids}, --class_names={class_names}."
        )
    names = read_class_names(class_names) if class_names else None
    has_colors = False
    if classes:
        label_space, has_colors = read_classes(classes, unknown_label)
    elif raw_ids is not None:
        label_space = listed_label_space(parse_raw_ids(raw_ids), unknown_label, names)
    elif num_classes is not None:
        label_space = folder_label_space(num_classes, unknown_label, names)
    else:
        raise ValueError("--dataset=folder needs --num_classes, --raw_ids or --classes.")
    if num_classes not in (None, label_space.num_classes):
        raise ValueError(
            f"--{'classes' if classes else 'raw_ids'} gives {label_space.num_classes} classes, the "
            f"unknown class included. Received: --num_classes={num_classes}. Leave it out."
        )
    if label_format == "colors" and not has_colors:
        raise ValueError(
            "--label_format=colors needs --classes=FILE.csv with the colours of the classes "
            f"({','.join(HEADER)})."
        )
    return label_space, label_format if has_colors else "ids"


def read_classes(path: str, unknown_label: int | None = None) -> tuple[LabelSpace, bool]:
    """Reads a label space from a file with the header `id,name` or `id,name,red,green,blue`.

    Rows of equal names are one class. The order of the names is that of the model's classes; the
    class called "unknown", if there is one, is the unknown label and comes first. A row without
    values for its colour gets one that no other class has.

    Args:
        path: CSV file in UTF-8.
        unknown_label: raw id that makes its class the unknown label, listed or not; or None.

    Returns:
        (label space, whether the file gives colours).

    Raises:
        ValueError: the file is no such table, or has wrong or contradicting values. The error names
            the file, its lines and the values.
        OSError: the file cannot be read.
    """
    rows = _read(path)
    called = next((row.name for row in rows if row.raw_id == unknown_label), UNKNOWN)
    rows = [dataclasses.replace(row, name=UNKNOWN) if row.name == called else row for row in rows]
    if unknown_label is not None and unknown_label not in {row.raw_id for row in rows}:
        rows.insert(0, Row(0, unknown_label, UNKNOWN, None))
    has_unknown = any(row.name == UNKNOWN for row in rows)
    names = dict.fromkeys([UNKNOWN] * has_unknown + [row.name for row in rows])
    if len(names) == has_unknown:
        raise ValueError(f"{path} names no class but {UNKNOWN}. Add a row for every class.")
    return _label_space(tuple(names), has_unknown, rows), any(row.color for row in rows)


def _label_space(names, has_unknown, rows) -> LabelSpace:
    ids = {name: i for i, name in enumerate(names)}
    raw_ids, palette, further_raw_ids, further_colors = {}, {}, [], []
    for row in rows:
        i = ids[row.name]
        if raw_ids.setdefault(i, row.raw_id) != row.raw_id:
            further_raw_ids.append((row.raw_id, i))
        if row.color and palette.setdefault(i, row.color) != row.color:
            further_colors.append((*row.color, i))
    taken = {row.color for row in rows}
    free = itertools.cycle(c for c in generate_palette(len(names) + len(taken)) if c not in taken)
    return LabelSpace(
        "folder",
        names,
        tuple(palette[i] if i in palette else next(free) for i in range(len(names))),
        has_unknown,
        tuple(raw_ids[i] for i in range(len(names))),
        tuple(further_raw_ids),
        tuple(dict.fromkeys(further_colors)),
    )


# === Reading ===


def _read(path) -> list[Row]:
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    problems, rows = [], []
    try:
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}. Write it as CSV.") from error
    lines = [(number, cells) for number, cells in lines if any(cells)]
    _check_header(path, lines)
    for number, cells in lines[1:]:
        try:
            rows.append(_row(number, cells, len(lines[0][1])))
        except ValueError as error:
            problems.append(f"line {number}: {error}")
    problems += _contradictions(rows)
    if not lines[1:]:
        problems.append("no class follows the header")
    if problems:
        more = len(problems) - MOST
        tail = f"; and {more} more" if more > 0 else ""
        raise ValueError(f"{path}, {'; '.join(problems[:MOST])}{tail}. Correct the file.")
    return rows


def _check_header(path, lines):
    header = tuple(cell.lower() for cell in lines[0][1]) if lines else ()
    if header not in (HEADER, HEADER[:2]):
        received = ",".join(lines[0][1]) if lines else "an empty file"
        raise ValueError(
            f"{path} must begin with the line {','.join(HEADER[:2])} or {','.join(HEADER)}, with "
            f"commas between the columns. Received: {received}"
        )


def _row(number, cells, columns) -> Row:
    if len(cells) != columns:
        raise ValueError(f"{columns} values are needed. Received: {','.join(cells)}")
    raw_id = _integer("id", cells[0], MAX_RAW_ID)
    name = cells[1]
    if not name or not name.isprintable():
        raise ValueError(f"a class needs a name of printable letters. Received: {name!r}")
    if not any(cells[2:]):
        return Row(number, raw_id, name, None)
    values = zip(HEADER[2:], cells[2:], strict=True)
    return Row(number, raw_id, name, tuple(_integer(key, value, 255) for key, value in values))


def _integer(key, text, most) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= most):
        raise ValueError(f"{key} must be an integer 0…{most}. Received: {text or 'nothing'}")
    return int(text)


def _contradictions(rows):
    """Yields ids that stand in two rows, and colours of two classes."""
    by_id, by_color = {}, {}
    for row in rows:
        first = by_id.setdefault(row.raw_id, row)
        if first is not row:
            yield f"line {row.line}: the id {row.raw_id} stands in line {first.line} already"
        first = by_color.setdefault(row.color, row)
        if row.color and first.name != row.name:
            yield (
                f"line {row.line}: the colour {','.join(map(str, row.color))} is that of "
                f"{first.name} in line {first.line}; leave colours that mean nothing empty"
            )
