"""What our adaptation and training of StyleGAN2 compute of a recording; see `parity_stylegan2`."""

import numpy as np

from benchmarks import golden_files
from benchmarks.golden_files import nchw, part, prefixed
from oasis_tf.systems.few_shot.official import stylegan2_weights as weights

_SELF_EPS = 1e-12


def config_of(recording):
    """The `Config` of a recording."""
    from oasis_tf.systems.few_shot import config, source

    m = golden_files.meta(recording)
    return config.Config(
        model=config.ModelConfig(
            size=m["size"],
            channels=tuple(m["CH"].values()),
            style_dim=m["style"],
            num_mlp=m["mlp"],
        ),
        data=config.DataConfig(),
        training=config.TrainingConfig(
            steps=3,
            batch_size=m["batch"],
            lr_g=m["lr"],
            lr_d=m["lr"],
            adam_epsilon=m["adam_eps"],
            r1_gamma=m["r1"],
            r1_every=m["d_reg_every"],
            path_weight=m["path_regularize"],
            path_every=m["g_reg_every"],
            path_shrink=m["path_batch_shrink"],
            path_decay=m["path_decay"],
            ema_decay=m["ema_decay"],
        ),
        adaptation=config.AdaptationConfig(),
        pictures=source.Pictures(),
    )


def computed(run):
    """Adaptation and training, by the recording's names.

    Args:
        run: ``parity_stylegan2.Run``.
    """
    return smoothness(run) | heads(run) | distance(run) | patches(run) | training(run)


# === Losses of adaptation ===


def smoothness(run):
    """Smoothness similarity of G0 and Gt at two resolutions, and of G0 with itself."""
    found = {}
    for side in run.meta["ss"]:
        norm = f"ss{side}/grad_norm/to_rgb1.bias" in run.recording
        found |= _smoothness(run, side, "grad_norm" if norm else "grad")
    side, kind = run.meta["ss"][0], run.meta["lambda_ss"]
    same = _loss(run, side, run.generator, run.generator, _SELF_EPS)
    return found | {"ss_self/loss_eps1e-12": kind * np.asarray(same)}


def _loss(run, side, source, target, eps, scale=1.0):
    from oasis_tf.systems.few_shot.adaptation import smoothness

    z, direction = run.input("z"), run.input(f"ss{side}/y") * scale
    features = (lambda x, g=g: g.feature(x, side) for g in (source, target))
    return smoothness.smoothness_similarity(*features, z, direction, eps)


def _smoothness(run, side, prefix):
    import tensorflow as tf

    from oasis_tf.systems.few_shot.adaptation import smoothness

    z, direction, weight = run.input("z"), run.input(f"ss{side}/y"), run.meta["lambda_ss"]
    source, target = run.generator, run.target
    rows = {}
    for name, generator in (("source", source), ("target", target)):
        rows[name] = smoothness.jacobian_product(
            lambda x, g=generator: g.feature(x, side), z, direction
        )
    found = {f"j_{name}": x for name, x in rows.items()}
    found["distance"] = smoothness.distances(rows["source"], rows["target"], 0.0)
    found["loss_eps1e-8"] = weight * _loss(run, side, source, target, 1e-8)
    found["loss_y_scaled"] = weight * _loss(run, side, source, target, 0.0, 1 / side)
    found = {f"ss{side}/{name}": np.asarray(x) for name, x in found.items()}
    return found | run.with_gradients(
        f"ss{side}/loss",
        f"ss{side}/{prefix}",
        target,
        lambda: tf.cast(weight, z.dtype) * _loss(run, side, source, target, 0.0),
    )


def heads(run):
    """Logits and losses of L_all, and R1 with its heads."""
    from oasis_tf.systems.few_shot import losses
    from oasis_tf.systems.few_shot.adaptation.heads import Heads, block_heads

    found = Heads(*block_heads(config_of(run.recording), run.dtype))
    _fill(found, part(run.recording, "heads"), "{}.0.weight", "{}.0.bias")
    discriminator, generator = run.discriminator, run.generator
    z, fake, real = (run.input(name) for name in ("z", "G_image", "real"))

    def logits(image):
        judged = discriminator.judged(image)
        return [*found(judged.blocks), judged.logits]

    def of_discriminator():
        pairs = ((logits(fake), "fake"), (logits(real), "real"))
        return [losses.mean_of_logits(x, of, "bce") for x, of in pairs]

    def of_generator():
        return losses.mean_of_logits(logits(generator(z)), "generator", "bce")

    values = {
        f"all/logits_{name}_{k}": nchw(x) if len(x.shape) > 2 else np.asarray(x)
        for name, image in (("real", real), ("fake", fake))
        for k, x in enumerate(logits(image))
    }
    (_, of_fake), (_, of_real) = of_discriminator()
    values["all/loss_d_per_head"] = np.add(of_fake, of_real)
    values["all/loss_g_per_head"] = np.array(of_generator()[1])
    values["all/r1_per_sample"] = np.asarray(losses.gradient_penalty(real, logits))
    total = lambda: sum(loss for loss, _ in of_discriminator())  # noqa: E731
    values |= run.with_gradients("all/loss_d", "all/gradD", discriminator, total)
    values |= run.with_gradients("all/loss_d", "all/gradheads", found, total, _official_of_head)
    return values | run.with_gradients(
        "all/loss_g", "all/gradG_norm", generator, lambda: of_generator()[0]
    )


