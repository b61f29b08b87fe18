"""Checkpoints of other releases, of every kind: their networks, and settings that fit them.

Importing this module loads neither TensorFlow nor PyTorch.
"""

import os
from typing import NamedTuple

from oasis_tf.io import torch_pickles
from oasis_tf.systems.few_shot.official import biggan_weights, nvlabs, stylegan2_weights

ROSINALITY = {"generator": "g", "generator_ema": "g_ema", "discriminator": "d"}
_PREFIX = "module."
_SIGNS = {  # a name that a network's weights have for certain
    ("stylegan2", "generator"): "conv1.conv.weight",
    ("stylegan2", "discriminator"): "final_linear.1.weight",
    ("biggan", "generator"): "shared.weight",
    ("biggan", "discriminator"): "blocks.0.0.conv1.weight",
}
BIGGAN_FILES = {"generator_ema": "G_ema.pth", "generator": "G.pth", "discriminator": "D.pth"}
WEIGHTS = {"stylegan2": stylegan2_weights, "biggan": biggan_weights}


class Checkpoint(NamedTuple):
    """Networks of other releases.

    Attributes:
        network: "stylegan2" or "biggan".
        states: dict from "generator", "generator_ema" and, if there is one, "discriminator" to
            dicts from official names to arrays. Of a missing generator or average the other one
            takes the place.
        settings: dict of all settings of ``ModelConfig``.
        paths: dict from the names of states to those of their files.
    """

    network: str
    states: dict
    settings: dict
    paths: dict


def read(checkpoint, generator=None, discriminator=None):
    """Reads a checkpoint.

    Args:
        checkpoint: file with networks of StyleGAN2 (rosinality's ``.pt``, NVlabs' ``.pkl``) or one
            network of BigGAN-PyTorch (``G_ema.pth`` or ``G.pth``), or a folder with these.
        generator: file of the generator itself, if ``checkpoint`` holds its average alone.
        discriminator: file of the discriminator, if ``checkpoint`` holds none.

    Returns:
        ``Checkpoint``.

    Raises:
        ValueError: a file is damaged, asks for code, holds other networks, or files contradict
            each other.
        OSError: a file cannot be read.
    """
    found, settings, paths = {}, {}, {}
    for name, path in _files(checkpoint, generator, discriminator).items():
        kind, states, of_file = _networks(path)
        found.setdefault("kind", (kind, path))
        if found["kind"][0] != kind:
            raise ValueError(
                f"Files must hold networks of one kind. Received: {found['kind'][0]} in "
                f"{found['kind'][1]}, {kind} in {path}."
            )
        chosen = states if name == "generator_ema" else {name: _one(states, name, path)}
        found |= chosen
        paths |= dict.fromkeys(chosen, path)
        settings |= of_file
    kind, _ = found.pop("kind")
    _complete(found, paths, checkpoint)
    return Checkpoint(kind, found, _settings(kind, found, settings, paths), paths)


def _files(checkpoint, generator, discriminator):
    """Paths by the networks that they are to hold; the first may hold others, too."""
    there = {"generator_ema": checkpoint}
    if os.path.isdir(checkpoint):
        paths = {name: os.path.join(checkpoint, file) for name, file in BIGGAN_FILES.items()}
        there = {name: path for name, path in paths.items() if os.path.isfile(path)}
        if not there.keys() - {"discriminator"}:
            raise FileNotFoundError(
                "A folder with a BigGAN must hold G.pth, or G_ema.pth, or both; and D.pth to be "
                f"trained further. Received: {checkpoint}, without them."
            )
    given = {"generator": generator, "discriminator": discriminator}
    return there | {name: path for name, path in given.items() if path is not None}


def _networks(path):
    """(kind, dict from names of networks to weights, settings) of a file."""
    contents = torch_pickles.read(path)
    if nvlabs.is_pickle(contents):
        return "stylegan2", *nvlabs.networks(contents, path)
    parts = {}
    if isinstance(contents, dict):
        parts = {
            name: _plain(contents[theirs])
            for name, theirs in ROSINALITY.items()
            if isinstance(contents.get(theirs), dict) and contents[theirs]
        }
    if not parts and isinstance(contents, dict):
        whole = _plain(contents)
        kinds = [part for (_, part), sign in _SIGNS.items() if sign in whole]
        parts = {{"generator": "generator_ema"}.get(part, part): whole for part in kinds[:1]}
    for state in parts.values():
        for (kind, _), sign in _SIGNS.items():
            if sign in state:
                return kind, parts, {}
    keys = ", ".join(map(repr, list(contents)[:10])) if isinstance(contents, dict) else "none"
    raise ValueError(
        f"{path} must hold a generator of StyleGAN2 (rosinality's g, g_ema and d, or NVlabs' G, "
        f"G_ema and D), or a network of BigGAN-PyTorch. Received: the keys {keys}."
    )


def _plain(state):
    """A state dict without the prefix that ``DataParallel`` puts before every name."""
    return {str(name).removeprefix(_PREFIX): array for name, array in state.items()}


def _one(states, name, path):
    """The network of a file that is to be that one."""
    other = "generator_ema" if name == "generator" else name
    found = states.get(name, states.get(other))
    if found is None:
        raise ValueError(
            f"{path} must hold a {name}. Received: a file with {', '.join(states)} alone."
        )
    return found


def _complete(states, paths, checkpoint):
    """Puts generator and average in each other's place where one is missing."""
    for name, other in (("generator", "generator_ema"), ("generator_ema", "generator")):
        if name not in states and other in states:
            states[name], paths[name] = states[other], paths[other]
    if "generator" not in states:
        raise ValueError(
            f"{checkpoint} must hold a generator. Received: a file with a discriminator alone. "
            "Give the generator's file, and this one as --discriminator."
        )


# === Settings ===


def _settings(kind, states, settings, paths):
    find = {"stylegan2": _of_stylegan2, "biggan": _of_biggan}[kind]
    has_discriminator = "discriminator" in states
    return {"network": kind, "has_discriminator": has_discriminator} | find(states, settings, paths)


def _of_stylegan2(states, settings, paths):
    weights = stylegan2_weights
    found = weights.generator_settings(states["generator_ema"], paths["generator_ema"])
    if "discriminator" in states:
        other = weights.discriminator_settings(states["discriminator"], paths["discriminator"])
        _check_equal(found, other, ("size", "channels"), paths)
    return found | {"channels": tuple(found["channels"].values())} | settings


def _of_biggan(states, settings, paths):
    found = biggan_weights.generator_settings(states["generator_ema"], paths["generator_ema"])
    renamed = {"resolution": "size", "mybn": "standing_statistics"}
    found = {renamed.get(name, name): value for name, value in found.items()}
    if "discriminator" in states:
        path = paths["discriminator"]
        other = biggan_weights.discriminator_settings(states["discriminator"], path)
        other["size"] = other["resolution"]
        _check_equal(found, other, ("size", "ch"), paths)
        found |= {"attention_d": other["attention"], "projection": other["num_classes"] > 0}
    return found | settings


def _check_equal(of_generator, of_discriminator, names, paths):
    for name in names:
        if of_generator[name] != of_discriminator[name]:
            raise ValueError(
                f"Generator and discriminator must have the same {name}. Received: "
                f"{of_generator[name]} in {paths['generator_ema']}, {of_discriminator[name]} in "
                f"{paths['discriminator']}."
            )
