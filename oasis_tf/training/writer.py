"""TensorBoard events and the pictures a run shows of itself."""

import json
import os

import tensorflow as tf

from oasis_tf.io import images

EVENTS, SAMPLES = "tensorboard", "samples"


class SummaryWriter:
    """Writes scalars, pictures and text of a run into its model directory."""

    def __init__(self, model_dir):
        self._folder = os.path.join(model_dir, SAMPLES)
        self._writer = tf.summary.create_file_writer(os.path.join(model_dir, EVENTS))

    def text(self, name, value, step):
        """Shows ``value`` (JSON-like) as preformatted text."""
        with self._writer.as_default():
            tf.summary.text(name, f"```\n{json.dumps(value, indent=2)}\n```", step=step)

    def scalars(self, values, step):
        """Writes a mapping from names to numbers."""
        with self._writer.as_default():
            for name, value in values.items():
                tf.summary.scalar(name, value, step=step)
        self._writer.flush()

    def pictures(self, pictures, step):
        """Writes a mapping from names to uint8 [H, W, 3], also as PNG files under ``samples/``."""
        with self._writer.as_default():
            for name, picture in pictures.items():
                tf.summary.image(name, picture[None], step=step)
                path = os.path.join(self._folder, f"{name}_{step:08d}.png")
                images.write_png(path, picture)
        self._writer.flush()

    def close(self):
        self._writer.close()
