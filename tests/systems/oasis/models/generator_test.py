"""The generator: sizes, variants, invalid inputs."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import op_callbacks  # no public API gives a run's tensors

from oasis_tf.systems.oasis.models import Generator


def count(network):
    """Number of trainable parameters."""
    return sum(int(np.prod(v.shape)) for v in network.trainable_variables)


def expected_count(num_classes, noise_channels, units=(16, 16, 16, 8, 4, 2, 1), latent=None):
    """Number of parameters from the papers' tables (ICLR 2021, table M; SPADE, figure 4).

    ``latent``: (size of the latent vector, pixels of the first features), or None.
    """
    hidden = 128
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

    widths = [64 * unit for unit in units]
    stem = 9 * condition * widths[0] + widths[0]
    if latent:
        vector, pixels = latent
        stem = (vector + 1) * pixels * widths[0]
    return stem + 9 * widths[-1] * 3 + 3 + sum(map(block, widths[:-1], widths[1:]))


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
def test_number_of_parameters_at_full_width(noise_channels, published):
    assert expected_count(151, noise_channels) == published
    assert count(Generator(151, noise_channels)) == published


SEVEN = (16, 16, 16, 16, 8, 4, 2, 1)
NORMAL = {"widths": SEVEN, "upsamples": (False, True, False, True, True, True, True)}
MORE = {"widths": SEVEN}
LATENT = {"latent_stem": True, "latent_channels": 7, "start_size": (1, 2)}


@pytest.mark.parametrize(
    ("noise_channels", "options", "latent", "parameters"),
    [
        (0, NORMAL, None, 96_492_483),
        (64, MORE, None, 98_409_411),
        (0, NORMAL | LATENT | {"latent_channels": 256, "start_size": (8, 8)}, (256, 64),
         111_942_595),
    ],
)  # fmt: skip
def test_number_of_parameters_of_spade(noise_channels, options, latent, parameters):
    """The paper's 96 M; 111.9 M if a dense layer computes the first features."""
    assert expected_count(151, noise_channels, SEVEN, latent) == parameters
    assert count(Generator(151, noise_channels, **options)) == parameters


@pytest.mark.parametrize("size", [(32, 32), (32, 64), (96, 32)])
def test_image_has_the_size_of_the_label_map(generator, size):
    image = generator(*inputs(size)).numpy()
    assert image.shape == (2, *size, 3) and image.dtype == np.float32
    assert np.abs(image).max() <= 1 and image.std() > 0.1


def test_a_noise_vector_equals_a_constant_noise_map(generator):
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
    # On the grid of 8 cells, the stem and six blocks of 3x3 convolutions do not reach the end.
    assert change[-1] == 0


def test_images_do_not_depend_on_their_batch(generator):
    label_map, noise = inputs((32, 32), batch=3)
    together = generator(label_map, noise).numpy()
    for k in range(3):
        alone = generator(label_map[k : k + 1], noise[k : k + 1]).numpy()
        np.testing.assert_allclose(alone[0], together[k], atol=1e-5)


def test_training_updates_the_statistics_and_spectral_vectors():
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


# === SPADE ===


def slow_conv(x, kernel):
    """[B, H, W, C] * [k, k, C, F], stride 1, zero padding, tap by tap."""
    size, (height, width) = kernel.shape[0], x.shape[1:3]
    margin = size // 2
    x = np.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    taps = [(s, t) for s in range(size) for t in range(size)]
    return sum(x[:, s : s + height, t : t + width] @ kernel[s, t] for s, t in taps)


def lrelu(x):
    return np.where(x > 0, x, float(np.float32(0.2)) * x)  # TensorFlow stores the slope in float32


