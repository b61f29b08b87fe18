"""What a step does beside the steps of both networks; follows from its number alone."""

from typing import NamedTuple


class Parts(NamedTuple):
    """What a step does. Steps of equal parts share one graph.

    Attributes:
        r1: whether R1 follows the discriminator's step.
        path: whether path-length regularisation follows the generator's.
        smooth: whether the generator's loss has smoothness similarity.
        mixdl: whether both losses have MixDL's.
        whole: whether the whole discriminator judges; always, unless it is asked for patches.
        anchored: whether latents lie near anchors.
        copied: whether the moving average is a copy.
        probing: whether AdAM trains modulations alone.
        counted: whether gradients count for its Fisher information.
    """

    r1: bool = False
    path: bool = False
    smooth: bool = False
    mixdl: bool = False
    whole: bool = True
    anchored: bool = False
    copied: bool = False
    probing: bool = False
    counted: bool = False


def parts_of(config, step):
    """The ``Parts`` of a step.

    Args:
        config: ``Config``.
        step: int, 0 is the first.
    """
    training, adaptation = config.training, config.adaptation
    mixdl = adaptation.lambda_mixdl > 0 and step % adaptation.mixdl_every == 0
    patch = adaptation.d_loss == "patch"
    near = patch and not adaptation.lambda_mixdl and step % adaptation.anchor_every == 0
    probing = step < adaptation.probe_steps
    return Parts(
        r1=training.r1_gamma > 0 and step % training.r1_every == 0,
        path=training.path_weight > 0 and step % training.path_every == 0,
        smooth=adaptation.lambda_ss > 0 and step % adaptation.ss_every == 0,
        mixdl=mixdl,
        whole=not patch or mixdl or near,
        anchored=near,
        copied=step < training.ema_start,
        probing=probing,
        counted=probing and step >= adaptation.probe_steps - adaptation.fisher_batches,
    )
