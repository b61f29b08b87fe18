"""The training iteration: OASIS' own written out, terms of other parts, draws by step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from oasis_tf import OASIS, randomness
from oasis_tf.augmentation import full
from oasis_tf.systems.oasis import losses, noise
from oasis_tf.systems.oasis.build import state_variables
from oasis_tf.systems.oasis.models import (
    Discriminator,
    Encoder,
    Generator,
    MultiScale,
    PatchDiscriminator,
)
from oasis_tf.systems.oasis.models.iteration import EncoderDraw, joined_noise, to_float_image
from oasis_tf.systems.oasis.objectives import HingeObjective
from oasis_tf.training.optimizer import Adam

CLASSES, NOISE, SIDE = 4, 3, 16


def randomised(model):
    rng = np.random.default_rng(0)
    networks = (model.generator, model.discriminator, model.encoder)
    for network in (one for one in networks if one is not None):
        for variable in network.trainable_variables:
            variable.assign(rng.normal(0, 0.3, variable.shape))
    model.compile(Adam(1e-3, name="g"), Adam(1e-3, name="d"))
    return model


def oasis(**options):
    keras.utils.set_random_seed(0)  # of u and v
    return randomised(
        OASIS(
            Generator(CLASSES, NOISE, 1, 4, widths=(2, 2, 1), name="generator"),
            Discriminator(CLASSES, 1, widths=(2, 2), name="discriminator"),
            has_unknown=True,
            ema_decay=0.9,
            seed=5,
            name="oasis",
            **options,
        )
    )


def patch_gan(scales=1, latent=0, **options):
    keras.utils.set_random_seed(0)
    networks = [PatchDiscriminator(CLASSES, 2, 2, name=f"scale_{k}") for k in range(scales)]
    encoder = Encoder(latent, channels=1, size=8, name="encoder") if latent else None
    return randomised(
        OASIS(
            Generator(CLASSES, NOISE + latent, 1, 4, widths=(2, 2, 1), name="generator"),
            MultiScale(networks, name="discriminator") if scales > 1 else networks[0],
            has_unknown=True,
            seed=5,
            objective=HingeObjective(),
            consistency="none",
            encoder=encoder,
            name="oasis",
            **options,
        )
    )


def make_batch(seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (2, SIDE, SIDE, 3)).astype(np.uint8)
    return image, rng.integers(0, CLASSES, (2, SIDE, SIDE)).astype(np.int32)


def as_it_is(images, label_map):
    return images, label_map


def written_out(model, image, label_map, of_g=as_it_is, of_d=as_it_is, decay=0.9):
    """The iteration of OASIS alone, as the paper and the official release have it.

    ``of_g`` and ``of_d`` change what D sees of images and label maps, in the step of G and in its
    own. Returns what ``train_step`` does.
    """
    step = int(model.step.numpy())
    image = to_float_image(image, "float32")
    z_g, z_d = (
        noise.training_noise(model.seed, step, stream, 2, NOISE)
        for stream in (noise.GENERATOR_STEP, noise.DISCRIMINATOR_STEP)
    )
    bits = noise.labelmix_bits(model.seed, step, CLASSES)
    generator, discriminator = model.generator, model.discriminator
    with tf.GradientTape() as tape:
        (seen,), moved = of_g([generator(label_map, z_g, training=True)], label_map)
        weights = losses.class_weights(moved, CLASSES, True)
        loss_g = losses.real_loss(discriminator(seen, training=True), moved, weights)
    variables = generator.trainable_variables
    gradients = tape.gradient(loss_g, [v.value for v in variables])
    model.generator_optimizer.apply(gradients, variables)
    fake = generator(label_map, z_d, training=True)
    (fake, image), label_map = of_d([fake, image], label_map)
    weights = losses.class_weights(label_map, CLASSES, True)
    with tf.GradientTape() as tape:
        of_fake, of_real = (discriminator(x, training=True) for x in (fake, image))
        mask = losses.labelmix_mask(label_map, bits)
        of_mix = discriminator(losses.mix(mask, image, fake), training=True)
        loss_fake = losses.fake_loss(of_fake)
        loss_real = losses.real_loss(of_real, label_map, weights)
        loss_mix = 10.0 * losses.labelmix_loss(of_mix, mask, of_real, of_fake)
        loss_d = loss_fake + loss_real + loss_mix
    variables = discriminator.trainable_variables
    gradients = tape.gradient(loss_d, [v.value for v in variables])
    model.discriminator_optimizer.apply(gradients, variables)
    for average, variable in zip(model.generator_ema.variables, generator.variables, strict=True):
        shares = tf.constant(decay), tf.constant(1 - decay)
        average.assign(shares[0] * average.value + shares[1] * variable.value)
    model.step.assign_add(1)
    found = [tf.argmax(x, -1, tf.int32) for x in (of_real, of_fake)]
    hits = [found[0] == label_map + 1, found[1] == 0]
    accuracies = [tf.reduce_mean(tf.cast(hit, tf.float32)) for hit in hits]
    return loss_g, loss_fake, loss_real, loss_mix, loss_d, *accuracies


def test_the_iteration_of_oasis_is_the_one_written_out_bit_for_bit():
    model, plain = oasis(), oasis()
    for step in range(2):
        image, label_map = make_batch(step)
        logs = model.train_step((image, label_map))
        assert list(logs) == [
            *("loss_g", "loss_d_fake", "loss_d_real", "loss_labelmix", "loss_d"),
            *("accuracy_real", "accuracy_fake"),
        ]
        want = written_out(plain, image, label_map)
        assert [float(v) for v in logs.values()] == [float(v) for v in want]
    state, wanted = state_variables(model), state_variables(plain)
    for name, variable in state.items():
        np.testing.assert_array_equal(variable.numpy(), wanted[name].numpy(), err_msg=name)


# === Augmentation ===

ADAPTIVE = {"augmentation": "basic", "adaptive_augm": True, "augm_target": -0.9, "augm_images": 3}


def augmented_by(name, step, probability):
    """What D sees with the draws of a step."""
    key = randomness.make_key(5, randomness.named_stream(f"oasis/augmentation_{name}"), step)
    drawn = full.draw(key, 2, SIDE, SIDE, probability, full.BASIC)
    return lambda images, label_map: full.apply(drawn, images, label_map=label_map)[::2]


def test_all_that_the_discriminator_sees_is_augmented():
    """Label maps with their images; mixed images are mixed by the augmented label map."""
    model = oasis(augmentation={"augmentation": "basic", "prob_augm": 0.8}, ema_warmup=True)
    plain, (image, label_map) = oasis(), make_batch()
    seen = [augmented_by(name, 0, 0.8) for name in "gd"]
    want = written_out(plain, image, label_map, *seen, decay=0.1)
    logs = model.train_step((image, label_map))
    np.testing.assert_allclose(list(logs.values()), want, rtol=1e-4)
    assert (seen[0]([to_float_image(image)], label_map)[1].numpy() != label_map).any()
    ours, theirs = model.generator_ema, plain.generator_ema  # their first step goes by signs
    for variable, wanted in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_allclose(variable, wanted, atol=2e-3, err_msg=variable.path)


def test_the_probability_follows_r_and_a_restart_continues_it(monkeypatch):
    """r by hand; p starts at 0, rises by batch / augm_images and stays within 0 and 1."""
    model, again = oasis(augmentation=ADAPTIVE), oasis(augmentation=ADAPTIVE)
    real, called_real = [], model.objective.called_real
    monkeypatch.setattr(
        model.objective, "called_real", lambda x: real.append(x.numpy()) or called_real(x)
    )
    batch = make_batch()
    logs = model.train_step(batch)
    r = 2 * (real[0][..., 1:].max(-1) > real[0][..., 0]).mean() - 1
    np.testing.assert_allclose(logs["augmentation_r"], r, rtol=1e-5)
    assert real[0].shape == (2, SIDE, SIDE, CLASSES + 1) and r > -0.9
    assert logs["augmentation_p"] == 0
    np.testing.assert_allclose(model.augmentation_p.numpy(), 2 / 3, rtol=1e-6)
    state = state_variables(model)
    assert state["augmentation_p"] is model.augmentation_p
    for name, variable in state_variables(again).items():
        variable.assign(state[name].value)
    for one in (model, again):
        one.train_step(batch)
        assert one.augmentation_p.numpy() == 1
    for name, variable in state_variables(again).items():
        np.testing.assert_array_equal(variable.numpy(), state[name].numpy(), err_msg=name)
    for p, want in ((0.9, 0.9 - 2 / 3), (0.5, 0)):
        model.augmentation_p.assign(p)
        model.augmentation.adapt(model.augmentation_p, tf.constant(-0.95), 2)
        np.testing.assert_allclose(model.augmentation_p.numpy(), want, atol=1e-6)
    spec = tf.TensorSpec((None, SIDE, SIDE), tf.int32)
    with pytest.raises(ValueError, match=r"known size.*drop_remainder.*\(None, 16, 16\)"):
        tf.function(lambda x: model.augmentation_slices(x, 0)).get_concrete_function(spec)


# === Other parts ===


@pytest.mark.parametrize("scales", [1, 2])
def test_hinge_of_one_stacked_batch_with_one_power_iteration(scales):
    """First losses of D by hand, from a copy whose G step is done."""
    model, copy = patch_gan(scales), patch_gan(scales)
    image, label_map = make_batch()
    draws = [model.noise_slice(label_map, 0, stream) for stream in range(2)]
    logs = model.iteration(to_float_image(image), tf.constant(label_map), *draws, None)
    first = copy._generator_step(to_float_image(image), label_map, copy._view(label_map), draws[0])
    fake = copy.generator(label_map, draws[1], training=True)
    both = tf.concat([fake, to_float_image(image)], 0)
    u = {n: v.numpy() for n, v in state_variables(copy).items() if n.endswith("/u")}
    logits = copy.discriminator(both, tf.concat([label_map] * 2, 0), training=True)
    logits = logits if scales > 1 else [logits]
    of_fake, of_real = ([x[:2].numpy() for x in logits], [x[2:].numpy() for x in logits])
    want = {
        "loss_g": first["loss_g"],
        "loss_d_fake": np.mean([np.maximum(0, 1 + x).mean() for x in of_fake]),
        "loss_d_real": np.mean([np.maximum(0, 1 - x).mean() for x in of_real]),
        "accuracy_fake": np.mean([(x < 0).mean() for x in of_fake]),
        "accuracy_real": np.mean([(x > 0).mean() for x in of_real]),
    }
    for name, value in want.items():
        np.testing.assert_allclose(logs[name], value, rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(logs["loss_d"], logs["loss_d_fake"] + logs["loss_d_real"], rtol=1e-6)
    state, moved = state_variables(model), 0
    for name, before in u.items():  # one iteration more than behind the G step
        if name.startswith("discriminator"):
            moved += (state[name].numpy() != before).any()
            wanted = state_variables(copy)[name].numpy()
            np.testing.assert_allclose(state[name].numpy(), wanted, rtol=1e-4, atol=1e-6)
    assert moved


def test_terms_are_added_to_the_loss_of_the_generator():
    """Feature matching, VGG and KL divergence from the same draws, each by hand."""
    options = {"lambda_feature_matching": 3.0, "lambda_vgg": 2.0, "lambda_kld": 0.5}
    distance = lambda fake, real: tf.reduce_mean((fake - real) ** 2)  # noqa: E731
    model = patch_gan(2, latent=2, perceptual_loss=distance, **options)
    image, label_map = make_batch()
    draw = model.noise_slice(label_map, 7, noise.GENERATOR_STEP)
    assert isinstance(draw, EncoderDraw)
    np.testing.assert_array_equal(draw.noise, noise.training_noise(5, 7, 0, 2, NOISE))
    np.testing.assert_array_equal(draw.epsilon, noise.latent_noise(5, 7, 0, 2, 2))

    copy, real = patch_gan(2, latent=2), to_float_image(image)
    mean, log_variance = copy.encoder(real, training=True)
    z = tf.concat([draw.noise, mean + tf.exp(log_variance / 2) * draw.epsilon], 1)
    fake = copy.generator(label_map, z, training=True)
    both, twice = tf.concat([fake, real], 0), tf.concat([label_map] * 2, 0)
    logits, features = copy.discriminator(both, twice, training=True, return_features=True)
    matching = np.mean([sum(np.abs(x[:2] - x[2:]).mean() for x in maps) for maps in features])
    kld = -0.5 * np.sum(1 + log_variance - mean**2 - np.exp(log_variance))
    want = {
        "loss_feature_matching": 3 * matching,
        "loss_vgg": 2 * np.mean((fake - real) ** 2),
        "loss_kld": 0.5 * kld,
    }
    adversarial = -np.mean([x[:2].numpy().mean() for x in logits])
    before = [v.numpy() for v in model.encoder.trainable_variables]
    logs = model._generator_step(real, tf.constant(label_map), model._view(label_map), draw)
    for name, value in want.items():
        np.testing.assert_allclose(logs[name], value, rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(logs["loss_g"], adversarial + sum(want.values()), rtol=1e-4)
    moved = [
        (v.numpy() != value).any()
        for v, value in zip(model.encoder.trainable_variables, before, strict=True)
    ]
    assert all(moved)


def test_training_with_a_vgg_loss_needs_its_network():
    with pytest.raises(ValueError, match="`lambda_vgg` needs a `perceptual_loss`.*=10.0"):
        oasis(lambda_vgg=10.0)


def test_two_scales_compare_label_maps_at_their_own_resolution():
    networks = [Discriminator(CLASSES, 1, widths=(2, 2), name=f"scale_{k}") for k in range(2)]
    model = OASIS(
        Generator(CLASSES, 0, 1, 4, widths=(2, 2, 1), name="generator"),
        MultiScale(networks, name="discriminator"),
        has_unknown=True,
    )
    image, label_map = make_batch()
    targets = model.objective.targets(label_map, model.num_scales, "float32")
    logits = model.discriminator(to_float_image(image))
    want = [
        losses.real_loss(of_scale, labels, losses.class_weights(labels, CLASSES, True))
        for of_scale, labels in zip(logits, (label_map, label_map[:, ::2, ::2]), strict=True)
    ]
    got = model.objective.generator_loss(logits, targets)
    np.testing.assert_allclose(got, np.mean(want), rtol=1e-6)
    segmentation = model.segment(image)
    np.testing.assert_array_equal(segmentation, model.known_argmax(logits[0]))


# === Draws ===


def test_every_draw_is_decided_by_seed_and_step_alone():
    """A step that is repeated after a kill draws what it drew, whatever was drawn between."""
    label_map = make_batch()[1]
    for options in ({"consistency": "cutmix", "noise": "region"}, {"labelmix_bits": "image"}):
        first, again = oasis(**options), oasis(**options)
        want = [first.noise_slice(label_map, 3, 1), first.mixing_slice(label_map, 3)]
        again.noise_slice(label_map, 9, 1), again.mixing_slice(label_map, 2)
        got = [again.noise_slice(label_map, 3, 1), again.mixing_slice(label_map, 3)]
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b)
        assert (first.mixing_slice(label_map, 4).numpy() != want[1].numpy()).any()
        assert want[0].shape == ((2, SIDE, SIDE, NOISE) if "noise" in options else (2, NOISE))


def test_what_images_are_mixed_by():
    label_map = make_batch()[1]
    cutmix, bits = oasis(consistency="cutmix"), oasis(labelmix_bits="image")
    np.testing.assert_array_equal(
        cutmix._mask(label_map, cutmix.mixing_slice(label_map, 3), "float32"),
        losses.cutmix_mask(noise.cutmix_draws(5, 3, 2), SIDE, SIDE),
    )
    np.testing.assert_array_equal(
        bits._mask(label_map, bits.mixing_slice(label_map, 3), "float32"),
        losses.labelmix_mask(label_map, noise.labelmix_bits(5, 3, CLASSES, 2)),
    )
    for without in ({"consistency": "none"}, {"lambda_labelmix": 0.0}):
        assert oasis(**without).mixing_slice(label_map, 3) is None
    with pytest.raises(ValueError, match="`consistency` must be one of none, cutmix, labelmix"):
        oasis(consistency="cutout")


def test_latents_stand_behind_the_noise():
    z, latent = np.ones((2, 3), np.float32), np.full((2, 2), 7, np.float32)
    np.testing.assert_array_equal(joined_noise(z, latent), [[1, 1, 1, 7, 7]] * 2)
    field = joined_noise(np.ones((2, 4, 5, 3), np.float32), latent).numpy()
    assert field.shape == (2, 4, 5, 5)
    np.testing.assert_array_equal(field[1, 2, 3], [1, 1, 1, 7, 7])
    np.testing.assert_array_equal(joined_noise(None, latent), latent)
