"""Serving signatures: functions over plain variables, with readable errors in the graph."""

import tensorflow as tf

from oasis_tf.inference import InferenceEngine
from oasis_tf.noise import sample_noise


def serving_module(model):
    """The averaged generator as a `tf.Module` with a `serving_default` function.

    The module holds the folded weights of an `InferenceEngine` of its own, each once, and nothing
    that training alone needs.

    Args:
        model: `OASIS`.
    """
    engine, config = InferenceEngine(model.generator_ema), model.config.model
    label_map_spec = tf.TensorSpec([None, None, None], tf.int32, name="label_map")
    seed_spec = tf.TensorSpec([None], tf.int64, name="seed")

    @tf.function(input_signature=[label_map_spec, seed_spec])
    def paint(label_map, seed):
        channels = config.vector_channels
        noise = sample_noise(seed, channels) if channels else None
        return engine(label_map, noise)

    @tf.function(input_signature=[label_map_spec, seed_spec])
    def serving_default(label_map, seed):
        # Loaded signatures let a wrong rank through.
        label_map, seed = tf.ensure_shape(label_map, [None] * 3), tf.ensure_shape(seed, [None])
        with tf.control_dependencies(_input_checks(label_map, seed, config)):
            return {"image": paint(tf.identity(label_map), tf.identity(seed))}

    module = tf.Module()
    module.weights = list(engine.weights.values())
    module.paint = paint
    module.serving_default = serving_default
    return module


def _input_checks(label_map, seed, config):
    """Assertions that travel with the graph and tell a caller what is wrong."""
    multiple = config.generator_stride
    shape = tf.shape(label_map)
    yield tf.debugging.Assert(
        tf.reduce_all((shape[1:] % multiple == 0) & (shape[1:] > 0)),
        [f"label_map height and width must be positive multiples of {multiple}:", shape[1:]],
    )
    yield tf.debugging.Assert(
        shape[0] == tf.shape(seed)[0],
        ["label_map and seed must have the same batch size:", shape[0], tf.shape(seed)[0]],
    )
    yield tf.debugging.Assert(
        tf.reduce_all((label_map >= 0) & (label_map < config.num_classes)),
        [
            f"label_map must hold model ids in 0..{config.num_classes - 1}; smallest and largest:",
            tf.reduce_min(label_map),
            tf.reduce_max(label_map),
        ],
    )
