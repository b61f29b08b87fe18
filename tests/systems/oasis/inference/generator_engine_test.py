"""The engine against the plain generator, which computes every pixel for itself."""

import numpy as np
import pytest
import tensorflow as tf

from oasis_tf import OASIS
from oasis_tf.layers import by_device
from oasis_tf.systems.oasis.editing.noise_fields import IndexedNoise
from oasis_tf.systems.oasis.inference import generator_engine
from oasis_tf.systems.oasis.inference.engine import whole_batches
from oasis_tf.systems.oasis.inference.generator_engine import InferenceEngine
from oasis_tf.systems.oasis.models import Generator

CLASSES, NOISE = 5, 3
SHALLOW = (2, 2, 1)  # sides divisible by 2, and seconds to trace
WIDTHS = (16, 16, 16, 8, 4, 2, 1)
NOISES = ("none", "vector", "class", "mixed", "pixel")


# A short SPADE generator, and one whose first features are dense layers of a latent vector.
SPADE = {"widths": (2, 2, 2, 1), "upsamples": (False, True, False)}
LATENT = SPADE | {"latent_stem": True, "latent_channels": NOISE, "start_size": (8, 12)}


def make_generator(noise_channels=NOISE, widths=SHALLOW, dtype="float64", channels=2, **options):
    """A generator whose weights, statistics and spectral vectors are all far from trivial."""
    generator = Generator(
        CLASSES, noise_channels, channels, 6, widths=widths, dense=True, dtype=dtype, **options
    )
    return randomise(generator)


def randomise(generator, seed=0):
    rng = np.random.default_rng(seed)
    for variable in generator.variables:
        fan_in = np.prod(variable.shape[:-1]) if len(variable.shape) in (2, 4) else 4
        value = rng.normal(0, fan_in**-0.5, variable.shape)
        variable.assign(abs(value) + 0.5 if variable.name in ("moving_variance", "u") else value)
        if variable.name == "v":  # sigma of about one
            variable.assign(np.ones(variable.shape) / variable.shape[0])
    for block in generator.blocks:
        for conv in (block.conv_0, block.conv_1, getattr(block, "conv_s", block.conv_0)):
            matrix = conv.kernel.numpy().reshape(-1, conv.filters)
            conv.v.assign(matrix @ conv.u.numpy() / np.square(matrix @ conv.u.numpy()).sum())
    # Away from the ends of tanh, where differences would vanish.
    generator.to_rgb.kernel.assign(generator.to_rgb.kernel * 0.1)
    return generator


