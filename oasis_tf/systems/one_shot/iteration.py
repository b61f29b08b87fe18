"""One training iteration: a pure function of state, batch and draws.

The order of the forward passes counts, since each of them moves u and v of a network: G, D of
generated images (step of G); D of real images, G, D of generated images (step of D); the average.
"""

import tensorflow as tf
from keras import ops

from oasis_tf.augmentation import full, reduced
from oasis_tf.layers.replicas import all_rows, mean_over_replicas
from oasis_tf.layers.resampling import average_pool
from oasis_tf.systems.one_shot import losses, masks
from oasis_tf.systems.one_shot.draws import own
from oasis_tf.systems.one_shot.feature_augmentation import content, layout, objects
from oasis_tf.systems.one_shot.models.discriminator import Logits
from oasis_tf.training import adversarial
from oasis_tf.training.averages import update_averages
from oasis_tf.training.precision import replica_loss

BRANCHES = ("content", "layout", "low")


class Iteration:
    """The steps of training, on the networks and settings that ``OneShot`` holds."""

    def iteration(self, image, mask, draws, warm):
        """Step of G, step of D, average.

        Args:
            image: float [B, H, W, 3] in [-1, 1], this replica's rows.
            mask: float [B, H, W, N], or None without masks.
            draws: ``Draws`` of the global batch.
            warm: bool or bool scalar, whether hard masks are drawn (Bernoulli).

        Returns:
            dict of scalars, means over the global batch: the weighted terms ``loss_g_…``,
            ``loss_real_…`` and ``loss_fake_…`` of the branches, ``loss_g_diversity``, and the sums
            ``loss_g`` and ``loss_d``.
        """
        logs = self._generator_step(mask, draws, warm, image.shape[0])
        logs |= self._discriminator_step(image, mask, draws, warm)
        update_averages([(self.generator_ema, self.generator)], self.settings.ema_decay)
        return mean_over_replicas(logs)

    # === Steps ===

    def _generator_step(self, mask, draws, warm, batch):
        variables = self.generator.variables_trained(self.blocks_d0)
        mine = own(self._row_draws(draws), batch)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([v.value for v in variables])
            made = self._generated(mine["z_g"])
            images, soft = self.augmented(made.images, made.mask, mine["augment_g"])
            logits = self._judged_fakes(images, soft, mine["uniform_g"], warm, for_generator=True)
            weights = self._object_weights(soft, mask)
            terms = self.terms(logits, "generator", weights)
            diversity = self._diversity(made, draws, mine)
            if diversity is not None:
                terms["diversity"] = diversity
            total = sum(terms.values())
            scaled = replica_loss(total, self.generator_optimizer)
        self._apply(tape, scaled, variables, self.generator_optimizer)
        return {"loss_g": total} | {f"loss_g_{name}": term for name, term in terms.items()}

    def _discriminator_step(self, image, mask, draws, warm):
        variables = self.discriminator_variables
        mine = own(self._row_draws(draws), image.shape[0])
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([v.value for v in variables])
            images, real = self.augmented(self.scales(image), mask, mine["augment_real"])
            logits = self._judged_reals(images, real, draws)
            of_real = self.terms(logits, "real", self._own_weights(real))
            made = self._generated(mine["z_d"])
            images = [tf.stop_gradient(x) for x in made.images]
            soft = None if made.mask is None else tf.stop_gradient(made.mask)
            images, soft = self.augmented(images, soft, mine["augment_d"])
            logits = self._judged_fakes(images, soft, mine["uniform_d"], warm)
            of_fake = self.terms(logits, "fake", None)
            total = sum(of_real.values()) + sum(of_fake.values())
            scaled = replica_loss(total, self.discriminator_optimizer)
        self._apply(tape, scaled, variables, self.discriminator_optimizer)
        logs = {f"loss_real_{name}": term for name, term in of_real.items()}
        return logs | {f"loss_fake_{name}": t for name, t in of_fake.items()} | {"loss_d": total}

    def _apply(self, tape, loss, variables, optimizer):
        gradients = tape.gradient(loss, [v.value for v in variables])
        optimizer.apply(gradients, variables)

    @staticmethod
    def _row_draws(draws):
        """Draws that belong to rows; decisions of feature augmentation are the whole batch's."""
        return draws._replace(content=None, layout=None)._asdict()

    # === Images and masks ===

    def scales(self, image):
        """The ``blocks_d0`` largest scales of images [B, H, W, 3], smallest first."""
        found = [image]
        for _ in range(self.blocks_d0 - 1):
            found.insert(0, average_pool(found[0]))
        return found

    def _generated(self, z):
        made = self.generator(z, training=True, num_images=self.blocks_d0)
        mask = None if made.mask is None else tf.cast(made.mask, self.dtype)
        return made._replace(images=[tf.cast(x, self.dtype) for x in made.images], mask=mask)

    def augmented(self, images, mask, draws):
        """(images, mask) after differentiable augmentation."""
        if draws is None:
            return images, mask
        if isinstance(draws, reduced.ReducedDraws):
            found = reduced.apply(draws, images, mask, blur=self.settings.augmentation_blur)
        else:
            found = full.apply(draws, images, mask)
        return found[:2]

    def _object_weights(self, soft, real):
        """Weights of objects in the generator's loss."""
        return self._own_weights(real if self.settings.object_weights == "real" else soft)

    def _own_weights(self, mask):
        return masks.inverse_areas(mask) if self.discriminator.masks == "attention" else None

    # === Logits ===

    def _judged_fakes(self, images, soft, uniform, warm, for_generator=False):
        def hard(network):
            settings = self.settings
            full_size = settings.hard_masks == "full"
            return masks.small_hard_mask(
                soft, network.scale, uniform, warm, settings.bernoulli, full_size
            )

        return self._judged(images, hard, stop=for_generator)

    def _judged_reals(self, images, mask, draws):
        batch = images[-1].shape[0]
        changes = {}
        if draws.content is not None:
            changes["of_content"] = lambda v: content.apply(v, draws.content, batch)
        if draws.layout is not None:
            changes["of_layout"] = lambda x: layout.apply(x, self._sources(draws.layout, mask))
        return self._judged(
            images, lambda network: masks.downsampled(mask, network.scale), **changes
        )

    def _sources(self, decisions, mask):
        if not isinstance(decisions, objects.ObjectNumbers):
            return decisions
        small = all_rows(masks.downsampled(mask, self.discriminator.scale))
        return objects.source(decisions, small, self.settings.prob_fa_lay)

    def _judged(self, images, mask_of, stop=False, **changes):
        """Logits by discriminator: "image", and "mask" of one that sees both.

        Args:
            images: the scales.
            mask_of: function of a discriminator -> the mask that it sees.
            stop: bool, whether the second one gives the images no gradient.
            changes: of features, as of ``Discriminator``.
        """
        sees = self.discriminator.masks is not None
        mask = mask_of(self.discriminator) if sees else None
        found = {"image": self.discriminator(images, object_mask=mask, training=True, **changes)}
        if self.mask_discriminator is not None:
            images = [tf.stop_gradient(x) for x in images] if stop else images
            mask = mask_of(self.mask_discriminator)
            found["mask"] = self.mask_discriminator(images, object_mask=mask, training=True)
        return tf.nest.map_structure(lambda x: tf.cast(x, self.dtype), found)

    # === Losses ===

    def terms(self, logits, of, weights):
        """The weighted terms of a loss by branch, and "mask" of a second discriminator.

        Args:
            logits: ``Logits`` by discriminator.
            of: "generator", "real" or "fake".
            weights: [N], weights of objects; None without, and of fakes.
        """
        lists = self.head_losses(logits["image"], of, weights)
        found = self._weighted(lists)
        if "mask" in logits:
            plain = self._plain_losses(logits["mask"], of)
            found["mask"] = sum(self._weighted(plain).values())
        return found

    def head_losses(self, logits, of, weights):
        """The unweighted loss of every head, lists by branch."""
        found = self._plain_losses(logits, of)
        if self.discriminator.masks == "attention":
            count = self.discriminator.num_classes
            if of == "fake" and self.settings.fake_objects == "log_not_fake":
                found["content"] = losses.of_objects_not_fake(logits.content, count)
            else:
                found["content"] = losses.of_objects(logits.content, count, weights)
        return found

    def _plain_losses(self, logits, of):
        parts = zip(Logits._fields, logits, strict=True)
        return {name: adversarial.of_logits(part, of, self.settings.loss) for name, part in parts}

    def _weighted(self, lists):
        return {
            name: self.head_weights[name] * sum(lists[name]) for name in BRANCHES if lists[name]
        }

    def _diversity(self, made, draws, mine):
        """The weighted term that keeps samples apart, or None."""
        settings = self.settings
        kind, weight = settings.diversity, settings.lambda_dr
        if kind == "none" or not weight:
            return None
        if kind == "features":
            return -weight * losses.diversity(self._all(made.features), settings.dr_norm)
        if kind == "images":
            return -weight * losses.diversity(self._all(made.images), "paper")
        if kind == "zcr":
            step = settings.zcr_step * mine["z_step"]
            stepped = self._generated(mine["z_g"] + step).images[-1]
            return -weight * losses.latent_step_change(made.images[-1], stepped)
        images = all_rows(made.images[-1])
        latents = ops.cast(draws.z_g, images.dtype)
        return -weight * losses.change_ratio(images, latents, settings.ds_bound)

    @staticmethod
    def _all(tensors):
        return [all_rows(x) for x in tensors]
