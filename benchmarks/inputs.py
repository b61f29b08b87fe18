"""What contenders compute on: batches of real or drawn scenes, and noise, in one .npz file."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Scenes:
    """Images uint8 [S, H, W, 3], label maps int32 [S, H, W], and the classes of these."""

    images: np.ndarray
    label_maps: np.ndarray
    num_classes: int
    has_unknown: bool


def drawn(count, height, width):
    """`Scenes` of the procedural data set `shapes`, the same at every call."""
    from oasis_tf.data import shapes

    pairs = [shapes.scene(0, index, height, width) for index in range(count)]
    images, label_maps = map(np.stack, zip(*pairs, strict=True))
    return Scenes(images, label_maps.astype(np.int32), len(shapes.NAMES), False)


def prepared(data_dir, split, count, height, width):
    """`Scenes` of a prepared data set: the first of a split, from the start again if too few.

    Images are resized bicubic, label maps to the nearest pixel.

    Raises:
        ValueError, OSError: `data_dir` is not a complete prepared data set, or has no such split.
    """
    from oasis_tf.data.pipeline import evaluation_batches
    from oasis_tf.data.tfrecord import PreparedDataset

    space = PreparedDataset.load(data_dir).label_space
    batches = evaluation_batches(data_dir, split, height=height, width=width, batch_size=1)
    pairs = [(image[0], label[0]) for image, label in batches.take(count).as_numpy_iterator()]
    pairs = [pairs[index % len(pairs)] for index in range(count)]
    images, label_maps = map(np.stack, zip(*pairs, strict=True))
    return Scenes(images, label_maps.astype(np.int32), space.num_classes, space.has_unknown)


def to_classes(label_map, num_classes, *, of, has_unknown):
    """Label maps of ``of`` classes as ones of ``num_classes``, the unknown class (0) kept apart.

    Known class k of K becomes the known class floor(k (K' - 1) / (K - 1)) of K' if K' is at least
    K: different classes stay different and are spread from the first to the last. If K' is smaller,
    it becomes k modulo K'.
    """
    known = np.arange(of - has_unknown)
    wanted = num_classes - has_unknown
    if wanted < len(known):
        table = known % wanted
    else:
        table = known * (wanted - 1) // max(1, len(known) - 1)
    table = np.concatenate([[0], table + 1]) if has_unknown else table
    return table[label_map].astype(np.int32)


def arrays(scenes, batch_size, num_classes, noise_channels):
    """What the .npz file holds, by name: K batches of B, as many as there are scenes for.

    ``image`` uint8 [K, B, H, W, 3], ``label_map`` int32 [K, B, H, W] in 0..N-1, ``noise`` and
    ``discriminator_noise`` float32 [K, B, Z] (of generating and of the G step; of the D step),
    ``labelmix_bits`` int32 [K, N].
    """
    count = len(scenes.images) // batch_size
    rng = np.random.default_rng(0)
    label_maps = to_classes(
        scenes.label_maps, num_classes, of=scenes.num_classes, has_unknown=scenes.has_unknown
    )
    found = {"image": scenes.images, "label_map": label_maps}
    found = {k: a[: count * batch_size].reshape(count, batch_size, *a.shape[1:])
             for k, a in found.items()}  # fmt: skip
    for name in ("noise", "discriminator_noise"):
        found[name] = rng.standard_normal((count, batch_size, noise_channels), np.float32)
    found["labelmix_bits"] = rng.integers(0, 2, (count, num_classes), np.int32)
    return found


# === Systems whose pictures are always drawn ===


def no_flags(where):
    """Defines no flags."""
    del where


def no_source(args):
    """Nothing to say of where scenes come from."""
    del args
    return {}


def latents(batch, length):
    """Normal latents float32 [16, batch, length], that contenders take in turns."""
    return np.random.default_rng(0).standard_normal((16, batch, length), np.float32)
