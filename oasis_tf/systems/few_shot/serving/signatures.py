"""Serving signatures of `few_shot`: images of seeds or latents, also beside the source's."""

import tensorflow as tf

from oasis_tf.serving.graph_checks import check_pixels, checked, finite, same_batch, within
from oasis_tf.serving.graph_pictures import encode_images
from oasis_tf.systems.few_shot.demo import contract

_MOST = 1000  # of a latent's entries


def serving_module(model, max_pixels, batching="image"):
    """A model as a `tf.Module` with one function a signature.

    ``sample`` and ``serving_default`` take ``seed`` int64 [B] and ``truncation`` float32 [];
    ``from_latent`` takes ``latent`` float32 [B, Z] and ``truncation``. They give ``image`` float32
    [B, H, W, 3] in [-1, 1]. ``beside_source``, of an adapted model, is ``sample`` that also gives
    ``source``, the images of the same latents by the source. ``png`` is the demo's
    (``demo/contract.py``): ``seed`` int64 [B], ``amounts`` float32 [B, K], ``truncation`` float32
    [B] -> PNG files, string [B].

    Args:
        model: ``FewShot`` for use.
        max_pixels: int, most pixels of an image.
        batching: without effect: a batch is always computed at the same time.

    Returns:
        `tf.Module`, and a dict of its signatures by name.

    Raises:
        ValueError: images have more pixels.
    """
    side, latent_dim = model.config.model.size, model.config.model.latent_dim
    check_pixels(side, side, max_pixels)
    centres = {of: model.centre(of) for of in model.samplers}
    module = tf.Module()
    module.weights = [v.value for network in model.networks_for_use() for v in network.variables]
    of_batch = {
        "seed": tf.TensorSpec([None], tf.int64, name="seed"),
        "latent": tf.TensorSpec([None, latent_dim], tf.float32, name="latent"),
        "amounts": tf.TensorSpec([None, contract.SLIDERS], tf.float32, name="amounts"),
    }
    whole = tf.TensorSpec([], tf.float32, name="truncation")
    each = tf.TensorSpec([None], tf.float32, name="truncation")

    def images(latent, truncation, names=("image",)):
        truncation = checked(within("truncation", truncation, 0, 1), truncation)
        return {of: model.generated(latent, truncation, centres[of], of=of) for of in names}

    def sample(seed, truncation):
        return images(model.prior.of_seeds(seed), truncation)

    def from_latent(latent, truncation):
        return images(checked(finite("latent", latent, _MOST), latent), truncation)

    def beside_source(seed, truncation):
        return images(model.prior.of_seeds(seed), truncation, tuple(centres))

    def png(seed, amounts, truncation):
        checks = [
            *same_batch(seed=seed, amounts=amounts, truncation=truncation),
            *within("amounts", amounts, -1, 1),
        ]
        latent = model.prior.moved(model.prior.of_seeds(seed), checked(checks, amounts))
        made = images(latent, truncation[:, None], tuple(centres))
        return {contract.OUTPUTS[of]: encode_images(one) for of, one in made.items()}

    specs = {"sample": (of_batch["seed"], whole), "from_latent": (of_batch["latent"], whole)}
    functions = {"sample": sample, "from_latent": from_latent}
    if len(centres) > 1:
        specs["beside_source"], functions["beside_source"] = specs["sample"], beside_source
    specs["png"], functions["png"] = (of_batch["seed"], of_batch["amounts"], each), png
    for name, function in functions.items():
        compiled = tf.function(function, input_signature=list(specs[name]), autograph=False)
        setattr(module, name, compiled)
    signatures = {name: getattr(module, name) for name in functions}
    return module, {"serving_default": module.sample} | signatures
