"""The benchmarks' PyTorch peer equals the official model, and ours equals it in any shape."""

import dataclasses

import numpy as np
import pytest

from benchmarks.oasis import parity

pytestmark = pytest.mark.slow

SETTINGS = {
    "wide, other widths, no unknown class": parity.Settings(
        height=64,
        width=128,
        num_classes=5,
        has_unknown=False,
        noise_channels=4,
        channels=3,
        discriminator_channels=5,
    ),
    "tall, without noise": parity.Settings(height=128, width=64, noise_channels=0, seed=1),
    "batch of 3, an unknown class": parity.Settings(
        batch_size=3, num_classes=9, channels=4, discriminator_channels=6, seed=2
    ),
    "batch of 1, widths 1, without LabelMix": parity.Settings(
        batch_size=1, channels=1, discriminator_channels=1, lambda_labelmix=0.0, ema_decay=0.9999
    ),
}


@pytest.fixture(scope="module")
def peer():
    """`benchmarks.oasis.recording`, if PyTorch is installed."""
    pytest.importorskip("torch")
    from benchmarks.oasis import recording

    return recording


@pytest.fixture(scope="module")
def replayed(peer, golden):
    """The official recording, computed again by the peer, with every array in full."""
    return peer.replay(golden)


def check(rows):
    assert all(row.ok for row in rows), f"\n{parity.parity_rows.table(rows)}"


def test_peer_equals_the_official_release(golden, replayed):
    check(parity.rows(golden, replayed))


def test_peer_has_the_official_names_and_shapes(golden, replayed):
    assert set(golden) <= set(replayed)
    for name in set(golden) - {"meta"}:
        assert replayed[name].shape == golden[name].shape, name


@pytest.mark.exhaustive
def test_equals_the_peer_on_the_official_weights(peer, golden):
    """In full where the official recording has only norms, so in double precision."""
    settings = dataclasses.replace(parity.Settings.of(golden), dtype="float64")
    double = {k: a.astype(np.float64) if a.dtype == np.float32 else a for k, a in golden.items()}
    check(parity.compare(peer.replay(double | {"meta": settings.to_meta()})))


@pytest.mark.parametrize(
    "name",
    [
        name if number < 2 else pytest.param(name, marks=pytest.mark.exhaustive)
        for number, name in enumerate(SETTINGS)
    ],
)
def test_equals_the_peer(peer, name):
    recording = peer.record(SETTINGS[name])
    assert parity.Settings.of(recording) == SETTINGS[name]
    check(parity.compare(recording))


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", SETTINGS)
def test_equals_the_peer_in_single_precision(peer, name):
    """Outputs and losses only: later differences may exceed any tolerance (see `parity.py`)."""
    settings = dataclasses.replace(SETTINGS[name], dtype="float32")
    recording = peer.record(settings)
    model = parity.new_model(recording)
    check(parity.output_rows(recording, parity.evaluation(model, recording)))
    check(parity.loss_rows(recording, parity.losses(recording)))


@pytest.mark.exhaustive
def test_settings_determine_the_recording(peer):
    first, second, other = (peer.record(parity.Settings(seed=seed)) for seed in (0, 0, 1))
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)
    assert not np.array_equal(first["label"], other["label"])
    assert not np.array_equal(first["G0/fc.weight"], other["G0/fc.weight"])


@pytest.mark.exhaustive
def test_recordings_have_no_trivial_values(peer):
    """No initial weight is 0 or 1, and only those gradients vanish that must."""
    recording = peer.record(parity.Settings())
    for name, array in recording.items():
        kind, _, weight = name.partition("/")
        if kind in ("G0", "D0") and array.ndim:
            assert not np.isin(array, (0, 1)).any(), name
        if kind in ("gradG_norm", "gradD_norm"):
            assert (array < 1e-12) == (weight in parity.CHANCE), name
