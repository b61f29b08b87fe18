"""Reports of evaluations side by side, with the published values for their data sets."""

from oasis_tf.metrics.names import PREFIXES, metric_of
from oasis_tf.metrics.reports import published
from oasis_tf.metrics.reports.table import NOTHING, class_of, families, label, number, size

_HEADER_ROWS = {
    "step": "step",
    "data": "dataset",
    "data folder": "data_dir",
    "split": "split",
    "images": "num_images",
    "seed": "seed",
}

# Parts of a protocol that say what was found, not how it was measured.
_FOUND = {"notes", "class_ap", "detections", "num_images_with_detections"}


def compare(reports, names=None):
    """Reports side by side, then the published values for their data sets.

    A published value stands in the row of its own protocol name alone, so beside no value of
    another network. Values by class are left out.

    Args:
        reports: list of reports, as `evaluation_file.read` gives them.
        names: headings of the reports; default: names of the model directories.

    Returns:
        the text.

    Raises:
        ValueError: no reports, or not as many names.
    """
    if not reports or (names is not None and len(names) != len(reports)):
        raise ValueError(
            "At least one report must be given, and a name for each if any. Received: "
            f"{len(reports)} reports, names={names}."
        )
    headings = list(names or _model_names(reports))
    headers = _headers(reports)
    lines = _aligned([["", *headings], *([row, *cells] for row, cells in headers.items())])
    lines += _warnings(reports, headers, headings)
    lines += ["", *_aligned([["", *headings], *_shared_rows(reports)])]
    for dataset in dict.fromkeys(contents["dataset"] for contents in reports):
        lines += ["", *_published_lines(dataset, reports, headings)]
    return "\n".join(lines)


def _model_names(reports):
    """Names of the model directories, with the step where one comes twice."""
    found = _short([contents["model_dir"] for contents in reports])
    steps = [contents["step"] for contents in reports]
    return [
        name if found.count(name) == 1 else f"{name}@{step}"
        for name, step in zip(found, steps, strict=True)
    ]


def _short(paths):
    """Last parts of paths, as many as tell those apart that differ."""
    parts = [path.rstrip("/").split("/") for path in paths]
    for count in range(1, max(map(len, parts)) + 1):
        found = ["/".join(part[-count:]) for part in parts]
        if len(set(found)) == len(set(map(tuple, parts))):
            break
    return found


def _headers(reports):
    """What decides whether reports can be compared, by row: a text for each of them."""
    rows = {
        label: [str(contents.get(key, "?")) for contents in reports]
        for label, key in _HEADER_ROWS.items()
    }
    rows["data folder"] = _short(rows["data folder"])
    return rows | {"size": [size(contents) for contents in reports]}


def _warnings(reports, headers, headings):
    differ = [row for row, cells in headers.items() if row != "step" and len(set(cells)) > 1]
    lines = []
    if differ:
        lines.append(f"WARNING: the reports differ in {', '.join(differ)}: not comparable.")
    for heading, contents in zip(headings[1:], reports[1:], strict=True):
        for metric, keys in _protocol_differences(reports[0], contents).items():
            lines.append(
                f"WARNING: {metric} was measured differently for {headings[0]} and {heading}: "
                f"{', '.join(keys)}."
            )
    return lines


def _protocol_differences(one, other):
    """Metric -> what its protocols differ in, for metrics with values of the same name."""
    shared = {metric_of(name) for name in set(one["metrics"]) & set(other["metrics"])}
    found = {}
    for metric in [m for m in PREFIXES if m in shared]:
        a, b = (contents["protocols"].get(metric, {}) for contents in (one, other))
        keys = sorted(k for k in (a.keys() | b.keys()) - _FOUND if a.get(k) != b.get(k))
        if keys:
            found[metric] = keys
    return found


def _shared_rows(reports):
    """A row for each value that any report has, values by class aside."""
    union = dict.fromkeys(name for contents in reports for name in contents["metrics"])
    rows = []
    for values in families(union).values():
        for name in values:
            if class_of(name) is None:
                found = [number(name, c["metrics"].get(name)) for c in reports]
                rows.append([label(name), *found])
    return rows


def _published_lines(dataset, reports, headings):
    """Published values of a data set, beside ours of exactly the same name."""
    rows = published.rows(dataset)
    if not rows:
        return [f"No values are published for the data set {dataset}."]
    own = [(h, c) for h, c in zip(headings, reports, strict=True) if c["dataset"] == dataset]
    methods = sorted({row.method for row in rows}, key=published.METHODS.index)
    columns = [f"[{number}]" for number in range(1, len(methods) + 1)]
    body = [["", *(heading for heading, _ in own), *columns]]
    for name in dict.fromkeys(row.name for row in rows):
        by_method = {row.method: row.as_printed() for row in rows if row.name == name}
        ours = [number(name, contents["metrics"].get(name)) for _, contents in own]
        body.append([label(name), *ours, *(by_method.get(m, NOTHING) for m in methods)])
    lines = _published_heading(dataset, {size(contents) for _, contents in own})
    return lines + _aligned(body) + _sources(rows, dict(zip(methods, columns, strict=True)))


def _published_heading(dataset, sizes):
    published_size = "x".join(map(str, published.SIZES[dataset]))
    lines = [
        f"Published for {dataset} at {published_size}. A published value stands in the row of its "
        "own protocol alone:",
        "values of other names (other networks, segmenters, scales) must not be compared with it.",
    ]
    if sizes != {published_size}:
        lines.append(
            f"WARNING: these reports are of {', '.join(sorted(sizes))}, the published values of "
            f"{published_size}."
        )
    if dataset in published.NOTES:
        lines.append(f"WARNING: {published.NOTES[dataset]}")
    return lines


def _sources(rows, columns):
    """Which method each column is, where it was published, and which networks measured."""
    lines = []
    for method, column in columns.items():
        sources = dict.fromkeys(row.source for row in rows if row.method == method)
        lines.append(f"  {column} {method}: {'; '.join(sources)}")
    names = dict.fromkeys(row.name for row in rows if row.name in published.NETWORKS)
    return lines + [f"  {name}: measured by {published.NETWORKS[name]}" for name in names]


def _aligned(rows):
    """Lines of rows of cells: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        ).rstrip()
        for row in rows
    ]
