"""What our BigGAN computes of a recording; see `parity`."""

import functools
import re

import numpy as np

from benchmarks import golden_files, golden_runs
from benchmarks.golden_files import keep_gradients, nchw, part, prefixed
from oasis_tf.systems.few_shot.official import biggan_weights as weights

# Names of what is not compared, and why.
SKIPPED = {
    r"meta": "settings",
    r"([GD]0|Gt|heads)/.*": "input",
    r"z|z2|label|label2|label_real|real|ss/[vy]|standing/(z|label)\d+": "input",
}

_BUFFERS = r".*(u0|sv0|stored_mean|stored_var|accumulation_counter)"


def rules(dtype):
    """(regular expression, tolerance, tolerance of zeros) of names; the first that fits counts."""
    if dtype == "float64":
        return [(r".*", 1e-6, 1e-6)]
    return [
        (r"D1/.*", 1e-6, 1e-6),
        # Biases whose shift a batch norm takes away have gradients of rounding alone: below 1e-6,
        # so Adam's first step, lr / 2 at most, is up to 5e-5 of biases of 0.17 and more.
        (r"G1/blocks\.(\d+\.0\.conv1|[23]\.0\.conv(2|_sc))\.bias", 3e-4, 1e-6),
        (r"(G1|EMA1)/.*", 3e-5, 1e-6),
        (r"ss/train/grad.*", 1e-4, 1e-4),
        (r".*grad.*", 1e-4, 1e-6),
        (r".*", 1e-5, 1e-6),
    ]


def computed(recording, dtype="float32"):
    """All that our networks compute of a recording, by its names and in its layout."""
    run = Run(recording, dtype)
    return (
        run.evaluation()
        | run.forward_in_training()
        | run.batch_norm_variant()
        | run.iteration()
        | run.smoothness()
        | run.heads()
    )


def config_of(recording):
    """The `Config` of a recording."""
    from oasis_tf.systems.few_shot import config, source, training_settings

    m = golden_files.meta(recording)
    training = training_settings.defaults("biggan", adapted=False) | {
        "steps": 1,
        "batch_size": m["batch"],
        "lr_g": m["lr_g"],
        "lr_d": m["lr_d"],
        "beta_1": m["beta1"],
        "beta_2": m["beta2"],
        "adam_epsilon": m["adam_eps"],
        "ema_decay": m["ema_decay"],
    }
    return config.Config(
        model=config.ModelConfig(
            network="biggan",
            size=m["resolution"],
            ch=m["ch"],
            dim_z=m["dim_z"],
            shared_dim=m["shared_dim"],
            attention=tuple(map(int, m["G_attn"].split("_"))),
            attention_d=tuple(map(int, m["D_attn"].split("_"))),
            bn_eps=m["bn_eps"],
            sn_eps=m["sn_eps"],
            num_classes=m["n_classes"],
        ),
        data=config.DataConfig(),
        training=config.TrainingConfig(**training),
        adaptation=config.AdaptationConfig(),
        pictures=source.Pictures(),
    )


