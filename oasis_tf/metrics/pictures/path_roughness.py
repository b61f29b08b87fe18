"""How evenly images change along lines between latents: smooth latent spaces have no jumps."""

import numpy as np

from oasis_tf.metrics.evaluator import finite_uint8

LINES, STEPS = 16, 32
NAME = f"path_roughness_{STEPS}steps"


def values(walk, seed=0):
    """Roughness of each of several lines.

    That is the largest Euclidean distance of an image from the next one, divided by the mean one.

    Args:
        walk: function(seed_a, seed_b, steps) -> images float32 [steps,H,W,3] in [-1, 1], both ends
            included.
        seed: int; line i leads from the seed ``seed + 2 i`` to the next one.

    Returns:
        float64 [LINES], at least 1; NaN where no image changes.
    """
    found = []
    for line in range(LINES):
        images = walk(seed + 2 * line, seed + 2 * line + 1, STEPS + 1)
        finite_uint8(images)
        change = np.diff(images.reshape(STEPS + 1, -1).astype(np.float64), axis=0)
        lengths = np.linalg.norm(change, axis=1)
        found.append(lengths.max() / lengths.mean() if lengths.any() else np.nan)
    return np.array(found)
