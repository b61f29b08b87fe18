"""Converts official checkpoints to model directories and back; used by the command `convert`."""

import dataclasses
import os

from oasis_tf.cli import flagfiles
from oasis_tf.data import datasets
from oasis_tf.io import files, output_paths, pth_files
from oasis_tf.settings import setting_flags
from oasis_tf.systems.oasis import config as config_lib
from oasis_tf.systems.oasis import run_settings
from oasis_tf.systems.oasis.official import release_weights

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


@dataclasses.dataclass(frozen=True)
class ConversionPlan:
    """A conversion before anything is written. All is read and checked, except single weights.

    Attributes:
        config: `Config` of the model directory.
        state_dicts: official weights by network: `generator_ema`, `generator` and optionally
            `discriminator`.
        paths: their files by network.
        model_dir: directory to write.
    """

    config: config_lib.Config
    state_dicts: dict
    paths: dict
    model_dir: str


def plan_conversion(
    model_dir,
    checkpoint,
    *,
    generator=None,
    discriminator=None,
    dataset=None,
    num_classes=None,
    unknown_label=None,
    class_names=None,
    settings=None,
):
    """Reads official checkpoints and infers their configuration.

    Widths and the number of classes come from the shapes of the weights, other settings from the
    flagfile of the data set.

    Args:
        model_dir: directory to write, new or empty.
        checkpoint: file of the averaged generator (`…_EMA.pth`).
        generator: file of the generator itself (`…_G.pth`); None uses the averaged one.
        discriminator: file of the discriminator (`…_D.pth`), or None.
        dataset: name in `DATASETS`; None uses the classes of the prepared data set
            `settings["data_dir"]`.
        num_classes, unknown_label, class_names: for `folder`: N, the raw value of the unknown label
            and a file of names, as in `datasets.folder_label_space`. N is inferred if None.
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
    for path in paths.values():
        if not os.path.isfile(path):
            raise FileNotFoundError(f"There is no checkpoint file {path}.")
    settings = dict(settings or {})
    label_space = _named_label_space(dataset, settings.get("data_dir"))
    read = {path: pth_files.read_state_dict(path) for path in dict.fromkeys(paths.values())}
    state_dicts = {network: read[path] for network, path in paths.items()}
    inferred, condition, classes = _architecture(state_dicts, paths)
    if label_space is None:
        count = num_classes or classes or _classes_beside_noise(condition, settings, checkpoint)
        names = datasets.read_class_names(class_names) if class_names else None
        label_space = datasets.folder_label_space(count, unknown_label, names)
    _check_classes(label_space, classes, condition, settings, paths)
    inferred["noise_channels"] = condition - label_space.num_classes
    inferred["has_discriminator"] = discriminator is not None
    _check_settings(settings, inferred)
    published = _published_settings(dataset or label_space.dataset)
    config = run_settings.converted(published | settings | inferred, label_space=label_space)
    return ConversionPlan(config, state_dicts, paths, os.fspath(model_dir))


def _named_label_space(dataset, data_dir):
    """Returns the label space of a prepared or published data set; None for `folder`."""
    if data_dir:
        from oasis_tf.data.tfrecord import PreparedDataset  # here: it loads TensorFlow

        label_space = PreparedDataset.load(os.path.expanduser(data_dir)).label_space
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


def _published_settings(dataset):
    """Returns the settings of the data set's flagfile; none if it has no flagfile."""
    if dataset not in FLAGFILES:
        return {}
    return setting_flags.flagfile_settings(
        config_lib.Config, flagfiles.expand_flagfiles([f"--flagfile={FLAGFILES[dataset]}"])
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
            release_weights.load_official(network, plan.state_dicts[name])
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
    """Writes the networks of a model directory as official state dicts.

    The averaged generator gets its batch statistics for inference.

    Args:
        model_dir: model directory.
        paths: path by network, as `plan_official` returns them.
    """
    from oasis_tf import OASIS  # here: it loads TensorFlow
    from oasis_tf.systems.oasis.build import networks

    model = OASIS.load(model_dir)
    for name, network in networks(model).items():
        pth_files.write_state_dict(release_weights.to_official(network), paths[name])
