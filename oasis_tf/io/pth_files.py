"""Reads and writes state dicts in PyTorch's files. No code in a file is run.

PyTorch is imported when it is needed.
"""

import io
import zipfile

import numpy as np


def read_state_dict(path, networks=()):
    """Reads a checkpoint file. No code in it is run.

    Args:
        path: str, a file that ``torch.save`` wrote.
        networks: what to look for: for each network that will do, a tuple of names that its state
            dict has for certain. Then it may also lie among other things, see `find_state_dict`.
            Default: the file is the state dict.

    Returns:
        dict from names to NumPy arrays.

    Raises:
        ValueError: the file is damaged or holds anything but named tensors, there is not exactly
            one such network, or PyTorch is not installed.
        FileNotFoundError: there is no such file.
    """
    torch = _torch()
    check_checksums(path)
    with open(path, "rb") as file:
        try:
            # weights_only: a pickle can run any code, and this file may come from anywhere.
            contents = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # damaged or hostile bytes can raise anything
            # PyTorch's own message recommends switching the protection off.
            raise ValueError(
                f"{path} must be a state dict written by torch.save: a whole file with nothing but "
                "tensors, because nothing else is unpickled. Received: a file that fails with "
                f"{type(error).__name__}. Save only the weights, or copy the file again."
            ) from error
    found = contents
    if networks:
        found = find_state_dict(contents, networks, path, torch.Tensor)
    elif not _is_state_dict(contents, torch.Tensor):
        raise ValueError(
            f"{path} must hold a state dict, names to tensors. Received: {_described(contents)}. "
            "If it contains the weights, save that part as a separate file."
        )
    return {name: _as_array(torch, value) for name, value in found.items()}


def check_checksums(path):
    """Checks the checksum of every part of a file, which PyTorch itself does not.

    Files of PyTorch before 1.6 have none.

    Raises:
        ValueError: a part is damaged, or the list of parts is.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return
        try:
            with zipfile.ZipFile(file) as archive:
                damaged = archive.testzip()
        except Exception as error:  # damaged lists can raise anything
            raise _damaged(path, f"its list of parts cannot be read ({error})") from error
    if damaged is not None:
        raise _damaged(path, f"the checksum of its part {damaged} does not fit")


def _damaged(path, problem):
    return ValueError(
        f"{path} is damaged: {problem}. Copy or download the file again. (If it was saved with "
        "torch.serialization.set_crc32_options(False), save it again without.)"
    )


# === State dicts among other things ===

_DEPTH = 4  # most dicts around a state dict


def find_state_dict(contents, networks, path, tensor):
    """Finds the state dict of a network in what a file holds.

    It may lie under keys, among other state dicts, and its names may have a prefix that all share
    (``module.``, ``generator.``): whatever has the names of one of `networks` fits.

    Args:
        contents: what the file holds.
        networks: as for `read_state_dict`.
        path: of the file, for errors.
        tensor: type of tensors.

    Returns:
        dict from names, without the prefix, to tensors. A file of nothing but tensors that does not
        fit is returned as it is: who knows the network says better what is missing.

    Raises:
        ValueError: there is not exactly one part that fits. The error lists the keys.
    """
    found = {}
    for place, part in _parts(contents, tensor):
        for prefix in _prefixes(part, networks):
            names = [name for name in part if name.startswith(prefix)]
            found[(*place, prefix)] = {name[len(prefix) :]: part[name] for name in names}
    if len(found) == 1:
        return next(iter(found.values()))
    if not found and _is_state_dict(contents, tensor):
        return contents
    places = ", ".join("/".join(filter(None, place)) or "its names" for place in found)
    raise ValueError(
        f"{path} must hold the weights of one such network. Received: {_described(contents)}; "
        f"{f'several fit: {places}' if found else 'none of its parts fits'}. Save the right part "
        'as a file of its own: torch.save(torch.load("FILE", weights_only=True)["KEY"], "NEW.pth").'
    )


def _is_state_dict(contents, tensor):
    return isinstance(contents, dict) and all(
        isinstance(name, str) and isinstance(value, tensor) for name, value in contents.items()
    )


def _parts(contents, tensor, place=()):
    """Yields (keys, named tensors) for every dict in `contents` that has some."""
    if not isinstance(contents, dict) or len(place) > _DEPTH:
        return
    named = {k: v for k, v in contents.items() if isinstance(k, str) and isinstance(v, tensor)}
    if named:
        yield place, named
    for key, value in contents.items():
        yield from _parts(value, tensor, (*place, str(key)))


def _prefixes(names, networks):
    """The prefixes with which some names are those of a network, sorted."""
    found = {
        prefix
        for signs in networks
        for name in names
        if name.endswith(signs[0]) and (prefix := name.removesuffix(signs[0]))[-1:] in ("", ".")
        if all(prefix + sign in names for sign in signs)
    }
    return sorted(found)


def write_state_dict(state_dict, path):
    """Writes named arrays as a state dict with ``torch.save``; see `files.written_aside`.

    Args:
        state_dict: dict from names to arrays, or from names to such dicts.
        path: str.

    Raises:
        ValueError: PyTorch is not installed.
        OSError: the file cannot be written.
    """
    torch = _torch()
    contents = io.BytesIO()  # of an error in writing, PyTorch itself does not say which
    torch.save(_as_tensors(torch, state_dict), contents)
    with open(path, "wb") as file:
        file.write(contents.getbuffer())


def _as_tensors(torch, value):
    if isinstance(value, dict):
        return {name: _as_tensors(torch, inner) for name, inner in value.items()}
    return torch.from_numpy(np.array(value))


def check_torch():
    """Raises ValueError, which names the extra, unless PyTorch is installed."""
    _torch()


def _torch():
    try:
        import torch  # here: only conversion needs it
    except ImportError as error:
        raise ValueError(
            'Files of PyTorch need PyTorch: run `pip install "oasis-tf[convert]"`.'
        ) from error
    return torch


def _as_array(torch, tensor):
    if tensor.is_floating_point():  # also half precision: NumPy has no bfloat16
        tensor = tensor.to(torch.float32)
    return tensor.numpy()


def _described(contents):
    if not isinstance(contents, dict):
        return type(contents).__name__
    more = f" and {len(contents) - 10} more" if len(contents) > 10 else ""
    return f"a dict with the keys {', '.join(map(repr, list(contents)[:10]))}{more}"
