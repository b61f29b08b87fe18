"""Serving signatures of `one_shot`: images and masks of seeds or latents."""

import tensorflow as tf

from oasis_tf.latents import between
from oasis_tf.serving.graph_checks import check_pixels, checked, finite, same_batch, within
from oasis_tf.serving.graph_pictures import encode_ids, encode_images
from oasis_tf.systems.one_shot import draws

_MOST = 1000  # of a latent's entries


def serving_module(model, max_pixels, batching="image"):
    """A model as a `tf.Module` with one function a signature.

    ``sample`` and ``serving_default`` take ``seed`` int64 [B], ``from_latent`` takes ``latent``
    float32 [B, Z]. Both give ``image`` float32 [B, H, W, 3] in [-1, 1] and, with masks, ``mask``
    uint8 [B, H, W], ids of classes. ``png`` is the demo's (``demo/contract.py``): ``seed`` and
    ``other_seed`` int64 [B], ``share`` float32 [B] -> PNG files, string [B].

    Args:
        model: ``OneShot`` for use.
        max_pixels: int, most pixels of an image.
        batching: without effect: a batch is always computed at the same time.

    Returns:
        `tf.Module`, and a dict of its signatures by name.

    Raises:
        ValueError: images have more pixels.
    """
    size = model.config.model
    check_pixels(size.height, size.width, max_pixels)
    module = tf.Module()
    module.weights = [v.value for v in model.generator_ema.variables]
    seed = tf.TensorSpec([None], tf.int64, name="seed")
    latent = tf.TensorSpec([None, size.noise_dim], tf.float32, name="latent")

    def sample(seed):
        return model.generated(draws.latents_of(seed, size.noise_dim)).named()

    def from_latent(latent):
        return model.generated(checked(finite("latent", latent, _MOST), latent)).named()

    def png(seed, other_seed, share):
        checks = [
            *same_batch(seed=seed, other_seed=other_seed, share=share),
            *within("share", share, 0, 1),
        ]
        ends = (draws.latents_of(seeds, size.noise_dim) for seeds in (seed, other_seed))
        samples = model.generated(between(*ends, checked(checks, share)[:, None]))
        found = {"image_bytes": encode_images(samples.image)}
        if samples.mask is not None:
            found["mask_bytes"] = encode_ids(tf.cast(samples.mask, tf.int32))
        return found

    ways = [seed, tf.TensorSpec([None], tf.int64, name="other_seed")]
    ways.append(tf.TensorSpec([None], tf.float32, name="share"))
    module.png = tf.function(png, input_signature=ways, autograph=False)
    module.sample = tf.function(sample, input_signature=[seed], autograph=False)
    module.from_latent = tf.function(from_latent, input_signature=[latent], autograph=False)
    return module, {
        "serving_default": module.sample,
        "sample": module.sample,
        "from_latent": module.from_latent,
        "png": module.png,
    }
