"""MS-SSIM against a slow reference, TensorFlow's and scikit-image's SSIM, and closed forms."""

import itertools

import numpy as np
import pytest
import scipy.ndimage
import skimage.metrics
import tensorflow as tf

from oasis_tf.metrics.diversity import ms_ssim

PUBLISHED = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])


def photographs(count, height, width, seed=0):
    """Related images: one smooth scene, each image with a noise and a brightness of its own."""
    rng = np.random.default_rng(seed)
    scene = scipy.ndimage.gaussian_filter(rng.normal(0, 600, (height, width, 3)), (4, 4, 0))
    images = []
    for k in range(count):
        noise = rng.normal(0, 12 * (k + 1), scene.shape) + rng.normal(0, 20, 3)
        images.append(np.clip(128 + scene + noise, 0, 255))
    return np.stack(images).astype(np.uint8)


def all_pairs(count):
    return np.array(list(itertools.combinations(range(count), 2)))


def blurred(plane):
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    places = np.lib.stride_tricks.sliding_window_view(plane, (11, 11))
    return np.einsum("ijkl,kl->ij", places, window / window.sum())


def contrast_and_similarity(x, y):
    """Means of contrast-structure and of SSIM of two planes, written from the paper."""
    mean_x, mean_y = blurred(x), blurred(y)
    covariance = blurred((x - 100) * (y - 100)) - (mean_x - 100) * (mean_y - 100)
    variances = blurred(x * x) - mean_x**2 + blurred(y * y) - mean_y**2
    contrast = (2 * covariance + 58.5225) / (variances + 58.5225)
    luminance = (2 * mean_x * mean_y + 6.5025) / (mean_x**2 + mean_y**2 + 6.5025)
    return contrast.mean(), (luminance * contrast).mean()


def halved(plane):
    plane = np.pad(plane, [(0, side % 2) for side in plane.shape], "edge")
    return plane.reshape(plane.shape[0] // 2, 2, plane.shape[1] // 2, 2).mean((1, 3))


def reference(first, second, scales):
    """MS-SSIM of two images, one channel and one scale after the other."""
    weights = PUBLISHED if scales == 5 else PUBLISHED[:scales] / PUBLISHED[:scales].sum()
    values = []
    for c in range(3):
        x, y = first[..., c].astype(np.float64), second[..., c].astype(np.float64)
        value = 1.0
        for scale, weight in enumerate(weights):
            contrast, similarity = contrast_and_similarity(x, y)
            value *= max(similarity if scale == scales - 1 else contrast, 0) ** weight
            x, y = halved(x), halved(y)
        values.append(value)
    return np.mean(values)


@pytest.mark.parametrize(
    ("height", "width", "scales"),
    [(11, 30, 1), (21, 21, 1), (45, 23, 2), (44, 61, 3), (90, 117, 4), (176, 187, 5)],
)
def test_equals_the_definition(height, width, scales):
    images, pairs = photographs(4, height, width), all_pairs(4)
    assert ms_ssim.num_scales(height, width) == scales
    expected = [reference(images[i], images[j], scales) for i, j in pairs]
    assert 0.05 < min(expected) < max(expected) < 0.95
    np.testing.assert_allclose(ms_ssim.similarities(images, pairs), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("height", "width"), [(176, 176), (179, 201)])
def test_five_scales_equal_tensorflow(height, width):
    images = photographs(3, height, width)
    expected = tf.image.ssim_multiscale(images[[0, 0, 1]], images[[1, 2, 2]], 255)
    actual = ms_ssim.similarities(images, [[0, 1], [0, 2], [1, 2]])
    np.testing.assert_allclose(actual, expected, rtol=0, atol=5e-6)  # theirs is float32


def test_one_scale_equals_scikit_image():
    # On both: windows inside the image alone, variances without Bessel's correction.
    images, pairs = photographs(3, 17, 21), all_pairs(3)
    options = dict(
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255,
        channel_axis=-1,
    )  # fmt: skip
    expected = [
        skimage.metrics.structural_similarity(
            images[i].astype(np.float64), images[j].astype(np.float64), **options
        )
        for i, j in pairs
    ]
    np.testing.assert_allclose(ms_ssim.similarities(images, pairs), expected, rtol=0, atol=1e-12)


def test_equal_images_have_similarity_one():
    images = photographs(2, 90, 90)[[0, 1, 0]]
    np.testing.assert_allclose(
        ms_ssim.similarities(images, [[0, 0], [0, 2], [1, 1]]), 1, rtol=0, atol=1e-14
    )


@pytest.mark.parametrize(("side", "weight"), [(16, 1.0), (88, 0.2363 / 0.8668), (176, 0.1333)])
def test_flat_images_differ_in_luminance_alone(side, weight):
    flat = np.array([40, 90, 200], np.uint8)[:, None, None, None]
    images = np.broadcast_to(flat, (3, side, side, 3))
    expected = [
        ((2 * x * y + 2.55**2) / (x * x + y * y + 2.55**2)) ** weight
        for x, y in [(40, 90), (40, 200), (90, 200)]
    ]
    actual = ms_ssim.similarities(images, all_pairs(3))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-10)


