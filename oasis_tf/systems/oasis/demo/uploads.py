"""Uploaded files, brought to the size and the classes of the model."""

import io

from PIL import Image

from oasis_tf.io import label_files, label_pictures
from oasis_tf.web.pictures import check_pixels, decode_photograph, encode_png

LABELS, PHOTOGRAPH = "The label map", "The photograph"
MAX_LABEL_PIXELS = 2**24
MAX_PHOTOGRAPH_PIXELS = 50_000_000  # of the largest that phones take
_SAMPLE, _MOST_LABEL_COLOURS = (64, 64), 512


def label_map(contents, label_space, height, width):
    """A label file as a PNG of model ids at a size, nearest neighbour.

    Args:
        contents: bytes of a file as `label_files.read_label_map` reads them.

    Returns:
        bytes, and (height, width) of the file.

    Raises:
        ValueError: not a label file of these classes, or one that is too large.
    """
    label_pictures.size(contents, LABELS)
    check_pixels(contents, LABELS, label_pictures.FILE_FORMATS, MAX_LABEL_PIXELS)
    try:
        model_ids = label_files.read_label_map(contents, label_space, name=LABELS)
    except ValueError as error:
        raise ValueError(_plain_words(contents, label_space) + str(error)) from error
    resized = label_files.resize_label_map(model_ids, height, width)
    return encode_png(resized), model_ids.shape


def _plain_words(contents, label_space):
    """What somebody who chose a file need know of why it is refused; nothing if it is damaged."""
    try:
        with Image.open(io.BytesIO(contents), formats=("PNG",)) as image:
            image.load()
            sample = image.resize(_SAMPLE, Image.Resampling.NEAREST)
    # On damaged files, decoders raise exceptions of any kind.
    except Exception:
        return ""
    if len(sample.getbands()) > 1 and sample.getcolors(_MOST_LABEL_COLOURS) is None:
        return "This looks like a photograph, not like a label map. Open it as a photograph. "
    classes = f"{label_space.num_classes} classes of {label_space.dataset}"
    return f"This label map does not fit the model, which has the {classes}. "


def photograph(contents, height, width):
    """A photograph as a PNG at a size: cropped around its middle to the proportions, resized.

    Returns:
        bytes, and (height, width) of the file.

    Raises:
        ValueError: not a photograph, or one that is too large.
    """
    image, size = decode_photograph(contents, PHOTOGRAPH, height, width, MAX_PHOTOGRAPH_PIXELS)
    return encode_png(image), size
