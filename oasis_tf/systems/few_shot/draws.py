"""All that one iteration draws, from the seed and the step alone, for the global batch."""

from typing import Any, NamedTuple

import tensorflow as tf

from oasis_tf import randomness
from oasis_tf.augmentation import full, reduced
from oasis_tf.layers.replicas import num_replicas
from oasis_tf.randomness import named_stream
from oasis_tf.systems.few_shot.networks import Latents

PATCHES = 4  # maps of the discriminator that patches can be judged at
_ORDER = named_stream("few_shot/order")
_ANCHORS = named_stream("few_shot/anchors")
_STREAMS = {
    name: named_stream(f"few_shot/{name}")
    for name in (
        *("d", "g", "path", "direction", "smooth", "smooth_direction", "smooth_noise"),
        *("distance", "distance_noise", "layers", "mixdl", "mixdl_weights", "mixdl_layers"),
        *("patches", "flip", "augment_d", "augment_real", "augment_g"),
    )
}


class Draws(NamedTuple):
    """What an iteration draws; None where it draws nothing.

    Attributes:
        d, g: ``Latents`` of the steps of both networks.
        path, direction: ``Latents`` and y [Bp, H, W, 3] of path-length regularisation.
        smooth, smooth_direction: ``Latents`` and y [Bs, r, r, C] of smoothness similarity.
        distance, distance_source: ``Latents`` of the distance consistency, with the noise of the
            target and with that of the source.
        layers: int32 [B], which features each of its samples compares.
        mixdl: ``Latents`` of MixDL.
        mixdl_weights: [B, B], rows of weights of its mixed samples.
        mixdl_layers: int32 [B], which features each of them compares.
        patches: int32 [3], maps at which fakes, reals and the generator's images are judged.
        flip: bool [B], which pictures are mirrored.
        augment_d, augment_real, augment_g: draws of ``oasis_tf.augmentation``.
    """

    d: Any
    g: Any
    path: Any = None
    direction: Any = None
    smooth: Any = None
    smooth_direction: Any = None
    distance: Any = None
    distance_source: Any = None
    layers: Any = None
    mixdl: Any = None
    mixdl_weights: Any = None
    mixdl_layers: Any = None
    patches: Any = None
    flip: Any = None
    augment_d: Any = None
    augment_real: Any = None
    augment_g: Any = None


def draw(config, step, parts):
    """The ``Draws`` of a step.

    Args:
        config: ``Config``.
        step: int or int scalar, 0 is the first.
        parts: ``Parts`` of the step.
    """
    return _Drawing(config, step)(parts)


