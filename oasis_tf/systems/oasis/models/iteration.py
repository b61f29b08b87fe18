"""One training iteration, the same for every choice of parts (ICLR 2021, section 3).

It is a pure function of (state, batch, seed, step): all randomness is stateless and drawn for the
global batch, of which every replica takes its slice. What the discriminator's logits mean is the
objective's business (``oasis_tf.systems.oasis.objectives``).
"""

from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import ops

from oasis_tf.augmentation.full import moved_labels
from oasis_tf.layers.compiled_parts import part
from oasis_tf.layers.label_conv import downsample
from oasis_tf.layers.replicas import mean_over_replicas, num_replicas
from oasis_tf.randomness import own_rows
from oasis_tf.systems.oasis import losses, noise
from oasis_tf.systems.oasis.models.augmentation import View
from oasis_tf.systems.oasis.models.encoder import reparameterised
from oasis_tf.systems.oasis.objectives.objective import as_scales, mean_over_scales
from oasis_tf.training.averages import update_averages, warmed_up
from oasis_tf.training.precision import replica_loss

# What OASIS itself logs; other parts leave out what they have not got, and may add terms.
METRICS = (
    "loss_g",
    "loss_d_fake",
    "loss_d_real",
    "loss_labelmix",
    "loss_d",
    "accuracy_real",
    "accuracy_fake",
)
CONSISTENCIES = ("none", "cutmix", "labelmix")


def to_float_image(image, dtype="float32"):
    """Integers [..., 3] in 0..255 to float in [-1, 1]; floats are taken to be in [-1, 1].

    Values are not looked at: ``checked_images`` does that before, where they are at hand.
    """
    if keras.backend.is_int_dtype(image.dtype):
        return ops.cast(image, dtype) / 127.5 - 1.0
    return ops.cast(image, dtype)


def checked_batch(data):
    """``(image, label_map)`` of a batch, with their types and axes checked.

    Raises:
        ValueError: something else, as a Keras user may have it: one-hot maps, sample weights.
    """
    parts = data if isinstance(data, tuple | list) else (data,)
    if len(parts) != 2:
        raise ValueError(
            "A batch must be (image, label_map): no sample weights, nothing else. Received: "
            f"{len(parts)} parts."
        )
    image, label_map = parts
    if len(image.shape) != 4:
        raise ValueError(f"`image` must be [B, H, W, 3]. Received: shape={tuple(image.shape)}.")
    dtype = keras.backend.standardize_dtype(label_map.dtype)
    if len(label_map.shape) != 3 or not keras.backend.is_int_dtype(dtype):
        raise ValueError(
            "`label_map` must be integers [B, H, W] in model ids, not one-hot. Received: "
            f"dtype={dtype}, shape={tuple(label_map.shape)}."
        )
    return image, label_map


class EncoderDraw(NamedTuple):
    """What a forward pass of a generator with an encoder draws.

    Attributes:
        noise: 3D noise [B, Z] or [B, H, W, Z]; None without.
        epsilon: standard normal [B, latent].
    """

    noise: Any
    epsilon: Any


