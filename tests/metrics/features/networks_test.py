"""Feature networks: the seeded one to the number, VGG16 against PyTorch, and what all owe."""

import numpy as np
import pytest

from oasis_tf.io import pth_files
from oasis_tf.metrics.features import networks, seeded, torchvision_networks


def ramp(height, width):
    """A picture in closed form: every channel another slope and wave."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 3) + y / 16, np.cos(y / 5) - x / 20, np.sin((x + y) / 2)]
    return np.clip(np.round(127 + 60 * np.stack(waves, -1)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def network():
    return networks.feature_network()


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (20, 4, 4, 3)).repeat(12, 1).repeat(10, 2)
    return np.clip(blocks + rng.normal(0, 20, blocks.shape), 0, 255).astype(np.uint8)


# === Seeded ===


def test_seeded64_never_drifts(network):
    """Recorded numbers: values of older reports must stay comparable."""
    got = network(np.stack([ramp(32, 32), ramp(32, 32)[::-1, ::-1]]))
    want = [
        [-0.379930, -1.841860, 0.443973, -1.871074, -2.857256, -0.631896],
        [0.254016, -3.346493, -0.594774, -1.228609, -4.315085, 0.832978],
    ]
    np.testing.assert_allclose(got[:, [0, 1, 2, 31, 62, 63]], want, atol=1e-5)
    np.testing.assert_allclose(got.sum(1), [-16.319948, -22.317877], atol=1e-4)
    larger = network(ramp(70, 45)[None])[0, :4]
    np.testing.assert_allclose(larger, [-0.239953, -2.005712, -0.336520, -0.232757], atol=1e-5)


def test_seeded64_weights_never_drift():
    weights = seeded.weights()
    assert weights["stage_0/kernel"].shape == (3, 3, 3, 16)
    assert weights["projection"].shape == (704, 64)
    kernel, projection = weights["stage_0/kernel"], weights["projection"]
    np.testing.assert_allclose(kernel[0, 0, :, 1], [0.1541488, -0.03866945, 0.00606412], rtol=1e-6)
    np.testing.assert_allclose(projection[-1, -2:], [-0.5618499, -0.2877412], rtol=1e-6)
    sums = weights["stage_2/kernel"].sum((0, 1))
    np.testing.assert_allclose(sums[:, ::2], 0, atol=1e-6)
    assert (np.abs(sums[:, 1::2]).mean(0) > 0.05).all()


def by_hand(image):
    """The seeded network in float64 NumPy."""
    weights = {name: array.astype(np.float64) for name, array in seeded.weights().items()}
    x, pooled = image / 127.5 - 1, []
    for stage in range(4):
        if stage:
            height, width = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
            x = x[:height, :width]
            x = (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        kernel = weights[f"stage_{stage}/kernel"]
        height, width = x.shape[:2]
        x = weights[f"stage_{stage}/bias"] + sum(
            padded[i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3)
        )
        x = np.maximum(x, 0)
        for rows in (slice(None, height // 2), slice(height // 2, None)):
            for columns in (slice(None, width // 2), slice(width // 2, None)):
                pooled.append(x[rows, columns].mean((0, 1)))
    return np.concatenate(pooled) @ weights["projection"]


@pytest.mark.parametrize("shape", [(32, 32), (45, 71)])
def test_seeded64_by_hand(network, shape):
    image = ramp(*shape)
    np.testing.assert_allclose(network(image[None])[0], by_hand(image), atol=1e-5)


def test_seeded64_sees_colour_texture_and_layout(network, pictures):
    def moved(other):
        return np.linalg.norm(network(other) - network(pictures), axis=1).mean()

    noisy = np.clip(pictures + np.random.default_rng(1).normal(0, 3, pictures.shape), 0, 255)
    little = moved(noisy.astype(np.uint8))
    # The same colours in blocks of 4x4, without the noise that is their texture.
    smooth = pictures.reshape(20, 12, 4, 10, 4, 3).mean((2, 4)).repeat(4, 1).repeat(4, 2)
    assert moved(pictures[..., ::-1]) > 10 * little
    assert moved(pictures[:, :, ::-1]) > 10 * little
    assert moved(smooth.astype(np.uint8)) > 4 * little


def test_features_are_not_confined_to_a_subspace(network):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (300, 4, 4, 3)).repeat(8, 1).repeat(8, 2).astype(np.uint8)
    spread = np.linalg.eigvalsh(np.cov(network(images).T))
    assert spread[0] > 1e-3
    assert 0.1 < np.sqrt(spread.mean()) < 10


# === What every network owes ===


def test_an_image_has_the_same_bits_in_every_batch(network, pictures):
    whole = network(pictures)
    assert (whole.dtype, whole.shape) == (np.float32, (20, 64))
    for count in (1, 3, 8, 9):
        np.testing.assert_array_equal(network(pictures[:count]), whole[:count])
        np.testing.assert_array_equal(network(pictures[count:]), whole[count:])
    np.testing.assert_array_equal(network(pictures[::-1]), whole[::-1])
    assert network(pictures[:0]).shape == (0, 64)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((1, 64, 64, 3)), r"uint8 \[B,H,W,3\]. Received: float64 \(1, 64, 64, 3\)"),
        (np.zeros((64, 64, 3), np.uint8), r"Received: uint8 \(64, 64, 3\)"),
        (np.zeros((1, 64, 64, 1), np.uint8), r"Received: uint8 \(1, 64, 64, 1\)"),
        (np.zeros((1, 64, 31, 3), np.uint8), "32x32 pixels or more. Received: 64x31"),
    ],
)
def test_other_images_are_refused(network, image, message):
    with pytest.raises(ValueError, match=f"seeded64 takes images of .*{message}"):
        network(image)


def test_digest_changes_with_all_that_decides():
    weights = {"a": np.arange(4.0), "b": np.zeros((2, 2), np.float32)}
    digests = [
        networks.digest_of(weights, network="x", pixels=1),
        networks.digest_of(weights, network="x", pixels=2),
        networks.digest_of(weights, network="y", pixels=1),
        networks.digest_of(weights | {"a": np.arange(4.0) + 1}, network="x", pixels=1),
        networks.digest_of(weights | {"a": np.arange(4.0).reshape(2, 2)}, network="x", pixels=1),
        networks.digest_of({"a": weights["b"], "b": weights["a"]}, network="x", pixels=1),
    ]
    assert len(set(digests)) == len(digests)
    again = networks.digest_of(dict(reversed(weights.items())), pixels=1, network="x")
    assert again == digests[0]


def test_what_a_report_says_of_seeded64(network):
    assert (network.name, network.dimension) == ("seeded64", 64)
    assert len(network.digest) == 64
    assert network.digest == networks.feature_network().digest


# === VGG16 ===


def vgg16_state_dict(rng):
    """Random weights under torchvision's names, in their shapes."""
    state_dict = {}
    for index, (channels_in, channels) in {
        0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256), 12: (256, 256),
        14: (256, 256), 17: (256, 512), 19: (512, 512), 21: (512, 512), 24: (512, 512),
        26: (512, 512), 28: (512, 512),
    }.items():  # fmt: skip
        shape = (channels, channels_in, 3, 3)
        state_dict[f"features.{index}.weight"] = rng.standard_normal(
            shape, np.float32
        ) * np.float32(np.sqrt(2 / (9 * channels_in)))
        state_dict[f"features.{index}.bias"] = rng.standard_normal(channels, np.float32) / 10
    for index, units in {0: 7 * 7 * 512, 3: 4096}.items():
        kernel = rng.standard_normal((4096, units), np.float32)
        state_dict[f"classifier.{index}.weight"] = kernel * np.float32(np.sqrt(2 / units))
        state_dict[f"classifier.{index}.bias"] = rng.standard_normal(4096, np.float32) / 10
    state_dict["classifier.6.weight"] = np.zeros((1000, 4096), np.float32)
    state_dict["classifier.6.bias"] = np.zeros(1000, np.float32)
    return state_dict


