"""Checkpoints of SPADE's PyTorch code: names, layouts, sizes, and the channels of label maps.

``latest_net_G.pth`` is the generator, ``latest_net_E.pth`` the image encoder. Names and layouts are
those of `release_weights`, but for the names of blocks and batch norms; the order of the classes,
which is that of the raw ids with the unknown label last; and dense layers, which see features
channel first. This module loads neither TensorFlow nor PyTorch.
"""

import math
import re

import numpy as np

from oasis_tf.systems.oasis.official import release_weights
from oasis_tf.training.named_weights import fill

# Names that the networks have for certain.
GENERATOR_SIGNS = ("fc.weight", "conv_img.weight", "head_0.conv_0.weight_orig")
ENCODER_SIGNS = ("fc_mu.weight", "layer1.0.weight_orig")

_BLOCKS = ("head_0", "G_middle_0", "G_middle_1", "up_0", "up_1", "up_2", "up_3", "up_4")
_WITHOUT_LAST = len(_BLOCKS) - 1  # up_4 is there with one more upsampling
_DENSE = {"fc_mu": "to_mean", "fc_var": "to_log_variance"}
_LEAVES = {"weight_orig": "kernel", "weight_u": "u", "weight_v": "v"}
_LAST_SIDE = 4  # of the encoder's features


# === Names ===


def our_name(name):
    """Returns our name (without that of the network) of one of SPADE's weights; None if unused.

    Raises:
        ValueError: the name is unknown.
    """
    first, _, rest = name.partition(".")
    conv = re.fullmatch(r"layer(\d+)\.0\.(\w+)", name)
    if conv and conv[2] in _LEAVES:
        return f"conv_{int(conv[1]) - 1}/{_LEAVES[conv[2]]}"
    if first in _DENSE and rest in ("weight", "bias"):
        return f"{_DENSE[first]}/{rest.replace('weight', 'kernel')}"
    if first in _BLOCKS:
        first = f"body.{_BLOCKS.index(first)}"
    try:
        return release_weights.our_name(f"{first}.{rest}".replace("param_free_norm", "first_norm"))
    except ValueError:
        raise ValueError(f"No weight of SPADE is called {name!r}.") from None


# === Layouts ===


def completed(state_dict):
    """Returns a state dict with ``weight_v``, which PyTorch before 1.1 did not write.

    It wrote the normalised kernel as it was last used: sigma is the ratio of the norms of
    ``weight_orig`` and ``weight``. Any v with u^T W v = sigma serves.
    """
    found = dict(state_dict)
    for name, kernel in state_dict.items():
        stem, _, leaf = name.rpartition(".")
        if leaf != "weight_orig":
            continue
        last, u = found.pop(f"{stem}.weight", None), found.get(f"{stem}.weight_u")
        if f"{stem}.weight_v" in found or last is None or u is None:
            continue
        matrix = np.asarray(kernel, np.float64).reshape(len(kernel), -1)
        product = np.asarray(u, np.float64) @ matrix
        with np.errstate(all="ignore"):  # what is not finite then is refused by name
            sigma = np.linalg.norm(kernel) / np.linalg.norm(last)
            found[f"{stem}.weight_v"] = np.float32(product * (sigma / (product @ product)))
    return found


def load(network, state_dict, channels):
    """Fills a ``Generator`` or an ``Encoder`` from SPADE's weights.

    Args:
        network: of the same widths.
        state_dict: mapping from SPADE's names to NumPy arrays.
        channels: int [N], the channel of each model id, as from `label_channels`.

    Raises:
        ValueError: as `release_weights.load_official`.
    """
    state_dict = completed(state_dict)
    fill(
        network,
        state_dict,
        our_name,
        lambda name, array: _our_layout(name, np.asarray(array), state_dict, network, channels),
    )


def _our_layout(name, array, state_dict, network, channels):
    """An array in our layout; one that does not fit stays as it is, and is refused."""
    layer, _, leaf = name.rpartition(".")
    takes_labels = layer == "fc" or layer.endswith("mlp_shared.0")
    if takes_labels and array.ndim == 4 and array.shape[1] > max(channels):
        array = array[:, channels]
    if layer == "fc" and getattr(network, "latent_stem", False):
        rows = _rows_channel_last(array, network.start_size)
        return rows.T if array.ndim == 2 else rows
    if layer in _DENSE and leaf == "weight" and array.ndim == 2:
        return _rows_channel_last(array.T, (_LAST_SIDE, _LAST_SIDE))
    return release_weights.our_layout(name, array, state_dict)


def _rows_channel_last(array, size):
    """Rows [C h w, …], each for one of the features [C, h, w], in the order of [h, w, C]."""
    if len(array) % math.prod(size):
        return array
    features = array.reshape(-1, *size, *array.shape[1:])
    return np.moveaxis(features, 0, len(size)).reshape(array.shape)


