"""SIV-GAN and OSMIS in training, as the loop sees them."""

import numpy as np
import tensorflow as tf

from oasis_tf.systems.one_shot import draws, palette, source
from oasis_tf.systems.one_shot.build import build_model
from oasis_tf.systems.one_shot.model import mask_channels
from oasis_tf.training.precision import rates_and_scales
from oasis_tf.training.strategies import check_whole_step, distribute, replicated_step
from oasis_tf.training.task import Task

_PREVIEWS = 8


def describe(config):
    """What ``--dry_run`` prints: configuration and parameter counts."""
    model = build_model(config)
    lines = [config.to_text(), ""]
    for name, network in model.networks().items():
        if name != "generator_ema":
            lines.append(f"{name}: {parameters(network):,} parameters")
    return "\n".join([*lines, "Memory: not estimated for this system."])


def parameters(network):
    """The number of a network's parameters, without u and v."""
    return sum(int(np.prod(v.shape)) for v in network.variables if v.name not in ("u", "v"))


class OneShotTask(Task):
    """SIV-GAN or OSMIS in training.

    A batch is the numbers of its pictures; the pictures lie on the devices.

    Args:
        config: ``Config``.
        strategy: ``tf.distribute`` strategy under whose scope the model is made.

    Raises:
        ValueError, OSError: evaluations, pictures that are not those of the configuration, or XLA
            with several devices.
    """

    divergence_advice = "with lower --lr_g and --lr_d, or without --mixed_precision"

    def __init__(self, config, strategy):
        if config.training.eval_every:
            self.prepare_measuring(None, None)
        check_whole_step(strategy, config.training.jit_compile)
        self._config, self._strategy = config, strategy
        size = config.model.height, config.model.width
        self._pictures, self._masks = source.read(config.data, config.source, *size)
        with strategy.scope():
            self.model = build_model(config)
        jit_compile = config.training.jit_compile
        self._step = replicated_step(strategy, self._train_step, jit_compile)

    def variables(self):
        return self.model.variables()

    def batches(self, start_step):
        batch = self._config.training.batch_size

        def of_rows(rows):
            steps = tf.data.Dataset.range(start_step, np.iinfo(np.int64).max)
            return steps.map(lambda step: self._frames(step)[rows[0] : rows[1]])

        return distribute(self._strategy, batch, of_rows)

    def _frames(self, step):
        training = self._config.training
        return draws.frames(training.seed, step, training.batch_size, len(self._pictures))

    def train_step(self, batch):
        return self._step(batch)

    def _train_step(self, numbers):
        dtype = self.model.dtype
        image = tf.cast(tf.gather(self._pictures, numbers), dtype) / 127.5 - 1
        mask = None
        if self._masks is not None:
            mask = mask_channels(self._config, tf.gather(self._masks, numbers), dtype)
        return self.model.train_step(image, mask)

    def global_batch(self, step):
        numbers = self._frames(step - 1).numpy()
        found = {"image": self._pictures[numbers]}
        return found if self._masks is None else found | {"mask": self._masks[numbers]}

    def facts(self):
        return {"data/pictures": len(self._pictures)}

    def scalars(self):
        return rates_and_scales(self._config.training, self.model)

    def pictures(self, step):
        """Samples of fixed latents by the average, as it is used, and their masks."""
        with self.model.settled():
            samples = self.model.sample(0, _PREVIEWS)
        found = {"samples": samples.sheet()}
        return found if samples.mask is None else found | {"masks": palette.sheet(samples.mask)}
