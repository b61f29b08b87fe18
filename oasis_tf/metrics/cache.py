"""Results kept beside the data: computed once, under a name that hashes all that decides them.

They are kept in the data directory, or in the model directory if that one cannot be written.
"""

import hashlib
import json
import os

from absl import logging

from oasis_tf.io import files


def key(decisive):
    """A hexadecimal name that changes with everything in `decisive` (a dict ready for JSON)."""
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]


def split_digests(dataset, split):
    """SHA-256 of the shards of a split, in order: what its images and label maps are."""
    return [shard.sha256 for shard in dataset.splits[split].shards]


def places(dataset, model_dir, folder, name):
    """Paths where a result is looked for, in this order: beside the data, then in the model's."""
    return [os.path.join(root, folder, name) for root in (dataset.data_dir, model_dir)]


def find(paths):
    """The first of the paths that exists, or None."""
    return next((path for path in paths if os.path.exists(path)), None)


def keep(paths, write):
    """Writes to the first path that can be written; without one nothing is kept.

    Args:
        paths: what `places` gives.
        write: function that writes the file whose path it is given.
    """
    for path in paths:
        try:
            with files.written_aside(path) as aside:
                write(aside)
            return
        except OSError as error:
            logging.warning("Cannot keep %s: %s", path, error)
