"""Converts checkpoints of OASIS' and SPADE's authors to model directories, and OASIS' back.

Used by the command `convert`.
"""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable

from oasis_tf.cli import flagfiles
from oasis_tf.data import datasets
from oasis_tf.data.settings import DataConfig
from oasis_tf.io import files, output_paths, pth_files
from oasis_tf.io.write_errors import check_writable
from oasis_tf.settings import setting_flags
from oasis_tf.systems.oasis import config as config_lib
from oasis_tf.systems.oasis import run_settings
from oasis_tf.systems.oasis.official import release_weights, spade_weights

FLAGFILES = {
    "ade20k": "ade.flags",
    "ade_outdoors": "ade_outdoors.flags",
    "cityscapes": "cityscapes.flags",
    "coco_stuff": "coco_stuff.flags",
    "lvis": "lvis.flags",
    "shapes": "quickstart.flags",
}
_NOISE_CHANNELS = 64  # in every published model with 3D noise
_LETTERS = {"generator": "G", "generator_ema": "EMA", "discriminator": "D"}
_GENERATORS = (release_weights.GENERATOR_SIGNS, spade_weights.GENERATOR_SIGNS)
# What each file may hold, for `pth_files.read_state_dict`.
_NETWORKS = {
    "generator_ema": _GENERATORS,
    "generator": _GENERATORS,
    "discriminator": (release_weights.DISCRIMINATOR_SIGNS,),
    "encoder": (spade_weights.ENCODER_SIGNS,),
}


@dataclasses.dataclass(frozen=True)
class ConversionPlan:
    """A conversion before anything is written. All is read and checked, except single weights.

    Attributes:
        config: `Config` of the model directory.
        state_dicts: official weights by network: `generator_ema`, `generator` and optionally
            `discriminator`, `encoder` and `encoder_ema`.
        paths: their files by network.
        model_dir: directory to write.
        load: function(network, state dict) that fills one of the networks.
        notes: sentences for the user.
    """

    config: config_lib.Config
    state_dicts: dict
    paths: dict
    model_dir: str
    load: Callable = release_weights.load_official
    notes: tuple[str, ...] = ()


def plan_conversion(
    model_dir,
    checkpoint,
    *,
    generator=None,
    discriminator=None,
    encoder=None,
    dataset=None,
    num_classes=None,
    unknown_label=None,
    class_names=None,
    drop_edges=False,
    settings=None,
):
    """Reads official checkpoints and infers their configuration.

    The names of the weights tell OASIS from SPADE. Widths and the number of classes come from the
    shapes of the weights, other settings from the flagfile of the data set.

    Args:
        model_dir: directory to write, new or empty.
        checkpoint: file of the averaged generator (`…_EMA.pth`), or of SPADE's
            (`latest_net_G.pth`).
        generator: file of the generator itself (`…_G.pth`); None uses the averaged one.
        discriminator: file of the discriminator (`…_D.pth`), or None.
        encoder: file of SPADE's image encoder (`latest_net_E.pth`), or None.
        dataset: name in `DATASETS`; None uses the classes of the prepared data set
            `settings["data_dir"]`.
        num_classes, unknown_label, class_names: for `folder`: N, the raw value of the unknown label
            and a file of names, as in `datasets.folder_label_space`. N is inferred if None.
        drop_edges: whether SPADE's input channel of instance edges is left out.
        settings: settings by name that replace the published ones.

    Returns:
        `ConversionPlan`.

    Raises:
        ValueError: a file is not a checkpoint; files contradict each other, the data set or the
            settings; or PyTorch is not installed.
        OSError: a file cannot be read, or `model_dir` is not empty.
    """
    output_paths.check_new_folder(model_dir)
    paths = {"generator_ema": checkpoint, "generator": generator or checkpoint}
    paths |= {"discriminator": discriminator} if discriminator else {}
    paths |= {"encoder": encoder} if encoder else {}
    for path in paths.values():
        if not os.path.isfile(path):
            raise FileNotFoundError(f"There is no checkpoint file {path}.")
    settings = dict(settings or {})
    label_space = _named_label_space(dataset, settings.get("data_dir"))
    state_dicts = _read(paths)

    def own_classes(count):
        names = datasets.read_class_names(class_names) if class_names else None
        return datasets.folder_label_space(num_classes or count, unknown_label, names)

    if spade_weights.GENERATOR_SIGNS[-1] in state_dicts["generator_ema"]:
        return _plan_spade(
            os.fspath(model_dir),
            state_dicts,
            paths,
            lambda count: label_space or own_classes(count),
            settings,
            drop_edges,
        )
    if encoder or drop_edges:
        raise ValueError(
            f"--encoder and --drop_edges go with SPADE's generator. Received: {checkpoint}, which "
            "has not the names of one. Leave them out."
        )
    inferred, condition, classes = _architecture(state_dicts, paths)
    if label_space is None:
        label_space = own_classes(
            num_classes or classes or _classes_beside_noise(condition, settings, checkpoint)
        )
    _check_classes(label_space, classes, condition, settings, paths)
    inferred["noise_channels"] = condition - label_space.num_classes
    inferred["has_discriminator"] = discriminator is not None
    _check_settings(settings, inferred)
    published = _published_settings(FLAGFILES.get(label_space.dataset))
    config = run_settings.converted(published | settings | inferred, label_space=label_space)
    return ConversionPlan(config, state_dicts, paths, os.fspath(model_dir))


