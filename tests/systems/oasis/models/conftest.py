"""Reference networks in plain TensorFlow operations, on one-hot maps that ours never build."""

import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.training.named_weights import named_weights


def lrelu(x):
    return tf.nn.leaky_relu(x, 0.2)


def pool(x):
    return tf.nn.avg_pool2d(x, 2, 2, "VALID")


class Peer:
    """Computes what a network computes in evaluation mode, from its weights by name."""

    def __init__(self, network):
        self.weights = {name: v.value for name, v in named_weights(network).items()}
        self.num_classes = network.num_classes

    def conv(self, x, name, stride=1):
        """Convolution padded by k // 2, normalised if there is a u, with a bias if there is one."""
        kernel, bias = self.weights[f"{name}/kernel"], self.weights.get(f"{name}/bias", 0.0)
        if f"{name}/u" in self.weights:
            u, v = (tf.stop_gradient(self.weights[f"{name}/{part}"]) for part in "uv")
            kernel = kernel / tf.einsum("i,ij,j->", v, tf.reshape(kernel, (len(v), -1)), u)
        margin = kernel.shape[0] // 2
        x = tf.pad(x, [(0, 0), (margin, margin), (margin, margin), (0, 0)])
        return tf.nn.conv2d(x, kernel, stride, "VALID") + bias

    def one_hot(self, label_map):
        return tf.one_hot(label_map, self.num_classes, dtype=tf.float64)

    def with_labels(self, image, label_map):
        return tf.concat([self.one_hot(label_map), image], axis=-1)

    def block(self, x, name, change, first=False):
        """Residual block; ``change``: ``pool`` or ``up``."""
        before, after = (lambda y: y, pool) if change == "pool" else (up, lambda y: y)
        y = self.conv(before(x if first else lrelu(x)), f"{name}/conv_0")
        y = after(self.conv(lrelu(y), f"{name}/conv_1"))
        x = before(x)
        return y + after(self.conv(x, f"{name}/conv_s") if self.has(f"{name}/conv_s") else x)

    def has(self, name):
        return f"{name}/kernel" in self.weights

    def encoder(self, x):
        outputs = []
        while self.has(f"down_{len(outputs)}/conv_0"):
            x = self.block(x, f"down_{len(outputs)}", "pool", first=not outputs)
            outputs.append(x)
        return outputs

    def unet(self, image, label_map=None, encoding="n_plus_1"):
        """(logits, [features])."""
        down = self.encoder(self.with_labels(image, label_map) if encoding == "concat" else image)
        up_outputs, x = [], down[-1]
        for index, skip in enumerate([None, *down[-2::-1]]):
            x = x if skip is None else tf.concat([skip, x], axis=-1)
            x = self.block(x, f"up_{index}", "up")
            up_outputs.append(x)
        logits = self.conv(x, "to_logits")
        if encoding == "projection":
            embedded = self.conv(self.one_hot(label_map), "embedding")
            logits += tf.einsum("bijc,bijc->bij", embedded, x)[..., None]
        return logits, [down + up_outputs]

    def resnet_patch(self, image, label_map):
        features = self.encoder(self.with_labels(image, label_map))
        return self.conv(lrelu(features[-1]), "to_logits"), [features]

    def patch(self, image, label_map):
        x = lrelu(self.conv(self.with_labels(image, label_map), "row_0/conv", 2))
        features = [x]
        for index in (1, 2, 3):
            y = self.conv(x, f"row_{index}/conv", 1 if index == 3 else 2)
            mean, variance = tf.nn.moments(y, [1, 2], keepdims=True)
            x = lrelu((y - mean) / tf.sqrt(variance + 1e-5))
            features.append(x)
        return self.conv(x, "to_logits"), [features]


def up(x):
    return tf.repeat(tf.repeat(x, 2, axis=1), 2, axis=2)


@pytest.fixture(scope="session")
def peer():
    """function(network) -> ``Peer``, which computes the same on one-hot maps."""
    return Peer


@pytest.fixture(scope="session")
def randomised():
    """function(network) -> the same network with random weights, u and v."""

    def randomise(network, seed=0):
        rng = np.random.default_rng(seed)
        for variable in network.variables:
            variable.assign(rng.normal(0, 0.5, variable.shape))
        return network

    return randomise
