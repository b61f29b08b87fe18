"""Weights of StyleGAN2 in the format of rosinality/stylegan2-pytorch: names, layouts, sizes.

Importing this module loads neither TensorFlow nor PyTorch.
"""

import re

import numpy as np

from oasis_tf.systems.few_shot.official.shapes import shapes
from oasis_tf.training.named_weights import fill, named_weights

_DENSE = {"weight": "kernel", "bias": "bias"}
_CONV = {"0.weight": "kernel", "1.bias": "bias"}
_MODULATED = {
    "conv.weight": "kernel",
    "conv.modulation.weight": "modulation/kernel",
    "conv.modulation.bias": "modulation/bias",
}
_STYLED = _MODULATED | {"noise.weight": "noise_strength", "activate.bias": "bias"}
_TO_RGB = _MODULATED | {"bias": "bias"}
_BLOCK = {
    "conv1.0.weight": "conv1/kernel",
    "conv1.1.bias": "conv1/bias",
    "conv2.1.weight": "conv2/kernel",
    "conv2.2.bias": "conv2/bias",
    "skip.1.weight": "skip/kernel",
}
# (official layer, ours, what their number is above ours, official names of weights -> ours).
_LAYERS = [
    ("style.{}", "mapping_{}", 1, _DENSE),
    ("input", "constant", 0, {"input": ""}),
    ("conv1", "conv_0", 0, _STYLED),
    ("convs.{}", "conv_{}", -1, _STYLED),
    ("to_rgb1", "to_rgb_0", 0, _TO_RGB),
    ("to_rgbs.{}", "to_rgb_{}", -1, _TO_RGB),
    ("noises", "noise_{}", 0, {"noise_{}": ""}),
    ("convs.0", "from_rgb", 0, _CONV),
    ("convs.{}", "block_{}", 0, _BLOCK),
    ("final_conv", "final_conv", 0, _CONV),
    ("final_linear.0", "hidden", 0, _DENSE),
    ("final_linear.1", "logit", 0, _DENSE),
]
# (official, ours, offset) of every weight.
_WEIGHTS = [
    (f"{official}.{theirs}", f"{layer}/{leaf}".rstrip("/"), offset)
    for official, layer, offset, leaves in _LAYERS
    for theirs, leaf in leaves.items()
]
# Filters are no weights: theirs must be [1, 3, 3, 1], those of upsampling times 4.
_FILTER = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
_FILTERS = {r".*\.(blur|upsample)\.kernel": 4, r"convs\.\d+\.(conv2|skip)\.0\.kernel": 1}
_UNUSED = "latent_avg"


def our_name(official_name):
    """Returns our name of an official weight; None for a filter, which is no weight.

    Raises:
        ValueError: the name is unknown.
    """
    if _factor_of_filter(official_name):
        return None
    found = _translated(official_name, ((theirs, ours, -k) for theirs, ours, k in _WEIGHTS))
    if found is None:
        raise ValueError(f"No weight of StyleGAN2 is called {official_name!r}.")
    return found


def official_name(name):
    """Returns the official name of our weight; inverse of `our_name`.

    Raises:
        ValueError: the release has no such weight.
    """
    found = _translated(name, ((ours, theirs, k) for theirs, ours, k in _WEIGHTS))
    if found is None:
        raise ValueError(f"The release of StyleGAN2 has no weight like {name}.")
    return found


def _translated(name, table):
    for template, other, offset in table:
        match = re.fullmatch(re.escape(template).replace(r"\{\}", r"(\d+)"), name)
        if match:
            number = int(match[1]) + offset if match.groups() else None
            if number is None or number >= 0:
                return other.format(number)
    return None


def _factor_of_filter(name):
    return next((factor for pattern, factor in _FILTERS.items() if re.fullmatch(pattern, name)), 0)


# === Layouts ===


def in_our_layout(name, array):
    """Converts an official array to our layout. One of a wrong rank stays as it is."""
    array = np.asarray(array)
    if name.startswith("noises.") and array.shape[:2] == (1, 1):
        return array[0, 0]
    if name == "input.input" and array.ndim == 4 and len(array) == 1:
        return array[0].transpose(1, 2, 0)
    if name == "final_linear.0.weight" and array.ndim == 2 and array.shape[1] % 16 == 0:
        maps = array.reshape(len(array), -1, 4, 4)
        return maps.transpose(2, 3, 1, 0).reshape(-1, len(array))
    if name.endswith("noise.weight") and array.size == 1:
        return array.reshape(())
    if name.endswith("bias") and array.ndim == 4:
        return array.reshape(-1)
    if array.ndim == 5 and len(array) == 1:
        array = array[0]
    axes = {2: (1, 0), 4: (2, 3, 1, 0)}.get(array.ndim)
    return array if axes is None else array.transpose(axes)