def _read(paths):
    """State dicts by network. Networks of one file share its arrays."""

    @functools.cache
    def read(path, networks):
        return pth_files.read_state_dict(path, networks)

    return {network: read(path, _NETWORKS[network]) for network, path in paths.items()}


def _plan_spade(model_dir, state_dicts, paths, label_space_of, settings, drop_edges):
    """Plans the conversion of SPADE's generator and encoder; see `plan_conversion`.

    Args:
        label_space_of: function of the number of classes that the weights have room for.
    """
    source = paths["generator_ema"]
    generator = state_dicts["generator_ema"]
    _check_spade_files(generator, paths)
    inferred, inputs = spade_weights.generator_settings(generator, source)
    if "encoder" in paths:
        state_dicts["encoder_ema"], paths["encoder_ema"] = state_dicts["encoder"], paths["encoder"]
        of_encoder = spade_weights.encoder_settings(state_dicts["encoder"], paths["encoder"])
        if of_encoder["latent_channels"] != inferred["latent_channels"]:
            raise ValueError(
                f"{paths['encoder']} must be the encoder of {source}. Received: "
                f"{of_encoder['latent_channels']} latent channels, and "
                f"{inferred['latent_channels']}."
            )
        inferred |= of_encoder
    label_space = label_space_of(inputs - bool(drop_edges))
    channels = spade_weights.label_channels(label_space, inputs, drop_edges, source)
    inferred["has_discriminator"] = False
    _check_settings(settings, inferred)
    name = FLAGFILES.get(label_space.dataset)
    spade = f"ablations/spade_{name}"
    published = _published_settings(spade if spade in flagfiles.shipped_configs() else name)
    # Settings of training need files and a discriminator that there are not.
    used = {"upsampling", *(field.name for field in dataclasses.fields(DataConfig))}
    published = {name: value for name, value in published.items() if name in used}
    config = run_settings.converted(published | settings | inferred, label_space=label_space)
    spade_weights.check_start(generator, config, source)
    edges = "The channel of instance edges is left out: edges are taken as absent."
    return ConversionPlan(
        config,
        state_dicts,
        paths,
        model_dir,
        functools.partial(spade_weights.load, channels=channels),
        (edges,) if drop_edges else (),
    )


