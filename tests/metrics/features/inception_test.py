"""InceptionV3 of 2015: names, shapes, pixel path, and the same features from either file.

The files have the published ones' names, shapes and layout, but random values.
"""

import functools
import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.io import pth_files, weight_files
from oasis_tf.metrics.features import inception, inception_table, networks
from oasis_tf.metrics.pictures.spatial_features import spatial_features

FROZEN_LEAVES = {
    "kernel": "conv2d_params",
    "gamma": "batchnorm/gamma",
    "beta": "batchnorm/beta",
    "moving_mean": "batchnorm/moving_mean",
    "moving_variance": "batchnorm/moving_variance",
}
TORCH_LEAVES = {
    "kernel": "conv.weight",
    "gamma": "bn.weight",
    "beta": "bn.bias",
    "moving_mean": "bn.running_mean",
    "moving_variance": "bn.running_var",
}

# Where a pixel falls between its neighbours is rounded to float32, here and in PyTorch alike: up to
# 4e-5 off in a noisy picture, where 8-bit values lie 8e-3 apart.
PIXEL_ERROR = 1e-4


@pytest.fixture(scope="module")
def network():
    return inception.build_network()


def random_leaf(rng, leaf, shape):
    """Values with which activations neither vanish nor grow."""
    if leaf == "kernel":
        values = rng.standard_normal(shape, np.float32) * np.sqrt(2 / np.prod(shape[:3]))
    elif leaf in ("gamma", "moving_variance"):
        values = rng.uniform(0.5, 1.5, shape)
    else:
        values = rng.normal(0, 0.1, shape)
    return values.astype(np.float32)


@pytest.fixture(scope="module")
def weights(network):
    """Random weights by our name."""
    rng = np.random.default_rng(0)
    return {
        name: random_leaf(rng, name.rpartition("/")[2], tuple(variable.shape))
        for name, variable in inception.network_weights(network).items()
    } | {
        "classifier/kernel": np.zeros((2048, 1008), np.float32),
        "classifier/bias": np.zeros(1008, np.float32),
    }


def frozen_names(weights):
    """The same arrays by the constants' names."""
    scopes = dict(inception_table.convolutions())
    constants = {}
    for name, array in weights.items():
        layer, _, leaf = name.rpartition("/")
        if layer == "classifier":
            constants["softmax/weights" if leaf == "kernel" else "softmax/biases"] = array
        else:
            constants[f"{scopes[layer]}/{FROZEN_LEAVES[leaf]}"] = array
    return constants


def torch_names(weights):
    """The same arrays by PyTorch's names, in its layout."""
    state_dict = {}
    for name, array in weights.items():
        layer, _, leaf = name.rpartition("/")
        if layer == "classifier":
            state_dict["fc.weight" if leaf == "kernel" else "fc.bias"] = array.T
        elif leaf == "kernel":
            state_dict[f"{layer}.conv.weight"] = array.transpose(3, 2, 0, 1)
        else:
            state_dict[f"{layer}.{TORCH_LEAVES[leaf]}"] = array
    return state_dict


def write_graph(path, constants):
    """A frozen graph as the published one: constants, last ones first, among other nodes."""
    graph = tf.compat.v1.GraphDef()
    graph.node.add(name="DecodeJpeg/contents", op="Placeholder")
    for name, array in reversed(constants.items()):
        node = graph.node.add(name=name, op="Const")
        node.attr["dtype"].type = tf.float32.as_datatype_enum
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(array))
    size = graph.node.add(name="ResizeBilinear/size", op="Const")
    size.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(np.array([299, 299], np.int32)))
    graph.node.add(name="conv/batchnorm", op="BatchNormWithGlobalNormalization")
    path.write_bytes(graph.SerializeToString())
    return str(path)


