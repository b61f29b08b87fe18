"""Losses of logits that tell real from generated images."""

from keras import ops

# Of logits, by (loss, what they are of): the loss of every position.
_OF_LOGITS = {
    ("bce", "real"): lambda x: ops.softplus(-x),
    ("bce", "fake"): ops.softplus,
    ("bce", "generator"): lambda x: ops.softplus(-x),
    ("hinge", "real"): lambda x: ops.relu(1 - x),
    ("hinge", "fake"): lambda x: ops.relu(1 + x),
    ("hinge", "generator"): lambda x: -x,
    ("wgan", "real"): lambda x: -x,
    ("wgan", "fake"): lambda x: x,
    ("wgan", "generator"): lambda x: -x,
}


def of_logits(logits, of, loss="bce"):
    """The mean loss of every entry of a list of logits.

    Args:
        logits: list of float tensors of any shapes.
        of: "real" and "fake", the discriminator's; or "generator".
        loss: "bce", "hinge" or "wgan".
    """
    function = _OF_LOGITS[loss, of]
    return [ops.mean(function(x)) for x in logits]
