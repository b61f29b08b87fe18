"""Discriminators of (label map, image): the label encodings of the U-Net, and PatchGANs."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.systems.oasis.models import (
    Discriminator,
    MultiScale,
    PatchDiscriminator,
    ResNetPatchDiscriminator,
)
from oasis_tf.systems.oasis.models.unet_blocks import DownBlock, LabelDownBlock
from oasis_tf.training.named_weights import forward_state, named_weights

CLASSES = 5
ENCODINGS = ("n_plus_1", "concat", "projection")


def make(kind, classes=CLASSES, **options):
    """A small network by its name, for sides that are multiples of 4."""
    if kind == "patch":
        return PatchDiscriminator(classes, 2, **options)
    if kind == "resnet_patch":
        return ResNetPatchDiscriminator(classes, 2, (1, 2), **options)
    if kind == "ms_patch":
        scales = [PatchDiscriminator(classes, 2, name=name, **options) for name in ("one", "half")]
        return MultiScale(scales, dtype=options.get("dtype"))
    return Discriminator(classes, 2, (1, 2), label_encoding=kind, **options)


def make_inputs(kind, size=(8, 12), batch=2, classes=CLASSES):
    """Image and, if the network takes it, label map."""
    rng = np.random.default_rng(0)
    image = rng.uniform(-1, 1, (batch, *size, 3)).astype(np.float32)
    label_map = rng.integers(0, classes, (batch, *size)).astype(np.int32)
    return [image] if kind == "n_plus_1" else [image, label_map]


def parameters(network):
    return sum(int(np.prod(v.shape)) for v in network.trainable_variables)


# === Numbers ===


@pytest.mark.parametrize("kind", [*ENCODINGS, "resnet_patch"])
def test_equals_the_dense_network(check_same, peer, randomised, kind):
    """Logits, features and all gradients."""
    network = randomised(make(kind, dtype="float64"))
    image, *label_map = make_inputs(kind)
    image = tf.constant(image, tf.float64)
    dense = peer(network)

    def slow():
        if kind == "resnet_patch":
            return dense.resnet_patch(image, *label_map)
        return dense.unet(image, *label_map, encoding=kind)

    check_same(
        lambda: network(image, *label_map, return_features=True),
        slow,
        [image, *network.trainable_variables],
    )


def test_projection_in_numpy(randomised):
    """logit = w . h + b + <E t, h>, with E divided by its norm."""
    network = randomised(make("projection", dtype="float64"))
    image, label_map = make_inputs("projection")
    logits, [features] = network(image, label_map, return_features=True)
    weights = {name: v.numpy() for name, v in named_weights(network).items()}
    table, u, v = (weights[f"embedding/{part}"] for part in ("kernel", "u", "v"))
    table = table[0, 0] / (v @ table[0, 0] @ u)
    h = np.asarray(features[-1])
    want = np.empty((*label_map.shape, 1))
    for place in np.ndindex(label_map.shape):
        w, b = weights["to_logits/kernel"][0, 0, :, 0], weights["to_logits/bias"][0]
        want[place] = w @ h[place] + b + table[label_map[place]] @ h[place]
    np.testing.assert_allclose(logits, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["concat", "projection", "resnet_patch", "patch", "ms_patch"])
def test_activation_checkpointing_changes_nothing(randomised, kind):
    found = []
    for remat in (False, True):
        network = randomised(make(kind, remat=remat, dtype="float64"))
        inputs = make_inputs(kind)
        with tf.GradientTape() as tape:
            outputs = network(*inputs, training=True)
            loss = sum(tf.reduce_sum(y**2) for y in tf.nest.flatten(outputs))
        gradients = tape.gradient(loss, network.trainable_variables)
        state = [v.numpy() for v in network.non_trainable_variables]
        found.append([loss, *map(tf.convert_to_tensor, gradients), *state])
    for plain, again in zip(*found, strict=True):
        np.testing.assert_allclose(again, plain, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["concat", "projection", "resnet_patch", "patch"])
def test_no_tensor_grows_with_the_classes(kind):
    """Forward and backward pass build no tensor of size B * H * W * N."""
    batch, side, classes = 4, 16, 2003
    network = make(kind, classes)

    @tf.function(autograph=False)
    def gradients(image, label_map):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(network(image, label_map, training=True) ** 2)
        return tape.gradient(loss, [v.value for v in network.trainable_variables])

    graph = gradients.get_concrete_function(
        tf.TensorSpec((batch, side, side, 3)), tf.TensorSpec((batch, side, side), tf.int32)
    ).graph
    shapes = [t.shape for op in graph.get_operations() for t in op.outputs]
    largest = max(s.num_elements() for s in shapes if s.is_fully_defined())
    weights = max(int(np.prod(v.shape)) for v in network.trainable_variables)
    assert len(shapes) > 100 and largest < max(batch * side * side * classes / 8, 2 * weights)


# === Sizes ===


def test_number_of_parameters_at_full_width():
    network = ResNetPatchDiscriminator(151)
    assert parameters(network) == 11_130_241
    # The papers count a network that takes only the image.
    with_image_only = DownBlock(3, 128, first=True)
    with_image_only.build()
    blocks = [with_image_only, *network.down_blocks[1:]]
    assert sum(map(parameters, blocks)) == 10_936_448


@pytest.mark.parametrize(
    ("encoding", "count"), [("concat", 22_442_369), ("projection", 22_258_753)]
)
def test_number_of_parameters_of_the_encodings(encoding, count):
    assert parameters(Discriminator(151, label_encoding=encoding)) == count


def test_features_of_the_unet():
    """The outputs of its twelve blocks, at full depth."""
    network = Discriminator(4, channels=1)
    logits, [features] = network(make_inputs("n_plus_1", (64, 128))[0], return_features=True)
    widths, sides = [2, 2, 4, 4, 8, 8, 8, 4, 4, 2, 2, 1], [32, 16, 8, 4, 2, 1, 2, 4, 8, 16, 32, 64]
    assert [tuple(f.shape) for f in features] == [
        (2, side, 2 * side, width) for side, width in zip(sides, widths, strict=True)
    ]
    np.testing.assert_array_equal(logits, network(make_inputs("n_plus_1", (64, 128))[0]))


@pytest.mark.parametrize("kind", [*ENCODINGS, "resnet_patch", "patch", "ms_patch"])
def test_symbolic_outputs_have_the_shapes_of_computed_ones(kind):
    network = make(kind, dtype="mixed_bfloat16")
    inputs = make_inputs(kind)
    computed = network(*inputs, return_features=True)
    keras_inputs = [keras.Input(x.shape[1:], dtype=x.dtype.name) for x in inputs]
    symbolic = network(*keras_inputs, return_features=True)
    for got, want in zip(*map(keras.tree.flatten, (symbolic, computed)), strict=True):
        assert got.shape == (None, *want.shape[1:])
        assert got.dtype == keras.backend.standardize_dtype(want.dtype)


@pytest.mark.parametrize("kind", [*ENCODINGS, "resnet_patch"])
def test_attributes(kind):
    network = make(kind)
    assert network.num_classes == CLASSES and network.size_multiple == 4
    assert network.takes_label_map == (kind != "n_plus_1")
    want = {"n_plus_1": (8, 12, CLASSES + 1), "resnet_patch": (2, 3, 1)}.get(kind, (8, 12, 1))
    assert network(*make_inputs(kind)).shape == (2, *want)


@pytest.mark.parametrize("kind", ["concat", "patch"])
def test_training_updates_only_the_spectral_vectors(kind):
    network = make(kind)
    before = {name: v.numpy() for name, v in named_weights(network).items()}
    network(*make_inputs(kind), training=True)
    after = {name: v.numpy() for name, v in named_weights(network).items()}
    moved = {name for name, value in after.items() if (value != before[name]).any()}
    assert moved == set(forward_state(network))


# === Invalid inputs ===


@pytest.mark.parametrize("kind", ["concat", "projection", "resnet_patch", "patch", "ms_patch"])
def test_refuses_label_maps_that_do_not_fit(kind):
    image, label_map = make_inputs(kind)
    network = make(kind)
    with pytest.raises(ValueError, match="needs a `label_map`. Received: None"):
        network(image)
    with pytest.raises(ValueError, match=r"must fit the image: \(2, 8, 12\). .* \(2, 8, 4\)"):
        network(image, label_map[:, :, :4])
    with pytest.raises(ValueError, match=r"`label_map` must have 3 axes. .*\(2, 8, 12, 1\)"):
        network(image, label_map[..., None])


def test_refuses_a_label_map_that_it_does_not_take():
    with pytest.raises(ValueError, match=r"`label_map` must be None. Received: shape=\(2, 8, 12\)"):
        make("n_plus_1")(*make_inputs("concat"))


@pytest.mark.parametrize("kind", [*ENCODINGS, "resnet_patch"])
def test_refuses_sizes_that_do_not_divide(kind):
    with pytest.raises(ValueError, match="Received: width=10. Nearest valid: 8 or 12"):
        make(kind)(*make_inputs(kind, (8, 10)))


def test_refuses_an_unknown_encoding():
    with pytest.raises(ValueError, match="one of n_plus_1, concat, projection. Received: 'both'"):
        make("both")


# === Keras ===


@pytest.mark.parametrize("kind", ["concat", "projection", "resnet_patch"])
def test_keras_contract(keras_contract, kind):
    keras_contract(lambda **options: make(kind, **options), *make_inputs(kind))


def test_block_keras_contract(keras_contract):
    keras_contract(
        lambda **options: LabelDownBlock(CLASSES, 4, **options), *make_inputs("concat", (4, 6))
    )
