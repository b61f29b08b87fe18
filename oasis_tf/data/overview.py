"""What a prepared data set holds, for a person to look at: pictures, and counts of the classes."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from oasis_tf.data import random_access
from oasis_tf.data.tfrecord import PreparedDataset
from oasis_tf.io import images
from oasis_tf.io.label_files import resize_label_map

EXAMPLES = 4  # of a split on the contact sheet
_SIDE = 256  # longest side of a picture on it; small ones are enlarged to half of this
_LINE = 14  # height of a line of its legend
_LINES = 7  # at least, for small pictures
_LEGEND = 192  # width of its legend
_ROWS = 10  # of the table at either end, if there are more than twice as many classes
_RARE_IMAGES = 10
_RARE_SHARE = 1e-4
_MOST_RARE = 10


# === Pictures ===


def contact_sheet(prepared: PreparedDataset) -> np.ndarray:
    """Shows examples spread over each split as training will read them.

    A row holds the image, the label map in the colours of the classes, both laid over each other,
    and the classes of this example by their share. The same records give the same sheet.

    Args:
        prepared: the data set. Only its shards are needed; `dataset.json` need not exist yet.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: a record is damaged.
    """
    rows = []
    for split in prepared.splits:
        places = random_access.record_places(prepared, split)
        count = min(EXAMPLES, len(places))
        for place in (places[len(places) * k // count] for k in range(count)):
            rows.append(_row(split, *place.read(), prepared.label_space))
    return images.contact_sheet(rows)


def _row(split, key, image, label_map, label_space):
    scale = min(1, _SIDE / max(label_map.shape))
    size = [max(1, round(side * scale)) for side in label_map.shape]
    image = images.resize_image(image, *size)
    colours = label_space.colorize(resize_label_map(label_map, *size))
    overlay = ((image.astype(np.uint16) + colours) // 2).astype(np.uint8)
    times = max(1, _SIDE // 2 // max(size))
    pictures = [p.repeat(times, 0).repeat(times, 1) for p in (image, colours, overlay)]
    legend = _legend(f"{split}: {key}", label_map, label_space, size[0] * times)
    return [*pictures, legend]


def _legend(title, label_map, label_space, height):
    """Lines of text [at least `height`, 192, 3]: a title, then the most frequent classes."""
    lines = max(_LINES, height // _LINE)
    picture = Image.new("RGB", (_LEGEND, max(height, lines * _LINE)), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default()
    pixels = np.bincount(label_map.ravel(), minlength=label_space.num_classes)
    classes = np.argsort(-pixels, kind="stable")[: np.count_nonzero(pixels)]
    texts = [f"{label_space.class_names[c]}  {pixels[c] / label_map.size:.1%}" for c in classes]
    if len(texts) > lines - 1:
        texts[lines - 2 :] = [f"and {len(texts) - lines + 2} more classes"]
        classes = classes[: lines - 2]
    draw.text((4, 1), _drawable(title), "black", font)
    for line, text in enumerate(texts, 1):
        if line <= len(classes):
            box = (4, line * _LINE + 1, 14, (line + 1) * _LINE - 3)
            draw.rectangle(box, tuple(label_space.palette[classes[line - 1]]), "black")
        draw.text((20, line * _LINE + 1), _drawable(text), "black", font)
    return np.asarray(picture)


def _drawable(text):
    """Without letters that Pillow's own font may lack."""
    return text.encode("latin-1", "replace").decode("latin-1")


# === Counts ===


def class_table(prepared: PreparedDataset) -> str:
    """Returns a table of the classes by their share of the training pixels.

    For each split: the share of its pixels, and in how many of its images they occur. Of more than
    20 classes the ten most frequent and the ten rarest are shown.
    """
    space, splits = prepared.label_space, prepared.splits
    head = "".join(f"  {split + ' pixels':>12}  {'images':>8}" for split in splits)
    rows = [f"{'id':>5}  {'class':<24}{head}"]
    order = np.argsort(-np.array(splits["train"].class_pixels), kind="stable").tolist()
    shown = order if len(order) <= 2 * _ROWS else [*order[:_ROWS], None, *order[-_ROWS:]]
    for index in shown:
        if index is None:
            rows.append(f"{'…':>5}  {len(order) - 2 * _ROWS} classes between these")
            continue
        row = f"{index:>5}  {space.class_names[index]:<24.24}"
        for split in splits.values():
            share = split.class_pixels[index] / max(1, sum(split.class_pixels))
            counted = split.class_images[index] if split.class_images else "?"
            row += f"  {share:>12.3%}  {counted:>8}"
        rows.append(row)
    return "\n".join(rows)


def rare_classes(prepared: PreparedDataset) -> str | None:
    """Returns a warning that names classes which hardly occur in the training split, or None.

    These are known classes that files can hold, and that occur in fewer than 10 training images (of
    fewer than 100 images: in fewer than a tenth), or in less than 0.01 % of the training pixels.
    """
    space, train = prepared.label_space, prepared.splits["train"]
    least = min(_RARE_IMAGES, math.ceil(train.num_examples / 10))
    pixels, occurrences = np.array(train.class_pixels), np.array(train.class_images)
    rare = pixels < max(1, _RARE_SHARE * pixels.sum())
    if len(occurrences):
        rare |= occurrences < least
    rare &= np.array(space.raw_ids) >= 0
    rare[: int(space.has_unknown)] = False
    if not rare.any():
        return None
    found = sorted(np.flatnonzero(rare).tolist(), key=lambda index: pixels[index])
    named = ", ".join(_occurrence(space, train, index) for index in found[:_MOST_RARE])
    more = f" and {len(found) - _MOST_RARE} more" if len(found) > _MOST_RARE else ""
    return (
        f"{len(found)} of {space.num_classes} classes hardly occur (in fewer than {least} "
        f"training images, or in less than {_RARE_SHARE:.2%} of the training pixels): {named}"
        f"{more}. Models learn little of them: add images, or merge them with other classes."
    )


def _occurrence(space, train, index):
    if not train.class_pixels[index]:
        return f"{space.class_names[index]} (never)"
    images_with = f"{train.class_images[index]} images, " if train.class_images else ""
    share = train.class_pixels[index] / sum(train.class_pixels)
    return f"{space.class_names[index]} ({images_with}{share:.4%})"
