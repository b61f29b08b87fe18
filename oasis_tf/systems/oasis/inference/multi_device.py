"""Generation for metrics: the averaged generator on all devices, with one snapshot of its weights.

A batch is cut into one part per device. On CPUs an image's bits do not depend on its batch, so the
values of metrics stay the same; on GPUs they are equal to rounding (see `engine`).
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from oasis_tf.metrics.sampler import Sampler
from oasis_tf.systems.oasis.editing.noise_fields import IndexedNoise
from oasis_tf.systems.oasis.inference.generator_engine import InferenceEngine


class DeviceSampler(Sampler):
    """Generates batches, each device a part of them.

    Args:
        model: `OASIS`. Its weights are copied at the first use, and again by `refresh`.
        devices: names of devices, each of which gets a copy; default: TensorFlow's choice.
    """

    def __init__(self, model, devices=()):
        self._model = model
        self._devices = devices or [None]
        self._engines = []

    def refresh(self):
        """Copies the present weights; nothing is traced again."""
        if not self._engines:
            self._make_engines()
            return
        for device, engine in self._engines:
            with tf.device(device):
                engine.refresh()

    def _make_engines(self):
        for device in self._devices:
            with tf.device(device):
                self._engines.append((device, InferenceEngine(self._model.generator_ema)))

    def __call__(self, label_map, seed):
        """Images as `OASIS.generate` gives them for these seeds; see `Sampler`."""
        noise = self._model.sample_noise(seed, len(seed))
        if noise is None:
            return self._on_all(label_map)
        return self._on_all(label_map, np.zeros_like(label_map), noise.numpy()[:, None])

    def noise(self, seed):
        return self._model.sample_noise(seed, len(seed)).numpy()

    def from_field(self, label_map, noise_index, vectors):
        return self._on_all(label_map, noise_index, vectors)

    def _on_all(self, *arrays):
        if not self._engines:
            self._make_engines()
        parts = [np.array_split(array, len(self._engines)) for array in arrays]
        with ThreadPoolExecutor(len(self._engines)) as pool:
            images = pool.map(self._on_one, self._engines, *parts)
            return np.concatenate([image for image in images if image is not None])

    @staticmethod
    def _on_one(placed_engine, label_map, *noise):
        device, engine = placed_engine
        if not len(label_map):
            return None
        with tf.device(device):
            image = engine(label_map, IndexedNoise(*noise) if noise else None)
            return image.numpy().astype(np.float32)
