"""Official weights: every array is converted there and back, or nothing is changed."""

import sys

import numpy as np
import pytest

from oasis_tf.convert import load_official, to_official
from oasis_tf.io import pth_files
from oasis_tf.systems.oasis.models import Discriminator, Generator
from oasis_tf.systems.oasis.official import release_weights as official_lib
from oasis_tf.systems.oasis.official.release_weights import our_layout, our_name
from oasis_tf.training.named_weights import named_weights


@pytest.fixture(scope="module")
def networks(state_dict):
    """(network, official weights) by the letter of the official file."""
    return {
        "G": (Generator(6, 8, 2), state_dict("G0")),
        "D": (Discriminator(6, 4), state_dict("D0")),
    }


@pytest.mark.parametrize("letter", ["G", "D"])
def test_every_weight_is_filled(networks, letter):
    network, official = networks[letter]
    for variable in network.variables:
        variable.assign(np.full(variable.shape, np.nan))
    load_official(network, official)
    for name, variable in named_weights(network).items():
        assert np.isfinite(variable.numpy()).all(), name
    names = {our_name(name) for name in official} - {None}
    assert names == set(named_weights(network))


@pytest.mark.parametrize(
    ("official", "ours"),
    [
        ("fc.weight", "stem/kernel"),
        ("conv_img.bias", "to_rgb/bias"),
        ("body.3.conv_s.weight_orig", "block_3/conv_s/kernel"),
        ("body.2.norm_s.mlp_shared.0.weight", "block_2/norm_s/shared/kernel"),
        ("body.2.norm_1.mlp_beta.bias", "block_2/norm_1/beta_bias"),
        ("body.2.norm_s.first_norm.running_var", "block_2/batch_norm_0/moving_variance"),
        ("body.2.norm_s.first_norm.num_batches_tracked", None),
        ("body_up.1.conv2.1.weight_u", "up_1/conv_1/u"),
        ("body_down.0.conv1.0.weight_orig", "down_0/conv_0/kernel"),
        ("layer_up_last.bias", "to_logits/bias"),
    ],
)
def test_names(official, ours):
    assert our_name(official) == ours


@pytest.mark.parametrize(
    "name",
    [
        "body.0.conv_2.bias",
        "fc.weight_orig",
        "body.0.conv_0.weight",
        "module.fc.weight",
        "body_down.0.conv1.1.bias",
        "body_down.3.conv1.0.bias",
        "body_up.1.conv1.1.bias",
        "bodyX0.conv_0.bias",
    ],
)
def test_unknown_names_are_refused(name):
    with pytest.raises(ValueError, match=f"No weight of OASIS is called '{name}'"):
        our_name(name)


def test_sigma_survives_the_change_of_layout(networks):
    """u^T W v, which is the largest singular value of these weights, in both layouts."""
    official = networks["D"][1]
    stem = "body_down.1.conv1.1.weight"
    kernel, u, v = (official[f"{stem}_{leaf}"] for leaf in ("orig", "u", "v"))
    want = u @ kernel.reshape(len(kernel), -1) @ v
    ours = [our_layout(f"{stem}_{leaf}", a, official) for leaf, a in (("orig", kernel), ("v", v))]
    got = ours[1] @ ours[0].reshape(-1, len(kernel)) @ u
    np.testing.assert_allclose(got, want, rtol=1e-5)
    np.testing.assert_allclose(got, np.linalg.norm(kernel.reshape(len(kernel), -1), 2), rtol=1e-5)


def test_all_problems_are_listed_and_nothing_is_assigned(networks):
    network, official = networks["D"]
    load_official(network, official)
    before = network.get_weights()
    wrong = {name: array + 1 for name, array in official.items()}
    del wrong["layer_up_last.bias"]
    wrong["body_down.0.conv_s.bias"] = np.zeros(3)
    wrong["body_down.7.conv1.1.bias"] = np.zeros(3)
    wrong["body_up.0.conv1.2.weight_v"] = np.zeros(5)
    del wrong["body_up.1.conv1.2.weight_orig"]
    wrong["epoch"] = np.zeros(())
    wrong["fc.gain"] = np.zeros(())
    wrong["body_up.2.conv_s.bias"] = wrong["body_up.2.conv_s.bias"] * np.nan
    with pytest.raises(ValueError, match="These weights do not fit the network") as caught:
        load_official(network, wrong)
    for text in (
        "to_logits/bias is missing",
        "body_down.0.conv_s.bias must become (8,). Received: (3,)",
        "body_down.7.conv1.1.bias (down_7/conv_0/bias) has no place in this network",
        "body_up.0.conv1.2.weight_v must become (288,). Received: (5,)",
        "up_1/conv_0/kernel is missing",
        "No weight of OASIS is called 'epoch'",
        "No weight of OASIS is called 'fc.gain'",
        "body_up.2.conv_s.bias must be finite. Received: 16 values that are not",
    ):
        assert text in str(caught.value)
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


