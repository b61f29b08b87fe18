"""OASIS for metrics: what its models can be measured by, and their evaluation context."""

from oasis_tf.metrics.evaluator import EvaluationContext
from oasis_tf.metrics.sampler import Capabilities, Capability
from oasis_tf.systems.oasis.inference.multi_device import DeviceSampler
from oasis_tf.systems.oasis.model_settings import missing_discriminator, not_segmenting
from oasis_tf.systems.oasis.models.oasis import OASIS

_CAPABILITIES = {
    Capability.LABEL_MAPS,
    Capability.NOISE,
    Capability.LOCAL_NOISE,
    Capability.SEGMENTATION,
}


def capabilities(config):
    """The `Capabilities` of a model of this configuration."""
    model, reasons = config.model, {}
    if not model.vector_channels:
        reasons[Capability.NOISE] = (
            "This model has none (noise_channels=0), it generates one image for a label map."
        )
    if not model.local_noise:
        reasons[Capability.LOCAL_NOISE] = (
            f"This model's noise is one vector for the whole image (encoder={model.encoder})."
        )
    if not model.segments:
        missing = not_segmenting if model.has_discriminator else missing_discriminator
        reasons[Capability.SEGMENTATION] = str(missing("segment"))
    return Capabilities(_CAPABILITIES - reasons.keys(), config.label_space, reasons)


def context(model_dir, checkpoint=None, **options):
    """The `EvaluationContext` of a model directory; see `context_of`.

    Args:
        model_dir, checkpoint: as in `OASIS.load`.
    """
    return context_of(OASIS.load(model_dir, checkpoint), model_dir, **options)


def context_of(model, model_dir, devices=(), **options):
    """The `EvaluationContext` of a model, at the size of its training crop.

    Args:
        model: `OASIS` with its `config`.
        model_dir: its directory.
        devices: names of the devices that generate; default: TensorFlow's choice.
        options: further attributes of the context, `dataset` among them.
    """
    data = model.config.data
    return EvaluationContext(
        model_dir=model_dir,
        height=data.crop_height,
        width=data.crop_width,
        sampler=DeviceSampler(model, devices),
        step=int(model.step.numpy()),
        label_space=model.label_space,
        segment=model.segment,
        **options,
    )
