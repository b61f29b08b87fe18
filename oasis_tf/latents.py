"""Ways between latents of a standard normal distribution, for every system that has such.

The middle of the line between two random latents is shorter than latents are, and its image is
flat. So lengths are those of latents all the way.
"""

import tensorflow as tf


def between(first, second, share):
    """Latents on the way from some to others; lengths go evenly from one to the other.

    Args:
        first, second: float32 [B, Z].
        share: float or [B, 1] in 0..1; 0 gives the first, 1 the second.

    Returns:
        float32 [B, Z].
    """
    lengths = (1 - share) * _length(first) + share * _length(second)
    return _of_length((1 - share) * first + share * second, lengths)


def moved(latent, directions, amounts):
    """Latents moved along several directions, at their own length.

    Args:
        latent: float32 [B, Z].
        directions: float32 [K, Z], of the length of latents.
        amounts: float32 [B, K], in -1..1; 1 takes as much of a direction as of the latent.

    Returns:
        float32 [B, Z].
    """
    steps = tf.reduce_sum(amounts[:, :, None] * directions, axis=1)
    return _of_length(latent + steps, _length(latent))


def closed_walk(latents, frames, way=between):
    """A walk from each latent to the next, and from the last back to the first.

    Args:
        latents: float32 [N, Z].
        frames: int, steps from a latent to the next.
        way: function as ``between``.

    Returns:
        float32 [N * frames, Z]; every latent is the first of its ``frames``.
    """
    after = tf.roll(latents, -1, axis=0)
    shares = tf.range(frames, dtype=tf.float32)[:, None] / tf.constant(frames, tf.float32)
    steps = [way(a[None], b[None], shares) for a, b in zip(latents, after, strict=True)]
    return tf.concat(steps, 0)


def _of_length(vectors, lengths):
    return vectors * tf.math.divide_no_nan(lengths, _length(vectors))


def _length(latents):
    return tf.norm(latents, axis=-1, keepdims=True)
