"""Example label maps, from a folder or from the data that a model was trained on."""

import os

from oasis_tf.io import label_files
from oasis_tf.io.problems import Problems

MOST = 24
_MOST_SKIPPED = 4  # neighbours are often frames of one film, but skipped records are read too


def from_folder(path, label_space, height, width):
    """The first label PNGs of a folder, at a size.

    Args:
        path: folder of label PNGs (or one PNG) as `label_files` reads them.
        label_space: `LabelSpace` of the model.

    Returns:
        list of (name, integers [height, width] in model ids).

    Raises:
        ValueError: no such files, or values that are no class.
    """
    found, problems = [], Problems()
    for file in label_files.find_label_files(path)[:MOST]:
        with problems.noted():
            label_map = label_files.read_label_map(file, label_space)
            name = os.path.splitext(os.path.basename(file))[0]
            found.append((name, label_files.resize_label_map(label_map, height, width)))
    problems.raise_if_any(f"{problems.count} of the label files cannot be used")
    return found


def from_data(data_dir, label_space, height, width):
    """As `from_folder`, from the validation split of a prepared data set; none without data."""
    if not data_dir or not os.path.exists(data_dir):
        return []
    import tensorflow as tf  # here: it takes seconds to load, and often nothing is read

    from oasis_tf.data.tfrecord import METADATA_FILE, PreparedDataset

    if not os.path.exists(os.path.join(data_dir, METADATA_FILE)):
        return []
    try:
        prepared = PreparedDataset.load(data_dir)
        if prepared.label_space != label_space:
            return []
        every = min(max(1, prepared.num_examples("val") // MOST), _MOST_SKIPPED)
        records = tf.data.TFRecordDataset(prepared.shard_paths("val")).shard(every, 0).take(MOST)
        return [_example(record, label_space, height, width) for record in records]
    # The demo works without examples; it need not report what is wrong with the data.
    except (ValueError, OSError, tf.errors.OpError):
        return []


def _example(record, label_space, height, width):
    from oasis_tf.data import reading
    from oasis_tf.data.tfrecord import parse_example

    example = parse_example(record)
    label_map = reading.decode_label(example["label"], label_space).numpy()
    name = example["key"].numpy().decode("utf-8", "replace")
    return name, label_files.resize_label_map(label_map, height, width)
