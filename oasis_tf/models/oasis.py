"""OASIS: the pair of networks, one training iteration, the averaged generator (ICLR 2021, sec. 3).

One iteration is a pure function of (state, batch, seed, step): all randomness is stateless and
drawn for the global batch, of which every replica takes its slice.
"""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from oasis_tf import losses, noise
from oasis_tf.model_config import missing_discriminator
from oasis_tf.inference import InferenceEngine
from oasis_tf.layers.fusion import fused
from oasis_tf.layers.replicas import mean_over_replicas, num_replicas
from oasis_tf.noise_fields import NoiseField, check_channels, check_same_channels, check_size, stack

METRICS = (
    "loss_g",
    "loss_d_fake",
    "loss_d_real",
    "loss_labelmix",
    "loss_d",
    "accuracy_real",
    "accuracy_fake",
)


def to_float_image(image, dtype="float32"):
    """uint8 [..., 3] in 0..255 to float in [-1, 1]; a float image is taken to be in [-1, 1]."""
    if keras.backend.standardize_dtype(image.dtype) == "uint8":
        return ops.cast(image, dtype) / 127.5 - 1.0
    return ops.cast(image, dtype)


def _as_fields(noise):
    """Noise fields as a list of them, other noise as None."""
    if isinstance(noise, NoiseField):
        return [noise]
    if not isinstance(noise, list | tuple):
        return None
    fields = [part for part in noise if isinstance(part, NoiseField)]
    if fields and len(fields) < len(noise):
        raise ValueError(
            "A list of noise must hold noise fields alone, or numbers alone. "
            f"Received: {len(fields)} noise fields among {len(noise)}."
        )
    return fields or None


@fused
def _weighted_sum(a, b, share_a, share_b):
    return share_a * a + share_b * b


class LabelMix(NamedTuple):
    """Real and generated images mixed by class, float32.

    Attributes:
        mixed: [B, H, W, 3] in [-1, 1].
        mask: [B, H, W, 1], 1 where ``mixed`` is real, 0 where it is generated.
        generated: [B, H, W, 3] in [-1, 1].
    """

    mixed: np.ndarray
    mask: np.ndarray
    generated: np.ndarray


