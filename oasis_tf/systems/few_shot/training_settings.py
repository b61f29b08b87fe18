"""Settings of the training of `few_shot`. Nothing here needs TensorFlow."""

import dataclasses
from typing import Any, ClassVar

from oasis_tf.settings.fields import setting
from oasis_tf.training.settings import LoopSettings

# Defaults that depend on the network, and on whether a source is adapted.
OF_NETWORK = {
    "stylegan2": {},
    "biggan": {
        "batch_size": 32,
        "loss": "hinge",
        "lr_g": 1e-4,
        "lr_d": 4e-4,
        "beta_2": 0.999,
        "adam_epsilon": 1e-6,
        "r1_gamma": 0.0,
        "path_weight": 0.0,
        "mixing_prob": 0.0,
        "ema_decay": 0.9999,
    },
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig(LoopSettings):
    """Losses, optimizers, moving average and regularisers, in addition to the loop's settings.

    Raises:
        ValueError: a field is outside its limits.
    """

    AUTO_FALLS_BACK: ClassVar = True

    batch_size: int = setting("Images per step, over all devices (with biggan 32).", 4, minimum=1)
    seed: int = setting("Seed of every random choice.", 1, minimum=0, below=2**63)
    loss: str = setting(
        "Loss of logits that tell real from generated (with biggan hinge); bce is the logistic "
        "one.",
        "bce",
        choices=("bce", "hinge"),
    )
    lr_g: float = setting(
        "Learning rate of the generator (with biggan 1e-4), before the correction for path steps.",
        2e-3,
        above=0,
    )
    lr_d: float = setting(
        "Learning rate of the discriminator (with biggan 4e-4), before the correction for R1 "
        "steps.",
        2e-3,
        above=0,
    )
    beta_1: float = setting("Adam's decay of the mean gradient.", 0.0, minimum=0, below=1)
    beta_2: float = setting(
        "Adam's decay of the squared gradient (with biggan 0.999), before the same corrections.",
        0.99,
        above=0,
        below=1,
    )
    adam_epsilon: float = setting("Adam's epsilon (with biggan 1e-6).", 1e-8, above=0)
    r1_gamma: float = setting(
        "Weight of the gradient penalty of real images, R1; 0: none (with biggan none).",
        10.0,
        minimum=0,
    )
    r1_every: int = setting("Steps between R1 penalties.", 16, minimum=1)
    path_weight: float = setting(
        "StyleGAN2: weight of path-length regularisation; 0: none (without --source 2).",
        0.0,
        minimum=0,
    )
    path_every: int = setting("Steps between path-length regularisations.", 4, minimum=1)
    path_shrink: int = setting(
        "The batch of path lengths is the batch divided by this.", 2, minimum=1
    )
    path_decay: float = setting(
        "Share of a step in the average path length.", 0.01, above=0, below=1
    )
    mixing_prob: float = setting(
        "StyleGAN2: probability of styles from two latents (with biggan none).",
        0.9,
        minimum=0,
        maximum=1,
    )
    ema_decay: float = setting(
        "Decay of the moving average of the generator's weights (with biggan 0.9999); 0: no "
        "average.",
        0.5 ** (32 / 10000),
        minimum=0,
        below=1,
    )
    ema_start: int = setting(
        "Step up to which the average is a copy (BigGAN's scripts: 20000).", 0, minimum=0
    )
    augmentation: str = setting(
        "Differentiable augmentation of real and generated images. reduced: zoom, crop or "
        "rotation, flip, shifts; full: the list of adaptive augmentation.",
        "none",
        choices=("reduced", "full", "none"),
    )
    prob_augm: float = setting("Probability of each augmentation.", 0.7, minimum=0, maximum=1)

    def optimizer(self, which: str) -> dict[str, Any]:
        """Returns Adam's settings for "g" or "d", corrected for lazy regularisation.

        A penalty every k steps takes k / (k + 1) of the rate and, as exponent, of the decays.
        """
        every = {
            "g": self.path_every if self.path_weight else 0,
            "d": self.r1_every if self.r1_gamma else 0,
        }[which]
        share = every / (every + 1) if every else 1.0
        return {
            "learning_rate": getattr(self, f"lr_{which}") * share,
            "beta_1": self.beta_1**share,
            "beta_2": self.beta_2**share,
            "epsilon": self.adam_epsilon,
        }

    @property
    def path_batch(self) -> int:
        """Returns the number of images of a path-length regularisation, over all devices."""
        return max(1, self.batch_size // self.path_shrink)


def defaults(network: str, adapted: bool) -> dict[str, Any]:
    """Returns the defaults of a new run that are not those of the fields."""
    found = dict(OF_NETWORK[network])
    if network == "stylegan2" and not adapted:
        found["path_weight"] = 2.0
    return found
