"""Generation for metrics: the averaged generator on all devices, with one snapshot of its weights.

An image's bits do not depend on its batch (see `generator_engine`). So a batch may be cut into one
part per device, and the values of metrics stay the same.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from oasis_tf.systems.oasis.editing.noise_fields import IndexedNoise
from oasis_tf.systems.oasis.inference.generator_engine import InferenceEngine


class Painter:
    """Generates batches, each device a part of them.

    Args:
        model: `OASIS`. Its weights are copied now, and again by `refresh`.
        devices: names of devices, each of which gets a copy; default: TensorFlow's choice.
    """

    def __init__(self, model, devices=()):
        self._model = model
        self.noise_channels = model.generator_ema.vector_channels
        self._engines = []
        for device in devices or [None]:
            with tf.device(device):
                self._engines.append((device, InferenceEngine(model.generator_ema)))

    def refresh(self):
        """Copies the present weights; nothing is traced again."""
        for device, engine in self._engines:
            with tf.device(device):
                engine.refresh()

    def __call__(self, label_map, seed):
        """Images of label maps: float32 [B,H,W,3] in [-1, 1].

        Args:
            label_map: integers [B,H,W], model ids.
            seed: int64 [B]; image i is that of `OASIS.generate` with seed[i].
        """
        noise = self._model.sample_noise(seed, len(seed))
        if noise is None:
            return self._on_all(label_map)
        return self._on_all(label_map, np.zeros_like(label_map), noise.numpy()[:, None])

    def noise(self, seed):
        """Noise vectors [B,Z] of seeds [B]."""
        return self._model.sample_noise(seed, len(seed)).numpy()

    def paint(self, label_map, noise_index, vectors):
        """Images whose noise at a pixel is `vectors[b, noise_index[b, i, j]]`.

        Args:
            label_map: integers [B,H,W], model ids.
            noise_index: integers [B,H,W] in 0..K-1.
            vectors: float32 [B,K,Z].

        Returns:
            float32 [B,H,W,3] in [-1, 1].
        """
        return self._on_all(label_map, noise_index, vectors)

    def _on_all(self, *arrays):
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