@pytest.fixture(scope="module")
def graph_file(weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("frozen")
    return write_graph(folder / "classify_image_graph_def.pb", frozen_names(weights))


@pytest.fixture(scope="module")
def torch_file(weights, tmp_path_factory):
    pytest.importorskip("torch", reason="PyTorch writes the file")
    path = tmp_path_factory.mktemp("torch") / "pt_inception-2015-12-05-6726825d.pth"
    pth_files.write_state_dict(torch_names(weights), str(path))
    return str(path)


def load(network, path, kind):
    return inception.load_weights(network, inception.read_weights(path, kind), kind, path)


def pictures(count, height, width, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 4, 4, 3))
    blocks = coarse.repeat(-(-height // 4), 1).repeat(-(-width // 4), 2)[:, :height, :width]
    return np.clip(blocks + rng.normal(0, 30, blocks.shape), 0, 255).astype(np.uint8)


# === Names and shapes ===


@pytest.mark.parametrize(
    ("name", "scope", "kernel"),
    [
        ("Conv2d_1a_3x3", "conv", (3, 3, 3, 32)),
        ("Conv2d_4a_3x3", "conv_4", (3, 3, 80, 192)),
        ("Mixed_5b.branch_pool", "mixed/tower_2/conv", (1, 1, 192, 32)),
        ("Mixed_5c.branch5x5_2", "mixed_1/tower/conv_1", (5, 5, 48, 64)),
        ("Mixed_6a.branch3x3dbl_3", "mixed_3/tower/conv_2", (3, 3, 96, 96)),
        ("Mixed_6b.branch7x7_2", "mixed_4/tower/conv_1", (1, 7, 128, 128)),
        ("Mixed_6d.branch7x7dbl_5", "mixed_6/tower_1/conv_4", (1, 7, 160, 192)),
        ("Mixed_6e.branch7x7_3", "mixed_7/tower/conv_2", (7, 1, 192, 192)),
        ("Mixed_7a.branch7x7x3_4", "mixed_8/tower_1/conv_3", (3, 3, 192, 192)),
        ("Mixed_7b.branch3x3dbl_1", "mixed_9/tower_1/conv", (1, 1, 1280, 448)),
        ("Mixed_7c.branch3x3_2b", "mixed_10/tower/mixed/conv_1", (3, 1, 384, 384)),
        ("Mixed_7c.branch_pool", "mixed_10/tower_2/conv", (1, 1, 2048, 192)),
    ],
)
def test_names_and_shapes(network, name, scope, kernel):
    assert dict(inception_table.convolutions())[name] == scope
    assert tuple(network.get_layer(f"{name}.conv").kernel.shape) == kernel


def test_every_name_is_there_once(network):
    names, scopes = zip(*inception_table.convolutions(), strict=True)
    assert len(set(names)) == len(set(scopes)) == len(names) == 94
    assert len(inception.network_weights(network)) == 5 * 94 == len(network.weights)


def test_number_of_weights(network):
    """21,751,136 in the kernels (Szegedy et al.), four vectors of the 17,216 channels."""
    assert network.count_params() == 21_751_136 + 4 * 17_216


@pytest.mark.slow
def test_as_many_weights_as_keras_has(network):
    """Keras' own InceptionV3 has the same convolutions, and no gamma."""
    theirs = keras.applications.InceptionV3(include_top=False, weights=None)
    kernels = [
        sorted(tuple(w.shape) for w in one.weights if len(w.shape) == 4)
        for one in (network, theirs)
    ]
    assert kernels[0] == kernels[1]
    gammas = sum(kernel[3] for kernel in kernels[0])
    assert network.count_params() - gammas == theirs.count_params() == 21_802_784


# === Pixel path ===


def closed_form(image, size):
    """Bilinear, half-pixel centres: the two nearest pixels of each axis, float64."""

    def along(x, axis):
        length = x.shape[axis]
        centre = np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0, length - 1)
        low = np.floor(centre).astype(int)
        share = (centre - low).reshape([-1 if k == axis else 1 for k in range(4)])
        upper = np.take(x, np.minimum(low + 1, length - 1), axis)
        return np.take(x, low, axis) * (1 - share) + upper * share

    return 2 * along(along(image / 255.0, 1), 2) - 1


@pytest.mark.parametrize("shape", [(64, 64), (128, 96), (299, 299), (480, 333)])
def test_pixel_path_in_closed_form(shape):
    image = pictures(2, *shape)
    got = inception.to_input(image.astype(np.float32)).numpy()
    assert got.shape == (2, 299, 299, 3)
    np.testing.assert_allclose(got, closed_form(image, 299), atol=PIXEL_ERROR)


def test_pixel_path_stays_within_the_range():
    rng = np.random.default_rng(0)
    extremes = rng.choice([0.0, 255.0], (1, 40, 56, 3)).astype(np.float32)
    got = inception.to_input(extremes).numpy()
    assert got.min() == -1
    assert got.max() == 1


@pytest.mark.slow
def test_pixel_path_is_that_of_the_common_pytorch_code():
    torch = pytest.importorskip("torch", reason="the comparison is with PyTorch")
    for height, width in ((64, 64), (128, 96), (480, 333)):
        image = pictures(2, height, width)
        tensor = torch.from_numpy(image.transpose(0, 3, 1, 2).astype(np.float32) / 255)
        want = torch.nn.functional.interpolate(
            tensor, size=(299, 299), mode="bilinear", align_corners=False
        )
        want = (2 * want - 1).permute(0, 2, 3, 1).numpy()
        got = inception.to_input(image.astype(np.float32)).numpy()
        np.testing.assert_allclose(got, want, atol=3e-5)


# === Readers ===


def test_a_frozen_graph_fills_the_network(network, weights, graph_file):
    for variable in network.variables:
        variable.assign(np.full(variable.shape, np.nan))
    load(network, graph_file, "frozen")
    for name, variable in inception.network_weights(network).items():
        np.testing.assert_array_equal(variable.numpy(), weights[name], err_msg=name)


def test_all_misfits_of_a_graph_are_listed_and_nothing_is_assigned(network, weights, tmp_path):
    constants = frozen_names(weights)
    del constants["mixed_9/tower/mixed/conv_1/batchnorm/beta"]
    constants["conv/conv2d_params"] = np.zeros((3, 3, 3, 31), np.float32)
    constants["conv_1/batchnorm/gamma"] = np.full(32, np.nan, np.float32)
    constants["softmax/biases"] = np.zeros(1000, np.float32)
    path = write_graph(tmp_path / "wrong.pb", constants)
    before = network.get_weights()
    with pytest.raises(ValueError, match="does not fit the network") as caught:
        load(network, path, "frozen")
    for text in (
        "wrong.pb",
        "mixed_9/tower/mixed/conv_1/batchnorm/beta is missing.",
        "conv/conv2d_params must become (3, 3, 3, 32). Received: (3, 3, 3, 31).",
        "conv_1/batchnorm/gamma must be finite. Received: 32 values that are not.",
        "softmax/biases must become (1008,). Received: (1000,).",
    ):
        assert text in str(caught.value)
    assert str(caught.value).count("\n") == 4
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


@pytest.mark.parametrize(
    ("contents", "message"),
    [(b"\xffnot a graph", "must be a frozen graph"), (b"", "holds no constants")],
)
def test_what_is_no_graph_is_refused(tmp_path, contents, message):
    path = tmp_path / "graph.pb"
    path.write_bytes(contents)
    with pytest.raises(ValueError, match=rf"graph\.pb.*{message}"):
        networks.feature_network(str(path))


def test_a_file_that_is_not_the_published_one_says_so(graph_file, weights):
    one = networks.feature_network(graph_file)
    assert (one.name, one.dimension) == ("inception2015_unverified", 2048)
    assert one.digest == networks.digest_of(
        {name: array for name, array in weights.items() if not name.startswith("classifier")},
        network="inception2015",
        pixels=inception.PIXEL_PATH,
    )


def test_the_published_file_is_known_by_its_checksum(tmp_path, monkeypatch):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    sha = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    one = weight_files.PublishedFile("abc", "", sha, "--inception")
    assert weight_files.verified_name("x", (str(path), one)) == "x"
    md5 = weight_files.PublishedFile("abc", "", "md5:900150983cd24fb0d6963f7d28e17f72", "")
    assert weight_files.verified_name("x", (str(path), one), (str(path), md5)) == "x"
    path.write_bytes(b"abd")
    assert weight_files.verified_name("x", (str(path), one)) == "x_unverified"


@pytest.mark.slow
def test_the_torch_file_holds_the_same(network, weights, torch_file):
    load(network, torch_file, "torch")
    for name, variable in inception.network_weights(network).items():
        np.testing.assert_array_equal(variable.numpy(), weights[name], err_msg=name)


@pytest.mark.slow
def test_the_later_network_of_torchvision_is_refused(network, weights, tmp_path):
    """It has the same convolutions, but 1000 classes."""
    pytest.importorskip("torch", reason="PyTorch writes the file")
    state_dict = torch_names(weights)
    state_dict["fc.weight"] = np.zeros((1000, 2048), np.float32)
    state_dict["fc.bias"] = np.zeros(1000, np.float32)
    path = str(tmp_path / "inception_v3_google.pth")
    pth_files.write_state_dict(state_dict, path)
    with pytest.raises(ValueError, match=r"fc.weight must become \(2048, 1008\).*\(1000, 2048\)"):
        load(network, path, "torch")


@pytest.mark.slow
def test_both_files_give_the_same_features(weights, graph_file, torch_file):
    frozen, torch = (networks.feature_network(path) for path in (graph_file, torch_file))
    assert frozen.digest == torch.digest
    image = pictures(3, 96, 128)
    got = frozen(image)
    assert (got.dtype, got.shape) == (np.float32, (3, 2048))
    np.testing.assert_array_equal(got, torch(image))
    want = torch_features(torch_names(weights), closed_form(image, 299).astype(np.float32))
    assert relative_error(got, want) < 1e-4


# === An independent network ===


def torch_features(state_dict, x):
    """The network in plain PyTorch, block by block, from the architecture's tables."""
    return torch_maps(state_dict, x)[-1].mean((1, 2))


def torch_maps(state_dict, x, torchvision=False):
    """The maps that SIFID compares, of this network or of torchvision's."""
    import torch
    from torch.nn import functional

    tensors = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in state_dict.items()}

    def conv(name, x, stride=1, padding=0):
        x = functional.conv2d(x, tensors[f"{name}.conv.weight"], stride=stride, padding=padding)
        norm = [tensors[f"{name}.bn.{leaf}"] for leaf in ("running_mean", "running_var")]
        scale = [tensors[f"{name}.bn.{leaf}"] for leaf in ("weight", "bias")]
        return functional.relu(functional.batch_norm(x, *norm, *scale, eps=0.001))

    def average(x):
        return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=torchvision)

    def highest(x):
        return functional.max_pool2d(x, 3, 1, 1)

    def halved(x):
        return functional.max_pool2d(x, 3, 2)

    def chain(block, x, *steps):
        for name, padding, *stride in steps:
            x = conv(f"{block}.{name}", x, *stride or [1], padding)
        return x

    def block_5(block, x):
        dbl = (("branch3x3dbl_1", 0), ("branch3x3dbl_2", 1), ("branch3x3dbl_3", 1))
        return [
            chain(block, x, ("branch1x1", 0)),
            chain(block, x, ("branch5x5_1", 0), ("branch5x5_2", 2)),
            chain(block, x, *dbl),
            chain(block, average(x), ("branch_pool", 0)),
        ]

    def block_6(block, x):
        wide, tall = (0, 3), (3, 0)
        return [
            chain(block, x, ("branch1x1", 0)),
            chain(block, x, ("branch7x7_1", 0), ("branch7x7_2", wide), ("branch7x7_3", tall)),
            chain(
                block, x, ("branch7x7dbl_1", 0), ("branch7x7dbl_2", tall),
                ("branch7x7dbl_3", wide), ("branch7x7dbl_4", tall), ("branch7x7dbl_5", wide),
            ),
            chain(block, average(x), ("branch_pool", 0)),
        ]  # fmt: skip

    def block_7(block, x, pool):
        single = chain(block, x, ("branch3x3_1", 0))
        double = chain(block, x, ("branch3x3dbl_1", 0), ("branch3x3dbl_2", 1))
        return [
            chain(block, x, ("branch1x1", 0)),
            chain(block, single, ("branch3x3_2a", (0, 1))),
            chain(block, single, ("branch3x3_2b", (1, 0))),
            chain(block, double, ("branch3x3dbl_3a", (0, 1))),
            chain(block, double, ("branch3x3dbl_3b", (1, 0))),
            chain(block, pool(x), ("branch_pool", 0)),
        ]

    join = functools.partial(torch.cat, dim=1)
    x = torch.from_numpy(x.transpose(0, 3, 1, 2))
    x = conv("Conv2d_2b_3x3", conv("Conv2d_2a_3x3", conv("Conv2d_1a_3x3", x, 2)), 1, 1)
    maps = [x]
    x = conv("Conv2d_4a_3x3", conv("Conv2d_3b_1x1", halved(x)))
    maps.append(x)
    x = halved(x)
    for letter in "bcd":
        x = join(block_5(f"Mixed_5{letter}", x))
    dbl = (("branch3x3dbl_1", 0), ("branch3x3dbl_2", 1), ("branch3x3dbl_3", 0, 2))
    x = join([conv("Mixed_6a.branch3x3", x, 2), chain("Mixed_6a", x, *dbl), halved(x)])
    for letter in "bcde":
        x = join(block_6(f"Mixed_6{letter}", x))
    maps.append(x)
    seven = (("branch7x7x3_1", 0), ("branch7x7x3_2", (0, 3)), ("branch7x7x3_3", (3, 0)))
    x = join([
        chain("Mixed_7a", x, ("branch3x3_1", 0), ("branch3x3_2", 0, 2)),
        chain("Mixed_7a", x, *seven, ("branch7x7x3_4", 0, 2)),
        halved(x),
    ])  # fmt: skip
    x = join(block_7("Mixed_7b", x, average))
    maps.append(join(block_7("Mixed_7c", x, average if torchvision else highest)))
    return [one.permute(0, 2, 3, 1).numpy() for one in maps]


