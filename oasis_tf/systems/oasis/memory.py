"""Estimate of the memory of one training iteration, counted from the widths of the networks.

Counted are the tensors that live until the end of the larger of the two backward passes, and what
the largest block needs besides while its gradient is taken. How many tensors of a kind a block
keeps was read off the code; the few factors marked below were measured on a CPU. How far the sum is
from measured peaks stands in `docs/distributed.md`. Only the parts and losses of OASIS were
compared with such peaks; of others the weights alone are counted, and the estimate says so.
"""

from oasis_tf.layers import by_device
from oasis_tf.systems.oasis.losses.chunked import CHUNK_PIXELS

_BYTES = {"none": 4, "bfloat16": 2, "float16": 2}
# Weights, gradients, velocity, average: counted. Normalised kernels, their gradients and copies in
# the layouts of convolutions: measured, as a multiple of what is counted. Under activation
# checkpointing gradients are taken block by block, and fewer of these exist at a time.
_WEIGHT_OVERHEAD, _WEIGHT_OVERHEAD_REMAT = 1.8, 1.4
# Tables of the distinct surroundings, numbers per pixel and modulated channel: measured on scenes
# of squares; how many surroundings a pixel has to itself depends on the label maps.
_TABLE_NUMBERS = 3
# What TensorFlow takes to trace a step and to run it, however small the networks: measured.
_RUNTIME_BYTES = 800 * 2**20


def parameter_bytes(generator, discriminator):
    """Weights, gradients and Adam's velocity of both networks, plus the average, in float32.

    Args:
        generator, discriminator: int, numbers of trainable parameters; those of an encoder count
            as the generator's.
    """
    return 4 * (3 * (generator + discriminator) + generator)


def fixed_bytes(generator, discriminator, remat=False):
    """What an iteration takes without a single image; arguments as in ``parameter_bytes``."""
    overhead = _WEIGHT_OVERHEAD_REMAT if remat else _WEIGHT_OVERHEAD
    return _RUNTIME_BYTES + int(overhead * parameter_bytes(generator, discriminator))


def generator_activations(config):
    """Numbers that a training pass of the generator, and its way back, need per image."""
    model, data = config.model, config.data
    pixels = data.crop_height * data.crop_width // model.generator_stride**2
    widths = [width * model.generator_channels for width in model.generator_widths]
    inner, outer = [], []
    fans = zip(widths[:-1], widths[1:], model.generator_upsamples, strict=True)
    for fan_in, fan_out, upsample in fans:
        pixels *= 4 if upsample else 1
        middle, shortcut = min(fan_in, fan_out), fan_in != fan_out
        # The input before the upsampling, centred, and after it; what goes into every convolution;
        # the first one's output, centred too; the block's output.
        kept = fan_in // 2 + (2 + shortcut) * fan_in + 3 * middle + fan_out
        modulated = (1 + shortcut) * fan_in + middle
        inner.append(pixels * (kept + _modulation_numbers(config, modulated, 2 + shortcut)))
        outer.append(pixels * (fan_in // 4 + fan_out))
    return _kept(config, inner, outer)


def _modulation_numbers(config, modulated, norms):
    """Numbers per pixel that the modulation of a block keeps, of so many channels and norms."""
    training = config.training
    dense = by_device.dense_setting(training.modulation, training.jit_compile)
    if not by_device.is_dense(dense):
        return _TABLE_NUMBERS * modulated
    # A scale and a shift of every pixel; the hidden values before and after the ReLU.
    return 2 * modulated + 2 * norms * config.model.spade_channels


def discriminator_activations(config):
    """Numbers that one training pass of the U-Net keeps per image: blocks down and up, logits."""
    pixels = config.data.crop_height * config.data.crop_width
    model = config.model
    widths = [width * model.discriminator_channels for width in model.discriminator_widths]
    fan_in, inner, outer = 3, [], []
    for fan_out in widths:
        # The first convolution's input, the second one's as pixels and as blocks.
        full = pixels * (fan_in + 2 * fan_out)
        pixels //= 4
        inner.append(full + pixels * (fan_in + fan_out))
        outer.append(pixels * fan_out)
        fan_in = fan_out
    outputs = [*widths[-2::-1], model.discriminator_channels]
    for index, fan_out in enumerate(outputs):
        fan_in = widths[-1] if index == 0 else outputs[index - 1] + widths[-1 - index]
        small = pixels * fan_in
        pixels *= 4
        # Input, its activation and that padded; the second convolution's input and output.
        inner.append(3 * small + pixels * 2 * fan_out)
        outer.append(small + pixels * fan_out)
    logits = 0 if config.training.chunk_logits else pixels * 3 * (model.num_classes + 1)
    return _kept(config, inner, outer) + logits


def _kept(config, inner, outer):
    """Of blocks that keep ``inner`` numbers for their gradient and have ``outer`` around them."""
    if config.training.remat:
        return sum(outer) + max(inner)
    return sum(inner)


def _chunk_bytes(config):
    """Logits of a chunk of pixels, their slopes and a copy: whatever the batch."""
    if not config.training.chunk_logits:
        return 0
    pixels = config.data.crop_height * config.data.crop_width
    return 4 * 3 * min(CHUNK_PIXELS, pixels) * (config.model.num_classes + 1)


def step_bytes(config, parameters):
    """Estimated bytes of one iteration on one device that holds the whole batch.

    Args:
        config: ``Config``.
        parameters: (int, int), trainable parameters of generator and discriminator.
    """
    fixed = fixed_bytes(*parameters, config.training.remat) + _chunk_bytes(config)
    if not is_measured(config):
        return fixed
    one_pass = discriminator_activations(config)
    # The passes of the D step keep their activations at the same time.
    discriminator_step = (2 if config.training.consistency == "none" else 3) * one_pass
    generator_step = generator_activations(config) + one_pass
    size = _BYTES[config.training.mixed_precision] * config.training.batch_size
    return fixed + size * max(generator_step, discriminator_step)


def describe(config, counts):
    """The estimate as a line of text.

    Args:
        config: ``Config``.
        counts: trainable parameters of every network in training, by name.
    """
    parameters = counts["generator"] + counts.get("encoder", 0), counts["discriminator"]
    total = step_bytes(config, parameters) / 2**30
    if not is_measured(config):
        return (
            f"memory: about {total:.2f} GiB whatever the batch, and the activations: these are "
            "estimated for the parts and losses of OASIS alone"
        )
    fixed = fixed_bytes(*parameters, config.training.remat) / 2**30
    return (
        f"memory: about {total:.2f} GiB for a batch of {config.training.batch_size} on one device "
        f"({fixed:.2f} GiB of it whatever the batch)"
    )


def is_measured(config):
    """Whether the estimate was compared with measured peaks: the parts and losses of OASIS."""
    model, training = config.model, config.training
    parts = model.generator, model.encoder, model.discriminator, model.segments
    return parts == ("oasis", "none", "oasis", True) and not (
        training.lambda_feature_matching or training.lambda_vgg
    )
