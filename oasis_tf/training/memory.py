"""Estimate of the memory of one training iteration, counted from the widths of the networks.

Counted are the tensors that live until the end of the larger of the two backward passes. The
factors are how many tensors of a kind a block keeps for its gradient; they were read off the code,
and the sum is an estimate: convolution work space and the allocator's slack come on top.
"""

_BYTES = {"none": 4, "bfloat16": 2, "float16": 2}


def parameter_bytes(generator, discriminator):
    """Weights, gradients and Adam's velocity of both networks, plus the average, in float32.

    Args:
        generator, discriminator: int, numbers of trainable parameters.
    """
    return 4 * (3 * (generator + discriminator) + generator)


def generator_activations(config):
    """Numbers that a training pass of the generator keeps per image."""
    model, data = config.model, config.data
    pixels = data.crop_height * data.crop_width // model.generator_stride**2
    widths = [width * model.generator_channels for width in model.generator_widths]
    total = 0
    for fan_in, fan_out in zip(widths[:-1], widths[1:], strict=True):
        middle, shortcut = min(fan_in, fan_out), fan_in != fan_out
        hidden = (3 if shortcut else 2) * model.spade_channels
        # Hidden maps before and behind the ReLU; scale and shift; x centred, normalised, modulated,
        # activated; the three convolutions' outputs.
        modulated = (2 + shortcut) * fan_in + middle
        total += pixels * (2 * hidden + 6 * modulated + middle + 2 * fan_out)
        pixels *= 4
    return total


def discriminator_activations(config):
    """Numbers that one training pass of the discriminator keeps per image."""
    model, data = config.model, config.data
    widths = [width * model.discriminator_channels for width in model.discriminator_widths]
    pixels, total, fan_in = data.crop_height * data.crop_width, 0, 3
    for fan_out in widths:
        total += pixels * (2 * fan_in + 3 * fan_out)
        pixels, fan_in = pixels // 4, fan_out
    outputs = [*widths[-2::-1], model.discriminator_channels]
    for index, fan_out in enumerate(outputs):
        fan_in = widths[-1] if index == 0 else outputs[index - 1] + widths[-1 - index]
        total += pixels * 2 * fan_in
        pixels *= 4
        total += pixels * (fan_in + 4 * fan_out)
    return total + pixels * 3 * (model.num_classes + 1)


def step_bytes(config, parameters):
    """Estimated bytes of one iteration on one device that holds the whole batch.

    Args:
        config: ``Config``.
        parameters: (int, int), trainable parameters of generator and discriminator.
    """
    size = _BYTES[config.training.mixed_precision] * config.training.batch_size
    one_pass = discriminator_activations(config)
    generator_step = generator_activations(config) + one_pass
    discriminator_step = (3 if config.training.lambda_labelmix else 2) * one_pass
    return parameter_bytes(*parameters) + size * max(generator_step, discriminator_step)


def describe(config, parameters):
    """The estimate as a line of text."""
    total, fixed = step_bytes(config, parameters), parameter_bytes(*parameters)
    return (
        f"memory: about {total / 2**30:.2f} GiB for a batch of {config.training.batch_size} on one "
        f"device ({fixed / 2**30:.2f} GiB of it weights, gradients, optimizers and average)"
    )
