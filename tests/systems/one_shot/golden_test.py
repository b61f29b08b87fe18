"""SIV-GAN and OSMIS against recorded numbers of the official release.

`benchmarks/one_shot/parity.py` makes the comparison. The tests assert its rows, and that it detects
networks and iterations that are almost right.
"""

import types

import numpy as np
import pytest
from keras import ops

from benchmarks import parity_rows
from benchmarks.one_shot import parity, recordings
from oasis_tf.layers import spectral_norm
from oasis_tf.layers.activation import leaky_relu
from oasis_tf.systems.one_shot import iteration, losses, masks
from oasis_tf.systems.one_shot.feature_augmentation import content
from oasis_tf.systems.one_shot.models import discriminator, layers

NAMES = ("sivgan", "osmis")


@pytest.fixture(scope="module")
def golden():
    return {name: recordings.load(recordings.GOLDEN / f"{name}.npz") for name in NAMES}


@pytest.fixture(scope="module")
def runs(golden):
    return {name: parity.Run(golden[name]) for name in NAMES}


@pytest.fixture(scope="module")
def rows(golden, runs):
    """Rows of the comparison, by recording and item."""
    found = {}
    for name, run in runs.items():
        recording = golden[name]
        computed = run.evaluation() | run.trainings()
        computed |= parity.feature_augmentation(run) | parity.augmentation(recording)
        skipped = parity.not_compared(recording)
        parity.check_names(recording, computed, skipped)
        found[name] = {row.item: row for row in parity.rows(recording, computed, skipped)}
    return found


@pytest.mark.parametrize("name", NAMES)
def test_equals_the_official_release(rows, name):
    wrong = [row for row in rows[name].values() if not row.ok]
    assert not wrong, parity_rows.table(wrong)


@pytest.mark.parametrize("name", NAMES)
def test_the_items_are_complete(rows, name):
    items = set(rows[name])
    for item in ("history", "history64", "gradG", "gradD", "EMA3_sample", "fa_run/gradD"):
        assert item in items
    for part in ("G3", "D3", "EMA3"):
        assert {f"{part}: all but 0.1 %", f"{part}: the worst"} <= items
    assert "D3: signs of single kernels" in items
    assert len({i for i in items if i.startswith("D_eval")}) == (6 if name == "sivgan" else 9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["osmis", pytest.param("sivgan", marks=pytest.mark.exhaustive)])
def test_double_precision(golden, name):
    found, skipped = parity.compare(golden[name], "float64")
    wrong = [row for row in found if not row.ok]
    assert not wrong, parity_rows.table(wrong)
    assert "history64" not in skipped
    assert {row.item: row.tolerance for row in found}["history64"] == 1e-7


def test_entries_are_checked(golden):
    recording = golden["sivgan"]
    names = dict.fromkeys(k for k in recording if k not in parity.not_compared(recording))
    lacking = {k: v for k, v in recording.items() if k != "history64"}
    with pytest.raises(ValueError, match="Missing: history64. Unknown: none"):
        parity.check_names(lacking, names, parity.not_compared(lacking))
    surplus = recording | {"surprise": np.zeros(1)}
    with pytest.raises(ValueError, match="Missing: none. Unknown: surprise"):
        parity.check_names(surplus, names, parity.not_compared(surplus))


# === The comparison detects near misses ===


def failing(run, computed):
    """Items of what was computed that are off."""
    recording, names = dict(run.recording), parity.not_compared(run.recording)
    if len(computed.get("history", ())) == 1:
        recording["history"] = recording["history"][:1]
    skipped = set(names) | (set(recording) - set(computed))
    return {row.item for row in parity.rows(recording, computed, skipped) if not row.ok}


def failing_outputs(run):
    return failing(run, run.evaluation())


def failing_step(run):
    """Items of the first iteration."""
    computed = run.training(steps=1, compiled=False)
    return failing(run, {k: v for k, v in computed.items() if "3/" not in k})


@pytest.mark.slow
def test_detects_a_pass_without_power_iteration(runs, monkeypatch):
    """In the generator's pass without gradient, the second of an iteration."""
    run = runs["sivgan"]
    right, passes = run.model.generator.call, []

    def call(z, training=False, **options):
        passes.append(training)
        return right(z, training=training and len(passes) % 2 == 1, **options)

    monkeypatch.setattr(run.model.generator, "call", call)
    found = failing_step(run)
    assert "history" in found and "gradG" not in found


@pytest.mark.slow
def test_detects_a_constant_norm(runs, monkeypatch):
    def without_gradient(matrix, u, v, sigma, dtype):
        return ops.cast(matrix / ops.stop_gradient(sigma), dtype)

    monkeypatch.setattr(spectral_norm, "normalised", without_gradient)
    assert {"gradG", "gradD"} <= failing_step(runs["sivgan"])


@pytest.mark.slow
def test_detects_an_average_without_u_and_v(runs, monkeypatch):
    run, right = runs["sivgan"], iteration.update_averages

    def weights_alone(pairs, decay):
        ((average, network),) = pairs
        kept = [network.trainable_variables, average.variables]
        names = {v.path.split("/", 1)[1] for v in kept[0]}
        chosen = [v for v in kept[1] if v.path.split("/", 1)[1] in names]
        trained = [v for v in network.variables if v.path.split("/", 1)[1] in names]
        right([tuple(types.SimpleNamespace(variables=v) for v in (chosen, trained))], decay)

    monkeypatch.setattr(iteration, "update_averages", weights_alone)
    found = failing(run, run.training(compiled=False))
    assert "EMA3: all but 0.1 %" in found
    assert not {"G3: the worst", "D3: the worst", "history"} & found


