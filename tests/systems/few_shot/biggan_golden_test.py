"""BigGAN's networks, training and adaptation against recorded numbers.

`benchmarks/few_shot/parity.py` makes the comparison. The tests assert its rows, and that it detects
networks that are almost right.
"""

import pytest
from keras import ops

from benchmarks import parity_rows
from benchmarks.few_shot import parity, parity_biggan, recordings
from oasis_tf.layers.batch_norm import BatchNorm
from oasis_tf.systems.few_shot.biggan import generator, layers


@pytest.fixture(scope="module")
def recording():
    return recordings.load(recordings.GOLDEN / "biggan.npz")


@pytest.fixture(scope="module")
def run(recording):
    return parity_biggan.Run(recording, "float64")


def check(run, found):
    rows = parity.rows(run.recording, found, parity_biggan.rules(run.dtype))
    wrong = [row for row in rows if not row.ok]
    assert not wrong, parity_rows.table(wrong)


def failing(run, found):
    """Items of what was computed that are off."""
    rows = parity.rows(run.recording, found, parity_biggan.rules(run.dtype))
    return {row.item for row in rows if not row.ok}


def test_outputs_in_both_modes(run):
    check(run, run.evaluation() | run.forward_in_training())


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_everything(recording, dtype):
    found, skipped = parity.compare(recording, dtype)
    wrong = [row for row in found if not row.ok]
    assert not wrong, parity_rows.table(wrong)
    assert {"gradG", "G1", "EMA1", "train/loss_d_real_fake_g"} <= {row.item for row in found}
    assert set(skipped.values()) == {"input", "settings"}


# === The comparison detects near misses ===


@pytest.mark.slow
def test_detects_the_norm_of_the_stored_vector(run, monkeypatch):
    right = layers.BigGANConv2D.stored_norm

    def without_a_step(layer):
        _, v, _ = right(layer)
        u = ops.convert_to_tensor(layer.u)
        u = u / ops.norm(u)
        return u, v, ops.sum(ops.matmul(v, layer._matrix()) * u)

    monkeypatch.setattr(layers.BigGANConv2D, "stored_norm", without_a_step)
    assert {"G_eval", "D_eval_real"} <= failing(run, run.evaluation())


@pytest.mark.slow
def test_detects_parts_of_z_before_embeddings(run, monkeypatch):
    right = ops.concatenate
    monkeypatch.setattr(
        generator.ops, "concatenate", lambda xs, axis: right(list(xs)[::-1], axis=axis)
    )
    found = failing(run, run.evaluation())
    assert "G_eval" in found and "D_eval_real" not in found


@pytest.mark.slow
def test_detects_the_biased_variance(run, monkeypatch):
    right = BatchNorm.update

    def biased(layer, moments, x, repeats=1):
        mean, variance = moments
        count = x.shape[0] * x.shape[1] * x.shape[2]
        right(layer, (mean, variance * (count - 1) / count), x, repeats)

    monkeypatch.setattr(BatchNorm, "update", biased)
    found = failing(run, run.forward_in_training())
    assert found == {"G_after_train"}