@keras.saving.register_keras_serializable("oasis_tf")
class OASIS(keras.Model):
    """Generator, discriminator, averaged generator and the training iteration that joins them.

    Args:
        generator: ``Generator``.
        discriminator: ``Discriminator`` of as many classes; None: the pair can only generate.
        has_unknown: bool, whether model id 0 is the unknown label, whose pixels weigh nothing.
        lambda_labelmix: float >= 0, default 10. 0 leaves LabelMix out.
        ema_decay: float in [0, 1), default 0.9999.
        seed: int, keys every random draw of training together with the step.

    ``train_step`` takes ``(image, label_map)``: uint8 [B, H, W, 3] (or float in [-1, 1]) and int
    [B, H, W]; it works in ``fit`` and in the training loop of ``oasis_tf.training``.
    """

    def __init__(
        self,
        generator,
        discriminator,
        has_unknown,
        lambda_labelmix=10.0,
        ema_decay=0.9999,
        seed=0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if discriminator is not None and generator.num_classes != discriminator.num_classes:
            raise ValueError(
                "Generator and discriminator must have the same number of classes. Received: "
                f"{generator.num_classes} and {discriminator.num_classes}."
            )
        self.generator = generator
        self.discriminator = discriminator
        self.has_unknown = has_unknown
        self.lambda_labelmix = lambda_labelmix
        self.ema_decay = ema_decay
        self.seed = seed
        self.generator_ema = generator.from_config(
            generator.get_config() | {"name": "generator_ema"}
        )
        self.generator_ema.trainable = False
        self.generator_ema.set_weights(generator.get_weights())
        self.step = self.add_weight(
            name="step",
            shape=(),
            dtype="int64",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )
        self.config = self.label_space = None  # set by `load`
        self._engine = None  # made by `inference_engine`
        self.generator_optimizer = self.discriminator_optimizer = None  # set by `compile`
        # Keras would otherwise build the model on per-replica values in `fit`, and fail.
        self.built = True

    @classmethod
    def load(cls, model_dir, checkpoint=None):
        """A trained model, its averaged generator with re-estimated batch statistics.

        Args:
            model_dir: str, a directory that ``oasis_tf.train`` or ``oasis_tf.convert`` wrote.
            checkpoint: int step, or "best" by the evaluations while training; default the newest
                whole one.

        Raises:
            ValueError, FileNotFoundError: not a model directory, no whole checkpoint.
        """
        # Reading a model directory is the work of `training`, which depends on this module.
        from oasis_tf.training.checkpoints import load_model

        return load_model(model_dir, checkpoint)

    @property
    def num_classes(self):
        """int N, the unknown class included."""
        return self.generator.num_classes

    def compile(self, generator_optimizer, discriminator_optimizer, **kwargs):
        """Sets one optimizer per network; further arguments as in ``keras.Model.compile``."""
        self._need_discriminator("be trained")
        super().compile(optimizer=generator_optimizer, **kwargs)
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        generator_optimizer.build(self.generator.trainable_variables)
        discriminator_optimizer.build(self.discriminator.trainable_variables)

    # === Training ===

    def train_step(self, data):
        """One iteration with the draws of this step; returns what `iteration` returns."""
        image, label_map = data
        step = self.step.value
        logs = self.iteration(
            to_float_image(image, self.variable_dtype),
            tf.cast(label_map, tf.int32),
            self.noise_slice(label_map, step, noise.GENERATOR_STEP),
            self.noise_slice(label_map, step, noise.DISCRIMINATOR_STEP),
            noise.labelmix_bits(self.seed, step, self.num_classes),
        )
        self.step.assign_add(1)
        return logs

    def iteration(self, image, label_map, generator_noise, discriminator_noise, bits):
        """G step, D step, average: one iteration with given draws (spec: "Losses").

        Args:
            image: float [B, H, W, 3] in [-1, 1].
            label_map: int32 [B, H, W].
            generator_noise, discriminator_noise: float [B, Z], or None if Z = 0.
            bits: [N] zeros and ones for LabelMix.

        Returns:
            dict of scalars, means over the global batch: ``loss_g``, ``loss_d_fake``,
            ``loss_d_real``, ``loss_labelmix`` (weighted), ``loss_d`` (the sum of the last three),
            and the shares of pixels D gets right, ``accuracy_real`` and ``accuracy_fake``.
        """
        weights = losses.class_weights(
            label_map, self.num_classes, self.has_unknown, self.variable_dtype
        )
        logs = self._generator_step(label_map, weights, generator_noise)
        logs |= self._discriminator_step(image, label_map, weights, discriminator_noise, bits)
        self._update_average()
        return {name: mean_over_replicas(logs[name]) for name in METRICS}

    def noise_slice(self, label_map, step, stream, index=0):
        """This replica's rows, [B, Z], of ``noise.training_noise``; None if Z = 0."""
        channels, batch = self.generator.noise_channels, tf.shape(label_map)[0]
        if channels == 0:
            return None
        rows = noise.training_noise(
            self.seed, step, stream, batch * num_replicas(), channels, index
        )
        first = tf.distribute.get_replica_context().replica_id_in_sync_group * batch
        return tf.cast(rows[first : first + batch], self.variable_dtype)

    def _generate(self, label_map, noise_vectors):
        inputs = (label_map,) if noise_vectors is None else (label_map, noise_vectors)
        return self.generator(*inputs, training=True)

    def _generator_step(self, label_map, weights, noise_vectors):
        variables = self.generator.trainable_variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([v.value for v in variables])
            logits = self.discriminator(self._generate(label_map, noise_vectors), training=True)
            loss = losses.real_loss(logits, label_map, weights)
            scaled = self._scaled(loss, self.generator_optimizer)
        self._apply(tape, scaled, variables, self.generator_optimizer)
        return {"loss_g": loss}

    def _discriminator_step(self, image, label_map, weights, noise_vectors, bits):
        fake = tf.stop_gradient(self._generate(label_map, noise_vectors))
        variables = self.discriminator.trainable_variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([v.value for v in variables])
            # Three passes in the official order, each with its own power iteration.
            logits_fake = self.discriminator(fake, training=True)
            logits_real = self.discriminator(image, training=True)
            loss_fake = losses.fake_loss(logits_fake)
            loss_real = losses.real_loss(logits_real, label_map, weights)
            loss_labelmix = tf.zeros_like(loss_real)
            if self.lambda_labelmix:
                mask = losses.labelmix_mask(label_map, bits, image.dtype)
                logits_mix = self.discriminator(losses.mix(mask, image, fake), training=True)
                loss_labelmix = self.lambda_labelmix * losses.labelmix_loss(
                    logits_mix, mask, logits_real, logits_fake
                )
            loss = loss_fake + loss_real + loss_labelmix
            scaled = self._scaled(loss, self.discriminator_optimizer)
        self._apply(tape, scaled, variables, self.discriminator_optimizer)
        return {
            "loss_d_fake": loss_fake,
            "loss_d_real": loss_real,
            "loss_labelmix": loss_labelmix,
            "loss_d": loss,
            "accuracy_real": self._hits(logits_real, label_map + 1),
            "accuracy_fake": self._hits(logits_fake, losses.FAKE),
        }

    def _hits(self, logits, channel):
        hits = tf.equal(tf.argmax(logits, axis=-1, output_type=tf.int32), channel)
        return tf.reduce_mean(tf.cast(hits, logits.dtype))

    def _scaled(self, loss, optimizer):
        # Gradients are summed over replicas: each contributes its share of the global mean.
        return optimizer.scale_loss(loss / num_replicas())

    def _apply(self, tape, loss, variables, optimizer):
        gradients = tape.gradient(loss, [v.value for v in variables])
        optimizer.apply(gradients, variables)

    def _update_average(self):
        """EMA over the whole generator state: kernels, u, v and batch statistics."""
        pairs = [
            (average.value, variable.value)
            for average, variable in zip(
                self.generator_ema.variables, self.generator.variables, strict=True
            )
        ]

        def update(average, value):
            # The share of the new value is subtracted here: in float32, 1 - 0.9999 has four digits.
            shares = (tf.constant(x, average.dtype) for x in (self.ema_decay, 1 - self.ema_decay))
            return average.assign(_weighted_sum(average, value, *shares))

        def update_all(strategy):
            for average, variable in pairs:
                strategy.extended.update(average, update, args=(variable,), group=False)

        tf.distribute.get_replica_context().merge_call(update_all)

    # === Use ===

    def generate(self, label_map, seed=0, noise=None):
        """Images for label maps by the averaged generator, on its ``inference_engine``.

        Args:
            label_map: int [B, H, W] or [H, W] in model ids, sides divisible by 32.
            seed: int or [B]; image i depends on its own seed alone. Unused if ``noise`` is given.
            noise: float [B, Z] (global) or [B, H, W, Z] (local), default drawn from ``seed``; or
                ``editing.NoiseField`` (the same for all images), or a list of B of them.

        Returns:
            float32 array [B, H, W, 3] in [-1, 1]; [H, W, 3] for a single map.

        Raises:
            ValueError: sizes, class ids, seeds or noise that do not fit.
        """
        label_map, fields = np.asarray(label_map), _as_fields(noise)
        if label_map.ndim == 2:
            if isinstance(noise, list | tuple) and fields:
                raise ValueError(
                    "A single label map takes a single noise field, a list goes with label maps "
                    f"[B, H, W]. Received: a list of {len(fields)}."
                )
            single = None if noise is None else fields or np.asarray(noise)[None]
            return self.generate(label_map[None], seed, single)[0]
        self._check_label_map(label_map)
        if fields:
            return self._generate_from_fields(label_map, fields, isinstance(noise, NoiseField))
        if noise is None and self.generator.noise_channels:
            noise = self.sample_noise(seed, len(label_map))
        return self.inference_engine()(label_map, noise).numpy().astype(np.float32)

    def _generate_from_fields(self, label_map, fields, same_for_all):
        check_channels(self.generator.noise_channels)
        if not same_for_all and len(fields) != len(label_map):
            raise ValueError(
                "`noise` must be one noise field, or a list of one per label map. "
                f"Received: {len(fields)} fields for {len(label_map)} label maps."
            )
        for field in fields:
            check_size(field, label_map.shape[1:], "label map")
            check_same_channels(field.noise_channels, self.generator.noise_channels)
        index, vectors = stack(fields)
        if same_for_all:
            index, vectors = (part.repeat(len(label_map), axis=0) for part in (index, vectors))
        return self.inference_engine().paint(label_map, index, vectors).numpy().astype(np.float32)

    def inference_engine(self):
        """The ``InferenceEngine`` of the averaged generator, with the weights of this moment.

        TensorFlow variables do not tell when they change, so ``generate`` asks for this at every
        call and never paints with old weights. Folding takes some 30 ms at full width on two cores:
        who paints single images with weights that stay may ask once and keep the engine.
        """
        if self._engine is None:
            self._engine = InferenceEngine(self.generator_ema)
        else:
            self._engine.refresh()
        return self._engine

    def sample_noise(self, seed, batch):
        """Noise [batch, Z] of the given seeds, an int or [batch], as ``generate`` draws it."""
        return noise.sample_noise(
            tf.constant(noise.as_seeds(seed, batch)), self.generator.noise_channels
        )

    def segment(self, image):
        """Label maps of images by the discriminator: argmax over the known classes.

        Args:
            image: float [B, H, W, 3] or [H, W, 3] in [-1, 1] (or uint8), sides divisible by 64.

        Returns:
            int32 array [B, H, W] (or [H, W]) in model ids; never the unknown class.

        Raises:
            ValueError: the model has no discriminator.
        """
        self._need_discriminator("segment")
        image = np.asarray(image)
        if image.ndim == 3:
            return self.segment(image[None])[0]
        logits = self.discriminator(to_float_image(image, self.variable_dtype), training=False)
        return self.known_argmax(logits).numpy()

    def recreate(self, image, seed=0, noise=None):
        """Scenes of photographs painted anew: ``generate`` from what ``segment`` makes of them.

        Args:
            image: as in ``segment``.
            seed, noise: as in ``generate``.

        Returns:
            float32 array [B, H, W, 3] in [-1, 1]; [H, W, 3] for a single image.

        Raises:
            ValueError: as ``segment`` and ``generate``.
        """
        return self.generate(self.segment(image), seed, noise)

    def labelmix(self, image, label_map, seed=0):
        """LabelMix of images with generated ones: every class is taken whole from either side.

        Args:
            image: float [B, H, W, 3] or [H, W, 3] in [-1, 1] (or uint8).
            label_map: int [B, H, W] or [H, W] in model ids, sides divisible by 32.
            seed: int or [B], of the noise and of one fair bit per class; an image depends on its
                own seed alone.

        Returns:
            ``LabelMix``; without the axis B for a single image.

        Raises:
            ValueError: images and label maps that do not fit, and as ``generate``.
        """
        image, label_map = np.asarray(image), np.asarray(label_map)
        if image.shape != (*label_map.shape, 3):
            raise ValueError(
                "Images must be [B, H, W, 3] or [H, W, 3] like their label maps. "
                f"Received: {image.shape} and label maps {label_map.shape}."
            )
        if label_map.ndim == 2:
            return LabelMix(
                *(part[0] for part in self.labelmix(image[None], label_map[None], seed))
            )
        generated = self.generate(label_map, seed)
        seeds = noise.as_seeds(seed, len(label_map))
        bits = [noise.labelmix_bits(one, 0, self.num_classes) for one in seeds]
        rows = zip(label_map, bits, strict=True)
        mask = np.stack([losses.labelmix_mask(*row).numpy() for row in rows])
        real = to_float_image(image, "float32").numpy()
        return LabelMix(losses.mix(mask, real, generated), mask, generated)

    def known_argmax(self, logits):
        """Most likely known class per pixel: logits [B, H, W, N+1] -> int32 [B, H, W] model ids."""
        first = 1 if self.has_unknown else 0
        return tf.argmax(logits[..., first + 1 :], axis=-1, output_type=tf.int32) + first

    def _need_discriminator(self, purpose):
        if self.discriminator is None:
            raise missing_discriminator(purpose)

    def _check_label_map(self, label_map):
        if label_map.ndim != 3 or label_map.dtype.kind not in "iu":
            raise ValueError(
                "`label_map` must be integers [B, H, W] or [H, W]. Received: "
                f"dtype={label_map.dtype}, shape={label_map.shape}."
            )
        low, high = (int(label_map.min()), int(label_map.max())) if label_map.size else (0, 0)
        if low < 0 or high >= self.num_classes:
            raise ValueError(
                f"`label_map` must hold model ids 0..{self.num_classes - 1}. "
                f"Received: values from {low} to {high}."
            )

    # === Config ===

    def get_config(self):
        return {
            "name": self.name,
            "generator": keras.saving.serialize_keras_object(self.generator),
            "discriminator": self.discriminator
            and keras.saving.serialize_keras_object(self.discriminator),
            "has_unknown": self.has_unknown,
            "lambda_labelmix": self.lambda_labelmix,
            "ema_decay": self.ema_decay,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        parts = {
            name: config[name] and keras.saving.deserialize_keras_object(config[name])
            for name in ("generator", "discriminator")
        }
        return cls(**(config | parts))

    def call(self, label_map, noise=None, training=False):
        """The averaged generator's image, so that Keras can call the pair as one model."""
        inputs = (label_map,) if noise is None else (label_map, noise)
        return self.generator_ema(*inputs, training=False)