def make_maps(size, batch=3):
    """Label maps of one class, of large regions, and of pixels without order, in turns."""
    rng = np.random.default_rng(size[1])
    regions = rng.integers(0, CLASSES, (4, 4)).repeat(size[0] // 4, 0).repeat(size[1] // 4, 1)
    kinds = [np.full(size, 2), regions, rng.integers(0, CLASSES, size)]
    return np.stack([kinds[k % 3] for k in range(batch)]).astype(np.int32)


def make_noise(kind, label_map):
    rng = np.random.default_rng(1)
    if kind == "none":
        return None
    if kind == "vector":
        return rng.normal(size=(len(label_map), NOISE))
    pixels = rng.normal(size=(*label_map.shape, NOISE))
    classes = rng.normal(size=(CLASSES, NOISE))[label_map]
    left = np.arange(label_map.shape[2])[:, None] < label_map.shape[2] // 2
    return {"class": classes, "mixed": np.where(left, classes, pixels), "pixel": pixels}[kind]


def plain(generator, label_map, noise):
    return generator(*([label_map] if noise is None else [label_map, noise])).numpy()


def check_close(got, want, tolerance):
    assert want.std() > 0.05 and np.abs(want).mean() < 0.9  # neither constant nor saturated
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


@pytest.fixture(scope="module")
def generators():
    """function(noise kind) -> shallow generator, and its engine."""
    found = {}
    for channels in (0, NOISE):
        generator = make_generator(channels)
        found[channels] = generator, InferenceEngine(generator)
    return lambda kind: found[0 if kind == "none" else NOISE]


# === Exactness ===


@pytest.mark.parametrize("size", [(4, 4), (8, 12), (32, 32), (64, 40)])
@pytest.mark.parametrize("noise_kind", NOISES)
def test_equals_the_plain_generator(generators, noise_kind, size):
    generator, engine = generators(noise_kind)
    label_map = make_maps(size)
    noise = make_noise(noise_kind, label_map)
    image = engine(label_map, noise)
    assert image.dtype == tf.float64
    check_close(image.numpy(), plain(generator, label_map, noise), 1e-10)


@pytest.mark.parametrize("noise_channels", [0, pytest.param(NOISE, marks=pytest.mark.slow)])
def test_equals_the_plain_generator_at_full_depth(noise_channels):
    generator = make_generator(noise_channels, WIDTHS, channels=1)
    engine = InferenceEngine(generator)
    for size in ((32, 32), (64, 96)):
        label_map = make_maps(size)
        for kind in NOISES[1:] if noise_channels else NOISES[:1]:
            noise = make_noise(kind, label_map)
            check_close(engine(label_map, noise).numpy(), plain(generator, label_map, noise), 1e-10)


@pytest.mark.parametrize(
    ("upsamples", "multiple"),
    [((False, True, False, True, True, True, True), 32), ((False, *[True] * 6), 64)],
)
@pytest.mark.slow
def test_equals_the_plain_generator_of_spade(upsamples, multiple):
    generator = make_generator(
        0, (16, 16, 16, 16, 8, 4, 2, 1), channels=1, upsamples=upsamples, dtype="float64"
    )
    assert generator.size_multiple == multiple
    label_map = make_maps((64, 128))
    check_close(InferenceEngine(generator)(label_map), plain(generator, label_map, None), 1e-10)


@pytest.mark.parametrize("noise_kind", ["none", "mixed"])
def test_equals_the_plain_generator_with_fewer_upsamplings(noise_kind):
    generator = make_generator(0 if noise_kind == "none" else NOISE, **SPADE)
    label_map = make_maps((16, 24))
    noise = make_noise(noise_kind, label_map)
    check_close(
        InferenceEngine(generator)(label_map, noise), plain(generator, label_map, noise), 1e-10
    )


def test_latent_vectors():
    """Equal to the plain generator, in any batch the same bits, again after new weights."""
    generator = make_generator(0, **LATENT)
    engine, label_map = InferenceEngine(generator), make_maps((16, 24))
    latent = make_noise("vector", label_map)
    check_close(engine(label_map, latent).numpy(), plain(generator, label_map, latent), 1e-10)
    together = engine(label_map, latent).numpy()
    for row in range(3):
        alone = engine(label_map[row : row + 1], latent[row : row + 1]).numpy()
        np.testing.assert_array_equal(alone[0], together[row])
    trained = sum(int(np.prod(v.shape)) for v in generator.trainable_variables)
    assert sum(int(np.prod(w.shape)) for w in engine.weights.values()) == trained
    randomise(generator, seed=1)
    engine.refresh()
    check_close(engine(label_map, latent).numpy(), plain(generator, label_map, latent), 1e-10)


def test_a_latent_vector_holds_for_a_whole_image():
    engine = InferenceEngine(make_generator(0, **LATENT))
    label_map = np.zeros((3, 16, 24), np.int32)
    with pytest.raises(ValueError, match="a latent vector, which is one for the whole image"):
        engine(label_map, IndexedNoise(label_map, np.zeros((3, 2, NOISE))))
    latent = make_noise("vector", label_map)
    image = engine(label_map, IndexedNoise(label_map, latent[:, None]))
    np.testing.assert_array_equal(image, engine(label_map, latent))
    for noise in (None, np.zeros((3, 16, 24, NOISE))):
        with pytest.raises(ValueError, match=r"`noise` must be \[B, 3\]\. Received: shape="):
            engine(label_map, noise)
    with pytest.raises(ValueError, match=r"must be 16x24, the size it was made for"):
        engine(np.zeros((3, 16, 16), np.int32), np.zeros((3, NOISE)))


@pytest.mark.parametrize("widths", [(2, 1), (1, 1), (1, 3), (3, 3, 2, 2)])
@pytest.mark.exhaustive
def test_other_widths(widths):
    generator = make_generator(widths=widths)
    label_map = make_maps((16, 24))
    noise = make_noise("vector", label_map)
    check_close(
        InferenceEngine(generator)(label_map, noise), plain(generator, label_map, noise), 1e-10
    )


@pytest.mark.parametrize("share", [-1.0, 1e9])
def test_either_way_at_every_resolution(generators, monkeypatch, share):
    monkeypatch.setattr(generator_engine, "_LARGEST_SHARE", share)
    generator, _ = generators("vector")
    engine, label_map = InferenceEngine(generator), make_maps((16, 24))
    for kind in ("vector", "mixed"):
        noise = make_noise(kind, label_map)
        check_close(engine(label_map, noise).numpy(), plain(generator, label_map, noise), 1e-10)


@pytest.mark.parametrize(
    ("policy", "dtype", "tolerance"),
    [
        ("float32", None, 1e-5),
        ("float32", "bfloat16", 0.05),
        ("mixed_bfloat16", None, 0.05),
        ("mixed_bfloat16", "float32", 1e-5),
    ],
)
@pytest.mark.exhaustive
def test_other_types(policy, dtype, tolerance):
    generator, exact = make_generator(dtype=policy), make_generator()
    label_map = make_maps((32, 32))
    engine = InferenceEngine(generator, dtype)
    wanted = {"bfloat16", "float32"} if tolerance > 0.01 else {"float32"}
    assert {weight.dtype.name for weight in engine.weights.values()} == wanted
    for kind in ("vector", "mixed"):
        noise = make_noise(kind, label_map)
        image = engine(label_map, noise)
        assert image.dtype == tf.float32
        check_close(image.numpy(), plain(exact, label_map, noise), tolerance)


# === Which way ===


@pytest.mark.parametrize(
    ("label_kind", "noise_kind", "shared"),
    [(0, "vector", True), (0, "class", True), (1, "class", True), (1, "none", True),
     (2, "vector", False), (1, "pixel", False), (0, "pixel", False)],
)  # fmt: skip
def test_repeated_surroundings_are_computed_once(
    generators, monkeypatch, label_kind, noise_kind, shared
):
    way = generator_engine._of_pixels
    # Whatever is computed pixel by pixel is spoilt.
    monkeypatch.setattr(generator_engine, "_of_pixels", lambda *a: [t * np.nan for t in way(*a)])
    generator, _ = generators(noise_kind)
    label_map = make_maps((64, 64))[label_kind : label_kind + 1]
    image = InferenceEngine(generator)(label_map, make_noise(noise_kind, label_map)).numpy()
    assert np.isfinite(image).all() if shared else np.isnan(image).all()


@pytest.mark.parametrize("noise_kind", NOISES)
def test_no_bit_depends_on_the_batch(generators, noise_kind):
    engine = InferenceEngine(
        make_generator(generators(noise_kind)[0].noise_channels, dtype="float32")
    )
    label_map = make_maps((32, 48), batch=4)
    noise = make_noise(noise_kind, label_map)

    def rows(chosen):
        return engine(label_map[chosen], None if noise is None else noise[chosen]).numpy()

    together = rows([0, 1, 2, 3])
    assert len(np.unique(together.reshape(4, -1), axis=0)) == (
        3 if noise_kind in ("none", "class") else 4
    )
    for chosen in ([3], [1], [2, 0], [0, 0, 3], [3, 2, 1, 0]):
        np.testing.assert_array_equal(rows(chosen), together[chosen])


# === Dense batches ===


@pytest.fixture(scope="module")
def dense_engines(generators):
    """function(noise kind) -> the engine of its generator, with dense batches."""
    found = {
        kind: InferenceEngine(generators(kind)[0], batching="dense") for kind in ("none", "vector")
    }
    return lambda kind: found["none" if kind == "none" else "vector"]


@pytest.mark.parametrize("noise_kind", NOISES)
def test_dense_batches_equal_the_plain_generator(generators, dense_engines, noise_kind):
    label_map = make_maps((8, 12))
    noise = make_noise(noise_kind, label_map)
    image = dense_engines(noise_kind)(label_map, noise).numpy()
    check_close(image, plain(generators(noise_kind)[0], label_map, noise), 1e-10)


@pytest.mark.parametrize("used", [1, 4])
def test_dense_batches_with_vectors_and_an_index(generators, dense_engines, used):
    label_map, rng = make_maps((16, 24)), np.random.default_rng(0)
    noise = IndexedNoise(rng.integers(0, used, label_map.shape), rng.normal(size=(3, used, NOISE)))
    image = dense_engines("class")(label_map, noise).numpy()
    check_close(image, generators("class")[1](label_map, noise).numpy(), 1e-10)


def test_dense_batches_with_latent_vectors_and_many_classes(monkeypatch):
    monkeypatch.setattr(by_device, "MOST_ONE_HOT_CLASSES", CLASSES - 1)  # labels are looked up
    generator, label_map = make_generator(0, **LATENT), make_maps((16, 24))
    engine, latent = InferenceEngine(generator, batching="dense"), make_noise("vector", label_map)
    check_close(engine(label_map, latent).numpy(), plain(generator, label_map, latent), 1e-10)


def test_dense_batches_in_single_precision():
    generator, label_map = make_generator(dtype="float32"), make_maps((32, 48))
    noise = make_noise("mixed", label_map)
    image = InferenceEngine(generator, batching="dense")(label_map, noise).numpy()
    check_close(image, plain(make_generator(), label_map, noise), 1e-5)


def test_a_dense_graph_has_no_loop_and_one_hot_labels(dense_engines):
    inputs = tf.TensorSpec([2, 8, 12], tf.int32), tf.TensorSpec([2, NOISE], tf.float64)
    run = tf.function(lambda *noise: dense_engines("vector")(*noise), autograph=False)
    graph = run.get_concrete_function(*inputs).graph.as_graph_def()
    operations = {node.op for function in graph.library.function for node in function.node_def}
    assert "OneHot" in operations
    assert not operations & {"If", "StatelessIf", "While", "StatelessWhile", "UniqueV2", "Unique"}


def test_large_dense_batches_are_cut(monkeypatch, dense_engines):
    label_map, rng = make_maps((8, 12), batch=5), np.random.default_rng(0)
    noise = IndexedNoise(rng.integers(0, 2, label_map.shape), rng.normal(size=(5, 2, NOISE)))
    whole = dense_engines("pixel")(label_map, noise).numpy()
    monkeypatch.setattr(f"{whole_batches.__module__}._MOST_PIXELS", 2 * 8 * 12 + 7)
    np.testing.assert_allclose(dense_engines("pixel")(label_map, noise), whole, rtol=1e-12)
    count = whole_batches(
        lambda maps: tf.fill(tf.shape(maps)[:1], tf.shape(maps)[0]),
        [tf.TensorSpec([None, None, None], tf.int32)],
    )
    assert count(tf.constant(label_map)).numpy().tolist() == [2, 2, 2, 2, 1]
    assert count(tf.zeros((2, 99, 99), tf.int32)).numpy().tolist() == [1, 1]
    assert dense_engines("none")(label_map[:0]).shape == (0, 8, 12, 3)


# === Noise as an index ===


def test_vectors_and_an_index(generators):
    generator, engine = generators("class")
    label_map = make_maps((16, 24))
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3, 4, NOISE))
    index = rng.integers(0, 4, label_map.shape)
    index[0] = 3  # one vector only, and not the first
    field = np.stack([v[i] for v, i in zip(vectors, index, strict=True)])
    want = plain(generator, label_map, field)
    image = engine(label_map, IndexedNoise(index, vectors)).numpy()
    check_close(image, want, 1e-10)
    # A vector that no pixel uses changes nothing.
    more = np.concatenate([vectors, vectors + 1], axis=1)
    np.testing.assert_array_equal(engine(label_map, IndexedNoise(index, more)), image)