def relative_error(got, want):
    return np.abs(got - want).max() / np.abs(want).max()


@pytest.mark.slow
@pytest.mark.parametrize("size", [139, 299])
def test_features_are_those_of_plain_pytorch(network, weights, size):
    pytest.importorskip("torch", reason="the comparison is with PyTorch")
    for name, variable in inception.network_weights(network).items():
        variable.assign(weights[name])
    x = pictures(2, size, size).astype(np.float32) / 127.5 - 1
    want = torch_features(torch_names(weights), x)
    got = network(x).numpy()
    assert want.std() > 0.1  # else nothing is compared
    assert relative_error(got, want) < 1e-5


# === Keras' network, and files that are not there ===


def write_as_keras_2(network, path):
    """The layout of the published file: a group a layer, named in order, arrays by their names."""
    h5py = pytest.importorskip("h5py", reason="h5py writes the file")
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in network.layers]
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.0.3"
        for layer in network.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{variable.name}:0" for variable in layer.weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, variable in zip(names, layer.weights, strict=True):
                group[name] = variable.numpy()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_keras_imagenet_is_another_network(tmp_path, suffix):
    theirs = keras.applications.InceptionV3(include_top=False, weights=None, pooling="avg")
    path = str(tmp_path / f"inception{suffix}")
    (write_as_keras_2 if suffix == ".h5" else keras.Model.save)(theirs, path)
    one = networks.feature_network(path)
    assert (one.name, one.dimension) == ("keras_imagenet_unverified", 2048)
    image = pictures(1, 299, 299)
    want = theirs(image.astype(np.float32) / 127.5 - 1, training=False).numpy()
    assert relative_error(one(image), want) < 1e-5


