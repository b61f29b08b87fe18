"""Generation for metrics: the averaged generator on all devices, with one snapshot of its weights.

An image's bits do not depend on its batch (see `generator_engine`). So a batch may be cut into one
part per device, and the values of metrics stay the same.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from oasis_tf.metrics.sampler import Sampler
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
        if not self._model.generator_ema.vector_channels:
            return self._on_all(InferenceEngine.__call__, label_map)
        return self._on_all(InferenceEngine.__call__, label_map, self.noise(seed))

    def noise(self, seed):
        return self._model.sample_noise(seed, len(seed)).numpy()

    def from_field(self, label_map, noise_index, vectors):
        return self._on_all(InferenceEngine.paint, label_map, noise_index, vectors)

    def _on_all(self, method, *arrays):
        if not self._engines:
            self._make_engines()
        parts = [np.array_split(array, len(self._engines)) for array in arrays]
        with ThreadPoolExecutor(len(self._engines)) as pool:
            placed = zip(self._engines, *parts, strict=True)
            images = pool.map(lambda part: self._on_one(method, *part), placed)
            return np.concatenate([image for image in images if image is not None])

    @staticmethod
    def _on_one(method, placed_engine, *arrays):
        device, engine = placed_engine
        if not len(arrays[0]):
            return None
        with tf.device(device):
            return method(engine, *arrays).numpy().astype(np.float32)
