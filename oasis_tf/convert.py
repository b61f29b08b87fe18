"""Weights of the official PyTorch release, by a table of name patterns.

Official names and layouts: kernels OIHW, ``weight_orig`` with ``weight_u`` [out] and ``weight_v``
[in * kh * kw] under spectral normalisation. ``norm_0`` and ``norm_s`` of a block hold the
statistics of the same tensor under both names; here they are one. ``num_batches_tracked`` has no
meaning here.
"""

import re

import numpy as np

from oasis_tf.models.weights import named_weights

_SPECTRAL = {"weight_orig": "kernel", "bias": "bias", "weight_u": "u", "weight_v": "v"}
_PLAIN = {"weight": "kernel", "bias": "bias"}
_GAMMA = {"weight": "gamma_kernel", "bias": "gamma_bias"}
_BETA = {"weight": "beta_kernel", "bias": "beta_bias"}
_MOMENTS = {"running_mean": "moving_mean", "running_var": "moving_variance"}

# (official layer, our layer, official leaf -> our leaf)
_TABLE = [
    (r"fc", r"stem", _PLAIN),
    (r"conv_img", r"to_rgb", _PLAIN),
    (r"body\.(\d+)\.(conv_[01s])", r"block_\1/\2", _SPECTRAL),
    (r"body\.(\d+)\.(norm_[01s])\.mlp_shared\.0", r"block_\1/\2/shared", _PLAIN),
    (r"body\.(\d+)\.(norm_[01s])\.mlp_gamma", r"block_\1/\2", _GAMMA),
    (r"body\.(\d+)\.(norm_[01s])\.mlp_beta", r"block_\1/\2", _BETA),
    (r"body\.(\d+)\.norm_([01])\.first_norm", r"block_\1/batch_norm_\2", _MOMENTS),
    (r"body\.(\d+)\.norm_s\.first_norm", r"block_\1/batch_norm_0", _MOMENTS),
    (r"body_(down|up)\.(\d+)\.conv1\.\d", r"\1_\2/conv_0", _SPECTRAL),
    (r"body_(down|up)\.(\d+)\.conv2\.1", r"\1_\2/conv_1", _SPECTRAL),
    (r"body_(down|up)\.(\d+)\.conv_s", r"\1_\2/conv_s", _SPECTRAL),
    (r"layer_up_last", r"to_logits", _PLAIN),
]


def our_name(official_name):
    """Our weight name (without the network's own) for an official one; None if it has no meaning.

    Raises:
        ValueError: a name no pattern knows.
    """
    stem, _, leaf = official_name.rpartition(".")
    if leaf == "num_batches_tracked":
        return None
    for pattern, layer, leaves in _TABLE:
        match = re.fullmatch(pattern, stem)
        if match and leaf in leaves:
            return f"{match.expand(layer)}/{leaves[leaf]}"
    raise ValueError(f"No weight of OASIS is called {official_name!r}.")


def our_layout(official_name, array, state_dict):
    """An official array in our layout: kernels HWIO, ``v`` flattened over (kh, kw, in)."""
    array = np.asarray(array)
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if official_name.endswith("weight_v"):
        kernel = np.asarray(state_dict.get(official_name.removesuffix("weight_v") + "weight_orig"))
        # Where it does not fit its kernel it stays as it is, for `load_official` to refuse.
        if kernel.ndim == 4 and array.size == kernel[0].size:
            return array.reshape(kernel.shape[1:]).transpose(1, 2, 0).reshape(-1)
    return array


def load_official(network, state_dict):
    """Fills a ``Generator`` or ``Discriminator`` from official weights.

    Args:
        network: a ``Generator`` or a ``Discriminator`` of the same widths.
        state_dict: mapping from official names to NumPy arrays.

    Raises:
        ValueError: missing, surplus or misshapen entries, all of them listed; nothing is assigned.
    """
    weights, found, problems = named_weights(network), {}, []
    for name, array in state_dict.items():
        try:
            target = our_name(name)
        except ValueError as error:
            problems.append(str(error))
            continue
        if target is None:
            continue
        value = our_layout(name, array, state_dict)
        if target not in weights:
            problems.append(f"{name} ({target}) has no place in this network.")
        elif tuple(weights[target].shape) != value.shape:
            want = tuple(weights[target].shape)
            problems.append(f"{name} must become {want}. Received: {value.shape}.")
        found[target] = value
    problems += [f"{name} is missing." for name in weights if name not in found]
    if problems:
        raise ValueError("These weights do not fit the network:\n  " + "\n  ".join(problems))
    for name, value in found.items():
        weights[name].assign(value)
