"""What our StyleGAN2 computes of a recording; see `parity`."""

import contextlib

import numpy as np

from benchmarks import golden_runs
from benchmarks.few_shot import parity_adaptation
from benchmarks.golden_files import nchw, part, prefixed
from oasis_tf.systems.few_shot.official import stylegan2_weights as weights

# Names of what is not compared, and why.
SKIPPED = {
    r"meta": "settings",
    r"([GD]0|Gt|heads|cdc/extra)/.*": "input",
    r"z|z2|w_mean|G_mix_index|noise_batch/\d|real|path_y|unit/x": "input",
    r"ss\d+/y|cdc/(z|feat_ind)|train/(\d/.*|mix_index)": "input",
    r"ss\d+/z_dot_j": "rounding error of a product that is zero",
}


def rules(dtype):
    """(regular expression, tolerance, tolerance of zeros) of names; the first that fits counts."""
    if dtype == "float64":
        return [(r".*", 1e-6, 1e-6)]
    return [
        (r"cdc/loss", 3e-4, 1e-6),  # 1000 times a difference of nearly equal numbers
        (r".*grad\w*/.*(noise\.weight|bias)", 1e-2, 1e-6),  # of few numbers
        (r".*grad\w*/.*", 1e-4, 1e-6),
        (r".*", 1e-5, 1e-6),
    ]


def computed(recording, dtype="float32"):
    """All that our networks compute of a recording, by its names and in its layout."""
    run = Run(recording, dtype)
    return run.networks() | parity_adaptation.computed(run)