@pytest.mark.slow
def test_other_keras_weights_are_refused(tmp_path):
    path = str(tmp_path / "other.weights.h5")
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save_weights(path)
    with pytest.raises(ValueError, match=r"other\.weights\.h5 must hold .* InceptionV3 without"):
        networks.feature_network(path)
    theirs = keras.applications.InceptionV3(include_top=False, weights=None, pooling="avg")
    theirs.weights[100].assign(np.full(theirs.weights[100].shape, np.nan))
    theirs.save_weights(path)
    with pytest.raises(ValueError, match="Received: weights that are not finite"):
        networks.feature_network(path)


def test_a_missing_file_says_where_to_get_it(tmp_path):
    path = str(tmp_path / "none.pb")
    with pytest.raises(ValueError, match="no weight file .*none.pb") as caught:
        networks.feature_network(path)
    for text in (
        "--inception=FILE",
        "http://download.tensorflow.org/models/image/imagenet/inception-2015-12-05.tgz",
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception",
        "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
    ):
        assert text in str(caught.value)
    with pytest.raises(ValueError, match="no weight file"):
        networks.feature_network(str(tmp_path))  # a folder


def test_other_suffixes_are_refused(tmp_path):
    path = tmp_path / "inception.onnx"
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"must end in \.pb, \.pth, \.h5, \.keras\. .*\.onnx"):
        networks.feature_network(str(path))
    assert os.path.exists(path)


@pytest.mark.slow
@pytest.mark.parametrize("torchvision", [True, False], ids=["torchvision", "2015"])
def test_maps_of_sifid_are_those_of_plain_pytorch(weights, tmp_path, torchvision):
    pytest.importorskip("torch", reason="the comparison is with PyTorch")
    state_dict = torch_names(weights)
    if torchvision:
        state_dict |= {"fc.weight": np.zeros((1000, 2048)), "fc.bias": np.zeros(1000)}
    path = str(tmp_path / "inception.pth")
    pth_files.write_state_dict(state_dict, path)
    network = spatial_features(path)
    name = "inception_v3" if torchvision else "inception2015"
    assert network.name == f"{name}_unverified" and network.depths == inception.TAPS
    (image,) = pictures(1, 91, 107)
    got = network(image)
    x = image[None].astype(np.float32) / np.float32(127.5) - 1
    for found, want in zip(got, torch_maps(state_dict, x, torchvision), strict=True):
        assert relative_error(found, want.reshape(found.shape)) < 1e-4
    small = network(image[:48, :48])
    assert [x is None for x in small] == [False, False, True, True]