def _check_spade_files(generator, paths):
    """Checks that SPADE's files are those that can be read, and all that are needed."""
    source = paths["generator_ema"]
    others = [name for name in ("generator", "discriminator") if paths.get(name, source) != source]
    if others:
        raise ValueError(
            f"Of SPADE, only the generator (--checkpoint) and the image encoder (--encoder) are "
            f"read. Received: {' and '.join(f'--{name}' for name in others)} with {source}, "
            "SPADE's generator. Leave it out."
        )
    if spade_weights.takes_latent(generator) != ("encoder" in paths):
        needs = "starts from the latent vector of an image encoder"
        raise ValueError(
            f"{source} {needs}. Give --encoder=latest_net_E.pth of the same model."
            if "encoder" not in paths
            else f"--encoder belongs to a generator that {needs}. Received: {source}, which "
            "starts from the label map. Leave --encoder out."
        )


def _named_label_space(dataset, data_dir):
    """Returns the label space of a prepared or published data set; None for `folder`."""
    if data_dir:
        from oasis_tf.data.tfrecord import PreparedDataset  # here: it loads TensorFlow

        label_space = PreparedDataset.load(data_dir).label_space
        if dataset not in (None, label_space.dataset):
            raise ValueError(
                "The prepared data set must be that of --dataset. Received: "
                f"--dataset={dataset} and --data_dir={data_dir}, which was prepared from "
                f"{label_space.dataset}. Leave --dataset out, or give another --data_dir."
            )
        return label_space
    if dataset is None:
        raise ValueError(
            "The classes must be known: give --dataset (one of "
            f"{', '.join(datasets.DATASETS)}), or --data_dir of a prepared data set."
        )
    return None if dataset == "folder" else datasets.published_label_space(dataset)


def _architecture(state_dicts, paths):
    """Infers (settings, channels of noise and classes together, classes of D or None)."""
    inferred, condition = release_weights.generator_settings(
        state_dicts["generator_ema"], paths["generator_ema"]
    )
    other = release_weights.generator_settings(state_dicts["generator"], paths["generator"])
    if other != (inferred, condition):
        raise ValueError(
            f"{paths['generator']} must be of the same widths as {paths['generator_ema']}. "
            f"Received: {other[0]} with {other[1]} input channels, and {inferred} with "
            f"{condition}. Give two files of one model."
        )
    if "discriminator" not in state_dicts:
        return inferred, condition, None
    of_discriminator, classes = release_weights.discriminator_settings(
        state_dicts["discriminator"], paths["discriminator"]
    )
    return inferred | of_discriminator, condition, classes


def _classes_beside_noise(condition, settings, source):
    noise = settings.get("noise_channels", _NOISE_CHANNELS)
    if condition <= noise:
        raise ValueError(
            f"{source} has {condition} input channels for noise and classes together, fewer than "
            f"the {noise} of noise. Give --num_classes, or the right --noise_channels."
        )
    return condition - noise


def _check_classes(label_space, classes, condition, settings, paths):
    """Checks that the label space fits D and leaves a possible number of noise channels."""
    count, source = label_space.num_classes, paths["generator_ema"]
    if classes not in (None, count):
        raise ValueError(
            f"{paths['discriminator']} has {classes} classes, the data set {label_space.dataset} "
            f"{count}. Give the --dataset of this checkpoint (folder for your own data)."
        )
    noise = condition - count
    allowed = settings.get("noise_channels")
    if noise < 0 or (allowed is not None and noise != allowed):
        wanted = "at least 0" if allowed is None else allowed
        raise ValueError(
            f"{source} has {condition} input channels for noise and classes together. Received: "
            f"{count} classes, which leaves {noise} for noise, not {wanted}. Give the --dataset of "
            "this checkpoint, or --dataset=folder with --num_classes and --noise_channels."
        )
    if allowed is None and noise not in (0, _NOISE_CHANNELS):
        raise ValueError(
            f"{source} has {condition} input channels for noise and classes together. Received: "
            f"{count} classes, which leaves {noise} for noise; published models have "
            f"{_NOISE_CHANNELS} or 0. If that is right, give --noise_channels={noise}; otherwise "
            "give the --dataset of this checkpoint."
        )