class Iteration:
    """The training half of ``OASIS``: its steps, on the parts that the model holds."""

    def train_step(self, data):
        """One iteration with the draws of this step; returns what `iteration` returns."""
        image, label_map = checked_batch(data)
        if None not in tuple(image.shape[1:3]):
            self.trained_size = tuple(image.shape[1:3])
        step = self.step.value
        logs = self.iteration(
            to_float_image(image, self.variable_dtype),
            tf.cast(label_map, tf.int32),
            self.noise_slice(label_map, step, noise.GENERATOR_STEP),
            self.noise_slice(label_map, step, noise.DISCRIMINATOR_STEP),
            self.mixing_slice(label_map, step),
            self.augmentation_slices(label_map, step),
        )
        self.step.assign_add(1)
        return logs

    def iteration(
        self, image, label_map, generator_noise, discriminator_noise, mixing, augmentation=None
    ):
        """G step, D step, average: one iteration with given draws (spec: "Losses").

        Args:
            image: float [B, H, W, 3] in [-1, 1].
            label_map: int32 [B, H, W].
            generator_noise, discriminator_noise: float [B, Z] or [B, H, W, Z], or None if Z = 0;
                with an encoder an ``EncoderDraw``.
            mixing: what `mixing_slice` gives: for LabelMix zeros and ones, [N] or [B, N].
            augmentation: what `augmentation_slices` gives.

        Returns:
            dict of scalars by `metric_names`, means over the global batch: ``loss_g`` (the sum of
            its terms), its terms beside the adversarial one, weighted, ``loss_d_fake``,
            ``loss_d_real``, the consistency (weighted), ``loss_d`` (the sum of the last three), and
            the shares of logits D gets right, ``accuracy_real`` and ``accuracy_fake``. If the
            probability of augmentation is adapted, also ``augmentation_r`` and
            ``augmentation_p``, the probability in this step.
        """
        views = self._views(label_map, augmentation)
        logs = self._generator_step(image, label_map, views[0], generator_noise)
        logs |= self._discriminator_step(image, label_map, views[1], discriminator_noise, mixing)
        self._update_averages()
        if not self.augmentation.adaptive:
            return self._global_means(logs)
        logs = self._global_means(logs, "augmentation_r")
        logs["augmentation_p"] = tf.identity(self.augmentation_p.value)
        images = label_map.shape[0] * num_replicas()
        self.augmentation.adapt(self.augmentation_p, logs["augmentation_r"], images)
        return logs

    def losses_in_use(self, image, label_map):
        """What ``iteration`` returns, of the averaged generator as it is used. Nothing changes.

        Noise and mixing are drawn from the seed alone, the same for every batch.

        Args:
            image, label_map: as of `iteration`.
        """
        draw = self.noise_slice(label_map, 0, noise.VALIDATION)
        view = self._view(label_map)
        latent = self.encoder and self.encoder_ema(image, training=False)
        fake = _generated(self.generator_ema, label_map, draw, latent, training=False)
        logs = self._generator_terms(fake, latent, image, view, training=False)
        mixing = self.mixing_slice(label_map, 0)
        logits, terms = self._discriminator_terms(fake, image, view, mixing, training=False)
        return self._global_means(logs | terms | self._accuracies(logits, view.targets))

    def _global_means(self, logs, *further):
        names = (*self.metric_names, *further)
        means = mean_over_replicas([logs[name] for name in names])
        return dict(zip(names, means, strict=True))

    @property
    def metric_names(self):
        """Names of what `iteration` returns, in order; without those of augmentation."""
        terms = {
            "loss_feature_matching": self.lambda_feature_matching,
            "loss_vgg": self.lambda_vgg,
            "loss_kld": self.encoder is not None,
        }
        consistency = {"cutmix": ["loss_cutmix"], "labelmix": ["loss_labelmix"]}
        # A discriminator that segments has always shown LabelMix, also where its weight is 0.
        without = ["loss_labelmix"] if self.objective.segments else []
        return (
            "loss_g",
            *(name for name, weight in terms.items() if weight),
            "loss_d_fake",
            "loss_d_real",
            *consistency.get(self.consistency, without),
            "loss_d",
            "accuracy_real",
            "accuracy_fake",
        )

    # === Draws ===

    def noise_slice(self, label_map, step, stream, index=0):
        """This replica's rows of what a forward pass of the generator draws.

        Returns:
            [B, Z] or [B, H, W, Z] (see ``noise`` of ``OASIS``), None if Z = 0; with an encoder an
            ``EncoderDraw``.
        """
        channels = self.generator.vector_channels - self.latent_channels
        drawn = noise.replica_noise(
            self.noise_kind if channels else "none",
            label_map,
            self.num_classes,
            channels,
            self.seed,
            step,
            stream,
            index,
            tf.distribute.get_replica_context().replica_id_in_sync_group,
            num_replicas(),
        )
        drawn = None if drawn is None else tf.cast(drawn, self.variable_dtype)
        if self.encoder is None:
            return drawn
        batch = tf.shape(label_map)[0]
        epsilon = noise.latent_noise(
            self.seed, step, stream, batch * num_replicas(), self.latent_channels, index
        )
        return EncoderDraw(drawn, tf.cast(own_rows(epsilon, batch), self.variable_dtype))

    def mixing_slice(self, label_map, step):
        """What this replica's images are mixed by.

        Returns:
            for LabelMix int32 [N], or [B, N] with bits of every image; for CutMix float32 [B, 4];
            None without consistency.
        """
        if self.consistency == "none":
            return None
        batch = tf.shape(label_map)[0]
        if self.consistency == "cutmix":
            draws = noise.cutmix_draws(self.seed, step, batch * num_replicas())
            return own_rows(draws, batch)
        if self.labelmix_bits == "batch":
            return noise.labelmix_bits(self.seed, step, self.num_classes)
        bits = noise.labelmix_bits(self.seed, step, self.num_classes, batch * num_replicas())
        return own_rows(bits, batch)

    def augmentation_slices(self, label_map, step):
        """What this replica's images and label maps are augmented by.

        Returns:
            draws of ``oasis_tf.augmentation.full`` for the step of G and for that of D; None
            without augmentation.

        Raises:
            ValueError: a batch of unknown size.
        """
        if not self.augmentation.on:
            return None
        probability = self.augmentation.prob_augm
        if self.augmentation.adaptive:
            probability = tf.convert_to_tensor(self.augmentation_p.value)
        return self.augmentation.draws(self.seed, step, label_map, probability)

    # === Steps ===

    def _views(self, label_map, augmentation):
        """What D sees of the scenes in the step of G and in its own."""
        if augmentation is None:
            return 2 * (self._view(label_map),)
        return tuple(self._view(moved_labels(draws, label_map), draws) for draws in augmentation)

    def _view(self, label_map, draws=None):
        targets = self.objective.targets(label_map, self.num_scales, self.variable_dtype)
        return View(label_map, targets, draws)

    def average_images(self, image, label_map, draw):
        """Images by the averaged generator in a training pass, which moves its batch statistics.

        Args:
            image: float [B, H, W, 3] in [-1, 1], which an encoder takes its latents from.
            label_map: int32 [B, H, W].
            draw: what `noise_slice` gave.
        """
        latent = self.encoder and self.encoder_ema(image, training=False)
        return _generated(self.generator_ema, label_map, draw, latent)

    def _training_images(self, image, label_map, draw):
        """Images of a training pass, and the encoder's (mean, log variance) or None."""
        latent = self.encoder and part(lambda: self.encoder(image, training=True), self.encoder)
        return _generated(self.generator, label_map, draw, latent), latent

    def _generator_step(self, image, label_map, view, draw):
        variables = self.generator_variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([v.value for v in variables])
            images = self._training_images(image, label_map, draw)
            terms = part(
                lambda: self._generator_terms(*images, image, view),
                self.discriminator,
            )
            scaled = replica_loss(terms["loss_g"], self.generator_optimizer)
        gradients = tape.gradient(scaled, [v.value for v in variables])
        self.generator_optimizer.apply(gradients, variables)
        return terms

    def _generator_terms(self, fake, latent, image, view, training=True):
        """``loss_g``, and its terms beside the adversarial one."""
        terms, seen = {}, view(fake)
        if self.lambda_feature_matching:
            (logits, of_fake), (_, of_real) = self._discriminate_both(
                seen, view(image), view.label_map, training=training, return_features=True
            )
            distance = losses.feature_matching_loss(of_fake, of_real)
            terms["loss_feature_matching"] = self.lambda_feature_matching * distance
        else:
            logits = self._discriminate(seen, view.label_map, training=training)
        if self.lambda_vgg:
            terms["loss_vgg"] = self.lambda_vgg * self.perceptual_loss(fake, image)
        if latent is not None:
            terms["loss_kld"] = self.lambda_kld * losses.kld_loss(*latent)
        loss = sum(terms.values(), start=self.objective.generator_loss(logits, view.targets))
        return {"loss_g": loss} | terms

    def _discriminator_step(self, image, label_map, view, draw, mixing):
        fake = tf.stop_gradient(self._training_images(image, label_map, draw)[0])
        variables = self.discriminator.trainable_variables

        def forward_and_back():
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([v.value for v in variables])
                logits, terms = self._discriminator_terms(fake, image, view, mixing)
                scaled = replica_loss(terms["loss_d"], self.discriminator_optimizer)
            gradients = tape.gradient(scaled, [v.value for v in variables])
            logs = terms | self._accuracies(logits, view.targets)
            if self.augmentation.adaptive:
                logs["augmentation_r"] = 2 * self.objective.called_real(logits[1]) - 1
            return gradients, logs

        gradients, logs = part(forward_and_back, self.discriminator)
        self.discriminator_optimizer.apply(gradients, variables)
        return logs

    def _discriminator_terms(self, fake, image, view, mixing, training=True):
        """D's logits of generated and of real images; ``loss_d`` and its terms."""
        fake, image, label_map = view(fake), view(image), view.label_map
        logits = self._discriminate_both(fake, image, label_map, training=training)
        loss_fake, loss_real = self.objective.discriminator_losses(*logits, view.targets)
        loss_mix = tf.zeros_like(loss_real)
        if self.consistency != "none":
            loss_mix = self._consistency_loss(image, fake, label_map, mixing, *logits, training)
        return logits, {
            "loss_d_fake": loss_fake,
            "loss_d_real": loss_real,
            "loss_cutmix" if self.consistency == "cutmix" else "loss_labelmix": loss_mix,
            "loss_d": loss_fake + loss_real + loss_mix,
        }

    def _accuracies(self, logits, targets):
        accuracy_fake, accuracy_real = self.objective.accuracies(*logits, targets)
        return {"accuracy_real": accuracy_real, "accuracy_fake": accuracy_fake}

    def _discriminate(self, image, label_map, **mode):
        told = {"label_map": label_map} if self.discriminator.takes_label_map else {}
        return self.discriminator(image, **told, **mode)

    def _discriminate_both(self, fake, image, label_map, **mode):
        """Answers on generated and on real images.

        In one batch where the objective wants them jointly, else each with a power iteration of
        its own, as in the official release.
        """
        if not self.objective.joint:
            return tuple(self._discriminate(x, label_map, **mode) for x in (fake, image))
        images, label_maps = (tf.concat(pair, 0) for pair in ((fake, image), 2 * (label_map,)))
        answers, batch = self._discriminate(images, label_maps, **mode), tf.shape(fake)[0]
        return tuple(
            tf.nest.map_structure(lambda answer, part=part: answer[part], answers)
            for part in (slice(None, batch), slice(batch, None))
        )

    def _consistency_loss(self, image, fake, label_map, mixing, logits_fake, logits_real, training):
        """The weighted distance of D's logits of mixed images from its mixed logits (eq. 4)."""
        mask = self._mask(label_map, mixing, image.dtype)
        mixed = losses.mix(mask, image, fake)
        logits_mix = self._discriminate(mixed, label_map, training=training)
        masks = [downsample(mask, 2**scale) for scale in range(len(as_scales(logits_mix)))]
        distance = mean_over_scales(
            losses.labelmix_loss, logits_mix, masks, logits_real, logits_fake
        )
        return self.lambda_labelmix * distance

    def _mask(self, label_map, mixing, dtype):
        if self.consistency == "cutmix":
            return losses.cutmix_mask(mixing, *label_map.shape[1:], dtype)
        return losses.labelmix_mask(label_map, mixing, dtype)

    def _update_averages(self):
        """EMA over the whole state of generator and encoder: kernels, u, v, batch statistics."""
        pairs = [(self.generator_ema, self.generator)]
        pairs += [(self.encoder_ema, self.encoder)] if self.encoder is not None else []
        decay = warmed_up(self.ema_decay, self.step.value) if self.ema_warmup else self.ema_decay
        update_averages(pairs, decay)


def _generated(generator, label_map, draw, latent, training=True):
    if latent is not None:
        draw = joined_noise(draw.noise, reparameterised(*latent, draw.epsilon))
    inputs = (label_map,) if draw is None else (label_map, draw)
    return generator(*inputs, training=training)


def joined_noise(noise, latent):
    """Noise [B, Z] or [B, H, W, Z], then the latent [B, L]; the latent alone without noise."""
    if noise is None:
        return latent
    if len(noise.shape) == 4:
        latent = ops.broadcast_to(latent[:, None, None], (*ops.shape(noise)[:3], latent.shape[-1]))
    return ops.concatenate([noise, latent], axis=-1)
