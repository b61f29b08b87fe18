"""Inputs to calibrate and to measure with."""

import os

import numpy as np

from oasis_tf.data import pipeline
from oasis_tf.data.tfrecord import METADATA_FILE, PreparedDataset
from oasis_tf.metrics.evaluation import check_dataset

_BLOCKS = 8  # of one class each, along either side of a random label map


def dataset(data_dir, label_space):
    """The prepared data set to take examples from, or None if nothing lies there.

    Raises:
        ValueError: its classes are not the model's.
    """
    if not data_dir or not os.path.exists(os.path.join(data_dir, METADATA_FILE)):
        return None
    prepared = PreparedDataset.load(data_dir)
    check_dataset(label_space, prepared)
    return prepared


def of_seeds(network, count, seed):
    """As `from_dataset`, of a network that takes neither pictures nor label maps."""
    return [(network.inputs(None, None, seed + number), None) for number in range(count)]


def from_dataset(network, prepared, split, count, height, width, seed):
    """Examples spread evenly over a split; the i-th has noise of seed `seed` + i.

    Args:
        network: `Network`.
        prepared: `PreparedDataset`.
        split: one of its splits.
        count: how many, or as many as there are.
        height, width: size of the images.
        seed: int.

    Returns:
        list of (inputs, label map int [1, height, width]).
    """
    every = max(1, prepared.num_examples(split) // count)
    batches = pipeline.evaluation_batches(
        prepared.data_dir, split, height=height, width=width, batch_size=1, every=every
    )
    found = []
    for number, (image, label_map) in enumerate(batches.take(count).as_numpy_iterator()):
        found.append((network.inputs(image, label_map, seed + number), label_map))
    return found


def at_random(network, label_space, count, height, width, seed):
    """As `from_dataset`: label maps of blocks of random classes, images of random pixels."""
    rng, found = np.random.default_rng(seed), []
    for number in range(count):
        first = int(label_space.has_unknown)
        blocks = rng.integers(first, label_space.num_classes, (1, _BLOCKS, _BLOCKS))
        rows, columns = (np.arange(side) * _BLOCKS // side for side in (height, width))
        label_map = blocks[:, rows[:, None], columns]
        image = rng.integers(0, 256, (1, height, width, 3), np.uint8)
        found.append((network.inputs(image, label_map, seed + number), label_map))
    return found
