"""Pairs to train and to test on: the pool of a model, frames of DAVIS, folders of pairs."""

import dataclasses
import os
from pathlib import Path

import numpy as np
from PIL import Image

from oasis_tf.io import files, images, label_pictures
from oasis_tf.io.label_files import IMAGE_SUFFIXES
from oasis_tf.metrics.pictures import sifid
from oasis_tf.systems.one_shot import palette, source
from oasis_tf.systems.one_shot.evaluation import pictures

_FRAMES, _ANNOTATIONS = "JPEGImages", "Annotations"
_RESOLUTION = "480p"
_QUALITY = 95


@dataclasses.dataclass(frozen=True)
class Pool:
    """The training pair of a model, and generated pairs that were good enough.

    Attributes:
        image, mask: uint8 [K,H,W,3] and uint8 [K,H,W], the training pairs.
        images, masks: uint8 [P,H,W,3] and uint8 [P,H,W], the generated ones that stayed.
        num_classes: int, the background included.
        facts: what decides the pool, ready for JSON.
    """

    image: np.ndarray
    mask: np.ndarray
    images: np.ndarray
    masks: np.ndarray
    num_classes: int
    facts: dict


def make_pool(model_dir, network, settings, *, rate=sifid.FILTER_RATE, depths=None):
    """Generates pairs of a model, and drops those of the worst mean rank by SIFID.

    Args:
        model_dir: of a model with masks.
        network: `SpatialFeatures`.
        settings: `PicturesEvaluationConfig` with the number of pairs.
        rate: share of the pairs that is dropped.
        depths: numbers of the depths whose ranks count; None for all.

    Returns:
        `Pool`.

    Raises:
        ValueError, OSError: the model or its pictures cannot be read.
    """
    context = pictures(model_dir, settings=settings)
    samples, masks = context.samples
    table = sifid.scores(network, samples, context.images)
    depths = list(range(len(network.depths))) if depths is None else depths
    stay = sifid.kept(table[:, depths], rate)
    facts = {
        "step": context.step,
        "generated": len(samples),
        "kept": len(stay),
        "filter": f"sifid of {network.name}, depths {','.join(map(str, depths))}",
    }
    pairs = samples[stay], masks[stay]
    return Pool(context.images, context.masks, *pairs, context.num_classes, facts)


def write_davis(folder, name, image, mask):
    """Writes pairs in the layout of DAVIS: JPEGImages/NAME and Annotations/NAME.

    Args:
        folder: str.
        name: of the sequence.
        image: uint8 [B,H,W,3].
        mask: uint8 [B,H,W].
    """
    for kind in (_FRAMES, _ANNOTATIONS):
        os.makedirs(os.path.join(folder, kind, name), exist_ok=True)
    for number, (frame, ids) in enumerate(zip(image, mask, strict=True)):
        path = os.path.join(folder, _FRAMES, name, f"{number:05d}.jpg")
        with files.written_aside(path) as aside:
            Image.fromarray(frame).save(aside, "JPEG", quality=_QUALITY, subsampling=0)
        path = os.path.join(folder, _ANNOTATIONS, name, f"{number:05d}.png")
        images.save_png(path, palette.picture(ids))


# === Pairs to test on ===


def find(folder, name):
    """The pairs to test on.

    Args:
        folder: a folder of DAVIS, with JPEGImages/ and Annotations/; or one with image/ and mask/.
        name: of the sequence of DAVIS. Its first frame, which is trained on, and its last one are
            left out, as DAVIS does.

    Returns:
        list of (path of an image, path of its mask).

    Raises:
        ValueError: there are none, or a mask is missing.
    """
    davis = (Path(folder) / _FRAMES).is_dir()
    frames, masks = (
        (_sequence(folder, _FRAMES, name), _sequence(folder, _ANNOTATIONS, name))
        if davis
        else (Path(folder) / "image", Path(folder) / "mask")
    )
    suffixes = {frames: IMAGE_SUFFIXES, masks: label_pictures.SUFFIXES}
    found = [source.files(d, of) if d.is_dir() else [] for d, of in suffixes.items()]
    by_stem = {path.stem: path for path in found[1]}
    pairs = [(path, by_stem[path.stem]) for path in found[0] if path.stem in by_stem]
    if davis:
        pairs = pairs[1:-1]
    if not pairs or (len(found[0]) != len(found[1]) and not davis):
        raise ValueError(
            "Pairs to test on must be images with masks of the same stems. Received: "
            f"{len(found[0])} files in {frames} and {len(found[1])} in {masks}, {len(pairs)} pairs."
        )
    return pairs


def _sequence(folder, kind, name):
    inside = Path(folder) / kind
    return (inside / _RESOLUTION if (inside / _RESOLUTION).is_dir() else inside) / name


def read_mask(path, num_classes):
    """Ids of a mask, uint8 [H,W]; one object may also be given by its share in 0...255.

    Raises:
        ValueError: an id that the model does not have.
    """
    values = label_pictures.ids(label_pictures.read(path))
    binary = num_classes == 2 and values.max() >= source.BINARY_FROM
    if not binary and values.max() >= num_classes:
        raise ValueError(
            f"Masks must have the classes of the model, 0...{num_classes - 1}. Received: {path} "
            f"with {values.max()}."
        )
    return source.ids(values, binary)
