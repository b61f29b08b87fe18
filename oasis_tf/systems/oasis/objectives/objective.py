"""The protocol of objectives, and functions that they share."""

from typing import Protocol

from keras import ops


class Objective(Protocol):
    """Losses of the logits of one kind of discriminator.

    ``logits`` are what the discriminator returns: a tensor, or a list with one per scale.
    """

    joint: bool
    segments: bool
    loss_of_guessing: float  # of a discriminator that knows nothing, on real images

    def targets(self, label_map, scales, dtype):
        """What the losses need from the label maps, int [B, H, W]; computed once per step."""

    def generator_loss(self, logits_fake, targets):
        """Loss of the generator: a scalar."""

    def discriminator_losses(self, logits_fake, logits_real, targets):
        """Losses of the discriminator on generated and on real images: two scalars."""

    def accuracies(self, logits_fake, logits_real, targets):
        """Shares of correct logits of generated and of real images: two scalars."""

    def called_real(self, logits_real):
        """Share of logits of real images that do not say "fake": a scalar."""


def as_scales(logits):
    """Logits as a list with one entry per scale, the finest first."""
    return logits if isinstance(logits, list | tuple) else [logits]


def mean_over_scales(function, *parts):
    """Mean over scales of ``function(*parts)``; every part is one value or a list of scales."""
    values = [function(*of_scale) for of_scale in zip(*map(as_scales, parts), strict=True)]
    return values[0] if len(values) == 1 else sum(values) / len(values)


class LogitObjective:
    """Base of objectives with one logit, which is positive for real."""

    segments = False

    def targets(self, label_map, scales, dtype):
        return None

    def accuracies(self, logits_fake, logits_real, targets):
        return (
            mean_over_scales(lambda logits: _share(logits < 0, logits.dtype), logits_fake),
            self.called_real(logits_real),
        )

    def called_real(self, logits_real):
        return mean_over_scales(lambda logits: _share(logits > 0, logits.dtype), logits_real)

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def _share(condition, dtype):
    return ops.mean(ops.cast(condition, dtype))
