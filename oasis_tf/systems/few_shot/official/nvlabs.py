"""Networks of NVlabs' stylegan2-ada-pytorch, as weights by rosinality's names.

Their pickles hold every network as a tree of modules, each with its parameters, its buffers and the
modules in it (`oasis_tf/io/torch_pickles.py` reads them).
"""

import re

import numpy as np

_NETWORKS = {"generator": "G", "generator_ema": "G_ema", "discriminator": "D"}
_TENSORFLOW = "dnnlib.tflib.network.Network"
_STYLED = {
    "weight": "conv.weight",
    "affine.weight": "conv.modulation.weight",
    "affine.bias": "conv.modulation.bias",
    "bias": "activate.bias",
    "noise_strength": "noise.weight",
}
_TO_RGB = {name: theirs for name, theirs in _STYLED.items() if name != "bias"} | {"bias": "bias"}
_RESIDUAL = {
    "conv0.weight": "conv1.0.weight",
    "conv0.bias": "conv1.1.bias",
    "conv1.weight": "conv2.1.weight",
    "conv1.bias": "conv2.2.bias",
    "skip.weight": "skip.1.weight",
}
_END = {
    "b4.conv.weight": "final_conv.0.weight",
    "b4.conv.bias": "final_conv.1.bias",
    "b4.fc.weight": "final_linear.0.weight",
    "b4.fc.bias": "final_linear.0.bias",
    "b4.out.weight": "final_linear.1.weight",
    "b4.out.bias": "final_linear.1.bias",
}
# Settings anywhere among the arguments of a network -> those of ``ModelConfig``.
_SETTINGS = {"conv_clamp": "clamp", "mbstd_group_size": "stddev_group"}


def is_pickle(contents):
    """Whether contents of a file are those of NVlabs' pickle, of either release."""
    if isinstance(contents, dict):
        return any(_is_network(contents.get(name)) for name in _NETWORKS.values())
    return isinstance(contents, (tuple, list)) and bool(contents) and _of_tensorflow(contents[0])


def networks(contents, path):
    """The networks of a pickle.

    Args:
        contents: what ``torch_pickles.read`` gave.
        path: of the file, for errors.

    Returns:
        (dict from "generator", "generator_ema", "discriminator", as far as they are there, to
        dicts from rosinality's names to arrays; dict of settings of ``ModelConfig``).

    Raises:
        ValueError: these are networks of the release for TensorFlow.
    """
    if not isinstance(contents, dict):
        raise ValueError(
            f"{path} holds networks of StyleGAN2's release for TensorFlow (dnnlib.tflib), which "
            "are not read: their kernels and biases are stored otherwise. Convert it to a pickle "
            "of stylegan2-ada-pytorch or to rosinality's format first."
        )
    states, settings = {}, {}
    for name, theirs in _NETWORKS.items():
        network = contents.get(theirs)
        if _is_network(network):
            convert = _discriminator if name == "discriminator" else _generator
            states[name] = convert(dict(_weights(network)))
            settings |= _found_settings(network["state"].get("_init_kwargs"))
    return states, settings


def _is_network(value):
    return isinstance(value, dict) and isinstance(value.get("state"), dict)


def _of_tensorflow(value):
    return getattr(value, "name", None) == _TENSORFLOW


def _weights(network, prefix=""):
    """Yields (dotted name, array) of a network and of all modules in it."""
    state = network["state"] if _is_network(network) else {}
    for group in ("_parameters", "_buffers"):
        for name, array in (state.get(group) or {}).items():
            if array is not None:
                yield prefix + name, np.asarray(array)
    for name, module in (state.get("_modules") or {}).items():
        yield from _weights(module, f"{prefix}{name}.")


def _found_settings(arguments):
    found = {}
    for name, value in arguments.items() if isinstance(arguments, dict) else ():
        if name in _SETTINGS and isinstance(value, (int, float)):
            found[_SETTINGS[name]] = type(value)(value)
        found |= _found_settings(value)
    return found


# === Names. What is not known keeps its own, and is refused with the rest by name. ===


def _generator(weights):
    found = {}
    for name, array in weights.items():
        if match := re.fullmatch(r"mapping\.fc(\d+)\.(weight|bias)", name):
            found[f"style.{int(match[1]) + 1}.{match[2]}"] = array
        elif name == "mapping.w_avg":
            found["latent_avg"] = array
        elif name == "synthesis.b4.const":
            found["input.input"] = array[None]
        elif match := re.fullmatch(r"synthesis\.b(\d+)\.(conv0|conv1|torgb)\.(.+)", name):
            found |= _of_layer(name, int(match[1]), match[2], match[3], array)
        elif not name.endswith("resample_filter"):
            found[name] = array
    return found


def _of_layer(name, side, layer, leaf, array):
    """What a weight of one of the generator's layers becomes."""
    number = side.bit_length() - 4  # k of 8 x 2^k; -1 at 4x4
    if leaf == "resample_filter":
        return {}
    if layer == "torgb":
        stem = "to_rgb1" if number < 0 else f"to_rgbs.{number}"
        if leaf == "bias":
            array = array.reshape(1, -1, 1, 1)
        leaves = _TO_RGB
    else:
        index = 2 * number + int(layer == "conv1")
        stem = "conv1" if number < 0 else f"convs.{index}"
        if leaf == "noise_const":
            return {f"noises.noise_{0 if number < 0 else index + 1}": array[None, None]}
        leaves = _STYLED
    if leaf == "weight":
        array = array[None]
    elif leaf == "noise_strength":
        array = array.reshape(1)
    return {f"{stem}.{leaves[leaf]}" if leaf in leaves else name: array}


def _discriminator(weights):
    found = {}
    sides = [int(m[1]) for name in weights if (m := re.fullmatch(r"b(\d+)\.conv0\.weight", name))]
    largest = max(sides, default=4)
    for name, array in weights.items():
        match = re.fullmatch(r"b(\d+)\.((conv0|conv1|skip)\.(weight|bias))", name)
        if name in _END:
            found[_END[name]] = array
        elif match and match[2] in _RESIDUAL:
            block = largest.bit_length() - int(match[1]).bit_length() + 1
            found[f"convs.{block}.{_RESIDUAL[match[2]]}"] = array
        elif match := re.fullmatch(rf"b{largest}\.fromrgb\.(weight|bias)", name):
            found["convs.0.0.weight" if match[1] == "weight" else "convs.0.1.bias"] = array
        elif not name.endswith("resample_filter"):
            found[name] = array
    return found
