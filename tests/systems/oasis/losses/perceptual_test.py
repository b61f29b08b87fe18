"""The VGG loss with random weights against NumPy and Keras."""

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.io import pth_files, weight_files
from oasis_tf.systems.oasis import losses
from oasis_tf.systems.oasis.models import Discriminator

# Configuration E of Simonyan & Zisserman: (torchvision's index, Keras' name, channels in, out).
LAYERS = [
    (0, "block1_conv1", 3, 64), (2, "block1_conv2", 64, 64),
    (5, "block2_conv1", 64, 128), (7, "block2_conv2", 128, 128),
    (10, "block3_conv1", 128, 256), (12, "block3_conv2", 256, 256),
    (14, "block3_conv3", 256, 256), (16, "block3_conv4", 256, 256),
    (19, "block4_conv1", 256, 512), (21, "block4_conv2", 512, 512),
    (23, "block4_conv3", 512, 512), (25, "block4_conv4", 512, 512),
    (28, "block5_conv1", 512, 512),
]  # fmt: skip


@pytest.fixture(scope="module")
def weights():
    """Keras' layer name -> (kernel HWIO, bias), scaled so that features keep their magnitude."""
    rng = np.random.default_rng(0)
    found = {}
    for _, name, fan_in, fan_out in LAYERS:
        kernel = rng.normal(0, np.sqrt(2 / (9 * fan_in)), (3, 3, fan_in, fan_out))
        found[name] = kernel.astype(np.float32), rng.normal(0, 0.1, fan_out).astype(np.float32)
    return found


@pytest.fixture(scope="module")
def state_dict(weights):
    found = {"classifier.6.bias": np.zeros(1000, np.float32)}  # such a file has more entries
    for index, name, *_ in LAYERS:
        kernel, bias = weights[name]
        found |= {f"features.{index}.weight": kernel.transpose(3, 2, 0, 1),
                  f"features.{index}.bias": bias}  # fmt: skip
    return found


