"""Official checkpoints as model directories, and back.

`opt.pkl` of the release is never read: everything follows from the shapes of the weights.
"""

import contextlib
import os

from oasis_tf.io import files, output_paths, pth_files
from oasis_tf.settings import merging
from oasis_tf.systems.one_shot.config import Config
from oasis_tf.systems.one_shot.official import weights
from oasis_tf.systems.one_shot.source import Source

_LATEST = "latest_epoch.txt"
_NAMES = {"generator": "G", "generator_ema": "G_EMA", "discriminator": "D"}


def convert(model_dir, checkpoint, generator=None, discriminator=None, settings=None):
    """Writes a model directory from official files.

    Args:
        model_dir: new model directory.
        checkpoint: path of the averaged generator, ``…_G_EMA.pth``.
        generator, discriminator: paths of ``…_G.pth`` and ``…_D.pth``, both to train further.
        settings: further settings by name.

    Returns:
        ``Config``.

    Raises:
        ValueError, OSError: a file cannot be read or holds something else, or files contradict each
            other; nothing is written.
    """
    if (generator is None) != (discriminator is None):
        raise ValueError(
            "`generator` and `discriminator` must be given together, to train further. Received: "
            f"generator={generator}, discriminator={discriminator}."
        )
    output_paths.check_new_folder(model_dir)
    paths = {"generator_ema": checkpoint, "generator": generator, "discriminator": discriminator}
    paths = {name: path for name, path in paths.items() if path}
    states = {name: pth_files.read_state_dict(path) for name, path in paths.items()}
    config = _config(states, paths, settings or {})
    arrays = _arrays(config, states, paths)

    from oasis_tf.training.restoring import write_model_dir

    write_model_dir(model_dir, config, arrays)
    return config


def _config(states, paths, settings):
    found = weights.generator_settings(states["generator_ema"], paths["generator_ema"])
    if "discriminator" in states:
        found |= weights.discriminator_settings(states["discriminator"], paths["discriminator"])
    else:
        found |= {"blocks_d": 2, "blocks_d0": 1, "has_discriminator": False}
    scale = 2 ** (found["blocks_g"] - 1)
    size = (found["grid_height"] * scale, found["grid_width"] * scale)
    source = Source(0, *size, found["num_classes"])
    return merging.assemble(Config, settings | found | {"steps": 0}, {"source": source})


def _arrays(config, states, paths):
    """The state of training, as a checkpoint has it."""
    from oasis_tf.systems.one_shot.build import build_model

    model = build_model(config, training=config.model.has_discriminator)
    for name, network in model.networks().items():
        try:
            weights.load_official(network, states[name])
        except ValueError as error:
            raise ValueError(f"{paths[name]}: {error}") from error
    return {name: variable.numpy() for name, variable in model.variables().items()}


def write_official(model_dir, folder):
    """Writes the networks of a model directory as official files, all of them or none.

    Args:
        model_dir: model directory.
        folder: for ``STEP_G.pth``, ``STEP_G_EMA.pth``, ``STEP_D.pth``, ``latest_epoch.txt``.

    Returns:
        list of paths.

    Raises:
        ValueError: the release has no such model, or files exist.
    """
    from oasis_tf.systems.one_shot.loading import load_networks

    pth_files.check_torch()
    model, step = load_networks(model_dir)
    networks = model.networks()
    paths = {name: os.path.join(folder, f"{step}_{_NAMES[name]}.pth") for name in networks}
    latest = os.path.join(folder, _LATEST)
    output_paths.check_outputs([*paths.values(), latest], [])
    states = {name: weights.to_official(network) for name, network in networks.items()}
    with contextlib.ExitStack() as together:
        for name, state in states.items():
            pth_files.write_state_dict(
                state, together.enter_context(files.written_aside(paths[name]))
            )
        with open(together.enter_context(files.written_aside(latest)), "w") as file:
            file.write(f"{step}\n")
    return [*paths.values(), latest]