def test_equal_noise_gives_equal_bits_in_every_form(generators):
    _, engine = generators("class")
    label_map, vector = make_maps((16, 24)), make_noise("vector", make_maps((16, 24)))
    want = engine(label_map, vector).numpy()
    dense = np.broadcast_to(vector[:, None, None], (*label_map.shape, NOISE))
    # Of three vectors, the first and the last are equal, and the other is not used.
    vectors = np.stack([vector, vector + 1, vector], axis=1)
    index = 2 * (label_map % 2)
    for noise in (dense, IndexedNoise(index, vectors)):
        np.testing.assert_array_equal(engine(label_map, noise), want)


def test_equal_vectors_are_found_exactly():
    """Noise that differs in its last bit is other noise."""
    field = np.zeros((4, 6, NOISE), np.float32)
    field[:, 3:] = [1, 2, 3]
    field[2, 5] = np.nextafter(np.float32([1, 2, 3]), np.float32(9))
    indexed = generator_engine._indexed(tf.zeros((1, 4, 6), tf.int32), tf.constant(field[None]))
    index, vectors = generator_engine._distinct(*(part[0] for part in indexed))
    assert vectors.shape == (3, NOISE)
    np.testing.assert_array_equal(tf.gather(vectors, index), field)


# === Weights ===


