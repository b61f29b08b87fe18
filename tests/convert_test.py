"""Official weights: every array lands where it belongs, or nothing is changed."""

import numpy as np
import pytest

from oasis_tf.convert import load_official, our_layout, our_name
from oasis_tf.models import Discriminator, Generator
from oasis_tf.models.weights import named_weights


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
    "name", ["body.0.conv_2.bias", "fc.weight_orig", "body.0.conv_0.weight", "module.fc.weight"]
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
    ):
        assert text in str(caught.value)
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


def test_weights_of_other_widths_are_refused(networks):
    with pytest.raises(ValueError, match=r"fc.weight must become .* Received: \(3, 3, 14, 32\)"):
        load_official(Generator(6, 8, 1), networks["G"][1])
