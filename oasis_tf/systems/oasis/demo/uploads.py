"""Uploaded files, brought to the size and the classes of the model."""

from oasis_tf.io import label_files, label_pictures
from oasis_tf.web.pictures import check_pixels, decode_photograph, encode_png

LABELS, PHOTOGRAPH = "The label map", "The photograph"
MAX_LABEL_PIXELS = 2**24
MAX_PHOTOGRAPH_PIXELS = 50_000_000  # of the largest that phones take


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
    model_ids = label_files.read_label_map(contents, label_space, name=LABELS)
    resized = label_files.resize_label_map(model_ids, height, width)
    return encode_png(resized), model_ids.shape


def photograph(contents, height, width):
    """A photograph as a PNG at a size: cropped around its middle to the proportions, resized.

    Returns:
        bytes, and (height, width) of the file.

    Raises:
        ValueError: not a photograph, or one that is too large.
    """
    image, size = decode_photograph(contents, PHOTOGRAPH, height, width, MAX_PHOTOGRAPH_PIXELS)
    return encode_png(image), size
