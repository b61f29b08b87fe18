"""Classes by name: one rule for commands and Python."""

import difflib
import operator


def class_ids(classes, label_space):
    """Model ids of classes.

    Args:
        classes: one class or several. Text is a class name (upper and lower case are alike), or
            else a raw id in digits; an integer is a model id.
        label_space: `LabelSpace`.

    Returns:
        list of ints.

    Raises:
        ValueError: no class, a name of no class (the message lists the nearest), an id outside the
            classes, or a class given twice.
    """
    single = isinstance(classes, str) or not hasattr(classes, "__iter__")
    classes = [classes] if single else list(classes)
    if not classes:
        raise ValueError("Name at least one class. Received: none.")
    found = [_class_id(one, label_space) for one in classes]
    if len(set(found)) < len(found):
        raise ValueError(f"Name each class once. Received: {', '.join(map(str, classes))}")
    return found


def same_classes(label_space, other):
    """For each class of a label space, the same class of another one.

    The same class is that of the same name, by the rule of `class_ids`. Unknown labels are the same
    whatever their names, and never the same as a class.

    Args:
        label_space, other: `LabelSpace`.

    Returns:
        list of model ids of `other`, None where it has no such class.
    """
    known = other.has_unknown
    find = _finder(other.class_names[known:])
    found = [find(name) for name in label_space.class_names]
    found = [None if index is None else index + known for index in found]
    if label_space.has_unknown:
        found[0] = 0 if other.has_unknown else None
    return found


def _finder(names):
    """A function of a name -> its first index, upper and lower case alike if need be, or None."""
    in_order = list(enumerate(names))[::-1]
    exact = {name: index for index, name in in_order}
    alike = {name.lower(): index for index, name in in_order}
    return lambda name: exact.get(name, alike.get(name.lower()))


def _class_id(given, label_space):
    if isinstance(given, str):
        return _named(given.strip(), label_space)
    try:
        model_id = operator.index(given)
    except TypeError:
        model_id = -1
    if isinstance(given, bool) or not 0 <= model_id < label_space.num_classes:
        raise ValueError(
            "A class must be a class name or a model id, an integer in "
            f"0..{label_space.num_classes - 1}. Received: {given!r}."
        )
    return model_id


def _named(name, label_space):
    names = label_space.class_names
    found = _finder(names)(name)
    if found is not None:
        return found
    by_raw_id = {raw: i for i, raw in enumerate(label_space.raw_ids)}
    by_raw_id |= dict(label_space.further_raw_ids)
    if name.isdecimal() and int(name) in by_raw_id:
        return by_raw_id[int(name)]
    lower = dict.fromkeys(known.lower() for known in names)
    near = difflib.get_close_matches(name.lower(), lower, n=5, cutoff=0.5) or names[:10]
    raise ValueError(
        f"No class is named {name!r} (nor has this raw id). The model has {len(lower)} classes, "
        f"among them: {', '.join(near)}."
    )
