"""Weights of BigGAN-PyTorch: names, layouts, and sizes inferred from shapes.

Importing this module loads neither TensorFlow nor PyTorch. Its generators come with one of three
batch norms, which store the same statistics under other names.
"""

import re

import numpy as np

from oasis_tf.io.official_layouts import official_layout, our_layout
from oasis_tf.systems.few_shot import biggan_sizes as sizes
from oasis_tf.systems.few_shot.official.shapes import shapes
from oasis_tf.training.named_weights import fill, named_weights

_CONVS = {"conv1": "conv_0", "conv2": "conv_1", "conv_sc": "conv_s"}
_SPECTRAL = {"weight": "kernel", "bias": "bias", "u0": "u", "sv0": "sigma"}
_OUTPUT_NORM = {"gain": "gamma", "bias": "beta"}
_STATISTICS = {
    "stored_mean": "moving_mean",
    "stored_var": "moving_variance",
    "bn.stored_mean": "moving_mean",
    "bn.stored_var": "moving_variance",
    "bn.accumulation_counter": "accumulations",
    "bn.running_mean": "moving_mean",  # batch norm of several GPUs
    "bn.running_var": "moving_variance",
}
_UNUSED = r".*\.bn\.num_batches_tracked"
TF_HUB_BN_EPSILON = 1e-4


# === Names ===


def our_name(official_name):
    """Our name (without that of the network) of an official weight; None if it is unused.

    Raises:
        ValueError: the name is unknown.
    """
    if re.fullmatch(_UNUSED, official_name):
        return None
    if official_name == "shared.weight":
        return "shared/table"
    found = _our_norm(official_name) or _our_spectral(official_name)
    if found is None:
        raise ValueError(f"No weight of BigGAN is called {official_name!r}.")
    return found


def _our_norm(name):
    """Our name of a weight or statistic of a batch norm, or of attention's factor; or None."""
    if match := re.fullmatch(r"blocks\.(\d+)\.1\.gamma", name):
        return f"attention_{match[1]}/gamma"
    if match := re.fullmatch(r"blocks\.(\d+)\.0\.bn([12])\.((bn\.)?\w+)", name):
        leaf = _STATISTICS.get(match[3])
        return leaf and f"block_{match[1]}/norm_{int(match[2]) - 1}/{leaf}"
    if match := re.fullmatch(r"output_layer\.0\.((bn\.)?\w+)", name):
        leaf = (_STATISTICS | _OUTPUT_NORM).get(match[1])
        return leaf and f"norm/{leaf}"
    return None


def _our_spectral(name):
    """Our name of a weight of a layer with spectral norm; or None."""
    layer, _, leaf = name.rpartition(".")
    ours = {"linear": "linear", "embed": "embed", "output_layer.2": "to_rgb"}.get(layer)
    if match := re.fullmatch(r"blocks\.(\d+)\.0\.(conv1|conv2|conv_sc)", layer):
        ours = f"block_{match[1]}/{_CONVS[match[2]]}"
    elif match := re.fullmatch(r"blocks\.(\d+)\.0\.bn([12])\.(gain|bias)", layer):
        ours = f"block_{match[1]}/norm_{int(match[2]) - 1}/{match[3]}"
    elif match := re.fullmatch(r"blocks\.(\d+)\.1\.(theta|phi|g|o)", layer):
        ours = f"attention_{match[1]}/{match[2]}"
    return f"{ours}/{_SPECTRAL[leaf]}" if ours and leaf in _SPECTRAL else None


def official_name(name, mybn=False):
    """The official name of our weight; inverse of `our_name`.

    Args:
        name: our name.
        mybn: bool, whether the generator's batch norm is the one that accumulates.
    """
    layer, _, leaf = name.rpartition("/")
    if name == "shared/table":
        return "shared.weight"
    statistics = {
        ours: official
        for official, ours in _STATISTICS.items()
        if official.startswith("bn.") == mybn and "running" not in official
    }
    leaves = statistics | {ours: official for official, ours in _SPECTRAL.items()}
    if layer == "norm":
        leaves |= {ours: official for official, ours in _OUTPUT_NORM.items()}
    return f"{_official_layer(layer)}.{leaves.get(leaf, leaf)}"


def _official_layer(layer):
    convs = {ours: official for official, ours in _CONVS.items()}
    if match := re.fullmatch(r"block_(\d+)/(conv_\w)", layer):
        return f"blocks.{match[1]}.0.{convs[match[2]]}"
    if match := re.fullmatch(r"block_(\d+)/norm_([01])(/\w+)?", layer):
        rest = (match[3] or "").replace("/", ".")
        return f"blocks.{match[1]}.0.bn{int(match[2]) + 1}{rest}"
    if match := re.fullmatch(r"attention_(\d+)(/\w+)?", layer):
        return f"blocks.{match[1]}.1{(match[2] or '').replace('/', '.')}"
    return {"norm": "output_layer.0", "to_rgb": "output_layer.2"}.get(layer, layer)


