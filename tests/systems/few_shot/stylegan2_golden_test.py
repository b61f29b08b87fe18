"""StyleGAN2's networks, losses and penalties against recorded numbers.

`benchmarks/few_shot/parity.py` makes the comparison. The tests assert its rows, and that it detects
networks that are almost right.
"""

import pytest
from keras import ops

from benchmarks import parity_rows
from benchmarks.few_shot import parity, parity_stylegan2, recordings
from benchmarks.golden_files import nchw
from oasis_tf.systems.few_shot.stylegan2 import discriminator, generator, layers, operators


@pytest.fixture(scope="module")
def run():
    recording = recordings.load(recordings.GOLDEN / "stylegan2.npz")
    return parity_stylegan2.Run(recording)


def image_of(run):
    """The first image that is recorded."""
    return {"G_image": nchw(run.generator(run.input("z")))}


def failing(run, found):
    """Items of what was computed that are off."""
    rows = parity.rows(run.recording, found, parity_stylegan2.rules(run.dtype))
    return {row.item for row in rows if not row.ok}


def check(run, found):
    rows = parity.rows(run.recording, found, parity_stylegan2.rules(run.dtype))
    wrong = [row for row in rows if not row.ok]
    assert not wrong, parity_rows.table(wrong)


def test_outputs(run):
    check(run, run.resampling() | run.images() | run.layers_of_generator() | run.judgements())


def test_path_lengths_and_r1(run):
    check(run, run.penalties())


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_everything(run, dtype):
    found, skipped = parity.compare(run.recording, dtype)
    wrong = [row for row in found if not row.ok]
    assert not wrong, parity_rows.table(wrong)
    assert not [name for name in skipped if name.endswith(("image", "loss"))]


# === The comparison detects near misses ===


def test_detects_flipped_kernels(run, monkeypatch):
    right = operators.up_conv
    monkeypatch.setattr(layers, "up_conv", lambda x, k: right(x, ops.flip(k, (0, 1))))
    assert failing(run, image_of(run))


def test_detects_noise_without_the_gain(run, monkeypatch):
    right = layers.StyledConv.call

    def call(layer, x, style, noise):
        return right(layer, x, style, noise / operators.GAIN)

    monkeypatch.setattr(layers.StyledConv, "call", call)
    assert failing(run, image_of(run))


def test_detects_demodulation_without_the_root(run, monkeypatch):
    right = layers.StyledConv._demodulation
    monkeypatch.setattr(layers.StyledConv, "_demodulation", lambda *a: ops.square(right(*a)))
    assert failing(run, image_of(run))


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
    assert failing(run, image_of(run))


def test_detects_mixing_from_the_next_row_on(run, monkeypatch):
    right = generator.Generator.mixed
    monkeypatch.setattr(
        generator.Generator, "mixed", lambda g, a, b, index: right(g, a, b, index + 1)
    )
    w, other = (run.generator.mapping(run.input(name)) for name in ("z", "z2"))
    mixed = run.generator.mixed(w, other, int(run.recording["G_mix_index"]))
    assert failing(run, {"G_mix_image": run.generated(mixed[:2])})


@pytest.mark.slow
def test_detects_another_mean_of_paths(run, monkeypatch):
    from oasis_tf.systems.few_shot import losses

    right = losses.path_penalty

    def detached(lengths, mean, decay):
        _, new = right(lengths, mean, decay)
        return ops.mean(ops.square(lengths - ops.stop_gradient(new))), new

    monkeypatch.setattr(losses, "path_penalty", detached)
    assert failing(run, run.penalties()) == {"gradPath_norm"}
