"""State dicts in PyTorch's files, read without running code. PyTorch is imported where needed."""

import numpy as np

from oasis_tf.io import files


def read_state_dict(path):
    """Reads a checkpoint file; nothing in it is executed.

    Args:
        path: str, a file that ``torch.save`` wrote.

    Returns:
        dict from names to NumPy arrays.

    Raises:
        ValueError: the file is damaged or holds something else than named tensors; PyTorch is not
            installed.
        FileNotFoundError: there is no such file.
    """
    torch = _torch()
    with open(path, "rb") as file:
        try:
            # weights_only: a pickle may run any code, which a file from elsewhere must not.
            contents = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever unpickling damaged or hostile bytes raises
            # PyTorch's own message recommends to switch the protection off.
            raise ValueError(
                f"{path} must be a state dict written by torch.save, whole and of tensors alone; "
                f"nothing else is unpickled. Received: a file that fails with "
                f"{type(error).__name__}."
            ) from error
    if not isinstance(contents, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor)
        for name, value in contents.items()
    ):
        raise ValueError(
            f"{path} must hold a state dict, names to tensors. Received: {_described(contents)}. "
            "If the weights are inside it, save that part as a file of its own."
        )
    return {name: _as_array(torch, value) for name, value in contents.items()}


def write_state_dict(state_dict, path):
    """Writes named arrays as ``torch.save`` writes a state dict; the file is whole or absent.

    Raises:
        ValueError: PyTorch is not installed.
        OSError: the file cannot be written.
    """
    torch = _torch()
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in state_dict.items()}
    with files.written_aside(path) as aside:
        torch.save(tensors, aside)


def check_torch():
    """Raises ValueError, naming the extra, unless PyTorch is installed."""
    _torch()


def _torch():
    try:
        import torch  # here: only those who convert need it
    except ImportError as error:
        raise ValueError(
            'Files of PyTorch need PyTorch: run `pip install "oasis-tf[convert]"`.'
        ) from error
    return torch


def _as_array(torch, tensor):
    if tensor.is_floating_point():  # half precision too: NumPy has no bfloat16
        tensor = tensor.to(torch.float32)
    return tensor.numpy()


def _described(contents):
    if not isinstance(contents, dict):
        return type(contents).__name__
    return f"a dict with the keys {', '.join(map(repr, list(contents)[:5]))}"
