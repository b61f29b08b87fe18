"""Trains OASIS on Keras' JAX backend: from packed data to a model directory that commands take.

The data stay on the device as integers; what a step draws is drawn on the host, from the seed, a
purpose and the step. Checkpoints are those of `oasis_tf/training/store.py`, which needs no
TensorFlow, with batch statistics re-estimated as `batch_statistics.py` does it.
"""

import functools
import math
import time

import jax
import numpy as np
from jax import numpy as jnp

from benchmarks.oasis.jax_iteration import JaxOASIS
from benchmarks.oasis.packed_data import STATISTICS, Draws
from oasis_tf.layers import by_device
from oasis_tf.training.metrics_file import MetricsFile
from oasis_tf.training.named_weights import forward_state
from oasis_tf.training.store import CheckpointStore

_IN_FLIGHT = 10  # steps that the device may lag behind the host


def train(data, config, model_dir, seconds=math.inf, show=print):
    """Trains, and writes a model directory with a checkpoint now and then and at the end.

    Args:
        data: `PackedData`.
        config: ``Config`` of it. ``steps`` are all; the command ``train`` can take the rest.
        model_dir: a new folder.
        seconds: float, after which no step is begun; it is saved then.
        show: function of a line of text.

    Returns:
        int, the steps that were taken.

    Raises:
        ValueError: settings that this iteration does not have.
        FloatingPointError: a loss is not finite.
    """
    deadline = time.monotonic() + seconds
    # On a GPU one-hot maps of few classes are cheaper than look-ups; on a CPU never.
    gpu = jax.default_backend() == "gpu"
    one_hot = gpu and by_device.few_classes(config.model.num_classes)
    run = _Run(data, config, JaxOASIS.from_config(config, one_hot), model_dir)
    training = config.training
    show(f"{training.steps} steps of {training.batch_size} images on {jax.devices()[0]}")
    while run.step < training.steps and time.monotonic() < deadline:
        run.take_step()
        if run.step % training.log_every == 0:
            show(run.line())
        if run.step % training.checkpoint_every == 0:
            run.save()
    if run.saved != run.step:
        run.save()
    show(f"{model_dir} holds step {run.step} of {training.steps}")
    return run.step


class _Run:
    """A training: its state on the device, its directory."""

    def __init__(self, data, config, model, model_dir):
        self.step, self.saved = 0, None
        self._config, self._model = config, model
        self._draws, self._started = Draws(config, len(data.images)), time.monotonic()
        self._logs = []
        crop = config.data.crop_height, config.data.crop_width
        self._data = jax.device_put((data.images, data.label_maps))

        def iteration(state, arrays, draws):
            return model.iteration(state, _batch(*arrays, draws, crop))

        def average_moved(average, arrays, draws):
            return model.average_moved(average, _batch(*arrays, draws, crop))

        self._iteration = jax.jit(iteration, donate_argnums=0)
        self._average_moved = jax.jit(average_moved)
        self._state = model.state()
        config.save(model_dir)
        self._metrics = MetricsFile(model_dir)
        self._store = CheckpointStore(
            model_dir, config.training.max_to_keep, config.training.keep_every
        )

    def take_step(self):
        self._state, logs = self._iteration(self._state, self._data, self._draws(self.step))
        self._logs.append(logs)
        self.step += 1
        if len(self._logs) > _IN_FLIGHT:
            self._logs[-_IN_FLIGHT]["loss_d"].block_until_ready()

    def line(self):
        """Means of the losses since the last line, which also go into metrics.jsonl."""
        count, logs = len(self._logs), jax.device_get(self._logs)
        means = {name: float(np.mean([log[name] for log in logs])) for name in logs[0]}
        self._logs = []
        if not all(map(math.isfinite, means.values())):
            raise FloatingPointError(
                f"A loss is not finite after {self.step} steps: {means}. Train again with lower "
                f"--lr_g and --lr_d, or use checkpoint {self.saved}."
            )
        self._metrics.append({"step": self.step} | means)
        seconds = time.monotonic() - self._started
        losses = "  ".join(f"{name} {value:.3f}" for name, value in means.items())
        return f"step {self.step}  {seconds:.0f} s  {losses}  (mean of {count})"

    def save(self):
        """A checkpoint, with batch statistics estimated again for use."""
        state = jax.device_get(self._state)
        arrays = {"step": np.int64(self.step)}
        for part, values in state.items():
            prefix = "" if part in self._model.optimizers else f"{part}/"
            arrays |= {prefix + name: value for name, value in values.items()}
        self._store.save(self.step, arrays, self._statistics())
        self.saved = self.step

    def _statistics(self):
        average, count = self._state["generator_ema"], self._config.training.statistics_batches
        for index in range(count):
            draws = self._draws(self.step * count + index, STATISTICS)
            average = self._average_moved(average, self._data, draws)
        names = forward_state(self._model.generator_ema)
        return {name: np.asarray(average[name]) for name in names}


def _batch(images, label_maps, draws, crop):
    """The batch that `JaxOASIS.iteration` takes: crops of the drawn rows, some of them mirrored."""

    def cropped(array, row, top, left, mirrored):
        rest = (0,) * (array.ndim - 3)
        found = jax.lax.dynamic_slice(array, (row, top, left, *rest), (1, *crop, *array.shape[3:]))[
            0
        ]
        return jnp.where(mirrored, found[:, ::-1], found)

    where = [draws[name] for name in ("row", "top", "left", "mirrored")]
    image, label_map = (
        jax.vmap(functools.partial(cropped, array))(*where) for array in (images, label_maps)
    )
    noise = {k: draws[k] for k in ("noise", "discriminator_noise", "labelmix_bits")}
    return {"image": image, "label_map": label_map.astype(np.int32)} | noise
