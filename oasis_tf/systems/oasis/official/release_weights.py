"""Checkpoints of the authors' PyTorch release: names, layouts, and sizes inferred from shapes.

A checkpoint is a state dict: a mapping from official names to arrays. Kernels are OIHW. With
spectral normalisation a layer has ``weight_orig``, ``weight_u`` [out] and ``weight_v``
[in * kh * kw]. ``norm_0`` and ``norm_s`` of a block hold statistics of the same tensor; here it has
one name. ``num_batches_tracked`` is not used here. Importing this module loads neither TensorFlow
nor PyTorch; `io/pth_files.py` reads and writes the files.
"""

import math
import re

import numpy as np

from oasis_tf.io.official_layouts import official_layout, our_layout
from oasis_tf.training.named_weights import fill, named_weights

COUNTER = "num_batches_tracked"
# Names that the networks have for certain.
GENERATOR_SIGNS = ("fc.weight", "conv_img.weight", "body.0.conv_0.weight_orig")
DISCRIMINATOR_SIGNS = ("layer_up_last.weight", "body_down.0.conv1.0.weight_orig")
_SPECTRAL = {"weight_orig": "kernel", "bias": "bias", "weight_u": "u", "weight_v": "v"}
_PLAIN = {"weight": "kernel", "bias": "bias"}
_GAMMA = {"weight": "gamma_kernel", "bias": "gamma_bias"}
_BETA = {"weight": "beta_kernel", "bias": "beta_bias"}
_MOMENTS = {"running_mean": "moving_mean", "running_var": "moving_variance"}

# Regular expressions of the {fields} in the table.
_FIELDS = {"k": r"\d+", "part": "[01s]", "norm": "[01]", "first": "0", "later": r"[1-9]\d*",
           "way": "down|up"}  # fmt: skip
# (official layer, our layer, official leaf -> our leaf). The numbers after conv1 and conv2 count
# activations and upsamplings before the convolution.
_TABLE = [
    ("fc", "stem", _PLAIN),
    ("conv_img", "to_rgb", _PLAIN),
    ("body.{k}.conv_{part}", "block_{k}/conv_{part}", _SPECTRAL),
    ("body.{k}.norm_{part}.mlp_shared.0", "block_{k}/norm_{part}/shared", _PLAIN),
    ("body.{k}.norm_{part}.mlp_gamma", "block_{k}/norm_{part}", _GAMMA),
    ("body.{k}.norm_{part}.mlp_beta", "block_{k}/norm_{part}", _BETA),
    ("body.{k}.norm_{norm}.first_norm", "block_{k}/batch_norm_{norm}", _MOMENTS),
    ("body_down.{first}.conv1.0", "down_{first}/conv_0", _SPECTRAL),
    ("body_down.{later}.conv1.1", "down_{later}/conv_0", _SPECTRAL),
    ("body_up.{k}.conv1.2", "up_{k}/conv_0", _SPECTRAL),
    ("body_{way}.{k}.conv2.1", "{way}_{k}/conv_1", _SPECTRAL),
    ("body_{way}.{k}.conv_s", "{way}_{k}/conv_s", _SPECTRAL),
    ("layer_up_last", "to_logits", _PLAIN),
]
# A second name that is only read; `official_names` adds it when weights are written.
_SECOND_NAME = ("body.{k}.norm_s.first_norm", "block_{k}/batch_norm_0", _MOMENTS)


def _pattern(template):
    """Returns the regular expression of a table entry, with a named group for each {field}."""
    return re.compile(
        re.sub(r"\\{(\w+)\\}", lambda m: f"(?P<{m[1]}>{_FIELDS[m[1]]})", re.escape(template))
    )


_TO_OURS = [(_pattern(a), b, leaves) for a, b, leaves in (*_TABLE, _SECOND_NAME)]
_TO_OFFICIAL = [
    (_pattern(b), a, {ours: official for official, ours in leaves.items()})
    for a, b, leaves in _TABLE
]


def _translate(table, layer, leaf):
    for pattern, other, leaves in table:
        match = pattern.fullmatch(layer)
        if match and leaf in leaves:
            return other.format(**match.groupdict()), leaves[leaf]
    return None


# === Names ===


def our_name(official_name):
    """Returns our name (without that of the network) of an official weight; None if unused here.

    Raises:
        ValueError: the name is unknown.
    """
    layer, _, leaf = official_name.rpartition(".")
    if leaf == COUNTER:
        return None
    found = _translate(_TO_OURS, layer, leaf)
    if found is None:
        raise ValueError(f"No weight of OASIS is called {official_name!r}.")
    return "/".join(found)