@pytest.mark.slow
def test_vgg16_is_that_of_plain_pytorch(tmp_path):
    torch = pytest.importorskip("torch", reason="the comparison is with PyTorch")
    functional = torch.nn.functional
    state_dict = vgg16_state_dict(np.random.default_rng(0))
    path = str(tmp_path / "vgg16-397923af.pth")
    pth_files.write_state_dict(state_dict, path)
    network = networks.vgg16_network(path)
    assert (network.name, network.dimension) == ("vgg16_unverified", 4096)
    assert sum(a.size for a in state_dict.values()) == 138_357_544  # as torchvision states
    image = np.stack([ramp(64, 96), ramp(64, 96)[:, ::-1]])

    tensors = {name: torch.from_numpy(array) for name, array in state_dict.items()}
    x = torch.from_numpy(image.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    x = functional.interpolate(x, size=(224, 224), mode="bilinear", align_corners=False)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (x - mean[:, None, None]) / deviation[:, None, None]
    for block in ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)):
        for k in block:
            weight, bias = tensors[f"features.{k}.weight"], tensors[f"features.{k}.bias"]
            x = functional.relu(functional.conv2d(x, weight, bias, padding=1))
        x = functional.max_pool2d(x, 2)
    x = x.flatten(1)
    for k in (0, 3):
        x = functional.linear(x, tensors[f"classifier.{k}.weight"], tensors[f"classifier.{k}.bias"])
        x = functional.relu(x)
    want = x.numpy()
    assert want.std() > 0.1
    got = network(image)
    assert np.abs(got - want).max() < 3e-5 * np.abs(want).max()


def test_vgg16_missing_file(tmp_path):
    with pytest.raises(ValueError, match=r"no weight file .*v\.pth.*--vgg16=FILE") as caught:
        networks.vgg16_network(str(tmp_path / "v.pth"))
    assert "https://download.pytorch.org/models/vgg16-397923af.pth" in str(caught.value)


def test_other_state_dicts_are_told_apart():
    for first, kind in (((64, 3, 11, 11), "alex"), ((64, 3, 3, 3), "vgg")):
        assert torchvision_networks.kind_of({"features.0.weight": np.zeros(first)}, "f") == kind
    with pytest.raises(ValueError, match=r"f must hold AlexNet or VGG16.*nothing of this name"):
        torchvision_networks.kind_of({"conv1.weight": np.zeros((64, 3, 7, 7))}, "f")
    with pytest.raises(ValueError, match=r"Received: \(64, 3, 7, 7\)"):
        torchvision_networks.kind_of({"features.0.weight": np.zeros((64, 3, 7, 7))}, "f")