class _Drawing:
    def __init__(self, config, step):
        self._model, self._training = config.model, config.training
        self._adaptation, self._config = config.adaptation, config
        self._step, self._stylegan2 = step, config.model.network == "stylegan2"

    def __call__(self, parts):
        training = self._training
        found = {name: self._of_step(name, parts.anchored) for name in ("d", "g")}
        if training.augmentation != "none":
            pipe = {"reduced": reduced, "full": full}[training.augmentation]
            sizes = (training.batch_size, self._model.size, self._model.size, training.prob_augm)
            for name in ("augment_d", "augment_real", "augment_g"):
                found[name] = pipe.draw(self._key(name), *sizes)
        if self._config.data.flip:
            found["flip"] = randomness.uniform(self._key("flip"), [training.batch_size]) < 0.5
        if not parts.whole:
            most = self._adaptation.patch_heads
            found["patches"] = self._integers("patches", [3], 0, most)
        found |= self._path() if parts.path else {}
        found |= self._smooth() if parts.smooth else {}
        found |= self._distance() if self._adaptation.lambda_distance else {}
        found |= self._mixdl() if parts.mixdl else {}
        return Draws(**found)

    def _key(self, name, *numbers):
        return randomness.make_key(self._training.seed, _STREAMS[name], self._step, *numbers)

    def _integers(self, name, shape, first, end):
        share = randomness.uniform(self._key(name), shape)
        return first + tf.minimum(tf.cast(share * (end - first), tf.int32), end - first - 1)

    # === Latents ===

    def _of_step(self, name, anchored):
        batch = self._training.batch_size
        if not self._stylegan2:
            return self._of_biggan(name, batch)
        if not anchored:
            return self._mixed(name, batch)
        return self._near_anchors(name, batch)

    def _mixed(self, name, batch):
        """Latents with styles mixed as often as the settings say."""
        z, other = (self._normal(name, number, batch) for number in (0, 1))
        noise = self._noise(self._key(name, 2), batch)
        if not self._training.mixing_prob:
            return Latents(z, noise=noise)
        mixes, place = tf.unstack(randomness.uniform(self._key(name, 3), [2]))
        most = 2 * len(self._model.resolutions) - 1  # rows 1 ... N - 1 can be the first of others
        index = 1 + tf.minimum(tf.cast(place * most, tf.int32), most - 1)
        index = tf.where(mixes < self._training.mixing_prob, index, 0)
        return Latents(z, other, index, noise)

    def _near_anchors(self, name, batch):
        fixed = anchors(self._config)
        share = randomness.uniform(self._key(name, 4), [batch])
        most = fixed.shape[0]
        which = tf.minimum(tf.cast(share * most, tf.int32), most - 1)
        z = self._normal(name, 0, batch)
        noise = self._noise(self._key(name, 2), batch)
        return Latents(tf.gather(fixed, which) + self._adaptation.anchor_std * z, noise=noise)

    def _of_biggan(self, name, batch):
        """Latents and classes; of an adapted model, a joint Gaussian."""
        if self._config.adapted:
            return Latents(self._normal(name, 0, batch))
        classes = self._model.num_classes
        share = randomness.uniform(self._key(name, 1), [batch])
        label = tf.minimum(tf.cast(share * classes, tf.int32), classes - 1)
        z = self._normal(name, 0, batch)[:, : self._model.latent_dim - self._model.shared_dim]
        return Latents(z, label=label)

    def _normal(self, name, number, batch):
        return randomness.normal(self._key(name, number), [batch, self._model.latent_dim])

    def _noise(self, key, batch):
        """Noise of every styled convolution."""
        return [
            randomness.normal(randomness.folded(key, k), [batch, side, side, 1])
            for k, side in enumerate(noise_sides(self._model))
        ]

    # === Parts ===

    def _path(self):
        batch, size = self._training.path_batch, self._model.size
        direction = randomness.normal(self._key("direction"), [batch, size, size, 3])
        return {"path": self._mixed("path", batch), "direction": direction}

    def _smooth(self):
        side = self._adaptation.ss_resolution
        batch = self._adaptation.ss_batch or self._training.batch_size
        shape = [batch, side, side, self._model.feature_channels(side)]
        direction = randomness.normal(self._key("smooth_direction"), shape)
        if self._adaptation.ss_y_scale == "resolution":
            direction /= side
        noise = None
        if self._stylegan2 and self._adaptation.ss_noise == "drawn":
            noise = self._noise(self._key("smooth_noise"), batch)
        latents = Latents(self._normal("smooth", 0, batch), noise=noise)
        return {"smooth": latents, "smooth_direction": direction}

    def _distance(self):
        batch = self._training.batch_size
        z = self._normal("distance", 0, batch)
        noises = [self._noise(self._key("distance_noise", k), batch) for k in (0, 1)]
        # The first features never count; the last can.
        layers = self._integers("layers", [batch], 1, len(noise_sides(self._model)))
        return {
            "distance": Latents(z, noise=noises[0]),
            "distance_source": Latents(z, noise=noises[1]),
            "layers": layers,
        }

    def _mixdl(self):
        batch = self._training.batch_size
        share = randomness.uniform(self._key("mixdl_weights"), [batch, batch])
        # Exponential numbers divided by their sum are Dirichlet's with parameters 1.
        exponential = -tf.math.log1p(-share)
        weights = exponential / tf.reduce_sum(exponential, axis=1, keepdims=True)
        noise = self._noise(self._key("mixdl", 1), batch)
        return {
            "mixdl": Latents(self._normal("mixdl", 0, batch), noise=noise),
            "mixdl_weights": weights,
            "mixdl_layers": self._integers(
                "mixdl_layers", [batch], 1, len(noise_sides(self._model)) - 1
            ),
        }


def noise_sides(model):
    """Sides of the noise of every styled convolution of StyleGAN2, in order."""
    return [side for side in model.resolutions for _ in range(2)][1:]


def anchors(config):
    """The fixed latents [N, Z] near which the whole discriminator judges."""
    number = config.adaptation.anchors or config.pictures.number
    key = randomness.make_key(config.training.seed, _ANCHORS)
    return randomness.normal(key, [number, config.model.latent_dim])


def own(part, batch):
    """Of draws for a batch those of this replica's rows.

    Where the rows do not divide by the number of replicas, each has them all: means over replicas
    are the same.

    Args:
        part: nested tensors; those with axes have the batch first.
        batch: int, rows of the global batch.
    """
    if part is None or batch % num_replicas():
        return part
    rows = batch // num_replicas()

    def sliced(x):
        return x if not tf.is_tensor(x) or not x.shape.rank else randomness.own_rows(x, rows)

    return tf.nest.map_structure(sliced, part)


def order(seed, step, batch, number):
    """Numbers int32 [B] of the pictures of a step.

    Every pass takes all pictures in an order of its own; those that would fill no batch are left
    out. With fewer pictures than the batch every one is in it, some repeatedly.

    Args:
        seed: int.
        step: int scalar.
        batch: int, B.
        number: int, of the pictures.
    """
    batches = max(number // batch, 1)
    step = tf.cast(step, tf.int64)
    key = randomness.make_key(seed, _ORDER, step // batches)
    permutation = tf.argsort(randomness.uniform(key, [number]))
    places = (tf.cast(step % batches, tf.int32) * batch + tf.range(batch)) % number
    return tf.gather(permutation, places)