def slow_generator(network, label_map, noise, sides, first=None):
    """The generator of SPADE's tables in NumPy, pixel by pixel on one-hot labels.

    Args:
        network: ``Generator`` with the weights to use, by name.
        label_map: [B, H, W]; noise: [B, H, W, Z] or None.
        sides: height of the features in every block.
        first: the first features; by default a convolution of the condition.
    """
    weights = {v.path.split("/", 1)[1]: v.numpy() for v in network.variables}
    whole = np.eye(network.num_classes)[label_map]
    whole = whole if noise is None else np.concatenate([noise, whole], axis=-1)

    def condition(side):
        step = label_map.shape[1] // side
        return whole[:, ::step, ::step]

    def conv(x, name, kernel="kernel", bias="bias"):
        return slow_conv(x, weights[f"{name}/{kernel}"]) + weights.get(f"{name}/{bias}", 0)

    def spectral(x, name):
        kernel = weights[f"{name}/kernel"]
        matrix = kernel.reshape(-1, kernel.shape[-1])
        sigma = weights[f"{name}/v"] @ matrix @ weights[f"{name}/u"]
        return slow_conv(x, kernel / sigma) + weights.get(f"{name}/bias", 0)

    def modulated(x, norm, statistics, given):
        mean, variance = (weights[f"{statistics}/moving_{m}"] for m in ("mean", "variance"))
        hidden = np.maximum(conv(given, f"{norm}/shared"), 0)
        gamma, beta = (
            conv(hidden, norm, f"{part}_kernel", f"{part}_bias") for part in ("gamma", "beta")
        )
        return (x - mean) / np.sqrt(variance + 1e-5) * (1 + gamma) + beta

    x = conv(condition(sides[0]), "stem") if first is None else first
    for index, side in enumerate(sides):
        name = f"block_{index}"
        if side > x.shape[1]:
            x = x.repeat(2, axis=1).repeat(2, axis=2)
        given = condition(side)
        y = spectral(
            lrelu(modulated(x, f"{name}/norm_0", f"{name}/batch_norm_0", given)), f"{name}/conv_0"
        )
        y = spectral(
            lrelu(modulated(y, f"{name}/norm_1", f"{name}/batch_norm_1", given)), f"{name}/conv_1"
        )
        if f"{name}/conv_s/kernel" in weights:
            x = modulated(x, f"{name}/norm_s", f"{name}/batch_norm_0", given)
            x = spectral(x, f"{name}/conv_s")
        x = x + y
    return np.tanh(conv(lrelu(x), "to_rgb"))


def randomised(network):
    """Sets random weights, statistics and spectral vectors that do not saturate the image."""
    rng = np.random.default_rng(0)
    for variable in network.variables:
        fan_in = np.prod(variable.shape[:-1]) if len(variable.shape) == 4 else 4
        value = rng.normal(0, fan_in**-0.5, variable.shape)
        positive = variable.name in ("moving_variance", "u")
        variable.assign(abs(value) + 0.5 if positive else value)
    for block in network.blocks:
        for conv in (block.conv_0, block.conv_1, getattr(block, "conv_s", block.conv_0)):
            product = conv.kernel.numpy().reshape(-1, conv.filters) @ conv.u.numpy()
            conv.v.assign(product / np.square(product).sum())  # sigma is 1
    network.to_rgb.kernel.assign(network.to_rgb.kernel * 0.1)
    return network


@pytest.mark.parametrize(
    ("options", "noise_channels", "sides"),
    [
        (NORMAL, 0, (2, 4, 4, 8, 16, 32, 64)),
        (NORMAL, 3, (2, 4, 4, 8, 16, 32, 64)),
        (MORE, 0, (1, 2, 4, 8, 16, 32, 64)),
        (NORMAL | LATENT | {"start_size": (2, 4)}, 0, (2, 4, 4, 8, 16, 32, 64)),
        (MORE | LATENT, 0, (1, 2, 4, 8, 16, 32, 64)),
        ({"widths": (2, 2, 1), "upsamples": (False, False)}, 3, (64, 64)),
    ],
)
def test_equals_the_tables_of_the_papers(options, noise_channels, sides):
    network = randomised(small(noise_channels=noise_channels, dtype="float64", **options))
    label_map, vectors = inputs((64, 128), noise_channels or 7)
    noise, first = (vectors, None) if noise_channels else (None, None)
    if network.latent_stem:
        noise = vectors.astype(np.float64)
        first = noise @ network.stem.kernel.numpy() + network.stem.bias.numpy()
        first = first.reshape(2, sides[0], 2 * sides[0], -1)
    got = network(*([label_map] if noise is None else [label_map, noise])).numpy()
    spread = None
    if noise_channels:
        spread = np.broadcast_to(vectors[:, None, None], (*label_map.shape, noise_channels))
    assert network.size_multiple == 64 // sides[0]
    want = slow_generator(network, label_map, spread, sides, first)
    assert want.std() > 0.05 and np.abs(want).mean() < 0.9
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-10)


