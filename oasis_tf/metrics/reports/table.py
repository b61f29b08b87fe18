"""A report of an evaluation as a table for a terminal."""

import math
import re

from oasis_tf.metrics import names

WIDTH = 100
_MANY_CLASSES = 24
_EXTREMES = 5
NOTHING = "–"
_HEADING = ("model_dir", "step", "dataset", "data_dir", "split", "num_images", "seed")

_BY_CLASS = re.compile(r"(.+?/iou|colour_emd|texture_chi2|class_diversity/[^/]+)/(.+)")
_PERCENT = re.compile(r".*/(miou|thresholded_iou|miou_group_\d+|pixel_accuracy|iou/.+)|lvis/map")
_NO_DIRECTION = re.compile(r".*/std|class_diversity/change_.*|head_share_.*")


def class_of(name):
    """(beginning of the name, class) of a value of one class, or None."""
    match = _BY_CLASS.fullmatch(name)
    if match is None or (match[2] == "mean" and not match[1].endswith("/iou")):
        return None
    return match[1], match[2]


def unit(name):
    """(unit as text, factor from a report's number to it) of a value."""
    if _PERCENT.fullmatch(name):
        return "%", 100
    return ("LAB units", 1) if name.startswith("colour_emd/") else ("", 1)


def label(name, shown=None):
    """A value's name, or what is shown for it, with its unit and arrow."""
    return " ".join(filter(None, (shown or name, unit(name)[0], arrow(name))))


def size(contents):
    """Height and width of a report's images, as text."""
    return f"{contents.get('height', '?')}x{contents.get('width', '?')}"


def arrow(name):
    """↓ where lower is better, ↑ where higher is, nothing where neither is."""
    if _NO_DIRECTION.fullmatch(name):
        return ""
    return "↑" if names.higher_is_better(name) else "↓"


def table(contents, all_classes=False):
    """A report as text of lines up to 100 characters, paths and notes aside.

    Args:
        contents: what `evaluation.make_report` or `evaluation_file.read` gives.
        all_classes: whether values of all classes are shown; otherwise, of more than 24 classes,
            the five best and the five worst.
    """
    notes = {}
    lines = _heading(contents)
    for metric, values in families(contents["metrics"]).items():
        protocol = contents.get("protocols", {}).get(metric, {})
        lines += ["", _family_heading(metric, protocol, notes)]
        lines += _value_lines(values, protocol)
        lines += _class_lines(values, all_classes)
    if notes:
        lines += ["", "Notes"]
        lines += [f"  [{number}] {note}" for note, number in notes.items()]
    return "\n".join(lines)


def _heading(contents):
    of = {key: contents.get(key, "?") for key in _HEADING}
    lines = [
        "{model_dir}, step {step}".format(**of),
        "{dataset} ({data_dir}), split {split}".format(**of),
        "{num_images} images of {size}, seed {seed}".format(size=size(contents), **of),
    ]
    lines += [f"measured {', '.join(which)}: {how}" for how, which in _runs(contents).items()]
    return [*lines, "↓ lower is better, ↑ higher is better"]


def _runs(contents):
    """How -> metrics that were measured together."""
    measured = contents.get("measured") or {m: contents for m in contents.get("protocols", {})}
    runs = {}
    for metric, run in measured.items():
        versions = ", ".join(f"{k} {v}" for k, v in run.get("versions", {}).items())
        how = f"{run.get('seconds', '?')} s, {run.get('time', '?')}, {versions}"
        runs.setdefault(how, []).append(metric)
    return runs


def families(values):
    """Values by metric, metrics in their usual order, names that no metric has last."""
    order = [*names.PREFIXES, None]
    families = {}
    for name in sorted(values, key=lambda name: order.index(names.metric_of(name))):
        families.setdefault(names.metric_of(name), {})[name] = values[name]
    return families


