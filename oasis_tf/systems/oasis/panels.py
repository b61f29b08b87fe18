"""The pictures that a run of OASIS shows of itself."""

import numpy as np
import tensorflow as tf

from oasis_tf.io import captions, images
from oasis_tf.systems.oasis import losses, noise

FAKE_COLOR = (0, 0, 0)
_SEED = 0  # of the noise in pictures
_TILE = 64  # least width of a tile, which a caption fits over
_LEGEND = 40  # most classes in the legend


class Panels:
    """The pictures of training, drawn from a few scenes and fixed noise, a row a scene.

    Captions name the columns, a legend the colours of the classes that the scenes have.
    ``samples``: label map | real | generator | averaged generator, and, where there are such parts,
    | in the style of the real by the encoder | D's segmentation of the real.
    ``labelmix``, where D segments: mask | mixed image | D of the mix | mix of D of real and fake;
    black is "fake".

    Args:
        model: ``OASIS``.
        label_space: ``LabelSpace``, gives the colours.
        image: uint8 [B, H, W, 3]; label_map: int [B, H, W].
    """

    def __init__(self, model, label_space, image, label_map):
        self._model = model
        self._label_space = label_space
        self._image = np.asarray(image)
        self._label_map = np.asarray(label_map)
        self._compute = tf.function(self._networks, autograph=False)

    def draw(self):
        """Mapping from name to uint8 picture, with the weights as they are now."""
        label_map = tf.constant(self._label_map, tf.int32)
        real = tf.constant(self._image, tf.float32) / 127.5 - 1.0
        result = {k: v.numpy() for k, v in self._compute(real, label_map).items()}
        classes = self._classes()
        pictures = {"samples": _sheet(self._samples(result), classes)}
        if self._model.segments:
            fake = ("fake", FAKE_COLOR)
            pictures["labelmix"] = _sheet(self._labelmix(result), [fake, *classes])
        return pictures

    def _classes(self):
        """Names and colours of the classes in the scenes, the largest first."""
        space = self._label_space
        counts = np.bincount(self._label_map.ravel())
        found = sorted(np.flatnonzero(counts), key=lambda k: -counts[k])
        entries = [(space.class_names[k], tuple(space.palette[k])) for k in found[:_LEGEND]]
        rest = len(found) - len(entries)
        return entries + ([(f"and {rest} more", (255, 255, 255))] if rest else [])

    def _samples(self, result):
        """Tiles of every column, by caption."""
        model, color = self._model, self._label_space.colorize
        columns = {
            "label map": color(self._label_map),
            "real": self._image,
            "generator": images.to_uint8(result["fake"]),
            "averaged": images.to_uint8(model.generate(self._label_map, seed=_SEED)),
        }
        if model.encoder is not None:
            style = model.encode(self._image, seed=_SEED)
            columns["in its style"] = images.to_uint8(model.generate(self._label_map, noise=style))
        if model.segments:
            columns["D of real"] = color(result["segmentation"])
        return columns

    def _labelmix(self, result):
        """Tiles of every column, by caption."""
        mask = np.broadcast_to(result["mask"] * 2 - 1, result["mixed"].shape)
        return {
            "mask": images.to_uint8(mask),
            "mix": images.to_uint8(result["mixed"]),
            "D of mix": self._color_channels(result["of_mix"]),
            "mix of Ds": self._color_channels(result["mix_of"]),
        }

    def _networks(self, real, label_map):
        model, batch = self._model, self._label_map.shape[0]
        inputs = [label_map]
        if model.generator.vector_channels:
            inputs.append(model.sample_noise(_SEED, batch))
        fake = model.generator(*inputs, training=False)
        if not model.segments:
            return {"fake": fake}
        bits = noise.labelmix_bits(model.seed, 0, model.num_classes)
        mask = losses.labelmix_mask(label_map, bits)
        mixed = losses.mix(mask, real, fake)
        logits = [model.class_logits(x) for x in (real, fake, mixed)]
        return {
            "fake": fake,
            "segmentation": model.known_argmax(logits[0]),
            "mask": mask,
            "mixed": mixed,
            "of_mix": tf.argmax(logits[2], -1),
            "mix_of": tf.argmax(losses.mix(mask, logits[0], logits[1]), -1),
        }

    def _color_channels(self, channels):
        """Channel 0 (fake) black, channel k + 1 in the colour of class k."""
        palette = np.array([FAKE_COLOR, *self._label_space.palette], np.uint8)
        return palette[channels]


def _sheet(columns, classes):
    """A row a scene, captions over the columns, the classes below; small tiles are enlarged."""
    factor = -(-_TILE // next(iter(columns.values())).shape[2])
    tiles = [np.repeat(np.repeat(c, factor, 1), factor, 2) for c in columns.values()]
    sheet = images.contact_sheet(list(zip(*tiles, strict=True)))
    return captions.with_legend(captions.with_captions(sheet, list(columns)), classes)
