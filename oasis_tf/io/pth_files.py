"""Reads and writes state dicts in PyTorch's files. No code in a file is run.

PyTorch is imported when it is needed.
"""

import numpy as np

from oasis_tf.io import files


def read_state_dict(path):
    """Reads a checkpoint file. No code in it is run.

    Args:
        path: str, a file that ``torch.save`` wrote.

    Returns:
        dict from names to NumPy arrays.

    Raises:
        ValueError: the file is damaged or holds anything but named tensors, or PyTorch is not
            installed.
        FileNotFoundError: there is no such file.
    """
    torch = _torch()
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
    if not isinstance(contents, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor)
        for name, value in contents.items()
    ):
        raise ValueError(
            f"{path} must hold a state dict, names to tensors. Received: {_described(contents)}. "
            "If it contains the weights, save that part as a separate file."
        )
    return {name: _as_array(torch, value) for name, value in contents.items()}


def write_state_dict(state_dict, path):
    """Writes named arrays as a state dict with ``torch.save``; the file is whole or absent.

    Raises:
        ValueError: PyTorch is not installed.
        OSError: the file cannot be written.
    """
    torch = _torch()
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in state_dict.items()}
    with files.written_aside(path) as aside:
        torch.save(tensors, aside)


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
    return f"a dict with the keys {', '.join(map(repr, list(contents)[:5]))}"