def test_weights_are_all_that_inference_needs(generators):
    generator, engine = generators("vector")
    trained = sum(int(np.prod(v.shape)) for v in generator.trainable_variables)
    assert sum(int(np.prod(w.shape)) for w in engine.weights.values()) == trained
    names = {name.split("/")[-1] for name in engine.weights}
    assert names == {"kernel", "bias"}
    assert engine.weights["block_1/shared/kernel"].shape == (3, 3, NOISE + CLASSES, 18)
    assert engine.weights["block_1/norm_s/kernel"].shape == (3, 3, 6, 8)


def test_nothing_is_compiled_by_xla(generators):
    _, engine = generators("vector")
    graph = engine._generate.get_concrete_function().graph.as_graph_def()
    attributes = {name for function in graph.library.function for name in function.attr}
    assert graph.library.function and "_XlaMustCompile" not in attributes


def test_refresh_takes_new_weights_without_a_new_trace():
    generator = make_generator(dtype="float32")
    engine = InferenceEngine(generator)
    label_map = make_maps((16, 24))
    noise = make_noise("vector", label_map)
    before = engine(label_map, noise).numpy()
    randomise(generator, seed=1)
    np.testing.assert_array_equal(engine(label_map, noise), before)
    engine.refresh()
    check_close(engine(label_map, noise).numpy(), plain(generator, label_map, noise), 1e-5)
    again = InferenceEngine(generator)
    for name, weight in engine.weights.items():
        np.testing.assert_allclose(weight, again.weights[name], rtol=1e-6, err_msg=name)
    assert engine._generate.experimental_get_tracing_count() == 1