# === Layouts ===


def in_our_layout(name, array):
    """An official array in our layout: kernels HWIO or [in, out], vectors of one dimension."""
    array = np.asarray(array)
    if array.ndim == 2 and name != "shared.weight":
        return array[0] if name.endswith(".u0") and len(array) == 1 else array.T
    return our_layout(name, array, {})


def in_official_layout(name, array):
    """One of our arrays in the official layout; inverse of `in_our_layout`."""
    array = np.asarray(array)
    if array.ndim == 0:
        return array
    if name == "u" or name.endswith("/u"):
        return array[None]
    if array.ndim == 2 and name != "shared/table":
        return np.ascontiguousarray(array.T)
    return official_layout(name, {name: array})


def load_official(network, state_dict):
    """Fills a network from official weights.

    Args:
        network: ``Generator`` or ``Discriminator`` of the same sizes.
        state_dict: mapping from official names to NumPy arrays. ``sv0`` may be missing, as in
            weights that come from TF-Hub.

    Raises:
        ValueError: entries are missing, unknown, of other shapes or not finite. The error lists all
            of them; nothing is assigned.
    """
    norms = {f"{k[:-2]}sv0": np.ones(1) for k in state_dict if re.fullmatch(r"(.*\.)?u0", k)}
    fill(network, norms | dict(state_dict), our_name, in_our_layout)


def to_official(network):
    """A network's weights by official names, in the official layout; inverse of `load_official`."""
    mybn = getattr(network, "mybn", False)
    return {
        official_name(name, mybn): in_official_layout(name, variable.numpy())
        for name, variable in named_weights(network).items()
    }


# === Sizes ===


def generator_settings(state_dict, source):
    """Arguments of the ``Generator`` that official weights fit, inferred from their shapes.

    Weights without ``sv0`` come from TF-Hub; their conditional batch norms have the epsilon 1e-4.

    Args:
        state_dict: official weights.
        source: str, their name in errors.

    Raises:
        ValueError: these are not the weights of a generator.
    """
    shape = shapes(state_dict, source, "generator of BigGAN")
    classes, shared_dim = shape("shared.weight", 2)
    first, chunk = shape("linear.weight", 2)
    resolution, count = _resolution(state_dict, source, "generator", smallest=3)
    blocks = sizes.generator_blocks(resolution, 1)
    found = {
        "resolution": resolution,
        "ch": first // (sizes.START**2 * blocks[0].in_channels),
        "num_classes": classes,
        "dim_z": chunk * (count + 1),
        "shared_dim": shared_dim,
        "attention": _attention(state_dict, [block.side for block in blocks]),
        "mybn": any(name.endswith("accumulation_counter") for name in state_dict),
    }
    if "linear.sv0" not in state_dict:
        found["bn_eps"] = TF_HUB_BN_EPSILON
    return found


def discriminator_settings(state_dict, source):
    """Arguments of the ``Discriminator`` that official weights fit, inferred from their shapes.

    Arguments and errors are those of `generator_settings`.
    """
    shape = shapes(state_dict, source, "discriminator of BigGAN")
    resolution, _ = _resolution(state_dict, source, "discriminator", smallest=4)
    blocks = sizes.discriminator_blocks(resolution, 1)
    projected = "embed.weight" in state_dict
    return {
        "resolution": resolution,
        "ch": shape("blocks.0.0.conv1.weight", 4)[0] // blocks[0].out_channels,
        "num_classes": shape("embed.weight", 2)[0] if projected else 0,
        "attention": _attention(state_dict, [block.nominal_side for block in blocks]),
    }


def _resolution(state_dict, source, kind, smallest):
    """(resolution, number of blocks); ``smallest``: number of blocks at 32x32."""
    count = 0
    while f"blocks.{count}.0.conv1.weight" in state_dict:
        count += 1
    most = smallest + len(sizes.RESOLUTIONS) - 1
    if not smallest <= count <= most:
        raise ValueError(
            f"{source} is not a {kind} of BigGAN: it must have {smallest} to {most} blocks "
            f"(blocks.N.0.conv1.weight). Received: {count}."
        )
    return sizes.RESOLUTIONS[count - smallest], count


def _attention(state_dict, sides):
    """The sides with attention, largest first, each once."""
    found = {s for k, s in enumerate(sides) if f"blocks.{k}.1.theta.weight" in state_dict}
    return tuple(sorted(found, reverse=True))
