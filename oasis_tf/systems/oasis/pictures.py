"""PIL images from label files, pictures and arrays, as a user of Python has them."""

import io
import os

import numpy as np
from PIL import Image

from oasis_tf.io import label_files
from oasis_tf.randomness import sample_seeds
from oasis_tf.systems.oasis import editing
from oasis_tf.systems.oasis.saving import config_of
from oasis_tf.systems.oasis.synthesis.padded_model import PaddedModel
from oasis_tf.systems.oasis.synthesis.scenes import Sizing


def generate_images(
    model, labels, num_samples=1, seed=0, *, size=None, height=None, width=None, label_format="auto"
):
    """See `OASIS.generate_images`."""
    seeds = sample_seeds(seed, None if np.ndim(seed) and num_samples == 1 else num_samples)
    config = config_of(model)
    if size is None:
        whole = height is None and width is None and config.model.encoder != "stem"
        size = "native" if whole else "crop"
    sizing = Sizing.chosen(config, size, height, width)
    label_maps = _label_maps(labels, model.known_label_space(), label_format)
    padded = PaddedModel(model, sizing)
    channels = padded.noise_channels

    def fields(shape):
        for one in seeds:
            yield editing.image_noise(*shape, int(one), channels) if channels else None

    return [
        Image.fromarray(image)
        for label_map in label_maps
        for image in padded.generate(sizing.label_map(label_map), fields)
    ]


def read_label_map(model, labels, label_format="auto"):
    """See `OASIS.read_label_map`."""
    found = _label_maps(labels, model.known_label_space(), label_format)
    if len(found) != 1:
        raise ValueError(f"Give a single label map. Received: {len(found)}.")
    return found[0]


def _label_maps(labels, space, label_format):
    """Model ids [H, W] of all that is given, in order."""
    if isinstance(labels, str | os.PathLike):
        files = label_files.find_label_files(labels)
        return [label_files.read_label_map(file, space, label_format) for file in files]
    if isinstance(labels, Image.Image):
        return [_of_picture(labels, space, label_format)]
    if isinstance(labels, list | tuple) and not _is_numbers(labels):
        return [found for one in labels for found in _label_maps(one, space, label_format)]
    return _of_array(np.asarray(labels), space, label_format)


def _is_numbers(values):
    """Whether a list holds numbers or lists of them, as an array does."""
    while isinstance(values, list | tuple) and values:
        values = values[0]
    return isinstance(values, int | np.integer)


def _of_picture(picture, space, label_format):
    """By the rules of label files: the picture is written as one, in memory."""
    file = io.BytesIO()
    try:
        picture.save(file, "PNG")
    except OSError as error:
        raise ValueError(
            "A label map must be a picture that a PNG file can hold. Received: a PIL image of "
            f"mode {picture.mode}."
        ) from error
    return label_files.read_label_map(file.getvalue(), space, label_format, "the picture")


def _of_array(array, space, label_format):
    if array.ndim in (3, 4) and array.shape[-1] == 3 and array.dtype == np.uint8:
        pictures = array[None] if array.ndim == 3 else array
        return [_of_picture(Image.fromarray(one), space, label_format) for one in pictures]
    if array.ndim not in (2, 3) or array.dtype.kind not in "iu" or label_format == "colors":
        raise ValueError(
            "A label map must be a path, a PIL image, integers [H, W] or [B, H, W] of raw ids, or "
            "uint8 [H, W, 3] or [B, H, W, 3] of colours. Received: "
            f"dtype={array.dtype}, shape={array.shape}, label_format={label_format}."
        )
    return list(space.to_model_ids(array[None] if array.ndim == 2 else array, "the array"))
