"""The modes of `synthesize`, and the flags of each. Nothing here needs TensorFlow or a model."""

EVERYWHERE = {"model_dir", "output", "checkpoint", "size", "height", "width", "overwrite"}
_LABELS = {"labels", "label_format"}
_SAMPLES = {"seed", "num_samples", "skip_existing", "grid", "batch_size"}
_EDITS = {
    "style",
    "resample_classes",
    "region",
    "interpolate",
    "interpolation",
    "animation",
    "frame_ms",
}
# Mode -> the flags that it takes.
MODES = {
    "labels": EVERYWHERE | _LABELS | _SAMPLES | _EDITS,
    "from_images": EVERYWHERE | {"from_images"} | _SAMPLES | _EDITS,
    "segment_only": EVERYWHERE | {"segment_only", "from_images", "skip_existing"},
    "labelmix": EVERYWHERE
    | _LABELS
    | {"labelmix", "from_images", "data_dir", "num_scenes", "seed", "num_samples", "grid"}
    | {"skip_existing"},
    "augment": EVERYWHERE | {"augment", "data_dir", "seed", "num_samples"},
}
_EXCLUDE = (
    ("overwrite", "skip_existing"),
    ("resample_classes", "region"),
    ("style", "resample_classes"),
    ("style", "region"),
    ("style", "interpolate"),
    ("data_dir", "from_images"),
    ("data_dir", "labels"),
    ("num_scenes", "from_images"),
)
_NEED = (
    ("segment_only", "from_images"),
    ("animation", "interpolate"),
    ("interpolation", "interpolate"),
    ("frame_ms", "animation"),
)


def choose_mode(given):
    """The mode that the given flags ask for.

    Args:
        given: names of the given flags, without switches that are off.

    Returns:
        one of `MODES`.

    Raises:
        ValueError: flags that exclude each other, that need another, or that the mode does not
            take.
    """
    given = set(given)
    asked = [name for name in ("segment_only", "labelmix", "augment") if name in given]
    if len(asked) > 1:
        raise ValueError(f"{_listed(asked)} ask for different things. Give one.")
    for one, other in _EXCLUDE:
        if {one, other} <= given:
            raise ValueError(f"--{one} and --{other} exclude each other. Give one.")
    for one, needed in _NEED:
        if one in given and needed not in given:
            raise ValueError(f"--{one} needs --{needed}. Give both, or drop it.")
    mode = asked[0] if asked else _plain_mode(given)
    useless = sorted(given - MODES[mode])
    if useless:
        raise ValueError(f"{_listed(useless)} cannot be used with --{mode}. Drop one or the other.")
    return mode


def _plain_mode(given):
    sources = sorted({"labels", "from_images"} & given)
    if len(sources) != 1:
        raise ValueError(
            "Give either --labels or --from_images (or ask for --labelmix or --augment). "
            f"Received: {_listed(sources) or 'neither'}."
        )
    return sources[0]


def _listed(names):
    return " and ".join(f"--{name}" for name in names)
