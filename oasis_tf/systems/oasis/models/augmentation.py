"""What the discriminator is shown: differentiable augmentation, its probability fixed or adapted.

Pictures and label maps take the same geometry. In a step of D one draw serves real and generated
images, which stand for the same label maps: so mixing images and augmenting them commute, and the
edges of LabelMix are those of the augmented label map.
"""

import dataclasses
from typing import Any, NamedTuple

import tensorflow as tf

from oasis_tf import randomness
from oasis_tf.augmentation import full
from oasis_tf.layers.replicas import assign_same, num_replicas

_STREAMS = [randomness.named_stream(f"oasis/augmentation_{of}") for of in "gd"]
_TRANSFORMS = {"basic": full.BASIC, "full": full.ALL}


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Settings of augmentation, by the names that they have in ``TrainingConfig``.

    Attributes:
        augmentation: "none", "basic" (flip, translation, scale, colour, cut-out) or "full".
        prob_augm: float in [0, 1], of each transform, unless it is adapted.
        adaptive_augm: bool, whether the probability follows r, from 0 on.
        augm_target: float, r at which the probability stays.
        augm_images: int, real images in which the probability goes from 0 to 1.
    """

    augmentation: str = "none"
    prob_augm: float = 0.2
    adaptive_augm: bool = False
    augm_target: float = 0.6
    augm_images: int = 500_000

    @classmethod
    def of(cls, settings):
        """That of a section ``training``."""
        return cls(
            **{field.name: getattr(settings, field.name) for field in dataclasses.fields(cls)}
        )

    @property
    def on(self):
        """bool: whether there is any."""
        return self.augmentation != "none"

    @property
    def adaptive(self):
        """bool: whether the probability is part of the state of training."""
        return self.on and self.adaptive_augm

    def draws(self, seed, step, label_map, probability):
        """For the step of G and for that of D, the draws of this replica's rows.

        Args:
            seed, step: ints or int64 scalars.
            label_map: int [B, H, W], of static shape.
            probability: float scalar.

        Raises:
            ValueError: a batch of unknown size.
        """
        shape = tuple(label_map.shape)
        if None in shape:
            raise ValueError(
                "Augmentation needs batches of known size, such as those of "
                f"dataset.batch(…, drop_remainder=True). Received: shape={shape}."
            )
        batch, *size = shape
        return [
            _own_rows(
                full.draw(
                    randomness.make_key(seed, stream, step),
                    batch * num_replicas(),
                    *size,
                    probability,
                    _TRANSFORMS[self.augmentation],
                ),
                batch,
            )
            for stream in _STREAMS
        ]

    def adapt(self, probability, r, images):
        """Moves the probability one step up where r is above the target, down where it is below.

        Args:
            probability: Keras variable.
            r: float scalar, the same on every replica.
            images: int, rows of the global batch.
        """
        change = tf.sign(tf.cast(r, probability.dtype) - self.augm_target)
        moved = probability.value + change * (images / self.augm_images)
        assign_same(probability, tf.clip_by_value(moved, 0.0, 1.0))


class View(NamedTuple):
    """How the discriminator sees the scenes of a batch.

    Attributes:
        label_map: int32 [B, H, W], after augmentation.
        targets: of the objective, for this label map.
        draws: of the augmentation; None without.
    """

    label_map: Any
    targets: Any
    draws: Any = None

    def __call__(self, image):
        """Images [B, H, W, 3] after augmentation."""
        return image if self.draws is None else full.apply(self.draws, [image])[0][0]


def _own_rows(draws, batch):
    return full.FullDraws(
        *(None if rows is None else randomness.own_rows(rows, batch) for rows in draws)
    )
