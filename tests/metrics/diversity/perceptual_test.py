"""LPIPS against NumPy on tiny pictures; its files by name, shape and kind."""

import numpy as np
import pytest

from oasis_tf.io import pth_files
from oasis_tf.metrics.diversity import perceptual
from oasis_tf.metrics.features import seeded, torchvision_networks

# (torchvision's index, stride, padding, shape of the kernel) and pooling in front of it.
ALEXNET = {
    0: (4, 2, (64, 3, 11, 11), 0),
    3: (1, 2, (192, 64, 5, 5), 3),
    6: (1, 1, (384, 192, 3, 3), 3),
    8: (1, 1, (256, 384, 3, 3), 0),
    10: (1, 1, (256, 256, 3, 3), 0),
}
VGG16 = {
    index: (1, 1, (channels, channels_in, 3, 3), pool)
    for index, channels_in, channels, pool in [
        (0, 3, 64, 0), (2, 64, 64, 0), (5, 64, 128, 2), (7, 128, 128, 0), (10, 128, 256, 2),
        (12, 256, 256, 0), (14, 256, 256, 0), (17, 256, 512, 2), (19, 512, 512, 0),
        (21, 512, 512, 0), (24, 512, 512, 2), (26, 512, 512, 0), (28, 512, 512, 0),
    ]
}  # fmt: skip
TAPS = {"alex": (ALEXNET, [0, 3, 6, 8, 10]), "vgg": (VGG16, [2, 7, 14, 21, 28])}


def backbone(kind):
    """Random weights of the features, under torchvision's names and in its layout."""
    rng = np.random.default_rng(0)
    state_dict = {}
    for index, (_, _, shape, _) in TAPS[kind][0].items():
        kernel = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        state_dict[f"features.{index}.weight"] = kernel.astype(np.float32)
        state_dict[f"features.{index}.bias"] = rng.normal(0, 0.1, shape[0]).astype(np.float32)
    return state_dict


def heads(kind):
    """Random head weights as `lpips` 0.1 keeps them."""
    rng = np.random.default_rng(1)
    layers, taps = TAPS[kind]
    return {
        f"lin{k}.model.1.weight": rng.uniform(0, 1, (1, layers[index][2][0], 1, 1)).astype("f4")
        for k, index in enumerate(taps)
    }


def convolved(x, kernel, bias, stride, padding):
    """One picture [C,H,W] through a convolution, window by window, and relu."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[2:], (1, 2))
    windows = windows[:, ::stride, ::stride]
    sums = np.tensordot(kernel, windows, ([1, 2, 3], [0, 3, 4]))
    return np.maximum(sums + bias[:, None, None], 0)


def pooled(x, size):
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))
    return windows[:, ::2, ::2].max((3, 4))


def outputs_by_hand(image, kind, state_dict):
    layers, taps = TAPS[kind]
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    x = ((image / 127.5 - 1 - shift) / scale).transpose(2, 0, 1)
    outputs = []
    for index, (stride, padding, _, pool) in layers.items():
        x = pooled(x, pool) if pool else x
        weight, bias = (state_dict[f"features.{index}.{leaf}"] for leaf in ("weight", "bias"))
        x = convolved(x, weight.astype(np.float64), bias, stride, padding)
        if index in taps:
            outputs.append(x)
    return outputs


def distance_by_hand(first, second, head_weights):
    """The paper's formula on two lists of [C,H,W]."""
    total = 0
    for a, b, head in zip(first, second, head_weights, strict=True):
        a, b = (x / (np.sqrt((x**2).sum(0)) + 1e-10) for x in (a, b))
        total += (head.reshape(-1, 1, 1) * (a - b) ** 2).sum(0).mean()
    return total


def pictures(count, height, width):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


PAIRS = [(0, 1), (2, 0), (1, 1), (0, 1)]


@pytest.fixture
def make(tmp_path, monkeypatch):
    """function(kind, state_dict, heads) -> `PerceptualDistance`, without PyTorch."""
    held = {}
    monkeypatch.setattr(pth_files, "read_state_dict", lambda path: held[path])

    def build(state_dict, head_weights):
        paths = [str(tmp_path / name) for name in ("backbone.pth", "heads.pth")]
        for path, contents in zip(paths, (state_dict, head_weights), strict=True):
            open(path, "wb").close()
            held[path] = contents
        return perceptual.lpips(*paths)

    return build


@pytest.mark.parametrize(("kind", "shape"), [("alex", (47, 35)), ("vgg", (18, 17))])
def test_distances_by_hand(make, kind, shape):
    state_dict, head_weights = backbone(kind), heads(kind)
    one = make(state_dict, head_weights)
    assert one.name == f"lpips_{kind}_unverified"
    image = pictures(3, *shape)
    outputs = [outputs_by_hand(x, kind, state_dict) for x in image]
    want = [distance_by_hand(outputs[i], outputs[j], head_weights.values()) for i, j in PAIRS]
    got = one.distances(image, np.array(PAIRS))
    assert got.dtype == np.float64
    assert got[2] == 0
    assert want[0] > 0.1
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_seeded_distances_by_hand():
    one = perceptual.lpips()
    assert one.name == "lpips_seeded64"
    image = pictures(3, 34, 40)
    outputs = [
        [y[0].transpose(2, 0, 1).astype(np.float64) for y in map(np.asarray, stages)]
        for stages in (seeded.stage_network()(x[None] / 127.5 - 1) for x in image)
    ]
    equal = [np.full(width, 1 / width) for width in (16, 32, 64, 64)]
    want = [distance_by_hand(outputs[i], outputs[j], equal) for i, j in PAIRS]
    np.testing.assert_allclose(one.distances(image, PAIRS), want, rtol=1e-5)