class Run(golden_runs.Run):
    """Networks with the recorded weights."""

    def __init__(self, recording, dtype="float32"):
        from oasis_tf.systems.few_shot import stylegan2

        super().__init__(recording, dtype)
        size, channels = self.meta["size"], self.meta["CH"]
        self.generator, self.target = (
            stylegan2.Generator(
                size, channels, self.meta["style"], self.meta["mlp"], name=name, dtype=dtype
            )
            for name in ("generator", "target")
        )
        self.discriminator = stylegan2.Discriminator(size, channels, dtype=dtype)
        for network, start in (
            (self.generator, "G0"),
            (self.target, "Gt"),
            (self.discriminator, "D0"),
        ):
            weights.load_official(network, part(recording, start))

    def generated(self, rows, noise=None):
        """Images of rows of styles, in the recording's layout."""
        return nchw(self.generator.synthesis(rows, noise).image)

    def networks(self):
        """Resampling, outputs, losses and penalties of the networks, with all gradients."""
        return (
            self.resampling()
            | self.images()
            | self.layers_of_generator()
            | self.judgements()
            | self.adversarial()
            | self.penalties()
        )

    # === Outputs ===

    def resampling(self):
        """All filters alone."""
        from oasis_tf.systems.few_shot.stylegan2 import operators

        x = self.input("unit/x")
        made = {
            "upsample": operators.upsample(x),
            "downsample": operators.downsample(x),
            "blur_up_1_1": 4 * operators.blur(x, 1),
            "blur_down_1_1": operators.blur(x, 1),
            "blur_down_2_2": operators.blur(x, 2),
        }
        return {f"unit/{name}": nchw(image) for name, image in made.items()}

    def images(self):
        """Images of all kinds of styles and noise."""
        generator = self.generator
        w, other = (generator.mapping(self.input(name)) for name in ("z", "z2"))
        mixed = generator.mixed(w, other, int(self.recording["G_mix_index"]))
        moved = generator(self.input("z")[:2], truncation=0.7, w_mean=self.input("w_mean"))
        noise = [self.input(f"noise_batch/{k}") for k in range(len(generator.noise_shapes))]
        return {
            "w": w.numpy(),
            "latent_shape": np.array(generator.rows(w).shape),
            "G_image": nchw(generator(self.input("z"))),
            "G_mix_image": self.generated(mixed[:2]),
            "G_trunc0.7_image": nchw(moved),
            "G_noise_batch_image": self.generated(generator.rows(w[:2]), noise),
            "Gt_image": nchw(self.target(self.input("z")[:2])),
        }

    def layers_of_generator(self):
        """Outputs of all styled convolutions, and the image that grows."""
        from oasis_tf.systems.few_shot.stylegan2 import operators

        generator, image, found = self.generator, None, {}
        with kept_outputs(generator.to_rgb) as colours:
            made = generator.synthesis(generator.rows(generator.mapping(self.input("z"))))
        for k, added in enumerate(colours):
            image = added if image is None else operators.upsample(image) + added
            found["to_rgb1" if k == 0 else f"to_rgbs.{k - 1}"] = image
        for k, features in enumerate(made.features):
            found["conv1" if k == 0 else f"convs.{k - 1}"] = features
        return self._as_recorded("G_feat", found)

    def judgements(self):
        """Logits, and outputs of all layers of the discriminator."""
        discriminator = self.discriminator
        with kept_outputs([discriminator.from_rgb, discriminator.final_conv]) as outer:
            judged = discriminator.judged(self.input("G_image"))
        found = {f"convs.{k}": x for k, x in enumerate([outer[0], *judged.blocks])}
        found |= {"final_conv": outer[1], "final_linear.0": judged.hidden}
        return {
            "D_fake": judged.logits.numpy(),
            "D_real": discriminator(self.input("real")).numpy(),
            **self._as_recorded("D_feat", found),
        }

    def _as_recorded(self, prefix, maps):
        """Outputs in the recording's layout, of as many samples as it has."""
        found = {}
        for name, x in maps.items():
            x = nchw(x) if len(x.shape) == golden_runs.IMAGE_LAYOUT else np.asarray(x)
            found[f"{prefix}/{name}"] = x[: len(self.recording[f"{prefix}/{name}"])]
        return found

    # === Losses ===

    def adversarial(self):
        """The logistic loss of both networks."""
        from oasis_tf.systems.few_shot import losses

        z, fake, real = (self.input(name) for name in ("z", "G_image", "real"))

        def of_discriminator():
            pairs = ((self.discriminator(fake), "fake"), (self.discriminator(real), "real"))
            return sum(losses.mean_of_logits([x], of, "bce")[0] for x, of in pairs)

        def of_generator():
            logits = [self.discriminator(self.generator(z))]
            return losses.mean_of_logits(logits, "generator", "bce")[0]

        return self.with_gradients("loss_d", "gradD", self.discriminator, of_discriminator) | (
            self.with_gradients("loss_g", "gradG", self.generator, of_generator)
        )

    def penalties(self):
        """R1, and the path lengths of the first latents after a mean of zero."""
        import tensorflow as tf

        from oasis_tf.systems.few_shot import losses

        real, direction, found = self.input("real"), self.input("path_y"), {}
        z = self.input("z")[: len(direction)]

        def r1():
            penalty = losses.gradient_penalty(real, lambda x: [self.discriminator(x)])
            found["r1_per_sample"] = penalty.numpy()
            return tf.reduce_mean(penalty)

        def path():
            rows = self.generator.rows(self.generator.mapping(z))
            gradient = losses.path_gradient(self.generator, rows, None, direction)
            lengths = losses.path_lengths(gradient)
            zero = tf.zeros((), lengths.dtype)
            penalty, mean = losses.path_penalty(lengths, zero, self.meta["path_decay"])
            found["path_grad"], found["path_lengths"] = gradient.numpy(), lengths.numpy()
            found["path_mean"] = mean.numpy()
            return penalty

        return (
            self.with_gradients("r1", "gradR1", self.discriminator, r1)
            | self.with_gradients("path_penalty", "gradPath_norm", self.generator, path)
            | found
        )

    def with_gradients(self, name, prefix, network, loss, official=None):
        """A loss, its gradients by a network's trainable weights, and which have none.

        Args:
            name: of the loss.
            prefix: of gradients; with ``_norm`` at its end their norms.
            network: Keras model.
            loss: function without arguments.
            official: function of our name and array -> (official name, array); default: those of
                the networks.

        Returns:
            dict by the recording's names.
        """
        import tensorflow as tf

        official = official or _official
        values = {v.path.split("/", 1)[1]: v.value for v in network.trainable_variables}
        with tf.GradientTape() as tape:
            value = loss()
        gradients = tape.gradient(value, list(values.values()))
        found, none = {}, []
        for (ours, weight), gradient in zip(values.items(), gradients, strict=True):
            array = np.zeros(weight.shape) if gradient is None else np.asarray(gradient)
            theirs, array = official(ours, array)
            found[theirs] = np.linalg.norm(array) if prefix.endswith("_norm") else array
            none += [theirs] if gradient is None else []
        lists = {f"{prefix.removesuffix('_norm')}_none": np.array(none, np.str_)}
        return {name: np.asarray(value)} | prefixed(prefix, found) | lists


def _official(name, array):
    return weights.official_name(name), weights.in_official_layout(name, array)


@contextlib.contextmanager
def kept_outputs(layers):
    """Yields a list to which the layers append what they return, in the order of their calls."""
    kept = []

    def keeping(call):
        def wrapped(*args, **kwargs):
            kept.append(call(*args, **kwargs))
            return kept[-1]

        return wrapped

    for layer in layers:
        layer.call = keeping(layer.call)
    try:
        yield kept
    finally:
        for layer in layers:
            del layer.call
