"""OASIS against recorded numbers of the official release: outputs, gradients, three iterations.

`benchmarks/oasis/parity.py` makes the comparison. The tests assert its rows, and that it detects
networks that are almost OASIS.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from benchmarks.oasis import parity
from oasis_tf.layers import BatchNorm, SpectralConv2D, activation, label_conv
from oasis_tf.systems.oasis import losses
from oasis_tf.systems.oasis.official import release_weights

OUTPUTS = {
    "generator": [
        "generator",
        *(f"generator, block {k}" for k in range(6)),
        "generator, spatial noise",
    ],
    "discriminator": ["discriminator, real image", "discriminator, fake image"],
}
ITEMS = OUTPUTS | {
    "class weights": ["class weights"],
    "losses of logits": [
        f"loss as {to}, {of} image" for of in ("real", "fake") for to in ("real", "fake")
    ],
    "first gradients, generator": [
        "gradients of G: norms",
        "gradients of G: in full",
        "gradients of G: zero but for rounding",
    ],
    "first gradients, discriminator": ["gradients of D: norms", "gradients of D: in full"],
    "losses": [f"iteration {number}: losses" for number in (1, 2, 3)],
    "weights, discriminator": [
        "D after 3 iterations: norms",
        "D after 3 iterations: updates",
        "D after 3 iterations: updates of u and v",
    ],
}
ITEMS |= {
    f"weights, {name}": [
        f"{which} after 3 iterations: norms",
        f"{which} after 3 iterations: updates",
        f"{which} after 3 iterations: running variances",
        f"{which} after 3 iterations: running means",
        f"{which} after 3 iterations: biases without gradient",
    ]
    for name, which in (("generator", "G"), ("average", "EMA"))
}


@pytest.fixture(scope="module")
def computed(golden):
    """The outputs, losses and training steps of our networks."""
    model = parity.new_model(golden)
    found = parity.evaluation(model, golden) | parity.losses(golden)
    return found | parity.training(model, golden)


@pytest.fixture(scope="module")
def rows(golden, computed):
    """Rows of the comparison by item."""
    return {row.item: row for row in parity.rows(golden, computed)}


@pytest.mark.parametrize("group", ITEMS)
def test_equals_the_official_release(rows, group):
    for item in ITEMS[group]:
        assert rows[item].ok, rows[item]


def test_the_items_are_complete(rows):
    assert set(rows) == {item for items in ITEMS.values() for item in items}


# === The comparison detects near misses ===


def failing(rows):
    return {row.item for row in rows if not row.ok}


def failing_outputs(golden):
    model = parity.new_model(golden)
    return failing(parity.output_rows(golden, parity.evaluation(model, golden)))


def trained(golden, model=None):
    """Result of `parity.training`, run eagerly, which is faster for three iterations."""
    return parity.training(model or parity.new_model(golden), golden, compiled=False)


def failing_in_training(golden, computed):
    rows = (parity.gradient_rows, parity.history_rows, parity.weight_rows)
    return failing(row for part in rows for row in part(golden, computed))


def test_detects_an_untrained_network(golden, monkeypatch):
    monkeypatch.setattr(release_weights, "load_official", lambda network, state_dict: None)
    assert failing_outputs(golden) == {*OUTPUTS["generator"], *OUTPUTS["discriminator"]}


def test_detects_missing_spectral_norm(golden, monkeypatch):
    monkeypatch.setattr(SpectralConv2D, "normalised_kernel", lambda layer, _: layer.kernel)
    assert failing_outputs(golden) == {*OUTPUTS["generator"], *OUTPUTS["discriminator"]}


def test_detects_another_slope(golden, monkeypatch):
    monkeypatch.setattr(activation, "LEAKY_SLOPE", 0.201)
    assert failing_outputs(golden) == {*OUTPUTS["generator"], *OUTPUTS["discriminator"]}


def test_detects_labels_before_noise(golden, monkeypatch):
    right = label_conv.conditional_conv

    def labels_first(label_map, noise, kernel, bias, noise_channels, one_hot):
        kernel = tf.roll(kernel, noise_channels, axis=2)
        return right(label_map, noise, kernel, bias, noise_channels, one_hot)

    monkeypatch.setattr(label_conv, "conditional_conv", labels_first)
    assert failing_outputs(golden) == set(OUTPUTS["generator"])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda w: w * (w > 0).sum(dtype=w.dtype), id="present left out"),
        pytest.param(lambda w: w / w.sum(), id="normalised by the sum"),
    ],
)
def test_detects_other_class_weights(golden, monkeypatch, change):
    right = losses.class_weights
    monkeypatch.setattr(losses, "class_weights", lambda *args: change(np.asarray(right(*args))))
    items = failing(parity.loss_rows(golden, parity.losses(golden)))
    assert items == {"class weights", "loss as real, real image", "loss as real, fake image"}


@pytest.mark.exhaustive
def test_detects_a_missing_gradient_through_sigma(golden, monkeypatch):
    def blocked(layer, norm):
        kernel = layer.kernel.value
        return kernel * tf.stop_gradient(right(layer, norm) / kernel)

    right = SpectralConv2D.normalised_kernel
    monkeypatch.setattr(SpectralConv2D, "normalised_kernel", blocked)
    items = failing_in_training(golden, trained(golden))
    assert items >= {
        "gradients of G: norms",
        "gradients of G: in full",
        "gradients of D: norms",
        "gradients of D: in full",
    }


@pytest.mark.exhaustive
def test_detects_the_adam_of_keras(golden):
    model = parity.new_model(golden)
    model.compile(*(keras.optimizers.Adam(rate, beta_1=0.0, epsilon=1e-8) for rate in (1e-4, 4e-4)))
    items = failing_in_training(golden, trained(golden, model))
    assert items >= {"G after 3 iterations: updates", "EMA after 3 iterations: updates"}
    assert not any(item.startswith("gradients of G") for item in items)


@pytest.mark.exhaustive
def test_detects_a_biased_running_variance(golden, monkeypatch):
    def biased(layer, moments, x, repeats=1):
        for average, value in zip((layer.moving_mean, layer.moving_variance), moments, strict=True):
            average.assign(0.9 * average + 0.1 * tf.stop_gradient(value))

    monkeypatch.setattr(BatchNorm, "update", biased)
    items = failing_in_training(golden, trained(golden))  # training losses do not depend on it
    assert items == {f"{which} after 3 iterations: running variances" for which in ("G", "EMA")}


@pytest.mark.exhaustive
def test_detects_another_power_iteration(golden, monkeypatch):
    def twice(layer):
        right(layer)
        return right(layer)

    right = SpectralConv2D.power_iteration
    monkeypatch.setattr(SpectralConv2D, "power_iteration", twice)
    items = failing_in_training(golden, trained(golden))
    assert "D after 3 iterations: updates of u and v" in items


# === The comparison itself ===


@pytest.mark.parametrize("name", ["gradD_norm/layer_up_last.bias", "EMA3_norm/fc.bias"])
def test_refuses_an_incomplete_recording(golden, computed, name):
    incomplete = {key: array for key, array in golden.items() if key != name}
    with pytest.raises(ValueError, match=f"Missing or surplus: {name.split('/')[1]}"):
        parity.rows(incomplete, computed)


@pytest.mark.parametrize(
    ("name", "item"),
    [
        ("G_eval", "generator"),
        ("gradD/layer_up_last.bias", "gradients of D: in full"),
        ("EMA3/fc.weight", "EMA after 3 iterations: updates"),
    ],
)
def test_nan_fails(golden, computed, name, item):
    broken = computed | {name: np.full_like(computed[name], np.nan)}
    rows = {row.item: row for row in parity.rows(golden, broken)}
    assert not rows[item].ok
    assert rows[item].worst in name


# === The command ===


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--golden=x.npz", "--seed=1"],
            "--golden has settings of its own. Received also: s",
        ),
        (["--height=96"], "`height` and `width` must be multiples of 64. Received: 96, 64."),
        (["--batch_size=0"], "`batch_size` must be at least 1. Received: 0."),
        (["--seed=1"], 'needs PyTorch: pip install "oasis-tf[bench]".'),
        (["--golden=text.npz"], "text.npz must be a recording"),
    ],
)
def test_command_refuses(run_module, tmp_path, flags, message):
    (tmp_path / "text.npz").write_text("text")
    (tmp_path / "torch.py").write_text("raise ImportError")  # as if it were not installed
    run = run_module("benchmarks.parity", *flags)
    assert run.returncode == 1
    assert f"{message}" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.slow
def test_command_exits_with_1_if_an_item_fails(run_module, tmp_path, golden):
    np.savez(tmp_path / "other.npz", **golden | {"G_eval_local": golden["G_eval"]})
    run = run_module("benchmarks.parity", "--golden=other.npz")
    assert run.returncode == 1
    failed = [line for line in run.stdout.splitlines() if " NO" in line]
    assert len(failed) == 1
    assert failed[0].startswith("generator, spatial noise ")
    assert "1 of 36 items are off by more than their tolerance." in run.stderr
