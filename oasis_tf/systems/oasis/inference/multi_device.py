"""Paints for metrics: the averaged generator, on all devices at hand, with the weights of a moment.

An image's bits do not depend on its batch (`inference.py`), so a batch may be cut into as many
parts as there are devices and the values of metrics stay the same.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from oasis_tf.systems.oasis.inference.generator_engine import InferenceEngine


class Painter:
    """Paints batches, each device a part of it.

    Args:
        model: `OASIS`; the weights are those of this moment, or of the last `refresh`.
        devices: names of devices, each gets a copy of the weights; default: TensorFlow's choice.
    """

    def __init__(self, model, devices=()):
        self._model = model
        self.noise_channels = model.generator_ema.vector_channels
        self._engines = []
        for device in devices or [None]:
            with tf.device(device):
                self._engines.append((device, InferenceEngine(model.generator_ema)))

    def refresh(self):
        """Takes the weights of this moment; nothing is traced again."""
        for device, engine in self._engines:
            with tf.device(device):
                engine.refresh()

    def __call__(self, label_map, seed):
        """Images of label maps: float32 [B,H,W,3] in [-1, 1].

        Args:
            label_map: integers [B,H,W], model ids.
            seed: int64 [B]; image i is the one that `OASIS.generate` paints with seed[i].
        """
        if not self.noise_channels:
            return self._on_all(InferenceEngine.__call__, label_map)
        return self._on_all(InferenceEngine.__call__, label_map, self.noise(seed))

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
        return self._on_all(InferenceEngine.paint, label_map, noise_index, vectors)

    def _on_all(self, method, *arrays):
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