def official_names(names):
    """Yields all official names of the weights of one network, in order.

    Args:
        names: all our weight names of the network.

    Yields:
        (official name, our name). Our name is None for the counters, which are not used here.
    """
    shortcuts = {name.split("/")[0] for name in names if "/norm_s/" in name}
    for name in names:
        layer, _, leaf = name.rpartition("/")
        official, official_leaf = _translate(_TO_OFFICIAL, layer, leaf)
        layers = [official]
        if layer.endswith("/batch_norm_0") and layer.split("/")[0] in shortcuts:
            layers.append(official.replace("norm_0", "norm_s"))
        for one in layers:
            yield f"{one}.{official_leaf}", name
            if leaf == "moving_variance":
                yield f"{one}.{COUNTER}", None


# === Networks ===


def load_official(network, state_dict):
    """Fills a ``Generator`` or ``Discriminator`` from official weights.

    Args:
        network: a ``Generator`` or a ``Discriminator`` of the same widths.
        state_dict: mapping from official names to NumPy arrays.

    Raises:
        ValueError: entries are missing, unknown, of other shapes, contradictory or not finite. The
            error lists all of them; nothing is assigned.
    """
    fill(network, state_dict, our_name, lambda name, array: our_layout(name, array, state_dict))


def to_official(network):
    """Converts a ``Generator`` or ``Discriminator`` to a state dict; inverse of ``load_official``.

    Returns:
        dict from official names to NumPy arrays. Counters, which are not used here, are 0.
    """
    weights = {name: variable.numpy() for name, variable in named_weights(network).items()}
    return {
        official: np.zeros((), np.int64) if ours is None else official_layout(ours, weights)
        for official, ours in official_names(weights)
    }


# === Sizes ===


def generator_settings(state_dict, source):
    """Infers the widths of a generator from the shapes of its kernels.

    Args:
        state_dict: official weights.
        source: str, their name in errors.

    Returns:
        (dict with ``generator_channels``, ``generator_widths`` and ``spade_channels``, number of
        channels of noise and label classes together).

    Raises:
        ValueError: these are not the weights of a generator.
    """
    shape = _shapes_of(state_dict, source, "generator", "layer_up_last.weight")
    units, condition = shape("fc.weight")[:2]
    widths = [units]
    while f"body.{len(widths) - 1}.conv_1.weight_orig" in state_dict:
        widths.append(shape(f"body.{len(widths) - 1}.conv_1.weight_orig")[0])
    channels = math.gcd(*widths)
    return {
        "generator_channels": channels,
        "generator_widths": tuple(width // channels for width in widths),
        "spade_channels": shape("body.0.norm_0.mlp_shared.0.weight")[0],
    }, condition


def discriminator_settings(state_dict, source):
    """Infers widths and classes of a discriminator from the shapes of its kernels.

    Args:
        state_dict: official weights.
        source: str, their name in errors.

    Returns:
        (dict with ``discriminator_channels`` and ``discriminator_widths``, number of classes N).

    Raises:
        ValueError: these are not the weights of a discriminator.
    """
    shape = _shapes_of(state_dict, source, "discriminator", "conv_img.weight")
    outputs, channels = shape("layer_up_last.weight")[:2]
    units = [shape("body_down.0.conv2.1.weight_orig")[0]]
    while f"body_down.{len(units)}.conv2.1.weight_orig" in state_dict:
        units.append(shape(f"body_down.{len(units)}.conv2.1.weight_orig")[0])
    if any(unit % channels for unit in units):
        raise ValueError(
            f"{source}: the widths of the down blocks must be multiples of the width before the "
            f"last layer. Received: {units} and {channels}."
        )
    return {
        "discriminator_channels": channels,
        "discriminator_widths": tuple(unit // channels for unit in units),
    }, outputs - 1


def _shapes_of(state_dict, source, kind, sign_of_the_other):
    """Returns function(name) -> shape of a kernel; its error says what the file is not."""

    def shape(name):
        found = np.shape(state_dict[name]) if name in state_dict else None
        if found is None or len(found) != 4 or 0 in found:
            other = "discriminator" if kind == "generator" else "generator"
            hint = f" It looks like a {other}." if sign_of_the_other in state_dict else ""
            raise ValueError(
                f"{source} is not a {kind} of OASIS: {name} must be a kernel of 4 dimensions. "
                f"Received: {'nothing of this name' if found is None else found}.{hint}"
            )
        return found

    return shape