def test_a_model_never_generates_with_old_weights():
    model = OASIS(make_generator(dtype="float32"), None, has_unknown=False)
    average, label_map = model.generator_ema, make_maps((8, 8), batch=1)
    noise = make_noise("vector", label_map).astype(np.float32)

    def check():
        want = plain(average, label_map, noise)
        np.testing.assert_allclose(model.generate(label_map, noise=noise), want, atol=1e-5)
        return want

    seen = [check()]
    average.set_weights(randomise(model.generator, seed=1).get_weights())
    seen.append(check())
    average.blocks[0].conv_0.kernel.assign(average.blocks[0].conv_0.kernel * 2.0)
    average.to_rgb.bias.value.assign_add([0.1, 0.0, 0.0])
    seen.append(check())
    average.blocks[1].batch_norm_0.moving_mean.assign_add(
        tf.ones_like(average.blocks[1].batch_norm_0.moving_mean)
    )
    seen.append(check())
    for first, second in zip(seen, seen[1:], strict=False):
        assert np.abs(first - second).max() > 1e-3


# === Shapes ===


def test_unknown_sizes(generators):
    generator, engine = generators("vector")
    unknown = [tf.TensorSpec([None] * 3, tf.int64), tf.TensorSpec([None, None], tf.float64)]
    generate = tf.function(lambda *inputs: engine(*inputs), input_signature=unknown)
    for size in ((4, 4), (8, 12)):
        label_map = make_maps(size)
        noise = make_noise("vector", label_map)
        np.testing.assert_array_equal(generate(label_map, noise), engine(label_map, noise))
    assert generate(label_map[:0], noise[:0]).shape == (0, 8, 12, 3)
    assert generate.get_concrete_function().output_shapes == (None, None, None, 3)