def test_anti_correlated_images_have_similarity_zero():
    image = photographs(1, 176, 176)
    images = np.concatenate([image, 255 - image])
    assert contrast_and_similarity(*images[..., 0].astype(np.float64))[0] < -0.5
    assert ms_ssim.similarities(images, [[0, 1]]) == 0
    assert tf.image.ssim_multiscale(images[:1], images[1:], 255).numpy() == 0


def test_one_scale_below_zero_makes_the_similarity_zero():
    rng = np.random.default_rng(0)
    coarse = scipy.ndimage.gaussian_filter(rng.normal(0, 1500, (176, 176, 3)), (12, 12, 0))
    fine = rng.normal(0, 30, coarse.shape)
    images = np.clip([128 + coarse + fine, 128 + coarse - fine], 0, 255).astype(np.uint8)
    contrasts = []
    for c in range(3):
        x, y = images[..., c].astype(np.float64)
        contrasts.append(contrast_and_similarity(x, y)[0])
        for _ in range(4):
            x, y = halved(x), halved(y)
        assert contrast_and_similarity(x, y)[1] > 0.5  # the coarsest scale
    assert max(contrasts) < -0.2
    assert ms_ssim.similarities(images, [[0, 1]]) == 0
    assert tf.image.ssim_multiscale(images[:1], images[1:], 255).numpy() == 0


def test_a_channel_below_zero_leaves_the_others():
    image = photographs(1, 50, 50)
    other = image.copy()
    other[..., 1] = 255 - image[..., 1]
    actual = ms_ssim.similarities(np.concatenate([image, other]), [[0, 1]])
    np.testing.assert_allclose(actual, 2 / 3, rtol=0, atol=1e-14)


def test_pairs_are_symmetric_and_stand_in_their_order():
    images = photographs(3, 30, 40)
    forward = ms_ssim.similarities(images, [[0, 1], [0, 2], [1, 2], [1, 1]])
    backward = ms_ssim.similarities(images, [[1, 1], [2, 1], [2, 0], [1, 0]])
    np.testing.assert_allclose(backward, forward[::-1], rtol=0, atol=1e-14)
    assert len(set(forward.round(6))) == 4


@pytest.mark.parametrize("count", [0, 2])
def test_no_pairs_give_no_similarities(count):
    images = np.zeros((count, 11, 11, 3), np.uint8)
    actual = ms_ssim.similarities(images, np.zeros((0, 2), np.int64))
    assert actual.shape == (0,)
    assert actual.dtype == np.float64


@pytest.mark.parametrize(
    ("side", "scales"),
    [(11, 1), (21, 1), (22, 2), (43, 2), (44, 3), (87, 3), (88, 4), (175, 4), (176, 5), (4096, 5)],
)
def test_scales_follow_the_smaller_side(side, scales):
    assert ms_ssim.num_scales(side, 5000) == ms_ssim.num_scales(5000, side) == scales
    assert ms_ssim.name(side, 5000) == f"ms_ssim_{scales}scales"


def test_images_below_the_window_are_refused():
    with pytest.raises(ValueError, match="at least 11×11.*height=10, width=64.*leave MS-SSIM out"):
        ms_ssim.num_scales(10, 64)
    with pytest.raises(ValueError, match="height=64, width=10"):
        ms_ssim.similarities(np.zeros((2, 64, 10, 3), np.uint8), [[0, 1]])


@pytest.mark.parametrize(
    ("image", "pairs", "message"),
    [
        (np.zeros((2, 16, 16, 3)), [[0, 1]], r"uint8 \[B,H,W,3\].*float64.*Convert"),
        (np.zeros((2, 16, 16, 1), np.uint8), [[0, 1]], r"uint8 \[B,H,W,3\].*\(2, 16, 16, 1\)"),
        (np.zeros((16, 16, 3), np.uint8), [[0, 1]], r"uint8 \[B,H,W,3\].*\(16, 16, 3\)"),
        (np.zeros((2, 16, 16, 3), np.uint8), [[0.0, 1.0]], r"integers \[P,2\].*float64"),
        (np.zeros((2, 16, 16, 3), np.uint8), [0, 1], r"integers \[P,2\].*\(2,\)"),
        (np.zeros((2, 16, 16, 3), np.uint8), [[0, 1, 1]], r"integers \[P,2\].*\(1, 3\)"),
        (np.zeros((2, 16, 16, 3), np.uint8), [[0, 2]], r"the 2 images, 0..1.*0 to 2"),
        (np.zeros((2, 16, 16, 3), np.uint8), [[-1, 1]], r"the 2 images, 0..1.*-1 to 1"),
    ],
)
def test_bad_input_is_refused(image, pairs, message):
    with pytest.raises(ValueError, match=message):
        ms_ssim.similarities(image, pairs)