def test_detects_masks_at_pixel_centres(runs, monkeypatch):
    def centres(mask, factor):
        return mask[:, factor // 2 :: factor, factor // 2 :: factor]

    monkeypatch.setattr(masks, "downsampled", centres)
    found = failing_outputs(runs["osmis"])
    assert {"pooled_real", "D_eval_real/content", "pooled_fake_argmax"} <= found
    assert not {"D_eval_real/low", "D_eval_real/layout"} & found


def test_detects_means_over_areas(runs, monkeypatch):
    right = discriminator.Discriminator.vectors

    def over_areas(network, features, mask=None):
        area = ops.mean(mask, axis=(1, 2))
        area = ops.reshape(ops.transpose(area), (-1, 1, 1, 1))
        return right(network, features, mask) / ops.maximum(area, 1e-6)

    monkeypatch.setattr(discriminator.Discriminator, "vectors", over_areas)
    assert {"pooled_real", "pooled_fake"} <= failing_outputs(runs["osmis"])


@pytest.mark.slow
def test_detects_areas_of_small_masks(runs, monkeypatch):
    right = iteration.Iteration._own_weights

    def of_small(model, mask):
        return right(model, masks.downsampled(mask, model.discriminator.scale))

    monkeypatch.setattr(iteration.Iteration, "_own_weights", of_small)
    assert "history" in failing_step(runs["osmis"])


@pytest.mark.parametrize("name", NAMES)
def test_detects_a_true_swap_of_content(runs, name, monkeypatch):
    def swap(vectors, decisions, batch):
        rows = np.array(vectors)[:, 0, 0]
        for pair, chosen in enumerate(decisions.mix):
            both = rows[2 * pair : 2 * pair + 2]
            both[:, chosen] = both[::-1, chosen].copy()
        rows[:batch, decisions.drop] = 0
        return rows[:, None, None]

    monkeypatch.setattr(content, "apply", swap)
    run = runs[name]
    assert failing(run, parity.feature_augmentation(run)) == {"fa/content_out"}


def test_detects_rgb_features_before_the_others(runs, monkeypatch):
    class Reversed:
        def __getattr__(self, name):
            return getattr(ops, name)

        def concatenate(self, parts, axis):
            return ops.concatenate(parts[::-1], axis=axis)

    monkeypatch.setattr(discriminator, "ops", Reversed())
    assert "D_eval_real/low" in failing_outputs(runs["sivgan"])


def test_detects_an_activation_before_to_rgb(runs, monkeypatch):
    right = layers.OneShotConv2D.call

    def call(layer, x, training=False):
        before = leaky_relu if layer.name.startswith("to_rgb") else (lambda y: y)
        return right(layer, before(x), training=training)

    monkeypatch.setattr(layers.OneShotConv2D, "call", call)
    found = failing_outputs(runs["sivgan"])
    assert "G_eval/image" in found and "G_eval/feature" not in found


def test_detects_an_activation_in_the_first_block(runs, monkeypatch):
    monkeypatch.setattr(runs["sivgan"].model.discriminator.low[0], "first", False)
    found = failing_outputs(runs["sivgan"])
    assert "D_eval_real/low" in found and "G_eval/image" not in found


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda x: (x, "paper"), id="per pair of samples"),
        pytest.param(lambda x: ([ops.arctanh(f) for f in x], "official"), id="without tanh"),
    ],
)
def test_detects_another_diversity(runs, change, monkeypatch):
    right = losses.diversity
    monkeypatch.setattr(losses, "diversity", lambda features, norm: right(*change(features)))
    assert failing_outputs(runs["sivgan"]) == {"loss_eval/G/weighted_DR"}


@pytest.mark.slow
def test_detects_another_epsilon(runs, monkeypatch):
    """That of Keras' Adam, 1e-7 without correction of bias, as it is in the first step."""
    run = runs["sivgan"]
    for which in ("generator", "discriminator"):
        optimizer = getattr(run.model, f"{which}_optimizer")
        monkeypatch.setattr(optimizer, "epsilon", 1e-7 / np.sqrt(1 - 0.999))
    found = failing(run, run.training(compiled=False))
    assert {"G3: all but 0.1 %", "D3: all but 0.1 %"} & found


def test_never_trained_layers_stay(runs):
    run = runs["sivgan"]
    computed = run.training(steps=1)
    for name in run.meta["never_trained"]:
        np.testing.assert_array_equal(computed[f"G3/{name}"], run.recording[f"G0/{name}"])
        assert f"gradG/{name}" not in computed
    for name in run.meta["degenerate"]:
        np.testing.assert_array_equal(computed[f"D3/{name}"], run.recording[f"D0/{name}"])
    moved = "rgb_converters.0.weight_u"
    assert (computed[f"G3/{moved}"] != run.recording[f"G0/{moved}"]).any()
