"""TensorBoard events and pictures of a run, and the loggers that take its values, too."""

import json
import os

import tensorflow as tf
from absl import logging

from oasis_tf.io import images
from oasis_tf.training import loggers

EVENTS, SAMPLES = "tensorboard", "samples"


class SummaryWriter:
    """Writes scalars, pictures and text of a run into its model directory.

    Args:
        model_dir: str.
        to: loggers that take the scalars, too; see ``loggers.start``.
    """

    def __init__(self, model_dir, to=()):
        self._folder = os.path.join(model_dir, SAMPLES)
        self._writer = tf.summary.create_file_writer(events_folder(model_dir))
        self._loggers = list(to)

    def text(self, name, value, step):
        """Shows ``value`` (JSON-like) as preformatted text."""
        with self._writer.as_default():
            tf.summary.text(name, f"```\n{json.dumps(value, indent=2)}\n```", step=step)

    def facts(self, values, step):
        """Shows a mapping from names to numbers in TensorBoard alone."""
        with self._writer.as_default():
            for name, value in values.items():
                tf.summary.scalar(tag(name), value, step=step)
        self._writer.flush()

    def scalars(self, values, step):
        """Writes a mapping from names to numbers."""
        self.facts(values, step)
        values = {tag(name): float(value) for name, value in values.items()}
        for logger in list(self._loggers):
            try:
                logger.log(values, step)
            except Exception as error:
                if logger.LOCAL:
                    raise
                name = type(logger).__name__
                logging.warning("%s takes no more values of this run: %s", name, error)
                self._loggers.remove(logger)

    def pictures(self, pictures, step):
        """Writes a mapping from names to uint8 [H, W, 3], also as PNG files under ``samples/``."""
        with self._writer.as_default():
            for name, picture in pictures.items():
                tf.summary.image(name, picture[None], step=step)
                path = os.path.join(self._folder, f"{name}_{step:08d}.png")
                images.write_png(path, picture)
        self._writer.flush()

    def close(self):
        """Ends the events and the loggers."""
        self._writer.close()
        for logger in self._loggers:
            logger.close()


def tag(name):
    """TensorBoard's name of a value: in a group, ``loss/g`` of ``loss_g``."""
    return name if "/" in name else name.replace("_", "/", 1)


def events_folder(model_dir):
    """Where a run's events lie: in a folder with the run's own name, which TensorBoard shows.

    A run that was begun otherwise (by another release, or under another name) goes on there.
    """
    above = os.path.join(model_dir, EVENTS)
    found = sorted(os.scandir(above), key=lambda entry: entry.name) if os.path.isdir(above) else []
    if any(entry.is_file() for entry in found):
        return above
    begun = [entry.name for entry in found if entry.is_dir()]
    return os.path.join(above, begun[0] if begun else loggers.name_of(model_dir))