def test_a_latent_stem_gets_no_labels_and_norms_get_no_latent_vector():
    network = small(noise_channels=0, **NORMAL, **LATENT)
    assert network.vector_channels == 7 and network.noise_channels == 0
    assert network.stem.kernel.shape == (7, 2 * 16)
    assert network.blocks[0].norm_0.shared.kernel.shape[2] == 5


@pytest.mark.parametrize("remat", [False, True])
@pytest.mark.parametrize("kind", ["vector", "field", "latent"])
def test_gradients_reach_the_noise(kind, remat):
    """An encoder that computes the noise learns from them."""
    options = {"widths": (2, 2, 1), "upsamples": (False, False), "dtype": "float64"}
    latent = LATENT | {"start_size": (4, 6)} if kind == "latent" else {}
    network = small(noise_channels=0 if latent else 3, remat=remat, **options, **latent)
    label_map, noise = inputs((4, 6), 7 if latent else 3)
    if kind == "field":
        noise = np.random.default_rng(1).normal(size=(*label_map.shape, 3))
    rng = np.random.default_rng(2)
    for variable in network.trainable_variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    state = [v.numpy() for v in network.non_trainable_variables]

    def loss(noise):
        for variable, value in zip(network.non_trainable_variables, state, strict=True):
            variable.assign(value)
        return tf.reduce_sum(network(label_map, noise, training=True) ** 2)

    noise, direction = tf.constant(noise, tf.float64), rng.normal(size=noise.shape)
    with tf.GradientTape() as tape:
        tape.watch(noise)
        value = loss(noise)
    slope = tf.reduce_sum(tape.gradient(value, noise) * direction)
    step = 1e-6 * direction
    numeric = (loss(noise + step) - loss(noise - step)) / 2e-6
    assert abs(numeric) > 0.1
    np.testing.assert_allclose(slope, numeric, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "received"),
    [
        (LATENT | {"noise_channels": 3}, "needs .* noise_channels=3"),
        (LATENT | {"latent_channels": 0}, "needs .* latent_channels=0"),
        (LATENT | {"start_size": None}, "needs .* start_size=None"),
        ({"latent_channels": 7}, "of False takes neither .* latent_channels=7"),
        ({"start_size": (8, 8)}, r"of False takes neither .* start_size=\(8, 8\)"),
        ({"upsamples": (False, True)}, "one entry per block, 6 for these .* Received: 2"),
    ],
)
def test_refuses_options_that_exclude_each_other(options, received):
    with pytest.raises(ValueError, match=received):
        small(**({"noise_channels": 0} | options))


@pytest.mark.parametrize(
    ("size", "noise", "message"),
    [
        ((64, 64), (2, 7), r"must be 32x64, the size it was made for. Received: .*\(2, 64, 64\)"),
        ((32, 63), (2, 7), "width of a label map .* multiple of 32"),
        ((32, 64), (2, 32, 64, 7), r"must be \[B, 7\]. Received: shape=\(2, 32, 64, 7\)"),
        ((32, 64), (2, 3), r"must fit the label map: \(2, 7\). Received: \(2, 3\)"),
        ((32, 64), None, r"must be \[B, 7\]. Received: shape=None"),
    ],
)
def test_a_latent_stem_refuses_inputs_that_do_not_fit(size, noise, message):
    network = small(noise_channels=0, **NORMAL, **LATENT)
    arguments = [] if noise is None else [np.zeros(noise, np.float32)]
    with pytest.raises(ValueError, match=message):
        network(np.zeros((2, *size), np.int32), *arguments)


SHORT_LATENT = {"noise_channels": 0, "latent_stem": True, "latent_channels": 3}