def test_weights_of_other_widths_are_refused(networks):
    with pytest.raises(ValueError, match=r"fc.weight must become .* Received: \(3, 3, 14, 32\)"):
        load_official(Generator(6, 8, 1), networks["G"][1])


def test_the_two_names_of_statistics_must_agree(networks):
    network, official = networks["G"]
    name = "body.3.norm_s.first_norm.running_mean"
    load_official(network, official | {name: official[name] * (1 + 1e-5)})
    with pytest.raises(ValueError, match=f"{name} must equal .*norm_0.first_norm"):
        load_official(network, official | {name: official[name] + 1})


@pytest.mark.parametrize("letter", ["G", "D"])
def test_there_and_back(networks, letter):
    network, official = networks[letter]
    load_official(network, official)
    back = to_official(network)
    assert set(back) == set(official)
    for name, array in official.items():
        assert (back[name].dtype, back[name].shape) == (array.dtype, array.shape), name
        if name.endswith(official_lib.COUNTER):
            assert back[name] == 0
        else:
            np.testing.assert_array_equal(back[name], array, err_msg=name)


@pytest.mark.parametrize("size", [(3, 3, 5, 7), (1, 1, 4, 2)])
def test_layouts_are_inverse(size):
    rng = np.random.default_rng(0)
    weights = {"l/kernel": rng.normal(size=size), "l/v": rng.normal(size=np.prod(size[:3]))}
    state = {
        "weight_orig": official_lib.official_layout("l/kernel", weights),
        "weight_v": official_lib.official_layout("l/v", weights),
    }
    # sigma = u^T W v flattens the kernel as (in, kh, kw) in the release, as (kh, kw, in) here.
    there = state["weight_orig"].reshape(size[3], -1) @ state["weight_v"]
    here = weights["l/v"] @ weights["l/kernel"].reshape(-1, size[3])
    np.testing.assert_allclose(there, here)
    for leaf, name in (("weight_orig", "l/kernel"), ("weight_v", "l/v")):
        np.testing.assert_array_equal(our_layout(leaf, state[leaf], state), weights[name])


# === Sizes ===


@pytest.mark.parametrize("widths", [(16, 16, 16, 8, 4, 2, 1), (6, 3, 1), (4, 2)])
@pytest.mark.parametrize(("channels", "spade_channels"), [(2, 128), (3, 5)])
def test_generator_settings(widths, channels, spade_channels):
    generator = Generator(3, 2, channels, spade_channels, widths)
    settings, condition = official_lib.generator_settings(to_official(generator), "file")
    assert condition == 5 and settings["spade_channels"] == spade_channels
    units = [settings["generator_channels"] * width for width in settings["generator_widths"]]
    assert units == [channels * width for width in widths]
    if widths[-1] == 1:
        assert settings["generator_channels"] == channels


@pytest.mark.parametrize("widths", [(2, 2, 4, 4, 8, 8), (1, 3), (5,)])
def test_discriminator_settings(widths):
    discriminator = Discriminator(3, 2, widths)
    settings, classes = official_lib.discriminator_settings(to_official(discriminator), "file")
    assert classes == 3
    assert settings == {"discriminator_channels": 2, "discriminator_widths": widths}


def test_weights_of_other_networks_are_refused(networks):
    of_generator, of_discriminator = (networks[letter][1] for letter in "GD")
    with pytest.raises(ValueError, match="F is not a generator.*nothing.*looks like a discr"):
        official_lib.generator_settings(of_discriminator, "F")
    with pytest.raises(ValueError, match="F is not a discriminator.*nothing.*looks like a gen"):
        official_lib.discriminator_settings(of_generator, "F")
    with pytest.raises(ValueError, match=r"fc.weight must be a kernel.*Received: \(3,\)\.$"):
        official_lib.generator_settings(of_generator | {"fc.weight": np.zeros(3)}, "F")
    odd = of_discriminator | {"layer_up_last.weight": np.zeros((7, 3, 1, 1))}
    with pytest.raises(ValueError, match="must be multiples of the width before"):
        official_lib.discriminator_settings(odd, "F")


def test_missing_pytorch_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ValueError, match=r'pip install "oasis-tf\[convert\]"'):
        pth_files.read_state_dict(str(tmp_path / "x.pth"))
