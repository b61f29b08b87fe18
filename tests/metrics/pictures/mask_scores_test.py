"""The mask score: augmentation, loss and scores against loops, the network against PyTorch."""

import keras
import numpy as np
import pytest

from oasis_tf.metrics.pictures import mask_scores, resnet18


def test_a_shift_mirrors_its_margin():
    x = np.arange(5)
    np.testing.assert_array_equal(mask_scores.shifted(x, 0, 2, True), [1, 0, 0, 1, 2])
    np.testing.assert_array_equal(mask_scores.shifted(x, 0, 2, False), [2, 3, 4, 4, 3])
    both = np.stack([x, x + 10])
    np.testing.assert_array_equal(mask_scores.shifted(both, 1, 1, True)[1], [10, 10, 11, 12, 13])


def test_image_and_mask_move_together():
    mask = np.random.default_rng(0).integers(0, 3, (1, 24, 32), np.uint8)
    image = np.repeat(mask[..., None], 3, axis=-1)
    images, masks = mask_scores.draw(np.random.default_rng(1), image, mask, 40)
    np.testing.assert_array_equal(images[..., 0], masks)
    same = [np.array_equal(one, mask[0]) for one in masks]
    # 0.85 · 0.7² of them are as they were.
    assert 5 < sum(same) < 30


def test_loss_by_loops():
    rng = np.random.default_rng(2)
    truth = np.eye(3)[rng.integers(0, 3, (2, 4, 5))]
    logits = rng.normal(0, 2, truth.shape)
    p = 1 / (1 + np.exp(-logits))
    entropy = -np.mean(truth * np.log(p) + (1 - truth) * np.log(1 - p))
    dice = [
        1 - (2 * (p[b, ..., c] * truth[b, ..., c]).sum() + 1)
        / (p[b, ..., c].sum() + truth[b, ..., c].sum() + 1)
        for b in range(2)
        for c in range(3)
    ]  # fmt: skip
    found = mask_scores.loss(truth.astype(np.float32), logits.astype(np.float32))
    assert float(found) == pytest.approx((entropy + np.mean(dice)) / 2, rel=1e-5)


def test_thresholded_iou_by_hand():
    truth = np.array([[0, 0, 1, 1]])
    # class 0: IoU 2/3 -> ceil(3.33) / 10; class 1: 1/2 -> 0; class 2: in neither map -> 1.
    assert mask_scores.thresholded_iou(truth, np.array([[0, 0, 0, 1]]), 3) == pytest.approx(1.4 / 3)
    assert mask_scores.thresholded_iou(truth, truth, 2) == 1
    assert mask_scores.thresholded_iou(truth, 1 - truth, 2) == 0


def test_scores_of_a_segmenter():
    truth = np.array([[[0, 0, 1, 1]], [[0, 0, 0, 0]]], np.uint8)
    found = np.array([[[0, 0, 0, 1]], [[0, 0, 0, 1]]], np.uint8)
    batches = [(np.zeros((1, 1, 4, 3), np.uint8) + k, truth[k : k + 1]) for k in range(2)]
    segment = lambda images: found[images[0, 0, 0, 0]][None]  # noqa: E731
    values, by_image = mask_scores.score(segment, batches, 2)
    assert values["pixel_accuracy"] == 6 / 8
    assert values["miou"] == pytest.approx((5 / 7 + 1 / 3) / 2)
    # Images: (0.4 + 0) / 2, and class 0 with 3/4 -> 0.5, class 1 with 0 -> 0.
    assert values["thresholded_iou"] == pytest.approx((0.2 + 0.25) / 2)
    assert by_image == pytest.approx([(2 / 3 + 1 / 2) / 2, 3 / 8])


@pytest.mark.slow
def test_the_encoder_is_resnet18_of_pytorch(tmp_path):
    """A random state dict of torchvision's names and shapes, and PyTorch's own functions."""
    torch = pytest.importorskip("torch")
    from torch.nn import functional as F

    network = resnet18.build(48, 64, 3, seed=0)
    rng, state = np.random.default_rng(5), {}

    def add(name, *shape):
        scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1
        values = rng.normal(0, scale, shape)
        if name.endswith(("running_var", "bn1.weight", "bn2.weight")):
            values = 1 + np.abs(values)
        state[name] = torch.tensor(values, dtype=torch.float32)

    def add_norm(name, width):
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            add(f"{name}.{leaf}", width)

    add("conv1.weight", 64, 3, 7, 7)
    add_norm("bn1", 64)
    width = 64
    for stage, channels in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            name = f"layer{stage}.{block}"
            add(f"{name}.conv1.weight", channels, width, 3, 3)
            add(f"{name}.conv2.weight", channels, channels, 3, 3)
            add_norm(f"{name}.bn1", channels)
            add_norm(f"{name}.bn2", channels)
            if width != channels:
                add(f"{name}.downsample.0.weight", channels, width, 1, 1)
                add_norm(f"{name}.downsample.1", channels)
            width = channels
    torch.save(state, tmp_path / "resnet18.pth")
    assert resnet18.load(network, str(tmp_path / "resnet18.pth"))[0] == "resnet18_unverified"

    def norm(x, name):
        leaves = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(state[f"{name}.{leaf}"] for leaf in leaves), eps=1e-5)

    def block(x, name, stride):
        y = F.conv2d(x, state[f"{name}.conv1.weight"], stride=stride, padding=1)
        y = F.conv2d(F.relu(norm(y, f"{name}.bn1")), state[f"{name}.conv2.weight"], padding=1)
        if f"{name}.downsample.0.weight" in state:
            x = F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride)
            x = norm(x, f"{name}.downsample.1")
        return F.relu(norm(y, f"{name}.bn2") + x)

    image = rng.integers(0, 256, (1, 48, 64, 3)).astype(np.float32)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = torch.tensor(((image / 255 - mean) / deviation).transpose(0, 3, 1, 2)).float()
    x = F.relu(norm(F.conv2d(x, state["conv1.weight"], stride=2, padding=3), "bn1"))
    x = F.max_pool2d(x, 3, 2, 1)
    for stage in range(1, 5):
        x = block(block(x, f"layer{stage}.0", 1 if stage == 1 else 2), f"layer{stage}.1", 1)
    encoder = keras.Model(network.inputs, network.get_layer("skip4").input)
    found = encoder.predict_on_batch(image)
    wanted = x.numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(found, wanted, atol=1e-3 * np.abs(wanted).max())
    # Up-sampling with aligned corners.
    small = rng.normal(size=(1, 2, 3, 4)).astype(np.float32)
    large = F.interpolate(
        torch.tensor(small.transpose(0, 3, 1, 2)), (3, 7), mode="bilinear", align_corners=True
    )
    resized = resnet18.AlignedResize(3, 7)(small)
    np.testing.assert_allclose(resized, large.numpy().transpose(0, 2, 3, 1), atol=1e-5)
