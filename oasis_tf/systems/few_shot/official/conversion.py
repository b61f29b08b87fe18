"""Checkpoints of other releases as model directories, and back."""

import contextlib
import os

from oasis_tf.io import files, output_paths, pth_files
from oasis_tf.settings import merging
from oasis_tf.systems.few_shot import training_settings
from oasis_tf.systems.few_shot.config import Config
from oasis_tf.systems.few_shot.official import checkpoints
from oasis_tf.systems.few_shot.source import Pictures


def convert(model_dir, checkpoint, generator=None, discriminator=None, settings=None):
    """Writes a model directory from files of other releases.

    Args:
        model_dir: new model directory.
        checkpoint, generator, discriminator: paths, see ``checkpoints.read``.
        settings: further settings by name.

    Returns:
        ``Config``.

    Raises:
        ValueError, OSError: a file cannot be read or holds something else, or files contradict each
            other; nothing is written.
    """
    output_paths.check_new_folder(model_dir)
    found = checkpoints.read(checkpoint, generator, discriminator)
    config = config_of(found, settings)
    arrays = arrays_of(config, found)

    from oasis_tf.training.restoring import write_model_dir

    write_model_dir(model_dir, config, arrays)
    return config


def config_of(found, settings=None):
    """The ``Config`` of a ``Checkpoint``.

    Args:
        found: ``Checkpoint``.
        settings: further settings by name.

    Raises:
        ValueError: a setting is invalid.
    """
    defaults = training_settings.defaults(found.network, adapted=False)
    named = defaults | found.settings | (settings or {}) | {"steps": 0}
    return merging.assemble(Config, named, {"pictures": Pictures()})


def arrays_of(config, found):
    """The state of training that a ``Checkpoint`` amounts to, by the names of our checkpoints.

    Raises:
        ValueError: weights do not fit.
    """
    from oasis_tf.systems.few_shot.build import build_model

    model = build_model(config, training=config.model.has_discriminator)
    networks, load = model.networks(), checkpoints.WEIGHTS[found.network].load_official
    for name in found.states.keys() & networks.keys():
        try:
            load(networks[name], found.states[name])
        except ValueError as error:
            raise ValueError(f"{found.paths[name]}: {error}") from error
    return {name: variable.numpy() for name, variable in model.variables().items()}


def write_official(model_dir, folder):
    """Writes the networks of a model directory for other releases, all files or none.

    Those of StyleGAN2 become one file in rosinality's format, ``STEP.pt``; those of BigGAN one file
    each, ``G.pth``, ``D.pth`` and ``G_ema.pth``.

    Args:
        model_dir: model directory.
        folder: for the files.

    Returns:
        list of paths.

    Raises:
        ValueError, OSError: files exist or cannot be written.
    """
    from oasis_tf.systems.few_shot.loading import load_networks

    pth_files.check_torch()
    model, step = load_networks(model_dir)
    kind, networks = model.config.model.network, model.networks()
    to_official = checkpoints.WEIGHTS[kind].to_official
    names = checkpoints.ROSINALITY if kind == "stylegan2" else checkpoints.BIGGAN_FILES
    states = {names[k]: to_official(networks[k]) for k in names if k in networks}
    if kind == "stylegan2":
        states = {f"{step:06d}.pt": states}
    paths = {os.path.join(folder, name): state for name, state in states.items()}
    output_paths.check_outputs(list(paths), [])
    with contextlib.ExitStack() as together:
        for path, state in paths.items():
            aside = together.enter_context(files.written_aside(path))
            pth_files.write_state_dict(state, aside)
    return list(paths)
