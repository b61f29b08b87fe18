"""The networks of TFLite files: pure functions of folded weights, with named inputs and outputs."""

import tensorflow as tf

from oasis_tf.serving.litert import Network
from oasis_tf.systems.oasis.inference import segmentation_engine
from oasis_tf.systems.oasis.inference.generator_engine import generate_every_pixel

_FAKE = "fake_probability"


def facts(config, name):
    """What an application must know of a network before it has one.

    Args:
        config: `Config` of the model.
        name: `generator` or `segmenter`.

    Returns:
        dict: `size_multiple`, which sides of images must be multiples of, and `noise_channels`.

    Raises:
        ValueError: another name, or a model that cannot segment.
    """
    model = config.model
    if name == "generator":
        return {"size_multiple": model.generator_stride, "noise_channels": model.vector_channels}
    if name != "segmenter":
        raise ValueError(f"`network` must be generator or segmenter. Received: network={name}.")
    model.check_segments("segment")
    return {"size_multiple": model.discriminator_stride, "noise_channels": 0}


def size(config):
    """(height, width) of images where nothing else is asked for: the training crop's."""
    return config.data.crop_height, config.data.crop_width


def description(model):
    """What a file says of the model: data set, step, and all classes in model-id order."""
    space = model.label_space
    return {
        "dataset": space.dataset,
        "step": int(model.step),
        "has_unknown": space.has_unknown,
        "classes": space.classes(),
    }


def network(model, name, height=None, width=None):
    """The averaged generator, or the discriminator as a segmenter.

    `generator`: `label_map` int32 [B, H, W] in model ids, `noise` float32 [B, Z] (none if Z = 0)
        -> `image` float32 [B, H, W, 3] in [-1, 1].
    `segmenter`: `image` float32 [B, H, W, 3] in [-1, 1] -> `label_map` int32 [B, H, W], never the
        unknown class, `fake_probability` float32 [B, H, W].

    Args:
        model: `OASIS`.
        name: `generator` or `segmenter`.
        height, width: size of the one image; None: number and size of images are free.

    Raises:
        ValueError: a segmenter of a model without a discriminator.
    """
    sides = [None] * 3 if height is None else [1, height, width]
    return {"generator": _generator, "segmenter": _segmenter}[name](model, sides)


def _generator(model, sides):
    generator, engine = model.generator_ema, model.inference_engine()
    channels = generator.vector_channels
    specs = [tf.TensorSpec(sides, tf.int32, name="label_map")]
    specs += [tf.TensorSpec([sides[0], channels], name="noise")] if channels else []

    @tf.function(input_signature=specs, autograph=False)
    def generate(label_map, noise=None):
        image = generate_every_pixel(engine.weights, generator.upsamples, label_map, noise)
        return {"image": image}

    def inputs(image, label_map, seed):
        del image
        noise = model.sample_noise(seed, len(label_map))
        named = {"label_map": label_map.astype("int32")}
        return named if noise is None else named | {"noise": noise.numpy()}

    def reference(label_map, noise=None):
        return {"image": engine(label_map, noise).numpy()}

    return Network("generator", generate, engine.weights, reference, inputs)


def _segmenter(model, sides):
    engine, first = model.segmentation_engine(), int(model.has_unknown)

    @tf.function(input_signature=[tf.TensorSpec([*sides, 3], name="image")], autograph=False)
    def segment(image):
        logits = segmentation_engine.logits(engine.weights, image)
        fake = tf.nn.softmax(logits)[..., segmentation_engine.FAKE]
        return {"label_map": segmentation_engine.known_argmax(logits, first), _FAKE: fake}

    def inputs(image, label_map, seed):
        del label_map, seed
        return {"image": image.astype("float32") / 127.5 - 1}

    def reference(image):
        label_map, fake = engine(image)
        return {"label_map": label_map.numpy(), _FAKE: fake.numpy()}

    return Network("segmenter", segment, engine.weights, reference, inputs)
