"""What a run of OASIS looks like when it has gone wrong, and what helps.

Compared with the loss of a discriminator that guesses: ln(N + 1) where it segments.
"""

import collections
import math

_WRONG, _RIGHT = 0.01, 0.999  # shares of what the discriminator calls right
_FAR, _LOST = 3, 5  # times the loss of guessing: on real images; of the generator
_APART, _FAR_APART = 10, 100  # mean square of what logits differ by, in the consistency loss
_BEGINNING = 1000  # steps in which a sound discriminator may still call everything fake
_CONSISTENCY = ("loss_labelmix", "loss_cutmix")
_TERMS = ("loss_feature_matching", "loss_vgg", "loss_kld")
_ANOTHER_RUN = "Train in another --model_dir with"


def symptom(step, means, guessing, consistency_weight):
    """What is wrong with the run, and the remedy, in one line; None if nothing is.

    Args:
        step: int.
        means: of the metrics by name, over the steps of a line.
        guessing: float, loss on real images of a discriminator that knows nothing.
        consistency_weight: float, that of LabelMix or CutMix.
    """
    mean = collections.defaultdict(lambda: math.nan, means)  # of a missing one, nothing is said
    apart = sum(means.get(name, 0.0) for name in _CONSISTENCY) / (consistency_weight or 1.0)
    wrong = mean["accuracy_real"] < _WRONG
    if apart > _FAR_APART or (wrong and (apart > _APART or mean["loss_d_real"] > _FAR * guessing)):
        return (
            f"the discriminator has diverged and will not recover ({_shown(means)}; guessing has "
            f"loss_d_real {guessing:.2f}). {_ANOTHER_RUN} lower --lr_d and --lr_g, another --seed, "
            "or, for a narrow model, --init_gain=0.4."
        )
    if wrong and step > _BEGINNING:
        return (
            f"the discriminator has learnt nothing ({_shown(means)}; guessing has loss_d_real "
            f"{guessing:.2f}). {_ANOTHER_RUN} --init_gain=0.4 for a narrow model, or lower --lr_d "
            "and --lr_g; look whether label maps and images of samples/ agree."
        )
    right = min(mean["accuracy_real"], mean["accuracy_fake"]) > _RIGHT
    adversarial = mean["loss_g"] - sum(means.get(name, 0.0) for name in _TERMS)
    if right and adversarial > _LOST * guessing:
        return (
            "the discriminator is always right and the generator no longer learns from it "
            f"({_shown(means)}, loss_g {mean['loss_g']:.5g}). {_ANOTHER_RUN} lower --lr_d, or more "
            "training images."
        )
    return None


def _shown(means):
    names = ("accuracy_real", "loss_d_real", *_CONSISTENCY)
    return ", ".join(f"{name} {means[name]:.5g}" for name in names if name in means)
