"""One training iteration: a pure function of state, batch and draws.

The order is: step of D, R1 step, step of G, path-length step, moving average. The penalties are
steps of their own every so many iterations, of the same optimizers. Absent gradients count as zero,
so that all moments decay and all counters advance alike.
"""

import contextlib

import keras
import tensorflow as tf

from oasis_tf.augmentation import full, reduced
from oasis_tf.layers.replicas import all_rows, assign_same, mean_over_replicas
from oasis_tf.systems.few_shot import losses
from oasis_tf.systems.few_shot.adaptation import patches, similarities, smoothness
from oasis_tf.systems.few_shot.draws import own
from oasis_tf.systems.few_shot.networks import judged, made, styles
from oasis_tf.training.averages import update_average_variables
from oasis_tf.training.precision import replica_loss


class Iteration:
    """The steps of training, on the networks and settings that ``FewShot`` holds."""

    def iteration(self, image, label, draws, parts):
        """Steps of D and G with the penalties that are due, and the average.

        Args:
            image: float [B, H, W, 3] in [-1, 1], this replica's rows.
            label: int [B], classes; None without.
            draws: ``Draws`` of the global batch.
            parts: ``Parts`` of the step.

        Returns:
            dict of scalars, means over the global batch: ``loss_d``, ``loss_g``, their terms, and
            ``r1``, ``path_length``, ``path_penalty`` where they are due.
        """
        logs = self._discriminator_step(image, label, draws, parts)
        if parts.r1:
            logs |= self._r1_step(image, label, draws, parts)
        logs |= self._generator_step(draws, parts)
        if parts.path:
            logs |= self._path_step(draws, parts)
        decay = 0.0 if parts.copied else self.settings.ema_decay
        update_average_variables(self.averaged, decay)
        return mean_over_replicas(logs)

    # === Discriminator ===

    def _discriminator_step(self, image, label, draws, parts):
        batch = self.settings.batch_size
        latents = own(draws.d, batch)
        fake = self._image(made(self.generator, latents))
        fake = self._augmented(fake, own(draws.augment_d, batch))
        real = self._augmented(image, own(draws.augment_real, batch))
        which = [None, None] if parts.whole else tf.unstack(draws.patches)[:2]
        of_patches = [] if parts.whole else self.patch_variables
        with self._tape([*self.discriminator_variables, *of_patches]) as tape:
            of_fake, of_real = self._judged_pair(fake, real, latents.label, label, which, parts)
            loss_fake, fake_heads = losses.mean_of_logits(of_fake, "fake", self.settings.loss)
            loss_real, real_heads = losses.mean_of_logits(of_real, "real", self.settings.loss)
            total = loss_fake + loss_real
            logs = {"loss_d_fake": loss_fake, "loss_d_real": loss_real}
            if parts.mixdl and self.adaptation.lambda_mixdl_d:
                logs["loss_d_mixdl"] = self._mixdl_of_discriminator(draws)
                total += self.adaptation.lambda_mixdl_d * logs["loss_d_mixdl"]
            scaled = replica_loss(total, self.discriminator_optimizer)
        self._update("d", tape, scaled, parts, of_patches, counts=True)
        if len(fake_heads) > 1:
            heads = zip(fake_heads, real_heads, strict=True)
            logs |= {f"loss_d_head_{k}": a + b for k, (a, b) in enumerate(heads)}
        return logs | {"loss_d": total}

    def _judged_pair(self, fake, real, label_fake, label_real, which, parts):
        """Logits of generated and of real images.

        BigGAN's discriminator sees both at once, which is one update of its spectral norms.
        StyleGAN2's compares the images of a batch, and sees them apart.
        """
        if self.config.model.network == "stylegan2":
            return self.judge(fake, None, which[0]), self.judge(real, None, which[1])
        label = None if label_fake is None else tf.concat([label_fake, label_real], 0)
        both = self.judge(tf.concat([fake, real], 0), label)
        return tuple(zip(*(tf.split(x, 2) for x in both), strict=True))

    def _r1_step(self, image, label, draws, parts):
        real = self._augmented(image, own(draws.augment_real, self.settings.batch_size))
        settings = self.settings
        with self._tape(self.discriminator_variables) as tape:
            of_images = losses.gradient_penalty(
                real, lambda x: self.judge(x, label, training=False)
            )
            penalty = tf.reduce_mean(of_images)
            total = settings.r1_gamma / 2 * settings.r1_every * penalty
            scaled = replica_loss(total, self.discriminator_optimizer)
        self._update("d", tape, scaled, parts)
        return {"r1": penalty}

    # === Generator ===

    def _generator_step(self, draws, parts):
        batch, adaptation = self.settings.batch_size, self.adaptation
        latents = own(draws.g, batch)
        which = None if parts.whole else draws.patches[2]
        logs = {}
        with self._tape(self.generator_variables) as tape:
            fake = self._image(made(self.generator, latents))
            fake = self._augmented(fake, own(draws.augment_g, batch))
            logits = self.judge(fake, latents.label, which)
            total, heads = losses.mean_of_logits(logits, "generator", self.settings.loss)
            adversarial = total
            if parts.smooth:
                logs["loss_ss"] = self.smoothness(draws)
                total += adaptation.lambda_ss * logs["loss_ss"]
            if adaptation.lambda_distance:
                logs["loss_distance"] = self.distance(draws)
                total += adaptation.lambda_distance * logs["loss_distance"]
            if parts.mixdl:
                logs["loss_g_mixdl"] = self._mixdl_of_generator(draws)
                total += adaptation.lambda_mixdl * logs["loss_g_mixdl"]
            scaled = replica_loss(total, self.generator_optimizer)
        self._update("g", tape, scaled, parts, counts=True)
        if logs:
            logs["loss_g_adversarial"] = adversarial
        if len(heads) > 1:
            logs |= {f"loss_g_head_{k}": x for k, x in enumerate(heads)}
        return logs | {"loss_g": total}

    def _path_step(self, draws, parts):
        settings, batch = self.settings, self.settings.path_batch
        latents = own(draws.path, batch)
        with self._tape(self.generator_variables) as tape:
            rows = styles(self.generator, latents)
            direction = own(draws.direction, batch)
            gradient = losses.path_gradient(self.generator, rows, latents.noise, direction)
            lengths = losses.path_lengths(gradient)
            mean = tf.convert_to_tensor(self.path_mean)
            penalty, new = losses.path_penalty(lengths, mean, settings.path_decay)
            total = settings.path_weight * settings.path_every * penalty
            scaled = replica_loss(total, self.generator_optimizer)
        self._update("g", tape, scaled, parts)
        assign_same(self.path_mean, new)
        return {"path_penalty": penalty, "path_length": tf.reduce_mean(lengths)}

    # === What is kept of the source ===

    def smoothness(self, draws):
        """Smoothness similarity of this replica's latents, without its weight."""
        adaptation = self.adaptation
        batch = adaptation.ss_batch or self.settings.batch_size
        latents = own(draws.smooth, batch)
        direction = own(draws.smooth_direction, batch)
        training = adaptation.ss_mode == "train"

        def feature(generator):
            def of(z):
                # In training mode batch statistics and norms would move: the source stays.
                frozen = training and generator is self.source_generator
                with keras.StatelessScope() if frozen else contextlib.nullcontext():
                    found = made(
                        generator, latents._replace(z=z), training, adaptation.ss_resolution
                    )
                return found.features[-1]

            return of

        z = tf.cast(latents.z, self.dtype)
        return smoothness.smoothness_similarity(
            feature(self.source_generator), feature(self.generator), z, direction, adaptation.ss_eps
        )

    def distance(self, draws):
        """CDC's distance consistency of the global batch, without its weight."""
        batch = self.settings.batch_size
        layers = draws.layers

        def rows(generator, latents):
            features = self._features(generator, own(latents, batch))
            return similarities.between_samples(features, layers)

        of_source = tf.stop_gradient(rows(self.source_generator, draws.distance_source))
        return similarities.divergence(of_source, rows(self.generator, draws.distance))

    def _features(self, generator, latents):
        """Features of all samples of the global batch at every layer."""
        return [tf.cast(all_rows(x), self.dtype) for x in made(generator, latents).features]

    def _mixdl_images(self, draws):
        """What the generator makes of plain and of mixed latents: (plain, mixed) ``Made``."""
        batch = self.settings.batch_size
        latents = own(draws.mixdl, batch)
        w = self.generator.mapping(latents.z)
        weights = tf.cast(own(draws.mixdl_weights, batch), w.dtype)
        mixed = tf.matmul(weights, all_rows(w))
        return [self.generator.synthesis(self.generator.rows(x), latents.noise) for x in (w, mixed)]

    def _mixdl_of_generator(self, draws):
        plain, mixed = (
            [tf.cast(all_rows(x), self.dtype) for x in found.features]
            for found in self._mixdl_images(draws)
        )
        rows = similarities.between_mixed(mixed, plain, draws.mixdl_layers)
        return self._mixdl_divergence(draws, rows)

    def _mixdl_of_discriminator(self, draws):
        plain, mixed = (
            tf.cast(all_rows(judged(self.discriminator, self._image(found)).hidden), self.dtype)
            for found in self._mixdl_images(draws)
        )
        return self._mixdl_divergence(draws, similarities.cosines(mixed, plain))

    def _mixdl_divergence(self, draws, rows):
        return similarities.divergence(tf.cast(draws.mixdl_weights, rows.dtype), rows)

    # === Images and logits ===

    def _image(self, found):
        return tf.cast(found.image, self.dtype)

    def _augmented(self, image, draws):
        if draws is None:
            return image
        pipe = reduced if isinstance(draws, reduced.ReducedDraws) else full
        (image,), _ = pipe.apply(draws, [image], None)[:2]
        return image

    def judge(self, image, label=None, patch=None, training=True):
        """The logits of images, a list of one or, with L_all, of one for every head.

        Args:
            image: float [B, H, W, 3].
            label: int [B]; None: without projection.
            patch: int scalar, the map inside the discriminator that judges; None: its end.
            training: bool.
        """
        if patch is not None:
            logits = [patches.logits(self.discriminator, self.heads, image, patch)]
        else:
            found = judged(self.discriminator, image, label, training)
            with_heads = self.adaptation.d_loss == "all"
            logits = [
                *(self.heads(found.blocks, training=training) if with_heads else ()),
                found.logits,
            ]
        return [tf.cast(x, self.dtype) for x in logits]

    # === Gradients ===

    @staticmethod
    @contextlib.contextmanager
    def _tape(variables):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([v.value for v in variables])
            yield tape

    def _update(self, which, tape, loss, parts, of_patches=(), counts=False):
        """A step of the generator's or of the discriminator's optimizer.

        Args:
            which: "g" or "d".
            tape: that watched the variables.
            loss: scalar.
            parts: ``Parts`` of the step.
            of_patches: variables of heads that took part and have an optimizer of their own.
            counts: bool, whether these are gradients of the adversarial loss.
        """
        variables, optimizer = {
            "g": (self.generator_variables, self.generator_optimizer),
            "d": (self.discriminator_variables, self.discriminator_optimizer),
        }[which]
        gradients = tape.gradient(
            loss,
            [v.value for v in (*variables, *of_patches)],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        own, of_heads = gradients[: len(variables)], gradients[len(variables) :]
        modulation = self.modulations.get(which)
        if modulation is None:
            optimizer.apply(own, variables)
        else:
            count = counts and parts.counted
            own, of_factors = modulation.of_gradients(own, variables, parts.probing, count)
            optimizer.apply([*own, *of_factors], [*variables, *modulation.factors])
            modulation.apply()
        if of_patches:
            self.patch_optimizer.apply(of_heads, list(of_patches))