def write_h5(path, weights):
    """Writes a weight file in the layout of Keras 2."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"input_1", *(name.encode() for name in weights)]
        file.create_group("input_1").attrs["weight_names"] = np.zeros(0, "S1")
        for layer, arrays in weights.items():
            group = file.create_group(layer)
            names = [f"{layer}_{leaf}_1:0" for leaf in "Wb"][: len(arrays)]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, array in zip(names, arrays, strict=True):
                group[name] = array
    return str(path)


@pytest.fixture(scope="module")
def h5_file(weights, tmp_path_factory):
    return write_h5(tmp_path_factory.mktemp("vgg") / "vgg19.h5", weights)


@pytest.fixture
def from_torchvision(state_dict, tmp_path, monkeypatch):
    """function(state dict, dtype) -> the loss made from a file with it."""
    path = tmp_path / "vgg19.pth"
    path.write_bytes(b"in place of a PyTorch file")

    def make(contents=state_dict, dtype="float64"):
        monkeypatch.setattr(pth_files, "read_state_dict", lambda _: contents)
        return losses.PerceptualLoss(str(path), dtype)

    return make


def features_by_hand(image, weights, bias_scale=1.0):
    """relu1_1, ..., relu5_1 of one input [H, W, 3] in float64 NumPy."""
    x, compared = image, []
    for _, name, *_ in LAYERS:
        kernel, bias = (array.astype(np.float64) for array in weights[name])
        first = name.endswith("conv1")
        if first and compared:
            height, width = (size // 2 for size in x.shape[:2])
            x = x[: 2 * height, : 2 * width].reshape(height, 2, width, 2, -1).max((1, 3))
        padded, (height, width) = np.pad(x, ((1, 1), (1, 1), (0, 0))), x.shape[:2]
        x = sum(
            padded[i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3)
        )
        x = np.maximum(x + bias_scale * bias, 0)
        compared += [x] if first else []
    return compared


def pictures(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (*shape, 3))


def test_torchvisions_weights_get_the_image_unchanged(from_torchvision, weights):
    fake, real = pictures(2, 32, 21), pictures(2, 32, 21, seed=1)
    loss = from_torchvision()
    assert loss.network == "torchvision"
    want = 0
    for weight, layer in zip((1 / 32, 1 / 16, 1 / 8, 1 / 4, 1), range(5), strict=True):
        by_hand = [[features_by_hand(x, weights)[layer] for x in side] for side in (fake, real)]
        want += weight * np.abs(np.subtract(*by_hand)).mean()
        got = loss.features(fake)[layer]
        np.testing.assert_allclose(got, by_hand[0], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(loss(fake, real), want, rtol=1e-6)
    assert loss(fake, fake) == 0
    single = from_torchvision(dtype="float32")(fake.astype("float32"), real.astype("float32"))
    assert single.dtype == "float32"
    np.testing.assert_allclose(single, want, rtol=1e-4)


def test_keras_weights_get_the_image_as_keras_preprocesses_it(h5_file, weights):
    loss = losses.PerceptualLoss(h5_file, "float64")
    assert loss.network == "keras"
    network = keras.applications.VGG19(include_top=False, weights=None, input_shape=(32, 32, 3))
    for name, arrays in weights.items():
        network.get_layer(name).set_weights(arrays)
    taps = [network.get_layer(f"block{k}_conv1").output for k in range(1, 6)]
    fake = pictures(2, 32, 32).astype(np.float32)
    grey = (fake + 1) * 127.5
    want = keras.Model(network.input, taps)(keras.applications.vgg19.preprocess_input(grey))
    for got, one in zip(loss.features(fake), want, strict=True):
        np.testing.assert_allclose(got, one / 127.5, rtol=1e-3, atol=1e-4 * np.abs(got).max())


def test_keras_features_equal_those_of_scaled_biases(h5_file, weights):
    """Why 127.5: it is the same network with biases / 127.5 on an image in units of [-1, 1]."""
    image = pictures(16, 16)
    mean = np.array([103.939, 116.779, 123.68]) / 127.5
    want = features_by_hand(image[..., ::-1] + 1 - mean, weights, 1 / 127.5)
    got = losses.PerceptualLoss(h5_file, "float64").features(image[None])
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a[0], b, rtol=1e-6, atol=1e-8)


def test_gradients_reach_only_the_generated_image(from_torchvision):
    loss = from_torchvision()
    fake, real = (tf.constant(pictures(1, 16, 16, seed=seed)) for seed in range(2))
    with tf.GradientTape() as tape:
        tape.watch([fake, real])
        value = loss(fake, real)
    gradient, of_real = tape.gradient(value, [fake, real])
    assert of_real is None and np.abs(gradient).max() > 0
    direction = np.random.default_rng(2).normal(size=fake.shape)
    above, below = (loss(fake + step * direction, real) for step in (1e-6, -1e-6))
    slope = (above - below).numpy() / 2e-6
    np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=1e-4)


def test_the_network_is_frozen_and_not_part_of_a_model(from_torchvision):
    loss = from_torchvision()
    model = Discriminator(3, 1, widths=(1,))
    before = len(model.variables)
    model.perceptual = loss
    assert len(model.variables) == before
    image = tf.constant(pictures(1, 16, 16))
    with tf.GradientTape() as tape:
        loss(image, tf.reverse(image, [1]))
        assert not tape.watched_variables()


def test_graph_mode_computes_the_same(from_torchvision):
    loss, images = from_torchvision(), [pictures(1, 16, 16, seed=seed) for seed in range(2)]
    np.testing.assert_allclose(tf.function(loss)(*images), loss(*images), rtol=1e-12)


def test_refuses_images_that_do_not_fit(from_torchvision):
    loss = from_torchvision()
    for fake, real in [((1, 16, 16), (1, 16, 32)), ((2, 16, 16), (1, 16, 16)), ((1, 15, 64),) * 2]:
        with pytest.raises(ValueError, match=r"at least 16 pixels. Received: \("):
            loss(pictures(*fake), pictures(*real))


# === Files ===


def test_refuses_missing_and_other_files(tmp_path):
    with pytest.raises(ValueError, match="no weight file .*none.pth.*--vgg19=FILE") as caught:
        losses.PerceptualLoss(str(tmp_path / "none.pth"))
    for url in (weight_files.VGG19_TORCH.url, weight_files.VGG19_KERAS.url):
        assert url in str(caught.value)
    other = tmp_path / "vgg.npz"
    other.touch()
    with pytest.raises(ValueError, match="must end in .pth or .h5. Received: .*vgg.npz"):
        losses.PerceptualLoss(str(other))
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(b"not HDF5")
    with pytest.raises(ValueError, match="damaged.h5 must have the layout of vgg19_weights"):
        losses.PerceptualLoss(str(damaged))
    with h5py.File(tmp_path / "keras3.h5", "w") as file:
        file.create_group("layers")
    with pytest.raises(ValueError, match="keras3.h5 must have the layout of vgg19_weights"):
        losses.PerceptualLoss(str(tmp_path / "keras3.h5"))


def test_refuses_weights_of_other_networks(from_torchvision, state_dict, weights, tmp_path):
    vgg16 = {name: x for name, x in state_dict.items() if not name.startswith("features.16.")}
    with pytest.raises(ValueError, match=r"features.16.weight is missing."):
        from_torchvision(vgg16)
    alexnet = state_dict | {"features.0.weight": np.zeros((64, 3, 11, 11))}
    with pytest.raises(ValueError, match=r"must become \(3, 3, 3, 64\). Received: \(64, 3, 11, 11"):
        from_torchvision(alexnet)
    broken = state_dict | {"features.28.bias": np.full(512, np.nan)}
    with pytest.raises(ValueError, match=r"features.28.bias must be finite"):
        from_torchvision(broken)
    fewer = {name: weights[name] for name in list(weights)[:3]} | {"block2_conv2": ()}
    with pytest.raises(ValueError, match=r"block2_conv2.kernel is missing(.|\n)*block5_conv1.bias"):
        losses.PerceptualLoss(write_h5(tmp_path / "fewer.h5", fewer))


def test_files_that_are_not_the_published_ones_cause_a_warning(h5_file, caplog, monkeypatch):
    losses.PerceptualLoss(h5_file)
    assert "is not the published vgg19_weights_tf_dim_ordering" in caplog.text
    caplog.clear()
    monkeypatch.setattr(weight_files, "is_published", lambda path, published: True)
    losses.PerceptualLoss(h5_file)
    assert not caplog.text


@pytest.mark.slow
def test_reads_files_written_by_pytorch(state_dict, weights, tmp_path):
    pytest.importorskip("torch", reason="PyTorch writes the file")
    path = str(tmp_path / "vgg19.pth")
    pth_files.write_state_dict(state_dict, path)
    got = losses.PerceptualLoss(path, "float64").features(pictures(1, 16, 16))
    np.testing.assert_allclose(
        got[-1][0], features_by_hand(pictures(16, 16), weights)[-1], rtol=1e-6, atol=1e-8
    )
