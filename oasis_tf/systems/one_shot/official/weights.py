"""Weights of the authors' PyTorch release: names, layouts, and sizes inferred from shapes.

Importing this module loads neither TensorFlow nor PyTorch.
"""

import re

import numpy as np

from oasis_tf.io.official_layouts import official_layout, our_layout
from oasis_tf.training.named_weights import fill, named_weights

_SPECTRAL = {"weight_orig": "kernel", "bias": "bias", "weight_u": "u", "weight_v": "v"}
_PLAIN = {"weight": "kernel", "bias": "bias"}
_PARTS = {"conv1": "conv_0", "conv2": "conv_1", "conv_sc": "conv_s"}
_ROWS = {"ll": "low", "content": "content", "layout": "layout"}
_BRANCHES = "|".join(_ROWS)
_FIRST = "first_linear.weight"


def our_name(official_name):
    """Returns our name (without that of the network) of an official weight.

    Raises:
        ValueError: the name is unknown.
    """
    layer, _, leaf = official_name.rpartition(".")
    ours, leaves = _our_layer(layer), _SPECTRAL
    if layer in ("first_linear", "mask_converter"):
        ours, leaves = {"first_linear": "first", "mask_converter": "to_mask"}[layer], _PLAIN
    if ours is None or leaf not in leaves:
        raise ValueError(f"No weight of SIV-GAN or OSMIS is called {official_name!r}.")
    return f"{ours}/{leaves[leaf]}"


def _our_layer(layer):
    """Our name of an official layer with spectral norm; None if it is none."""
    if match := re.fullmatch(r"body\.(\d+)\.(conv1|conv2|conv_sc)", layer):
        return f"block_{match[1]}/{_PARTS[match[2]]}"
    if match := re.fullmatch(rf"body_({_BRANCHES})\.(\d+)\.(conv1|conv2|conv_sc)", layer):
        return f"{_ROWS[match[1]]}_{match[2]}/{_PARTS[match[3]]}"
    if match := re.fullmatch(rf"final_({_BRANCHES})\.(\d+)", layer):
        return f"{_ROWS[match[1]]}_head_{match[2]}"
    if match := re.fullmatch(r"(rgb_converters|rgb_to_features)\.(\d+)", layer):
        return (
            {"rgb_converters": "to_rgb", "rgb_to_features": "from_rgb"}[match[1]] + "_" + match[2]
        )
    return None


def official_name(name):
    """Returns the official name of our weight; inverse of `our_name`.

    Raises:
        ValueError: the release has no such weight.
    """
    layer, _, leaf = name.rpartition("/")
    plain = {"first": "first_linear", "to_mask": "mask_converter"}
    if layer in plain:
        return f"{plain[layer]}.{'weight' if leaf == 'kernel' else leaf}"
    rows = {ours: official for official, ours in _ROWS.items()}
    parts = {ours: official for official, ours in _PARTS.items()}
    leaves = {ours: official for official, ours in _SPECTRAL.items()}
    official = None
    if match := re.fullmatch(r"block_(\d+)/(\w+)", layer):
        official = f"body.{match[1]}.{parts.get(match[2])}"
    elif match := re.fullmatch(r"(low|content|layout)_(\d+)/(\w+)", layer):
        official = f"body_{rows[match[1]]}.{match[2]}.{parts.get(match[3])}"
    elif match := re.fullmatch(r"(low|content|layout)_head_(\d+)", layer):
        official = f"final_{rows[match[1]]}.{match[2]}"
    elif match := re.fullmatch(r"(to_rgb|from_rgb)_(\d+)", layer):
        kind = {"to_rgb": "rgb_converters", "from_rgb": "rgb_to_features"}[match[1]]
        official = f"{kind}.{match[2]}"
    if official is None or official.endswith("None") or leaf not in leaves:
        raise ValueError(
            f"The authors' release has no weight like {name}: it has no normalisation, no "
            "broadcast latent, and of the uses of masks only attention."
        )
    return f"{official}.{leaves[leaf]}"


def in_our_layout(name, array, state_dict):
    """Converts an official array to our layout; the first layer [Z, C, h, w] is transposed."""
    array = np.asarray(array)
    if name == _FIRST and array.ndim == 4:
        return array.transpose(0, 2, 3, 1)
    return our_layout(name, array, state_dict)


def in_official_layout(name, weights):
    """Converts an array to the official layout; inverse of `in_our_layout`.

    Args:
        name: our name of the array.
        weights: all our arrays by name.
    """
    if name == "first/kernel":
        return np.ascontiguousarray(np.asarray(weights[name]).transpose(0, 3, 1, 2))
    return official_layout(name, weights)


def load_official(network, state_dict):
    """Fills a ``Generator`` or ``Discriminator`` from official weights.

    Args:
        network: of the same widths and depths.
        state_dict: mapping from official names to NumPy arrays.

    Raises:
        ValueError: entries are missing, unknown, of other shapes or not finite. The error lists all
            of them; nothing is assigned.
    """
    fill(network, state_dict, our_name, lambda name, a: in_our_layout(name, a, state_dict))


def to_official(network):
    """Converts a ``Generator`` or ``Discriminator`` to a state dict; inverse of `load_official`.

    Returns:
        dict from official names to NumPy arrays.

    Raises:
        ValueError: the release has no such network.
    """
    weights = {name: variable.numpy() for name, variable in named_weights(network).items()}
    return {official_name(name): in_official_layout(name, weights) for name in weights}


# === Sizes ===


def generator_settings(state_dict, source):
    """Infers the settings of a generator from the shapes of its weights.

    Args:
        state_dict: official weights.
        source: str, their name in errors.

    Returns:
        dict of settings of ``ModelConfig``.

    Raises:
        ValueError: these are not the weights of a generator.
    """
    shape = _shapes(state_dict, source, "generator")
    noise_dim, _, height, width = shape(_FIRST)
    blocks = _count(state_dict, "body.{}.conv1.weight_orig")
    masked = "mask_converter.weight" in state_dict
    return {
        "noise_dim": noise_dim,
        "grid_height": height,
        "grid_width": width,
        "blocks_g": blocks,
        "num_blocks_g": blocks,
        "ch_g": shape(f"body.{blocks - 1}.conv2.weight_orig")[0],
        "num_classes": shape("mask_converter.weight")[0] if masked else 0,
    }


def discriminator_settings(state_dict, source):
    """Infers the settings of a discriminator; arguments and errors as of `generator_settings`."""
    shape = _shapes(state_dict, source, "discriminator")
    low = _count(state_dict, "body_ll.{}.conv1.weight_orig")
    blocks = low + _count(state_dict, "body_content.{}.conv1.weight_orig")
    depths = {"blocks_d": blocks, "blocks_d0": low}
    return {
        "ch_d": shape("rgb_to_features.0.weight_orig")[0],
        **depths,
        **{f"num_{name}": value for name, value in depths.items()},
    }


def _count(state_dict, name):
    count = 0
    while name.format(count) in state_dict:
        count += 1
    return count


def _shapes(state_dict, source, kind):
    def shape(name):
        found = np.shape(state_dict.get(name))
        if len(found) != 4 or 0 in found:
            raise ValueError(
                f"{source} is not a {kind} of SIV-GAN or OSMIS: {name} must be a kernel of 4 "
                f"dimensions. Received: {found or 'nothing of this name'}."
            )
        return found

    return shape
