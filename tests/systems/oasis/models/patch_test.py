"""PatchGAN at one and at several scales."""

import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.layers.resampling import smooth_half
from oasis_tf.systems.oasis.models import Discriminator, MultiScale, PatchDiscriminator
from oasis_tf.systems.oasis.models.patch import PatchInput, PatchRow
from oasis_tf.training.named_weights import named_weights

CLASSES = 5


def make_inputs(size=(9, 12), batch=2):
    rng = np.random.default_rng(0)
    image = rng.uniform(-1, 1, (batch, *size, 3)).astype(np.float32)
    return image, rng.integers(0, CLASSES, (batch, *size)).astype(np.int32)


def two_scales(channels=2, dtype=None, **options):
    names = ("discriminator_0", "discriminator_1")
    common = {"dtype": dtype, **options}
    return MultiScale(
        [PatchDiscriminator(CLASSES, channels, name=name, **common) for name in names],
        name="discriminator",
        dtype=dtype,
    )


def means(size):
    """[ceil(size / 2), size]: row i averages those of 2i - 1, 2i, 2i + 1 that are inside."""
    rows = np.zeros(((size + 1) // 2, size))
    for i, row in enumerate(rows):
        inside = [k for k in (2 * i - 1, 2 * i, 2 * i + 1) if 0 <= k < size]
        row[inside] = 1 / len(inside)
    return rows


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 3), (4, 4), (5, 6), (16, 9)])
def test_smooth_half_averages_only_pixels_of_the_image(rng, check_same, size):
    x = tf.constant(rng.normal(size=(2, *size, 3)))
    rows, columns = map(means, size)
    check_same(lambda: smooth_half(x), lambda: tf.einsum("ih,jw,bhwc->bijc", rows, columns, x), [x])


@pytest.mark.parametrize("size", [(9, 12), (16, 16), (2, 3)])
def test_equals_the_dense_network(check_same, peer, randomised, size):
    """Logits, features and all gradients."""
    network = randomised(PatchDiscriminator(CLASSES, 2, dtype="float64"))
    image, label_map = make_inputs(size)
    image = tf.constant(image, tf.float64)
    check_same(
        lambda: network(image, label_map, return_features=True),
        lambda: peer(network).patch(image, label_map),
        [image, *network.trainable_variables],
    )


def test_scales_equal_the_dense_networks(check_same, peer, randomised):
    """Each has its own weights and gets the averaged image and every second label."""
    network = randomised(two_scales(dtype="float64"))
    image, label_map = make_inputs((18, 13))
    image = tf.constant(image, tf.float64)
    rows, columns = means(18), means(13)

    def slow():
        half = tf.einsum("ih,jw,bhwc->bijc", rows, columns, image)
        whole_peer, half_peer = map(peer, network.discriminators)
        one, two = whole_peer.patch(image, label_map), half_peer.patch(half, label_map[:, ::2, ::2])
        return [one[0], two[0]], [*one[1], *two[1]]

    check_same(
        lambda: network(image, label_map, return_features=True),
        slow,
        [image, *network.trainable_variables],
    )


# side of the image -> sides after every convolution, at scales 1 and 1/2
SIDES = {
    256: ([129, 65, 33, 34, 35], [65, 33, 17, 18, 19]),
    64: ([33, 17, 9, 10, 11], [17, 9, 5, 6, 7]),
}


@pytest.mark.parametrize("side", SIDES)
def test_sizes_of_every_row(side):
    network = two_scales(channels=1)
    logits, features = network(*make_inputs((side, side), 1), return_features=True)
    for maps, last, sides in zip(features, logits, SIDES[side], strict=True):
        widths = [1, 2, 4, 8, 1]
        assert [tuple(y.shape) for y in (*maps, last)] == [
            (1, s, s, width) for s, width in zip(sides, widths, strict=True)
        ]


@pytest.mark.parametrize(("classes", "count"), [(151, 2_918_465), (35, 2_799_681)])
def test_number_of_parameters(classes, count):
    network = PatchDiscriminator(classes)
    assert sum(int(np.prod(v.shape)) for v in network.trainable_variables) == count


def test_number_of_parameters_of_two_scales():
    networks = [PatchDiscriminator(151, name=name) for name in "ab"]
    variables = MultiScale(networks).trainable_variables
    assert sum(int(np.prod(v.shape)) for v in variables) == 5_836_930