def _check_settings(settings, inferred):
    wrong = [
        f"--{name} {settings[name]} against {value}"
        for name, value in inferred.items()
        if name in settings and settings[name] != value
    ]
    if wrong:
        raise ValueError(
            "Flags must be those that the shapes of the weights imply (given against inferred): "
            f"{'; '.join(wrong)}. Leave these flags out."
        )


def _published_settings(flagfile):
    """Returns the settings of a shipped flagfile; none without one."""
    if flagfile is None:
        return {}
    return setting_flags.flagfile_settings(
        config_lib.Config, flagfiles.expand_flagfiles([f"--flagfile={flagfile}"])
    )


def convert(plan):
    """Writes the model directory of a plan, whole or not at all.

    Raises:
        ValueError: weights are missing, unknown, of other shapes or not finite. The error lists
            all of them.
        OSError: the directory cannot be written.
    """
    from oasis_tf.systems.oasis.build import (
        build_for_training,
        build_model,
        networks,
        state_variables,
    )
    from oasis_tf.training.named_weights import forward_state  # here: these load TensorFlow
    from oasis_tf.training.store import CheckpointStore

    trainable = plan.config.model.has_discriminator
    model = build_for_training(plan.config) if trainable else build_model(plan.config)
    for name, network in networks(model).items():
        try:
            plan.load(network, plan.state_dicts[name])
        except ValueError as error:
            raise ValueError(f"{plan.paths[name]}: {error}") from error
    training = {name: variable.numpy() for name, variable in state_variables(model).items()}
    # The release saves its averaged generator with batch statistics for inference.
    inference = {name: v.numpy() for name, v in forward_state(model.generator_ema).items()}
    with files.folder_written_aside(plan.model_dir) as aside:
        CheckpointStore(aside).save(0, training, inference)
        plan.config.save(aside)


def plan_official(model_dir, output_dir):
    """Returns the paths of the official files of a model directory, by network.

    Raises:
        ValueError: a file exists already, or the release has no such networks.
        OSError: there is no such model directory.
    """
    config = config_lib.Config.load(model_dir)
    _check_official_parts(config.model)
    letters = dict(_LETTERS)
    if not config.model.has_discriminator:
        del letters["discriminator"]
    paths = {n: os.path.join(output_dir, f"latest_{x}.pth") for n, x in letters.items()}
    existing = [path for path in paths.values() if os.path.exists(path)]
    if existing:
        raise ValueError(f"{existing[0]} exists. Nothing was written. Choose another folder.")
    check_writable(output_dir)
    pth_files.check_torch()
    return paths


def _check_official_parts(model):
    """Refuses parts that the release does not have; all its models are OASIS."""
    wanted = {"generator": "oasis", "encoder": "none"}
    if model.has_discriminator:
        wanted |= {"discriminator": "oasis"}
        wanted |= {} if model.segments else {"label_encoding": "balanced"}
    for name, value in wanted.items():
        if getattr(model, name) != value:
            raise ValueError(
                f"The official release has only models with {name}={value}, so its format cannot "
                f"hold others. Received: {name}={getattr(model, name)}. Give another --model_dir."
            )


def write_official(model_dir, paths):
    """Writes the networks of a model directory as official state dicts, all of them or none.

    The averaged generator gets its batch statistics for inference.

    Args:
        model_dir: model directory.
        paths: path by network, as `plan_official` returns them.
    """
    from oasis_tf import OASIS  # here: it loads TensorFlow
    from oasis_tf.systems.oasis.build import networks

    model = OASIS.load(model_dir)
    with contextlib.ExitStack() as together:
        for name, network in networks(model).items():
            aside = together.enter_context(files.written_aside(paths[name]))
            pth_files.write_state_dict(release_weights.to_official(network), aside)