@pytest.mark.parametrize("size", [(2, 2), (4, 12)])
@pytest.mark.parametrize("noise_kind", ["none", "vector"])
def test_every_pixel_for_itself(generators, noise_kind, size):
    generator, engine = generators(noise_kind)
    label_map = np.random.default_rng(2).integers(0, CLASSES, (3, *size), np.int32)
    noise = make_noise(noise_kind, label_map)
    specs = [tf.TensorSpec([None] * 3, tf.int32)]
    specs += [] if noise is None else [tf.TensorSpec([None, NOISE], tf.float64)]
    generate = lambda label_map, noise=None: generator_engine.generate_every_pixel(  # noqa: E731
        engine.weights, generator.upsamples, label_map, noise
    )
    dynamic = tf.function(generate, input_signature=specs, autograph=False)
    inputs = [label_map] if noise is None else [label_map, noise]
    for got in (generate(*map(tf.constant, inputs)), dynamic(*inputs)):
        check_close(got.numpy(), plain(generator, label_map, noise), 1e-12)
    graph = dynamic.get_concrete_function().graph.as_graph_def()
    operations = {node.op for node in graph.node}
    assert not operations & {"If", "StatelessIf", "While", "StatelessWhile", "UniqueV2", "Where"}


@pytest.mark.parametrize(
    ("size", "noise", "message"),
    [
        ((8, 9), (3, NOISE), r"width of a label map .* multiple of 2\. Received: width=9"),
        ((8, 8), (3, 4), r"must fit the label map: \(3, 3\)\. Received: \(3, 4\)"),
        ((8, 8), (3, 4, 4, NOISE), r"\(3, 8, 8, 3\)\. Received: \(3, 4, 4, 3\)"),
        ((8, 8), None, r"must be \[B, 3\] or \[B, H, W, 3\]\. Received: shape=None"),
    ],
)
def test_refuses_what_the_generator_refuses(generators, size, noise, message):
    generator, engine = generators("vector")
    label_map, noise = np.zeros((3, *size), np.int32), None if noise is None else np.zeros(noise)
    for generate in (engine, generator):
        with pytest.raises(ValueError, match=message):
            generate(label_map, *([] if noise is None else [noise]))


@pytest.mark.parametrize(
    ("index", "vectors", "message"),
    [
        ((3, 8, 9), (3, 2, NOISE), r"Received: \(3, 8, 9\) and \(3, 2, 3\) for .* \(3, 8, 8\)"),
        ((3, 8, 8), (3, NOISE), r"Received: \(3, 8, 8\) and \(3, 3\) for"),
        ((3, 8, 8), (3, 2, 4), r"must fit the label map: \(3, 3\)\. Received: \(3, 4\)"),
        ((3, 8, 8), (2, 2, NOISE), r"must fit the label map: \(3, 3\)\. Received: \(2, 3\)"),
    ],
)
def test_refuses_an_index_that_does_not_fit(generators, index, vectors, message):
    _, engine = generators("vector")
    with pytest.raises(ValueError, match=message):
        noise = IndexedNoise(np.zeros(index, int), np.zeros(vectors))
        engine(np.zeros((3, 8, 8), int), noise)