# === Sizes ===


def generator_settings(state_dict, source):
    """Infers the settings of a generator from the shapes of its weights.

    Args:
        state_dict: SPADE's weights.
        source: str, their name in errors.

    Returns:
        (dict of settings, number of channels of label maps).

    Raises:
        ValueError: weights are missing or of other dimensions.
    """
    count = sum(f"{block}.conv_1.weight_orig" in state_dict for block in _BLOCKS)
    blocks = _BLOCKS[: max(count, _WITHOUT_LAST)]
    widths = [_shape(state_dict, "head_0.conv_0.weight_orig", source)[1]]
    widths += [_shape(state_dict, f"{block}.conv_1.weight_orig", source)[0] for block in blocks]
    hidden, inputs = _shape(state_dict, "head_0.norm_0.mlp_shared.0.weight", source)[:2]
    channels = math.gcd(*widths)
    settings = {
        "generator": "spade",
        "noise": "none",
        "noise_channels": 0,
        "generator_channels": channels,
        "generator_widths": tuple(width // channels for width in widths),
        "spade_channels": hidden,
    }
    if len(blocks) > _WITHOUT_LAST:
        settings["upsampling"] = "more"
    if takes_latent(state_dict):
        settings |= {"encoder": "stem", "latent_channels": np.shape(state_dict["fc.weight"])[1]}
    return settings, inputs


def takes_latent(state_dict):
    """Whether a generator starts from an encoder's latent vector: its first layer is dense."""
    return np.ndim(state_dict["fc.weight"]) == 2


def encoder_settings(state_dict, source):
    """Infers the settings of an encoder; arguments and errors as for `generator_settings`."""
    depth = 1
    while f"layer{depth + 1}.0.weight_orig" in state_dict:
        depth += 1
    return {
        "encoder_channels": _shape(state_dict, "layer1.0.weight_orig", source)[0],
        "encoder_size": _LAST_SIDE * 2**depth,
        "latent_channels": _shape(state_dict, "fc_mu.weight", source, 2)[0],
    }


def check_start(state_dict, config, source):
    """Raises ValueError unless a dense first layer gives features for the crop."""
    stride, width = config.model.generator_stride, config.model.generator_widths[0]
    sides = [config.data.crop_height // stride, config.data.crop_width // stride]
    pixels = np.shape(state_dict["fc.weight"])[0] / (width * config.model.generator_channels)
    if takes_latent(state_dict) and pixels != math.prod(sides):
        raise ValueError(
            f"{source} makes images of one size: its first features have {pixels:g} pixels. "
            f"Received: --crop_height={config.data.crop_height} "
            f"--crop_width={config.data.crop_width} --upsampling={config.model.upsampling}, which "
            f"is {sides[0]}x{sides[1]} there. Give those that it was trained with."
        )


def _shape(state_dict, name, source, dimensions=4):
    found = np.shape(state_dict[name]) if name in state_dict else None
    if found is None or len(found) != dimensions or 0 in found:
        raise ValueError(
            f"{source} is not of SPADE: {name} must have {dimensions} dimensions. Received: "
            f"{'nothing of this name' if found is None else found}."
        )
    return found


# === Label maps ===


def label_channels(label_space, inputs, drop_edges, source):
    """Returns the input channel of each model id.

    A class has the channel of its raw id, the unknown label too if its raw id lies among the
    classes; otherwise it has the last one. One more channel is that of instance edges.

    Args:
        label_space: `LabelSpace` of the model.
        inputs: int, channels that the generator takes.
        drop_edges: whether the channel of instance edges is left out.
        source: str, name of the file in errors.

    Raises:
        ValueError: the classes do not fit the channels, or there are edges and they are not to be
            dropped, or the other way round.
    """
    unknown, raw_ids = label_space.has_unknown, label_space.raw_ids
    channels = [k if raw < 0 else raw for k, raw in enumerate(raw_ids)]
    top = max(channels[unknown:]) + 1
    if unknown and channels[0] >= top:
        channels[0] = top
    count = max(channels) + 1
    if inputs == count + bool(drop_edges):
        return np.array(channels)
    received = f"Received: {inputs} channels, and {count} for the classes of {label_space.dataset}"
    if inputs == count + 1:
        raise ValueError(
            f"{source} takes instance edges, which this project does not have. {received}. Give "
            "--drop_edges to leave that channel out: images are then as if nothing had an edge."
        )
    raise ValueError(
        f"{source} must take one channel for each class"
        f"{' and one for instance edges (--drop_edges)' if drop_edges else ''}. {received}. Give "
        "the --dataset of this checkpoint, or --dataset=folder with --num_classes and "
        "--unknown_label."
    )