@pytest.mark.parametrize("latent", [{}, SHORT_LATENT | {"start_size": (2, 3)}])
def test_spade_keras_contract(keras_contract, latent):
    def make(**options):
        return small(widths=(2, 2, 2, 1), upsamples=(False, True, False), **latent, **options)

    keras_contract(make, *inputs((4, 6)))


# === Contract, and tensors that must not grow with the classes ===


def test_keras_contract(keras_contract):
    def make(**options):
        return small(widths=(2, 2, 1), **options)

    keras_contract(make, *inputs((4, 6)))


SHALLOW = (4, 2, 2, 1)  # three blocks


def label_weights(classes):
    """Size of the largest kernel over labels: three norms of a block, padding included."""
    return 9 * (classes + 3 + 1) * 3 * 4


def training_pass(network):
    """function(label_map, noise) -> gradients of all weights."""

    def run(label_map, noise):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(network(label_map, noise, training=True) ** 2)
        return tape.gradient(loss, [v.value for v in network.trainable_variables])

    return run


def test_dense_with_one_hot_labels_equals_shared():
    """A GPU's way, computed here: images and the gradients of all weights, in training."""
    shared, dense = (
        small(widths=(2, 2, 1), dtype="float64", **options)
        for options in ({"dense": False}, {"dense": True, "one_hot": True})
    )
    rng = np.random.default_rng(0)
    for variable in shared.trainable_variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    dense.set_weights(shared.get_weights())
    found = [
        [*training_pass(network)(*inputs((8, 12))), network(*inputs((8, 12)), training=True)]
        for network in (dense, shared)
    ]
    assert found[1][-1].numpy().std() > 0.1
    for got, want in zip(*found, strict=True):
        tolerance = 1e-10 * (1 + np.abs(want).max())
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("noise", "dense"), [("vector", False), ("vector", True), ("field", False)]
)
def test_no_tensor_of_pixels_times_classes(noise, dense):
    """In the graph of a forward and backward pass no tensor has both N classes and pixels."""
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
    sizes = [int(np.prod([s or 1 for s in shape])) for shape in shapes]  # unknown sizes are never N
    assert len(sizes) > 1000
    assert max(sizes) <= label_weights(classes) < batch * side**2 * classes / 50
    for shape in shapes:
        grown = [size for size in shape if size is not None and classes <= size <= classes + 4]
        # If one axis is N, the others are those of a kernel: no batch, no pixels.
        assert not grown or shape.is_fully_defined(), shape


def sizes_of_all_tensors(run, *arguments):
    """(operation, shapes of its results) of all operations that run, in order."""
    found = []

    def record(kind, inputs, attributes, outputs, *_, **__):
        # Skip the tracing of compiled functions and the operations of the garbage collector.
        if tf.executing_eagerly() and tf.compat.as_str(kind) != "DestroyResourceOp":
            shapes = [tuple(y.shape) for y in outputs if y.dtype != tf.resource]
            found.append((tf.compat.as_str(kind).rstrip("0123456789"), shapes))

    op_callbacks.add_op_callback(record)
    try:
        run(*arguments)
    finally:
        op_callbacks.remove_op_callback(record)
    return found


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dense": True},
        {"upsamples": (False, True, False)},
        SHORT_LATENT | {"start_size": (4, 8)},
    ],
)
def test_time_and_memory_do_not_depend_on_the_number_of_classes(options):
    """The operations and tensor sizes are the same, except for the kernels over labels."""
    few, many = 12, 1204
    found = [
        sizes_of_all_tensors(training_pass(small(n, widths=SHALLOW, **options)), *inputs((16, 32)))
        for n in (few, many)
    ]
    assert [kind for kind, _ in found[0]] == [kind for kind, _ in found[1]]
    assert len(found[0]) > 1000
    for (kind, small_shapes), (_, large_shapes) in zip(*found, strict=True):
        for a, b in zip(small_shapes, large_shapes, strict=True):
            grown = [y - x for x, y in zip(a, b, strict=True) if x != y]
            assert grown in ([], [many - few]), (kind, a, b)
            assert not grown or np.prod(b) <= label_weights(many), (kind, b)