def _family_heading(metric, protocol, notes):
    """Metric, counts and network of its protocol, and the numbers of its notes."""
    facts = [f"{k} {v}" for k, v in protocol.items() if isinstance(v, int)]
    facts += [f"{k} {protocol[k]}" for k in ("network",) if k in protocol]
    segmenter = protocol.get("segmenter", {})
    facts += [f"segmenter {segmenter['name']}"] if "name" in segmenter else []
    numbers = [notes.setdefault(note, len(notes) + 1) for note in protocol.get("notes", [])]
    parts = [metric or "others", ", ".join(facts), "".join(f"[{n}]" for n in numbers)]
    return "  ".join(filter(None, parts))


def _value_lines(values, protocol):
    whole = [name for name in values if class_of(name) is None]
    width = max(map(len, whole), default=0)
    units = max((len(unit(name)[0]) for name in whole), default=0)
    lines = []
    for name in whole:
        value = f"{number(name, values[name]):>9} {unit(name)[0]:<{units}} {arrow(name):1}"
        line = f"  {name:<{width}}  {value}"
        line = f"{line}  {_group_text(name, protocol)}".rstrip()
        lines.append(line if len(line) <= WIDTH else line[: WIDTH - 1] + "…")
    return lines


def number(name, value):
    """A value in its unit, with four significant digits."""
    if value is None or math.isnan(value):
        return NOTHING
    if name == "lvis/classes_ap_above_0":
        return f"{value:.0f}"
    value *= unit(name)[1]
    return f"{value:.0f}" if abs(value) >= 9999.5 else f"{value:#.4g}"


def _group_text(name, protocol):
    """Which classes a group of classes has."""
    match = re.search(r"/miou_group_(\d+)$", name)
    groups = protocol.get("groups", [])
    if not match or int(match[1]) > len(groups):
        return ""
    group = groups[int(match[1]) - 1]
    share, classes = group.get("training_share", math.nan), group.get("classes", [])
    return f"{100 * share:.1f} % of training pixels, {len(classes)} classes: {', '.join(classes)}"


def _class_lines(values, all_classes):
    kinds = {}
    for name in values:
        if (parts := class_of(name)) is not None:
            kinds.setdefault(parts[0], {})[parts[1]] = name
    lines = []
    for kind, of_classes in kinds.items():
        lines += _class_block(kind, of_classes, values, all_classes)
    return lines


def _class_block(kind, of_classes, values, all_classes):
    """Lines of one score's values by class.

    Args:
        kind: name of the score.
        of_classes: class -> value name.
        values: value name -> value.
        all_classes: as in `table`.
    """
    some = next(iter(of_classes.values()))
    title = f"  {label(some, f'{kind} by class,')}"
    cells = {k: f"{k} {number(name, values[name])}" for k, name in of_classes.items()}
    if all_classes or len(cells) <= _MANY_CLASSES:
        shown = [number(name, values[name]) for name in of_classes.values()]
        width, digits = max(map(len, cells)), max(map(len, shown))
        pairs = zip(of_classes, shown, strict=True)
        return [title, *_columns([f"{k:<{width}} {v:>{digits}}" for k, v in pairs])]
    has = [k for k, name in of_classes.items() if not math.isnan(values[name])]
    best_first = arrow(some) != "↓"
    has.sort(key=lambda k: values[of_classes[k]], reverse=best_first)
    ends = ("best", "worst") if arrow(some) else ("highest", "lowest")
    extremes = zip(ends, (has[:_EXTREMES], has[::-1][:_EXTREMES]), strict=True)
    return [
        f"{title}: {len(has)} classes, and {len(cells) - len(has)} without a value",
        *(
            f"    {end}: {', '.join(cells[k] for k in some_classes)}"
            for end, some_classes in extremes
        ),
    ]


def _columns(cells):
    across = max(1, (WIDTH - 4) // (max(map(len, cells)) + 3))
    rows = [cells[i : i + across] for i in range(0, len(cells), across)]
    return ["    " + "   ".join(row) for row in rows]
