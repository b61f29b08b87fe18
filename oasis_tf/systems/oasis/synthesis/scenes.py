"""The scenes of `synthesize`: label files or photographs, masks, and their size."""

import dataclasses
import os
from pathlib import Path

import numpy as np

from oasis_tf.io import images, label_files
from oasis_tf.systems.oasis.models import shapes

_FAR = 1.5  # times larger or smaller than in training: worth a note


@dataclasses.dataclass(frozen=True)
class Scene:
    """What images are generated from. A path is None where there is no such file.

    Attributes:
        stem: of the file; names of outputs start with it.
        label_path: label PNG.
        photo_path: photograph; without a label file the discriminator segments it.
        mask_path: PNG whose nonzero pixels are the region to resample.
    """

    stem: str
    label_path: str | None = None
    photo_path: str | None = None
    mask_path: str | None = None

    @property
    def inputs(self):
        """Paths of the files that exist."""
        paths = (self.label_path, self.photo_path, self.mask_path)
        return tuple(path for path in paths if path)


@dataclasses.dataclass(frozen=True)
class Sizing:
    """How label maps, photographs and masks get a size that the networks take.

    Attributes:
        size: (height, width) that everything is resized to: label maps and masks by nearest
            neighbour, photographs bicubic. None keeps every size; sides that do not divide by
            `multiple` are then padded at the bottom and on the right by repeating the last row and
            column, and results are cropped.
        multiple: what the sides of generated images must divide by.
        trained: (height, width) that whole images were resized to for training.
    """

    size: tuple[int, int] | None
    multiple: int
    trained: tuple[int, int]

    @classmethod
    def chosen(cls, config, size, height, width, *, needs_discriminator=False):
        """The sizing of `--size`, `--height` and `--width`.

        Args:
            config: `Config` of the model.
            size: "crop" (the training crop, unless a height and a width are given) or "native".
            height, width: ints, or None.
            needs_discriminator: whether the discriminator takes the images, too.

        Raises:
            ValueError: sizes that exclude each other or do not divide.
        """
        multiple = config.model.generator_stride
        if needs_discriminator:
            multiple = int(np.lcm(multiple, config.model.discriminator_stride))
        trained = config.data.resize_height, config.data.resize_width
        if (height is None) != (width is None):
            raise ValueError(
                "Give both height and width, or neither for the size of the training crop. "
                f"Received: height={height}, width={width}"
            )
        crop = config.data.crop_height, config.data.crop_width
        if size == "native":
            if config.model.encoder == "stem":
                raise _one_size(crop, "size=native")
            if height is not None:
                raise ValueError(
                    "--size=native keeps the size of every file; --height and --width set one. "
                    f"Received: size=native, height={height}, width={width}"
                )
            return cls(None, multiple, trained)
        if size != "crop":
            raise ValueError(f"`size` must be crop or native. Received: size={size}")
        if height is None:
            height, width = crop
        shapes.check_divisible(height, width, multiple, "a generated image")
        if config.model.encoder == "stem" and (height, width) != crop:
            raise _one_size(crop, f"height={height}, width={width}")
        return cls((height, width), multiple, trained)

    def label_map(self, label_map):
        """A label map or mask [H, W] at the size of the output."""
        return label_files.resize_label_map(label_map, *self.size) if self.size else label_map

    def photograph(self, image):
        """A photograph uint8 [H, W, 3] at the size of the output."""
        return images.resize_image(image, *self.size) if self.size else image

    def padded(self, array):
        """[H, W, ...] at the size of the output, grown to sides that divide."""
        grow = [(0, -side % self.multiple) for side in array.shape[:2]]
        return np.pad(array, grow + [(0, 0)] * (array.ndim - 2), mode="edge")

    def says(self, sizes):
        """A note on how files of these (height, width) are changed; None if they are not."""
        if self.size:
            changed = sum(tuple(size) != self.size for size in sizes)
            height, width = self.size
            rule = f"resized to {height} x {width} (height x width)"
        else:
            changed = sum(any(side % self.multiple for side in size) for size in sizes)
            rule = (
                f"padded to sides that divide by {self.multiple} by repeating the last row and "
                "column, and results are cropped to the size of the input"
            )
        said = [f"{changed} of {len(sizes)} inputs are {rule}."] if changed else []
        if self.size is None and self._far_from_training(sizes):
            height, width = self.trained
            said.append(
                f"The model was trained on images resized to {height} x {width}. In images of very "
                "different size, objects have a scale that it has not seen (see --size=crop)."
            )
        return " ".join(said) or None

    def _far_from_training(self, sizes):
        ratio = np.array(list(sizes)) / self.trained
        return ratio.max() > _FAR or ratio.min() < 1 / _FAR


# === Finding ===


def _one_size(crop, received):
    height, width = crop
    return ValueError(
        "This model generates images of one size, because its generator starts from a dense layer "
        f"of the encoder's latent (encoder=stem): {height}x{width}. Received: {received}. Leave it "
        "out, or give --size=crop."
    )


def find_scenes(labels=None, photographs=None, region=None):
    """The scenes that paths name.

    Args:
        labels: label PNG or folder, or None.
        photographs: image or folder, or None; with `labels`, pairs of equal stems.
        region: mask PNG for all scenes, or a folder with a mask of the same stem for each; or None.

    Raises:
        ValueError: nothing there, stems that occur twice or lack a counterpart.
    """
    found = {
        "label_path": labels and _by_stem(label_files.find_label_files(labels)),
        "photo_path": photographs and find_photographs(photographs),
    }
    found = {name: paths for name, paths in found.items() if paths}
    if not found:
        raise ValueError("Name label files (--labels) or photographs (--from_images).")
    stems = _common_stems(*found.values())
    if region and os.path.isdir(region):
        masks = _by_stem(label_files.find_label_files(region, "masks"))
        _refuse_missing([stem for stem in stems if stem not in masks], f"mask in {region}")
    else:
        masks = dict.fromkeys(stems, region or None)
    return [
        Scene(stem, mask_path=masks[stem], **{name: paths[stem] for name, paths in found.items()})
        for stem in stems
    ]


def find_photographs(path):
    """Photographs by their stems: of a file, or of a folder with its subfolders."""
    found = label_files.find_files(path, label_files.IMAGE_SUFFIXES, "photographs")
    return _by_stem(found)


def _by_stem(paths):
    return {Path(path).stem: path for path in paths}


def _common_stems(first, *others):
    for other in others:
        _refuse_missing(sorted(set(first) ^ set(other)), "counterpart (label PNG or photograph)")
    return list(first)


def _refuse_missing(stems, what):
    if stems:
        more = f" and {len(stems) - 10} more" if len(stems) > 10 else ""
        raise ValueError(
            f"Files of equal stems belong together. Without a {what}: "
            f"{', '.join(stems[:10])}{more}."
        )
