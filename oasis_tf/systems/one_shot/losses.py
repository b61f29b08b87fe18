"""Losses of objects, weights of logits, and what keeps samples apart."""

import math

import keras
from keras import ops

from oasis_tf.layers.fusion import fused
from oasis_tf.layers.gradients import of_upstream
from oasis_tf.layers.replicas import mean_over_replicas


def of_objects(logits, num_classes, weights=None):
    """The mean cross-entropy of every entry of a list of logits of objects.

    Args:
        logits: list of float [N * B, 1, 1, N + 1], object-major.
        num_classes: int N.
        weights: [N], how much every object counts, to call row (i, b) class i; None: to call all of
            them N, the class of generated ones, with a plain mean.
    """
    found = []
    for x in logits:
        log_p = ops.log_softmax(ops.reshape(x, (num_classes, -1, num_classes + 1)))
        if weights is None:
            found.append(-ops.mean(log_p[..., num_classes]))
            continue
        own = ops.stack([ops.mean(log_p[i, :, i]) for i in range(num_classes)])
        total = ops.maximum(ops.sum(weights), keras.config.epsilon() ** 2)
        found.append(-ops.sum(weights * own) / total)
    return found


def of_objects_not_fake(logits, num_classes):
    """``of_objects`` without weights as the paper prints it: -log(1 - p of class N)."""
    found = []
    for x in logits:
        x = ops.reshape(x, (-1, num_classes + 1))
        others = ops.logsumexp(x[:, :num_classes], axis=-1)
        found.append(ops.mean(ops.logsumexp(x, axis=-1) - others))
    return found


def head_weights(blocks_d, blocks_d0, kind="official", content=True, layout=True, low=True):
    """The weight of every head, by branch.

    A branch that is not there leaves its weight to the other one; of a plain discriminator all
    blocks count alike.

    Args:
        blocks_d, blocks_d0: ints n and n_ll.
        kind: "official" or "paper".
        content, layout, low: bools, which branches there are and whether low-level logits count.

    Returns:
        dict of floats by "content", "layout" and "low".
    """
    further = blocks_d - blocks_d0
    branches = max(content + layout, 1)
    if kind == "official":
        branch, of_low = 1 / blocks_d / branches, 1 / blocks_d
    else:
        branch, of_low = 2 / further / branches, 2 / blocks_d0
    of_low = of_low if low else 0.0
    return {"content": branch, "layout": branch, "low": of_low}


# === Diversity ===


def _pair_sum(x):
    """The sum over all pairs of rows of their mean absolute difference.

    The rows are large: differences are neither kept nor written out, and rows in half precision are
    not written out in single precision.
    """
    size = math.prod(x.shape[1:])

    @ops.custom_gradient
    def distance(x):
        gradient = lambda upstream: _distance_gradient(x, upstream / size)  # noqa: E731
        return ops.sum(_distances(x)) / size, of_upstream(gradient)

    return distance(x)


@fused
def _distances(x):
    """Of [B, ...] the sum over all pairs of rows of their absolute difference, [...]."""
    x = _wide(x)
    shifts = range(1, x.shape[0])
    distances = (ops.sum(ops.abs(x[k:] - x[:-k]), axis=0) for k in shifts)
    return sum(distances, start=ops.zeros_like(x[0]))


@fused
def _distance_gradient(x, upstream):
    """The gradient of the sum of ``_distances``, times ``upstream``."""
    count, rest = x.shape[0], ((0, 0),) * (len(x.shape) - 1)
    total = ops.zeros_like(x)
    for k in range(1, count):
        sign = ops.sign(x[k:] - x[:-k])
        total = total + ops.pad(sign, ((k, 0), *rest)) - ops.pad(sign, ((0, k), *rest))
    return ops.cast(upstream * _wide(total), x.dtype)


def _wide(x):
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))


def diversity(features, norm="official"):
    """How far apart the samples of a batch are.

    Args:
        features: list of float [B, h, w, C], B of the global batch.
        norm: "official", 2 / (g (g - 1)) times the sum over g blocks and all pairs of samples;
            "paper", the mean over both.
    """
    blocks, batch = len(features), features[0].shape[0]
    total = sum(_pair_sum(x) for x in features)
    if norm == "official":
        return total * (2 / (blocks * (blocks - 1)))
    return total * (2 / (batch * (batch - 1)) / blocks)


def latent_step_change(image, stepped):
    """Mean squared change of images [B, H, W, 3] by a small step of their latents."""
    return mean_over_replicas(ops.mean(ops.square(image - stepped)))


def change_ratio(images, latents, bound):
    """Mean of change of image by change of latent, at most ``bound``, of neighbours in the batch.

    Args:
        images: [B, H, W, 3], latents: [B, Z], of the global batch.
        bound: float.
    """
    change = ops.mean(ops.abs(images - ops.roll(images, 1, axis=0)), axis=(1, 2, 3))
    step = ops.mean(ops.abs(latents - ops.roll(latents, 1, axis=0)), axis=1)
    return ops.mean(ops.minimum(change / ops.maximum(step, keras.config.epsilon()), bound))
