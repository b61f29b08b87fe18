"""All that one iteration draws, from the seed and the step alone, for the global batch."""

from typing import Any, NamedTuple

import tensorflow as tf

from oasis_tf import randomness
from oasis_tf.augmentation import full, reduced
from oasis_tf.randomness import named_stream
from oasis_tf.systems.one_shot.feature_augmentation import content, layout, objects

SAMPLE = named_stream("one_shot/sample")
FRAMES = named_stream("one_shot/frames")
_STREAMS = {
    name: named_stream(f"one_shot/{name}")
    for name in (
        *("z_g", "z_d", "z_step", "augment_g", "augment_real", "augment_d"),
        *("uniform_g", "uniform_d", "content", "layout"),
    )
}


class Draws(NamedTuple):
    """What an iteration draws; None where it draws nothing.

    Attributes:
        z_g, z_d: latents [B, Z] of the generator's and of the discriminator's step.
        z_step: standard normal [B, Z], the direction of the latents' step (zcr).
        augment_g, augment_real, augment_d: draws of ``oasis_tf.augmentation``.
        uniform_g, uniform_d: [B, h, w, N] in [0, 1), for hard masks.
        content: ``ContentDecisions`` of feature augmentation.
        layout: what decides on layout features: the map of sources int32 [B, h, w], or
            ``ObjectNumbers``, from which the map follows with the masks.
    """

    z_g: Any
    z_d: Any
    z_step: Any = None
    augment_g: Any = None
    augment_real: Any = None
    augment_d: Any = None
    uniform_g: Any = None
    uniform_d: Any = None
    content: Any = None
    layout: Any = None


def draw(config, step):
    """The ``Draws`` of a step.

    Args:
        config: ``Config``.
        step: int or int scalar, 0 is the first.
    """
    model, training = config.model, config.training
    batch = training.batch_size

    def key(name):
        return randomness.make_key(training.seed, _STREAMS[name], step)

    found = {
        name: randomness.normal(key(name), [batch, model.noise_dim]) for name in ("z_g", "z_d")
    }
    if training.diversity == "zcr":
        found["z_step"] = randomness.normal(key("z_step"), [batch, model.noise_dim])
    if training.augmentation != "none":
        pipe = {"reduced": reduced, "full": full}[training.augmentation]
        sizes = (batch, model.height, model.width, training.prob_augm)
        for name in ("augment_g", "augment_real", "augment_d"):
            found[name] = pipe.draw(key(name), *sizes)
    if model.num_classes:
        shape = [batch, *hard_mask_size(config), model.num_classes]
        for name in ("uniform_g", "uniform_d"):
            found[name] = randomness.uniform(key(name), shape)
    return Draws(**found, **_feature_augmentation(config, key))


def hard_mask_size(config):
    """(height, width) at which generated masks become hard."""
    model = config.model
    small = model.mask_supervision in ("attention", "projection")
    factor = 2**model.blocks_d0 if small and config.training.hard_masks == "small" else 1
    return model.height // factor, model.width // factor


def _feature_augmentation(config, key):
    model, training = config.model, config.training
    batch, found = training.batch_size, {}
    if model.content_branch and training.prob_fa_con:
        channels = model.discriminator_widths[model.blocks_d0]
        found["content"] = content.draw(key("content"), batch, channels, training.prob_fa_con)
    if model.layout_branch and training.prob_fa_lay:
        size = [side >> model.blocks_d0 for side in (model.height, model.width)]
        if model.attends:
            found["layout"] = objects.draw(key("layout"), batch, model.num_classes)
        else:
            chosen = layout.draw_rectangles(key("layout"), batch, *size, training.prob_fa_lay)
            found["layout"] = chosen.source(batch, *size, training.layout_fa == "paste")
    return found


def own(draws, batch):
    """Of draws those of this replica's rows; numbers for the whole batch stay."""

    def rows(x):
        return x if not tf.is_tensor(x) or not x.shape.rank else randomness.own_rows(x, batch)

    return tf.nest.map_structure(rows, draws)


def latents_of(seeds, noise_dim):
    """Latents float32 [B, Z] of seeds int64 [B]; a latent is decided by its own seed."""
    return randomness.normal_by_seed(seeds, SAMPLE, [noise_dim])


def frames(seed, step, batch, count):
    """Numbers int32 [B] of the frames of a step's batch, out of ``count``."""
    numbers = randomness.uniform(randomness.make_key(seed, FRAMES, step), [batch])
    return tf.minimum(tf.cast(numbers * count, tf.int32), count - 1)