def test_weights_of_each_row():
    """Biases in the first and last row, spectral norm between, no affine parameters."""
    row = {f"row_{k}/conv/{part}" for k in (1, 2, 3) for part in ("kernel", "u", "v")}
    ends = {f"{end}/{part}" for end in ("row_0/conv", "to_logits") for part in ("kernel", "bias")}
    assert set(named_weights(PatchDiscriminator(CLASSES, 1))) == row | ends


def test_other_depths():
    network = PatchDiscriminator(CLASSES, 1, num_layers=2)
    logits, [features] = network(*make_inputs((16, 16)), return_features=True)
    assert [tuple(y.shape[1:]) for y in (*features, logits)] == [
        (9, 9, 1),
        (10, 10, 2),
        (11, 11, 1),
    ]
    with pytest.raises(ValueError, match="`num_layers` must be at least 2. Received: 1"):
        PatchDiscriminator(CLASSES, num_layers=1)


# === Several scales ===


def test_weights_of_scales_have_different_names():
    network = two_scales()
    names = named_weights(network)
    assert {id(v) for v in names.values()} == {id(v) for v in network.variables}
    assert {name.split("/")[0] for name in names} == {"scale_0", "scale_1"}
    assert len({variable.path for variable in network.variables}) == len(names)


def test_two_unets():
    """Logits at both scales, no label map."""
    names = ("discriminator_0", "discriminator_1")
    network = MultiScale([Discriminator(CLASSES, 1, (1, 2), name=name) for name in names])
    assert not network.takes_label_map and network.num_classes == CLASSES
    assert network.size_multiple == 8
    image = make_inputs((8, 16))[0]
    logits, features = network(image, return_features=True)
    assert [tuple(y.shape) for y in logits] == [(2, 8, 16, 6), (2, 4, 8, 6)]
    assert [len(maps) for maps in features] == [4, 4]
    np.testing.assert_array_equal(logits[0], network.discriminators[0](image))
    np.testing.assert_array_equal(logits[1], network.discriminators[1](smooth_half(image)))
    with pytest.raises(ValueError, match="positive multiple of 8. Received: height=4"):
        network(image[:, :4])


def test_patch_discriminators_take_any_size():
    network = two_scales()
    assert network.size_multiple == 1 and network.takes_label_map
    assert [tuple(y.shape) for y in network(*make_inputs((7, 10)))] == [(2, 4, 5, 1), (2, 4, 4, 1)]


def test_refuses_networks_that_do_not_match():
    patch, other = PatchDiscriminator(3, 1, name="a"), PatchDiscriminator(4, 1, name="b")
    with pytest.raises(ValueError, match=r"agree on .* Received: \[\(3, True\), \(4, True\)\]"):
        MultiScale([patch, other])
    with pytest.raises(ValueError, match=r"one or more networks .* Received: \[\]"):
        MultiScale([])
    with pytest.raises(ValueError, match=r"different names. Received: \['a', 'a'\]"):
        MultiScale([patch, PatchDiscriminator(3, 1, name="a")])


def test_low_precision_averages_the_image_in_full(monkeypatch):
    """The image reaches every scale in float32; each network casts for itself."""
    network, seen = two_scales(dtype="mixed_bfloat16"), []
    monkeypatch.setattr(
        "oasis_tf.systems.oasis.models.multi_scale.smooth_half",
        lambda x: seen.append(x.dtype) or smooth_half(x),
    )
    network(*make_inputs())
    assert seen == [tf.float32]


# === Keras ===


def test_keras_contract(keras_contract):
    keras_contract(
        lambda **options: PatchDiscriminator(CLASSES, 2, **options), *make_inputs((20, 24))
    )


def test_scales_keras_contract(keras_contract):
    keras_contract(two_scales, *make_inputs((40, 48)))


def test_rows_keras_contract(keras_contract, rng):
    keras_contract(lambda **options: PatchInput(CLASSES, 4, **options), *make_inputs((6, 7)))
    for stride in (1, 2):
        keras_contract(
            lambda stride=stride, **options: PatchRow(3, 4, stride, **options),
            rng.normal(size=(2, 6, 7, 3)).astype(np.float32),
        )
