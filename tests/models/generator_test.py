"""The generator: sizes, variants, refusals."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import op_callbacks  # the only way to the tensors of a graph's run

from oasis_tf.models import Generator


def count(network):
    """Trainable parameters."""
    return sum(int(np.prod(v.shape)) for v in network.trainable_variables)


def expected_count(num_classes, noise_channels, channels=64, hidden=128):
    """Parameters by the table of the paper (ICLR 2021, table M)."""
    condition = num_classes + noise_channels

    def modulation(width):
        return 9 * condition * hidden + hidden + 2 * (9 * hidden * width + width)

    def block(fan_in, fan_out):
        middle = min(fan_in, fan_out)
        total = modulation(fan_in) + modulation(middle)
        total += 9 * fan_in * middle + middle + 9 * middle * fan_out + fan_out
        if fan_in != fan_out:
            total += modulation(fan_in) + fan_in * fan_out
        return total

    widths = [channels * w for w in (16, 16, 16, 8, 4, 2, 1)]
    total = 9 * condition * widths[0] + widths[0] + 9 * widths[-1] * 3 + 3
    return total + sum(map(block, widths[:-1], widths[1:]))


def small(num_classes=5, noise_channels=3, **options):
    return Generator(num_classes, noise_channels, channels=1, spade_channels=4, **options)


def inputs(size, noise_channels=3, batch=2, seed=0):
    rng = np.random.default_rng(seed)
    label_map = rng.integers(0, 5, (batch, *size)).astype(np.int32)
    return label_map, rng.normal(size=(batch, noise_channels)).astype(np.float32)


@pytest.fixture(scope="module")
def generator():
    """A small generator with weights large enough to fill the range of the output."""
    network, rng = small(), np.random.default_rng(0)
    for variable in network.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    return network


@pytest.mark.parametrize(("noise_channels", "published"), [(64, 74_314_691), (0, 72_545_219)])
def test_parameters_at_full_width(noise_channels, published):
    assert expected_count(151, noise_channels) == published
    assert count(Generator(151, noise_channels)) == published


@pytest.mark.parametrize("size", [(32, 32), (32, 64), (96, 32)])
def test_image_of_the_size_of_the_label_map(generator, size):
    image = generator(*inputs(size)).numpy()
    assert image.shape == (2, *size, 3) and image.dtype == np.float32
    assert np.abs(image).max() <= 1 and image.std() > 0.1


def test_noise_vector_equals_the_same_noise_everywhere(generator):
    label_map, noise = inputs((32, 64))
    field = np.broadcast_to(noise[:, None, None], (*label_map.shape, 3))
    np.testing.assert_allclose(generator(label_map, field), generator(label_map, noise), atol=2e-5)


def test_local_noise_acts_locally(generator):
    label_map, noise = inputs((32, 256), batch=1)
    field = np.array(np.broadcast_to(noise[:, None, None], (*label_map.shape, 3)))
    before = generator(label_map, field).numpy()
    field[:, :, :32] += 1
    change = np.abs(generator(label_map, field).numpy() - before).max((0, 1, 3))
    assert change[:32].max() > 1e-2
    # An 8-cell grid: the stem and six blocks of 3x3 convolutions do not reach the other end.
    assert change[-1] == 0


def test_images_do_not_depend_on_their_batch(generator):
    label_map, noise = inputs((32, 32), batch=3)
    together = generator(label_map, noise).numpy()
    for k in range(3):
        alone = generator(label_map[k : k + 1], noise[k : k + 1]).numpy()
        np.testing.assert_allclose(alone[0], together[k], atol=1e-5)


def test_training_moves_the_statistics_and_spectral_vectors():
    network = Generator(5, 3, channels=2, spade_channels=4)
    before = {v.path: v.numpy() for v in network.non_trainable_variables}
    weights = [v.numpy() for v in network.trainable_variables]
    network(*inputs((32, 32)), training=True)
    for variable in network.non_trainable_variables:
        assert (variable.numpy() != before[variable.path]).any(), variable.path
    for variable, value in zip(network.trainable_variables, weights, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_without_noise():
    network = small(noise_channels=0)
    label_map = inputs((32, 32))[0]
    assert network(label_map).shape == (2, 32, 32, 3)
    with pytest.raises(ValueError, match="`noise` must be None where noise_channels=0"):
        network(label_map, np.zeros((2, 1), np.float32))


@pytest.mark.parametrize(
    ("widths", "multiple"), [((4, 2, 2, 1), 4), ((2, 1), 1), ((8, 8, 8, 8, 8, 4, 2, 1), 64)]
)
def test_other_depths(widths, multiple):
    network = small(widths=widths)
    assert network.size_multiple == multiple and len(network.blocks) == len(widths) - 1
    size = (multiple, 2 * multiple)
    assert network(*inputs(size)).shape == (2, *size, 3)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((32, 33), "width of a label map .* multiple of 32. Received: width=33. .*: 32 or 64."),
        ((20, 32), "height of a label map .* Received: height=20. Nearest valid: 32."),
        ((0, 32), "height of a label map .* Received: height=0. Nearest valid: 32."),
    ],
)
def test_refuses_sizes_that_do_not_divide(generator, size, message):
    with pytest.raises(ValueError, match=message):
        generator(*inputs(size))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 4), r"must fit the label map: \(2, 3\). Received: \(2, 4\)"),
        ((3, 3), r"must fit the label map: \(2, 3\). Received: \(3, 3\)"),
        ((2, 1, 1, 3), r"must fit the label map: \(2, 32, 32, 3\). Received: \(2, 1, 1, 3\)"),
        ((2, 32, 3), r"must be \[B, 3\] or \[B, H, W, 3\]. Received: shape=\(2, 32, 3\)"),
        (None, r"must be \[B, 3\] or \[B, H, W, 3\]. Received: shape=None"),
    ],
)
def test_refuses_noise_that_does_not_fit(generator, shape, message):
    noise = None if shape is None else np.zeros(shape, np.float32)
    arguments = [inputs((32, 32))[0], *([] if noise is None else [noise])]
    with pytest.raises(ValueError, match=message):
        generator(*arguments)


def test_refuses_label_maps_with_channels(generator):
    with pytest.raises(ValueError, match="`label_map` must have 3 axes"):
        generator(np.zeros((2, 32, 32, 1), np.int32), np.zeros((2, 3), np.float32))


def test_keras_contract(keras_contract):
    def make(**options):
        return small(widths=(2, 2, 1), **options)

    keras_contract(make, *inputs((4, 6)))


SHALLOW = (4, 2, 2, 1)  # three blocks


def label_weights(classes):
    """Size of the largest kernel over labels: of the three norms of a block, with its padding."""
    return 9 * (classes + 3 + 1) * 3 * 4


def training_pass(network):
    """function(label_map, noise) -> gradients of all weights."""

    def run(label_map, noise):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(network(label_map, noise, training=True) ** 2)
        return tape.gradient(loss, [v.value for v in network.trainable_variables])

    return run


@pytest.mark.parametrize(
    ("noise", "dense"), [("vector", False), ("vector", True), ("field", False)]
)
def test_no_tensor_of_pixels_times_classes(noise, dense):
    """Nowhere in the graph of a forward and backward pass do N classes meet the pixels."""
    classes, side, batch = 1204, 64, 2
    network = small(classes, widths=SHALLOW, dense=dense)
    shape = (batch, 3) if noise == "vector" else (batch, side, side, 3)
    graph = (
        tf.function(training_pass(network), autograph=False)
        .get_concrete_function(
            tf.TensorSpec((batch, side, side), tf.int32), tf.TensorSpec(shape, tf.float32)
        )
        .graph
    )
    shapes = [t.shape for op in graph.get_operations() for t in op.outputs if t.shape.rank]
    sizes = [int(np.prod([s or 1 for s in shape])) for shape in shapes]  # unknown ones are no N
    assert len(sizes) > 1000
    assert max(sizes) <= label_weights(classes) < batch * side**2 * classes / 50
    for shape in shapes:
        grown = [size for size in shape if size is not None and classes <= size <= classes + 4]
        # With N along one axis, all others are those of a kernel: no batch, no pixels.
        assert not grown or shape.is_fully_defined(), shape


def sizes_of_all_tensors(run, *arguments):
    """(operation, shapes of its results) of everything that is run, in order."""
    found = []

    def record(kind, inputs, attributes, outputs, *_, **__):
        # Not the tracing of a function that is compiled; nor what the garbage collector runs.
        if tf.executing_eagerly() and tf.compat.as_str(kind) != "DestroyResourceOp":
            shapes = [tuple(y.shape) for y in outputs if y.dtype != tf.resource]
            found.append((tf.compat.as_str(kind).rstrip("0123456789"), shapes))

    op_callbacks.add_op_callback(record)
    try:
        run(*arguments)
    finally:
        op_callbacks.remove_op_callback(record)
    return found


@pytest.mark.parametrize("dense", [False, True])
def test_time_and_memory_do_not_depend_on_the_number_of_classes(dense):
    """The same operations on tensors of the same sizes, but for the weights of labels."""
    few, many = 12, 1204
    found = [
        sizes_of_all_tensors(
            training_pass(small(n, widths=SHALLOW, dense=dense)), *inputs((16, 32))
        )
        for n in (few, many)
    ]
    assert [kind for kind, _ in found[0]] == [kind for kind, _ in found[1]]
    assert len(found[0]) > 1000
    for (kind, small_shapes), (_, large_shapes) in zip(*found, strict=True):
        for a, b in zip(small_shapes, large_shapes, strict=True):
            grown = [y - x for x, y in zip(a, b, strict=True) if x != y]
            assert grown in ([], [many - few]), (kind, a, b)
            assert not grown or np.prod(b) <= label_weights(many), (kind, b)
