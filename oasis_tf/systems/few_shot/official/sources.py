"""A checkpoint of another release as what is adapted."""

from oasis_tf.systems.few_shot.official import checkpoints, conversion


def read(path):
    """Settings and weights of a checkpoint.

    Args:
        path: as `checkpoint` of ``checkpoints.read``.

    Returns:
        (``ModelConfig``, dict from "network/name" to arrays, in our names and layouts).

    Raises:
        ValueError, OSError: as ``checkpoints.read``, or weights do not fit.
    """
    found = checkpoints.read(path)
    config = conversion.config_of(found)
    return config.model, conversion.arrays_of(config, found)
