"""Networks: published parameter counts, shapes, initial values, options."""

import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.systems.one_shot import build
from oasis_tf.systems.one_shot.model_settings import ModelConfig
from oasis_tf.systems.one_shot.models.layers import initialise
from oasis_tf.systems.one_shot.official import weights
from oasis_tf.systems.one_shot.task import parameters
from oasis_tf.training.named_weights import named_weights

SMALL = {"grid_height": 12, "grid_width": 16, "blocks_g": 3, "blocks_d": 4, "blocks_d0": 2}
SMALL |= {"ch_g": 1, "ch_d": 4, "noise_dim": 4}


def config(grid, g, n, low, **more):
    sizes = {"grid_height": grid[0], "grid_width": grid[1], "blocks_g": g}
    return ModelConfig(**sizes, blocks_d=n, blocks_d0=low, **more)


@pytest.mark.parametrize(
    ("make", "settings", "classes", "count"),
    [
        ("generator", ((3, 5), 7, 7, 3), 0, 5_886_581),
        ("discriminator", ((3, 5), 7, 7, 3), 0, 1_256_497),
        ("discriminator", ((4, 4), 5, 6, 2), 0, 649_568),
        ("discriminator", ((3, 5), 8, 7, 4), 2, 3_243_680),
        pytest.param("generator", ((4, 4), 5, 6, 2), 0, 3_397_743, marks=pytest.mark.slow),
        pytest.param("generator", ((3, 5), 8, 7, 4), 0, 7_139_192, marks=pytest.mark.slow),
    ],
)
def test_published_parameter_counts(make, settings, classes, count):
    network = getattr(build, f"make_{make}")(config(*settings, num_classes=classes))
    assert parameters(network) == count


def test_initial_values():
    generator = build.make_generator(config((3, 5), 5, 6, 2, ch_g=8, num_classes=3))
    initialise(generator, 7)
    values = {name: v.numpy() for name, v in named_weights(generator).items()}
    for name in ("block_1/conv_0/kernel", "to_mask/kernel"):
        assert values[name].std() == pytest.approx(0.02, rel=0.15)
    bound = 1 / np.sqrt(64 * 15)
    first = values["first/kernel"]
    assert abs(first).max() <= bound and first.std() == pytest.approx(bound / np.sqrt(3), rel=0.1)
    bias, fan = values["block_1/conv_0/bias"], values["block_1/conv_0/kernel"][..., 0].size
    assert 0 < abs(bias).max() <= 1 / np.sqrt(fan)
    assert np.linalg.norm(values["block_1/conv_0/u"]) == pytest.approx(1)


OPTIONS = [
    {"latent": "broadcast", "norm_g": "batch", "norm_d": "batch"},
    {"content_branch": False},
    {"layout_branch": False, "num_classes": 3},
    {"content_branch": False, "layout_branch": False},
    {"num_classes": 3, "mask_supervision": "concat"},
    {"num_classes": 3, "mask_supervision": "projection", "layout_squeeze": "conv"},
    {"num_classes": 3, "mask_supervision": "discriminator"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_shapes(options):
    model = ModelConfig(**SMALL | options)
    generator, network = build.make_generator(model), build.make_discriminator(model)
    made = generator(tf.random.stateless_normal((2, 4), (0, 1)), training=True)
    sides = [(12 * 2**k, 16 * 2**k) for k in range(3)]
    assert [tuple(x.shape[1:3]) for x in made.images] == sides
    assert (made.mask is None) == (model.num_classes == 0)
    looks = model.num_classes and model.mask_supervision != "discriminator"
    mask = made.mask[:, :: network.scale, :: network.scale] if looks else None
    logits = network(made.images[-2:], object_mask=mask, training=True)
    assert [x.shape for x in logits.low] == [(2, 24, 32, 1), (2, 12, 16, 1)]
    rows, outputs = (6, 4) if model.attends else (2, 1)
    content = [(rows, 1, 1, outputs)] * 2 if model.content_branch else []
    assert [x.shape for x in logits.content] == content
    plain = not (model.content_branch or model.layout_branch)
    layout = [(2, 6, 8, 1), (2, 3, 4, 1)] if model.layout_branch or plain else []
    assert [x.shape for x in logits.layout] == layout
    second = build.make_mask_discriminator(model)
    assert (second is not None) == (options.get("mask_supervision") == "discriminator")


def test_the_mask_discriminator_reaches_the_masks_layer_alone():
    model = ModelConfig(**SMALL, num_classes=3, mask_supervision="discriminator")
    generator = build.make_generator(model)
    with tf.GradientTape() as tape:
        made = generator(tf.ones((1, 4)))
        loss = tf.reduce_sum(made.mask[..., 0])
    gradients = tape.gradient(loss, [v.value for v in generator.trainable_variables])
    reached = [
        v.path
        for v, g in zip(generator.trainable_variables, gradients, strict=True)
        if g is not None
    ]
    assert reached == ["generator/to_mask/kernel", "generator/to_mask/bias"]


def test_a_broadcast_latent_takes_any_grid():
    generator = build.make_generator(ModelConfig(**SMALL, latent="broadcast"))
    made = generator(tf.ones((1, 4)), grid=(5, 3), num_images=1)
    assert made.images[-1].shape == (1, 20, 12, 3)


def test_official_names_go_both_ways():
    model = ModelConfig(**SMALL, num_classes=3)
    for network in (build.make_generator(model), build.make_discriminator(model)):
        initialise(network, 1)
        state = weights.to_official(network)
        assert all(weights.official_name(weights.our_name(name)) == name for name in state)
        other = network.from_config(network.get_config())
        weights.load_official(other, state)
        for a, b in zip(network.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="No weight of SIV-GAN or OSMIS is called 'fc.weight'"):
        weights.load_official(network, state | {"fc.weight": np.zeros(1)})
    concat = build.make_generator(ModelConfig(**SMALL, norm_g="batch"))
    with pytest.raises(ValueError, match="has no weight like block_0/norm_0/gamma"):
        weights.to_official(concat)