class Run(golden_runs.ModelRun):
    """A model that computes what a recording holds, always from its start."""

    def __init__(self, recording, dtype="float32"):
        from oasis_tf.systems.few_shot.build import build_model

        super().__init__(recording, dtype, build_model, config_of(recording), weights.load_official)
        self.generator, self.discriminator = self.model.generator, self.model.discriminator
        self.z, self.real = self.input("z"), self.input("real")

    def generated(self, generator=None, z="z", label="label", training=False):
        """Images of recorded latents and classes."""
        generator = generator or self.generator
        e = generator.embedding(self.recording[label])
        return generator(self.input(z), e, training=training)

    def new_generator(self, prefix, mybn=False):
        """Another ``Generator`` with recorded weights."""
        config = self.generator.get_config() | {"mybn": mybn, "name": "generator"}
        generator, state = type(self.generator).from_config(config), part(self.recording, prefix)
        if mybn:
            layers = [name.removesuffix(".stored_mean") for name in state if "stored_mean" in name]
            state |= {f"{layer}.bn.accumulation_counter": np.zeros(1) for layer in layers}
        weights.load_official(generator, state)
        return generator

    # === Evaluation ===

    def evaluation(self):
        """Outputs and losses in evaluation mode."""
        from oasis_tf.systems.few_shot import losses

        self.restart()
        recording, discriminator, found = self.recording, self.discriminator, {}
        found["embedding"] = e = np.asarray(self.generator.embedding(recording["label"]))
        made = self.generator.synthesis(np.concatenate([self.z, e], axis=1))
        found["G_eval"] = nchw(made.image)
        found |= {f"G_eval_feat/{k}": nchw(x)[:2] for k, x in enumerate(made.features)}
        judged = discriminator.judged(made.image, recording["label"])
        real = discriminator(self.real, recording["label_real"])
        plain = discriminator(made.image)
        features = discriminator.features(made.image)
        found |= {f"D_eval_feat/{k}": nchw(x)[:2] for k, x in enumerate(features)}
        found |= {
            "D_eval_fake": judged.logits,
            "D_eval_real": real,
            "D_eval_pooled": judged.hidden,
            "D_eval_fake_unconditional": plain,
            "D_eval_fake_projection": judged.logits - plain,
        }
        for name, logits, of in (
            ("d_real", real, "real"),
            ("d_fake", judged.logits, "fake"),
            ("g", judged.logits, "generator"),
        ):
            found[f"hinge_{name}"] = losses.mean_of_logits([logits], of, "hinge")[0]
        return {name: np.asarray(x) for name, x in found.items()}

    # === Training mode ===

    def forward_in_training(self):
        """One call of each network in training mode, and the state after it."""
        self.restart()
        found = {"G_train": nchw(self.generated(training=True))}
        found |= prefixed("G_after_train", _buffers(self.generator))
        self.restart()
        images = np.concatenate([self.generated(), self.real])
        labels = np.concatenate([self.recording[k] for k in ("label", "label_real")])
        logits = self.discriminator(images, labels, training=True)
        found["D_train_fake_real"] = np.asarray(logits)
        return found | prefixed("D_after_train", _buffers(self.discriminator))

    def batch_norm_variant(self):
        """The batch norm that accumulates: as it is, and with standing statistics."""
        from oasis_tf.systems.few_shot.biggan.layers import standing_statistics

        generator = self.new_generator("G0", mybn=True)
        found = {"mybn/eval": nchw(self.generated(generator))}
        found["mybn/train"] = nchw(self.generated(generator, training=True))
        found |= prefixed("mybn/after_train", _buffers(generator))
        generator = self.new_generator("G0", mybn=True)
        passes = sum(re.fullmatch(r"standing/z\d+", name) is not None for name in self.recording)
        standing_statistics(generator, (self._standing(generator, k) for k in range(passes)))
        found["standing/eval"] = nchw(self.generated(generator))
        return found | prefixed("standing/after", _buffers(generator))

    def _standing(self, generator, k):
        """[z | e] of a pass of the standing statistics."""
        e = generator.embedding(self.recording[f"standing/label{k}"])
        return np.concatenate([self.input(f"standing/z{k}"), e], axis=1)

    # === One iteration ===

    def iteration(self):
        """Steps of D and G and the average, from the start."""
        import tensorflow as tf

        from oasis_tf.systems.few_shot.draws import Draws
        from oasis_tf.systems.few_shot.networks import Latents
        from oasis_tf.systems.few_shot.schedule import Parts

        self.restart()
        recording, model, found = self.recording, self.model, {}
        fake = self.generated(training=True)
        labels = np.concatenate([recording[k] for k in ("label", "label_real")])
        logits = self.discriminator(np.concatenate([fake, self.real]), labels, training=True)
        found["train/d_fake_logits"], found["train/d_real_logits"] = np.split(logits, 2)
        self.restart()
        draws = Draws(
            d=Latents(self.z, label=tf.constant(recording["label"])),
            g=Latents(self.input("z2"), label=tf.constant(recording["label2"])),
        )
        kept, optimizers = [], (model.discriminator_optimizer, model.generator_optimizer)
        for optimizer in optimizers:
            keep_gradients(optimizer, kept)

        @functools.partial(tf.function, autograph=False)
        def step():
            label = tf.constant(recording["label_real"])
            return model.iteration(self.real, label, draws, Parts()), kept

        logs, gradients = step()
        for optimizer in optimizers:
            del optimizer.apply
        names = ("loss_d_real", "loss_d_fake", "loss_g")
        found["train/loss_d_real_fake_g"] = np.array([float(logs[name]) for name in names])
        for which, by_name in zip("DG", gradients, strict=True):
            found |= _named_gradients(f"grad{which}", by_name)
        for name, network in (
            ("D1", self.discriminator),
            ("G1", self.generator),
            ("EMA1", model.generator_ema),
        ):
            found |= prefixed(name, weights.to_official(network))
        return found

    # === Adaptation ===

    def smoothness(self, modes=("eval", "train")):
        """Smoothness similarity of G0 and Gt, in evaluation and in training mode."""
        self.restart()
        v, found = self.input("ss/v"), {}
        found["ss/image"] = nchw(self.new_generator("Gt").synthesis(v).image)
        for mode in modes:
            found |= prefixed(f"ss/{mode}", self._smoothness(v, mode == "train"))
        return found

    def _smoothness(self, v, training):
        import tensorflow as tf

        from oasis_tf.systems.few_shot.adaptation import smoothness

        direction, side = self.input("ss/y"), self.meta["ss"]
        source, target = self.new_generator("G0"), self.new_generator("Gt")

        def gradient(generator):
            def feature(v):
                return generator.feature(v, side, training=training)

            return smoothness.jacobian_product(feature, v, direction)

        variables = {name: v for name, v in _trained(target).items()}
        with tf.GradientTape() as tape:
            j_source, j_target = gradient(source), gradient(target)
            distance = smoothness.distances(j_source, j_target, eps=0.0)
            loss = self.meta["lambda_ss"] * tf.reduce_mean(distance)
        gradients = tape.gradient(loss, [v.value for v in variables.values()])
        found = {"j_source": j_source, "j_target": j_target, "distance": distance, "loss": loss}
        found = {name: np.asarray(x) for name, x in found.items()}
        return found | _gradients("grad", dict(zip(variables, gradients, strict=True)), norms=True)

    def heads(self):
        """Logits and losses of L_all, in evaluation mode and without projection."""
        import tensorflow as tf

        from oasis_tf.systems.few_shot import losses
        from oasis_tf.systems.few_shot.adaptation.heads import Heads, block_heads
        from oasis_tf.training.named_weights import named_weights

        self.restart()
        heads = Heads(*block_heads(self.config, self.dtype))
        for name, array in part(self.recording, "heads").items():
            index, leaf = name.split(".")
            leaf = weights.our_name(f"linear.{leaf}").partition("/")[2]
            variable = named_weights(heads)[f"head_{index}/{leaf}"]
            variable.assign(weights.in_our_layout(name, array))

        def logits(image):
            judged = self.discriminator.judged(image)
            return [*heads(judged.blocks, training=False), judged.logits]

        variables = {name: v.value for name, v in _trained(self.discriminator).items()}
        of_heads = {
            f"{k}.{leaf}": getattr(layer, ours).value
            for k, layer in enumerate(heads.heads)
            for leaf, ours in (("weight", "kernel"), ("bias", "bias"))
        }
        with tf.GradientTape(persistent=True) as tape:
            by_image = {"real": logits(self.real), "fake": logits(self.generated())}
            loss = {k: losses.mean_of_logits(x, k, "hinge") for k, x in by_image.items()}
            total = loss["real"][0] + loss["fake"][0]
        of_generator = losses.mean_of_logits(by_image["fake"], "generator", "hinge")
        found = {
            f"logits_{name}_{k}": nchw(x) if len(x.shape) == golden_runs.IMAGE_LAYOUT else x
            for name, maps in by_image.items()
            for k, x in enumerate(maps)
        }
        found |= {
            "loss_d_per_head": np.add(loss["real"][1], loss["fake"][1]),
            "loss_d": total,
            "loss_g_per_head": of_generator[1],
            "loss_g": of_generator[0],
        }
        found = {name: np.asarray(x) for name, x in found.items()}
        found |= _gradients("gradD", tape.gradient(total, variables), norms=True)
        found |= _gradients("gradheads", tape.gradient(total, of_heads), norms=True)
        return prefixed("all", found)


def _buffers(network):
    """The state of a network that passes in training mode move, by official names."""
    state = weights.to_official(network)
    return {name: array for name, array in state.items() if re.fullmatch(_BUFFERS, name)}


def _trained(network):
    """Trained variables of a network by official names."""
    return {weights.official_name(v.path.split("/", 1)[1]): v for v in network.trainable_variables}


def _named_gradients(name, by_name):
    """Gradients by our names, of all variables, as the entries of a recording."""
    found = {
        weights.official_name(k): weights.in_official_layout(k, np.asarray(x))
        for k, x in by_name.items()
    }
    return _gradients(name, found)


def _gradients(name, gradients, norms=False):
    """Entries of gradients, or their norms, by official names; None is a zero and in a list."""
    lacking = [k for k, gradient in gradients.items() if gradient is None]
    found = {f"{name}_none": lacking}
    for key, gradient in gradients.items():
        if norms:
            norm = 0.0 if gradient is None else np.linalg.norm(np.ravel(gradient))
            found[f"{name}_norm/{key}"] = np.array(norm)
        else:
            found[f"{name}/{key}"] = gradient
    return found
