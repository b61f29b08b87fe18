"""StyleGAN2's networks, losses and penalties against recorded numbers.

`benchmarks/few_shot/parity.py` makes the comparison. The tests assert its rows, and that it detects
networks that are almost right.
"""

import numpy as np
import pytest
from keras import ops

from benchmarks import parity_rows
from benchmarks.few_shot import parity, parity_stylegan2, recordings
from oasis_tf.systems.few_shot.stylegan2 import discriminator, generator, layers, operators


@pytest.fixture(scope="module")
def run():
    recording = recordings.load(recordings.GOLDEN / "stylegan2.npz")
    return parity_stylegan2.Run(recording)


def failing(run, found):
    """Items of what was computed that are off."""
    rows = parity.rows(run.recording, found, parity_stylegan2.rules(run.dtype))
    return {row.item for row in rows if not row.ok}


def test_equals_the_recording(run):
    found = run.networks()
    rows = parity.rows(run.recording, found, parity_stylegan2.rules("float32"))
    wrong = [row for row in rows if not row.ok]
    assert not wrong, parity_rows.table(wrong)
    assert len(found) > 300


# === The comparison detects near misses ===


def test_detects_flipped_kernels(run, monkeypatch):
    right = operators.up_conv
    monkeypatch.setattr(layers, "up_conv", lambda x, k: right(x, ops.flip(k, (0, 1))))
    assert {"G_image", "Gt_image"} <= failing(run, run.images())


def test_detects_noise_without_the_gain(run, monkeypatch):
    right = layers.StyledConv.call

    def call(layer, x, style, noise):
        return right(layer, x, style, noise / operators.GAIN)

    monkeypatch.setattr(layers.StyledConv, "call", call)
    found = failing(run, run.images())
    assert {"G_image", "G_noise_batch_image"} <= found and "w" not in found


def test_detects_demodulation_without_the_root(run, monkeypatch):
    right = layers.StyledConv._demodulation
    monkeypatch.setattr(layers.StyledConv, "_demodulation", lambda *a: ops.square(right(*a)))
    assert "G_image" in failing(run, run.images())


def test_detects_groups_of_neighbours(run, monkeypatch):
    def of_neighbours(x, group):
        pairs = ops.reshape(x, (2, 2, *x.shape[1:]))
        return ops.repeat(ops.mean(ops.std(pairs, axis=1), axis=(1, 2, 3)), 2)

    monkeypatch.setattr(discriminator, "minibatch_deviation", of_neighbours)
    assert {"D_fake", "D_real", "D_feat/final_conv"} <= failing(run, run.judgements())


def test_detects_nearest_neighbours_in_the_skips(run, monkeypatch):
    def nearest(x):
        return ops.repeat(ops.repeat(x, 2, axis=1), 2, axis=2)

    monkeypatch.setattr(generator, "upsample", nearest)
    assert "G_image" in failing(run, run.images())


def test_detects_mixing_from_the_next_row_on(run, monkeypatch):
    right = generator.Generator.mixed
    monkeypatch.setattr(
        generator.Generator, "mixed", lambda g, a, b, index: right(g, a, b, index + 1)
    )
    assert failing(run, run.images()) == {"G_mix_image"}


def test_detects_another_mean_of_paths(run, monkeypatch):
    from oasis_tf.systems.few_shot import losses

    right = losses.path_penalty

    def detached(lengths, mean, decay):
        _, new = right(lengths, mean, decay)
        return ops.mean(ops.square(lengths - ops.stop_gradient(new))), new

    monkeypatch.setattr(losses, "path_penalty", detached)
    assert failing(run, run.penalties()) == {"gradPath_norm"}


@pytest.mark.slow
def test_double_precision():
    recording = recordings.load(recordings.GOLDEN / "stylegan2.npz")
    found = parity_stylegan2.Run(recording, "float64").networks()
    rows = parity.rows(recording, found, parity_stylegan2.rules("float64"))
    wrong = [row for row in rows if not row.ok]
    assert not wrong, parity_rows.table(wrong)
    assert max(row.measured for row in rows) < np.float64(1e-6)