def in_official_layout(name, array):
    """Converts our array to the official layout; inverse of `in_our_layout`.

    Args:
        name: our name.
        array: array in our layout.
    """
    array = np.asarray(array)
    if name.startswith("noise_"):
        array = array[None, None]
    elif name == "constant":
        array = array.transpose(2, 0, 1)[None]
    elif name == "hidden/kernel":
        maps = array.reshape(4, 4, -1, array.shape[1])
        array = maps.transpose(3, 2, 0, 1).reshape(array.shape[1], -1)
    elif name.endswith("noise_strength"):
        array = array.reshape(1)
    elif re.fullmatch(r"to_rgb_\d+/bias", name):
        array = array.reshape(1, -1, 1, 1)
    elif array.ndim == 2:
        array = array.T
    elif array.ndim == 4:
        array = array.transpose(3, 2, 0, 1)
        array = array[None] if re.fullmatch(r"(conv|to_rgb)_\d+/kernel", name) else array
    return np.ascontiguousarray(array)


# === Networks ===


def load_official(network, state_dict):
    """Fills a ``Generator`` or ``Discriminator`` from official weights.

    Old files have neither noise nor filters. Without noise, the network keeps its own.

    Args:
        network: of the same widths and depths.
        state_dict: mapping from official names to NumPy arrays.

    Raises:
        ValueError: entries are missing, unknown, of other shapes or not finite, or filters are
            others. The error lists all of them; nothing is assigned.
    """
    _check_filters(state_dict)
    own = {n: v for n, v in to_official(network).items() if n.startswith("noises.")}
    state_dict = own | {name: a for name, a in state_dict.items() if name != _UNUSED}
    fill(network, state_dict, our_name, in_our_layout)


def _check_filters(state_dict):
    for name, array in state_dict.items():
        factor = _factor_of_filter(name)
        array = np.asarray(array)
        if factor and (array.shape != (4, 4) or np.abs(array - factor * _FILTER).max() > 1e-5):
            raise ValueError(
                f"The filter {name} must be that of [1, 3, 3, 1], with the sum {factor}: no other "
                f"is built in. Received: shape {array.shape}, {np.round(array, 4).tolist()}."
            )


def to_official(network):
    """Converts a ``Generator`` or ``Discriminator`` to a state dict; inverse of `load_official`.

    Returns:
        dict from official names to NumPy arrays, filters included.
    """
    found = {}
    for name, variable in named_weights(network).items():
        official = official_name(name)
        found[official] = in_official_layout(name, variable.numpy())
        for filter_name, factor in _filters_beside(name, official):
            found[filter_name] = (factor * _FILTER).astype(np.float32)
    return found


def _filters_beside(name, official):
    """Yields (name, factor) of filters that a layer has beside a kernel of ours."""
    layer, _, leaf = name.partition("/")
    kind, _, number = layer.rpartition("_")
    stem = official.removesuffix(".weight").removesuffix(".conv")
    if leaf == "kernel" and kind == "conv" and int(number) % 2:
        yield f"{stem}.conv.blur.kernel", 4
    elif leaf == "kernel" and kind == "to_rgb" and int(number):
        yield f"{stem}.upsample.kernel", 4
    elif leaf in ("conv2/kernel", "skip/kernel"):
        yield f"{stem.rpartition('.')[0]}.0.kernel", 1


# === Sizes ===


def generator_settings(state_dict, source):
    """Infers the sizes of a generator from the shapes of its weights.

    Args:
        state_dict: official weights.
        source: str, their name in errors.

    Returns:
        dict: ``size``, ``channels`` (dict from resolutions to widths), ``style_dim``, ``num_mlp``.

    Raises:
        ValueError: these are not the weights of a generator.
    """
    shape = shapes(state_dict, source, "generator of StyleGAN2")
    channels = {4: shape("input.input", 4)[1]}
    while f"convs.{2 * len(channels) - 1}.conv.weight" in state_dict:
        width = shape(f"convs.{2 * len(channels) - 1}.conv.weight", 5)[1]
        channels[4 << len(channels)] = width
    layers = 0
    while f"style.{layers + 1}.weight" in state_dict:
        layers += 1
    style_dim = shape("conv1.conv.modulation.weight", 2)[1]
    size = max(channels)
    return {"size": size, "channels": channels, "style_dim": style_dim, "num_mlp": layers}


def discriminator_settings(state_dict, source):
    """Infers ``size`` and ``channels`` of a discriminator; else as `generator_settings`."""
    shape = shapes(state_dict, source, "discriminator of StyleGAN2")
    widths = [shape("convs.0.0.weight", 4)[0]]
    while f"convs.{len(widths)}.skip.1.weight" in state_dict:
        widths.append(shape(f"convs.{len(widths)}.skip.1.weight", 4)[0])
    channels = {4 << k: width for k, width in enumerate(widths[::-1])}
    return {"size": max(channels), "channels": channels}