def test_seeded_distances_never_drift():
    """Recorded numbers: values of older reports must stay comparable."""
    y, x = np.mgrid[:32, :32]
    first = np.stack([x * 8, y * 8, (x + y) * 4], -1).astype(np.uint8)
    image = np.stack([first, first[::-1], first[..., ::-1]])
    got = perceptual.lpips().distances(image, [(0, 1), (0, 2), (1, 2)])
    np.testing.assert_allclose(got, [0.1122938, 0.02856941, 0.1095277], rtol=1e-5)


def test_distances_grow_with_the_change_and_do_not_depend_on_order():
    one = perceptual.lpips()
    image = pictures(1, 64, 64).repeat(4, 0).astype(float)
    image += np.array([0, 5, 20, 80]).reshape(4, 1, 1, 1) * np.random.default_rng(1).normal(
        size=image.shape
    )
    image = np.clip(image, 0, 255).astype(np.uint8)
    near, middle, far, back = one.distances(image, [(0, 1), (0, 2), (0, 3), (3, 0)])
    assert 0 < near < middle < far == back
    np.testing.assert_array_equal(one.distances(image[[0, 3]], [(0, 1)]), [far])
    assert one.distances(image, np.zeros((0, 2), int)).shape == (0,)


@pytest.mark.parametrize("kind", ["alex", "vgg"])
def test_smallest_pictures(make, kind):
    one = make(backbone(kind), heads(kind))
    size = torchvision_networks.MIN_SIZES[kind]
    assert one.distances(pictures(2, size, size), [(0, 1)])[0] > 0
    with pytest.raises(ValueError, match=f"{size}x{size} pixels or more. Received: {size - 1}x"):
        one.distances(pictures(2, size - 1, size), [(0, 1)])


# === Files ===


def test_digest_changes_with_backbone_and_heads(make):
    state_dict, head_weights = backbone("alex"), heads("alex")
    other = dict(head_weights, **{"lin2.model.1.weight": head_weights["lin2.model.1.weight"] / 2})
    moved = dict(state_dict, **{"features.3.bias": state_dict["features.3.bias"] + 1})
    digests = [
        make(state_dict, head_weights).digest,
        make(state_dict, other).digest,
        make(moved, head_weights).digest,
        perceptual.lpips().digest,
    ]
    assert len(set(digests)) == 4
    assert make(state_dict, head_weights).digest == digests[0]


def test_misfits_are_listed(make):
    state_dict = backbone("alex")
    del state_dict["features.6.bias"]
    state_dict["features.8.weight"] = np.zeros((256, 384, 5, 5), np.float32)
    state_dict["features.10.bias"] = np.full(256, np.inf, np.float32)
    with pytest.raises(ValueError, match=r"backbone.pth does not fit the network") as caught:
        make(state_dict, heads("alex"))
    for text in (
        "features.6.bias is missing.",
        "features.8.weight must become (3, 3, 384, 256). Received: (256, 384, 5, 5).",
        "features.10.bias must be finite. Received: 256 values that are not.",
    ):
        assert text in str(caught.value)
    assert str(caught.value).count("\n") == 3


def test_heads_of_another_network_are_refused(make):
    with pytest.raises(ValueError, match=r"heads.pth does not fit.*\n.*lin1.model.1.weight must"):
        make(backbone("alex"), heads("vgg"))


def test_negative_heads_are_refused(make):
    head_weights = heads("vgg")
    head_weights["lin3.model.1.weight"][0, 7] = -0.1
    with pytest.raises(ValueError, match=r"must not be negative.*lin3\.model\.1\.weight"):
        make(backbone("vgg"), head_weights)


def test_one_file_without_the_other_is_refused():
    with pytest.raises(ValueError, match="both --lpips_backbone and --lpips_heads"):
        perceptual.lpips("alexnet.pth")
    with pytest.raises(ValueError, match="Received: None and alex.pth"):
        perceptual.lpips(None, "alex.pth")


def test_missing_files_say_where_to_get_them(tmp_path):
    there = tmp_path / "alexnet.pth"
    there.write_bytes(b"")
    with pytest.raises(ValueError, match="no weight file .*none.pth.*--lpips_backbone") as caught:
        perceptual.lpips(str(tmp_path / "none.pth"), str(there))
    assert "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth" in str(caught.value)
    with pytest.raises(ValueError, match="no weight file .*none.pth.*--lpips_heads") as caught:
        perceptual.lpips(str(there), str(tmp_path / "none.pth"))
    assert "PerceptualSimilarity/master/lpips/weights/v0.1/vgg.pth" in str(caught.value)


@pytest.mark.slow
def test_files_of_pytorch_are_read(tmp_path):
    pytest.importorskip("torch", reason="PyTorch writes the files")
    paths = [str(tmp_path / name) for name in ("alexnet-owt-7be5be79.pth", "alex.pth")]
    extra = {"classifier.6.bias": np.zeros(1000, np.float32)}
    for path, contents in zip(paths, (backbone("alex") | extra, heads("alex")), strict=True):
        pth_files.write_state_dict(contents, path)
    one = perceptual.lpips(*paths)
    image = pictures(2, 40, 40)
    outputs = [outputs_by_hand(x, "alex", backbone("alex")) for x in image]
    want = distance_by_hand(*outputs, heads("alex").values())
    np.testing.assert_allclose(one.distances(image, [(0, 1)]), [want], rtol=1e-5)