def distance(run):
    """CDC's distance consistency of G0 and Gt."""
    import tensorflow as tf

    from oasis_tf.systems.few_shot.adaptation import similarities

    z, layers = run.input("cdc/z"), tf.constant(run.recording["cdc/feat_ind"], tf.int32)
    most = int(run.recording["cdc/feat_ind"].max()) + 1

    def rows(generator):
        made = generator.synthesis(generator.rows(generator.mapping(z)))
        return similarities.between_samples(made.features[:most], layers)

    of_source = rows(run.generator)
    return {
        "cdc/cos_source": np.asarray(of_source),
        "cdc/cos_target": np.asarray(rows(run.target)),
    } | run.with_gradients(
        "cdc/loss",
        "cdc/grad_norm",
        run.target,
        lambda: run.meta["kl_wt"] * similarities.divergence(of_source, rows(run.target)),
    )


def patches(run):
    """Logits at all four maps inside the discriminator, and at its end."""
    from oasis_tf.systems.few_shot.adaptation import heads as heads_module
    from oasis_tf.systems.few_shot.adaptation import patches

    config, image = config_of(run.recording), run.input("G_image")
    found = heads_module.Heads(*heads_module.patch_heads(config, run.dtype, number=4))
    names = ("new_conv.{}.0.weight", "new_conv.{}.1.bias")
    _fill(found, part(run.recording, "cdc/extra"), *names)
    logits = (patches.at(run.discriminator, found, image, k) for k in range(4))
    values = {f"cdc/patch_logits_{k}": nchw(x) for k, x in enumerate(logits)}
    return values | {"cdc/full_logits": np.asarray(run.discriminator(image))}


def _fill(heads, state, kernel, bias):
    """Gives heads recorded weights of such names."""
    for k, layer in enumerate(heads.heads):
        layer.kernel.assign(state[kernel.format(k)].transpose(2, 3, 1, 0))
        layer.bias.assign(state[bias.format(k)])


def _official_of_head(name, array):
    """The recording's name and layout of a gradient of a head: `head_0/kernel`."""
    head, _, leaf = name.partition("/")
    number = head.rpartition("_")[2]
    if leaf == "kernel":
        return f"{number}.0.weight", array.transpose(3, 2, 0, 1)
    return f"{number}.0.bias", array


# === Training ===


def training(run):
    """Three iterations from G0 and D0, as they are trained."""
    import tensorflow as tf

    from oasis_tf.systems.few_shot.build import build_model
    from oasis_tf.systems.few_shot.draws import Draws
    from oasis_tf.systems.few_shot.networks import Latents
    from oasis_tf.systems.few_shot.schedule import parts_of

    recording, config = run.recording, config_of(run.recording)
    model = build_model(config, dtype=run.dtype)
    for network, start in (
        (model.generator, "G0"),
        (model.generator_ema, "G0"),
        (model.discriminator, "D0"),
    ):
        weights.load_official(network, part(recording, start))
    history = []
    for step, index in enumerate(recording["train/mix_index"]):
        given = {
            name: run.input(f"train/{step}/{name}") for name in part(recording, f"train/{step}")
        }
        parts = parts_of(config, step)
        draws = Draws(
            d=Latents(given["z0"], given["z1"], int(index)),
            g=Latents(given["z2"], given["z3"], int(index)),
            path=Latents(given["path_z"]) if parts.path else None,
            direction=given.get("path_y"),
        )
        real = tf.repeat(tf.repeat(given["real_small"], 8, axis=1), 8, axis=2)
        logs = model.iteration(real, None, draws, parts)
        names = ("loss_d", "r1", "loss_g", "path_penalty")
        numbers = [float(logs.get(name, 0.0)) for name in names]
        history.append([*numbers, float(model.path_mean.numpy())])
    found = {"train/history_d_r1_g_path_mean": np.array(history)}
    for name, network in (
        ("G3", model.generator),
        ("D3", model.discriminator),
        ("EMA3", model.generator_ema),
    ):
        state = weights.to_official(network)
        wanted = part(recording, name)
        found |= prefixed(name, {key: x for key, x in state.items() if key in wanted})
    return found
