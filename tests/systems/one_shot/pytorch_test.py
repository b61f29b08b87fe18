"""The PyTorch peer of the benchmarks equals the recording of the authors' release."""

import importlib.util

import numpy as np
import pytest

from benchmarks import golden_files
from benchmarks.golden_files import part
from benchmarks.one_shot import recordings

if importlib.util.find_spec("torch"):
    import torch

    from benchmarks.one_shot import pytorch_peer as peer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def with_pytorch():
    pytest.importorskip("torch", reason="PyTorch is not installed (extra `peers`)")


@pytest.fixture(scope="module")
def recording():
    return recordings.load(recordings.GOLDEN / "sivgan.npz")


@pytest.fixture
def model(recording):
    meta = golden_files.meta(recording)
    generator = peer.Generator(meta["noise_shape"], meta["g"], meta["ch_g"], meta["z"])
    discriminator = peer.Discriminator(meta["n"], meta["n_ll"], meta["ch_d"])
    for network, name in ((generator, "G0"), (discriminator, "D0")):
        state = {k: torch.tensor(v) for k, v in part(recording, name).items()}
        network.load_state_dict(state)
    decay = {"ema_decay": meta["ema"], "lambda_dr": meta["lambda_DR"]}
    no_chance = {"probability": 0, "feature_probability": 0}
    return peer.SIVGAN(generator, discriminator, meta["lr"], **decay, **no_chance)


def test_evaluation(model, recording):
    with torch.no_grad():
        images, features = model.generator.eval()(torch.tensor(recording["z"][0]))
        logits = model.discriminator.eval()(images[-model.scales :])
    for k, image in enumerate(images):
        np.testing.assert_allclose(image, recording[f"G_eval/image{k}"], atol=1e-5)
    for k, feature in enumerate(features[:-1]):
        np.testing.assert_allclose(feature, recording[f"G_eval/feature{k}"], atol=1e-5)
    for branch, maps in logits.items():
        for k, x in enumerate(maps):
            wanted = recording[f"D_eval_fake/{branch}{k}"]
            np.testing.assert_allclose(x, wanted, atol=1e-5)


@pytest.mark.parametrize("augmented", [False, True])
def test_three_iterations(model, recording, augmented):
    meta, z = golden_files.meta(recording), torch.tensor(recording["z"])
    recorded, history = part(recording, "fa_run") if augmented else recording, []
    for step in range(meta["steps"]):
        change = None
        if augmented:
            names = ("content_mix", "content_drop", "layout_rect")
            mix, drop, rectangles = (recorded[name][step] for name in names)
            masks = (torch.tensor(x, dtype=bool) for x in (mix, drop))
            change = peer.FeatureDraws(*masks, rectangles.tolist())
        image = torch.tensor(recording["image"])
        terms = model.iteration(image, z[1 + 2 * step], z[2 + 2 * step], change)
        history.append([float(term) for term in terms.values()])
    np.testing.assert_allclose(history, recorded["history"], rtol=1e-5)
    networks = {"G3": model.generator, "D3": model.discriminator, "EMA3": model.average}
    for prefix, network in networks.items():
        ours = network.state_dict()
        for name, wanted in part(recorded, prefix).items():
            if name not in meta["degenerate"]:
                error = np.abs(ours[name].numpy() - wanted)
                assert np.quantile(error, 0.99) < 2e-5 and error.max() < 5e-4, name


def test_augmentation(recording):
    recorded = part(recording, "da")
    images = [torch.tensor(recorded[f"in{k}"], dtype=torch.float64) for k in range(3)]
    count = len(images[0])
    for case in ("none", "zoom", "crop", "flip", "vertical", "horizontal", "all"):
        found, draws = part(recorded, case), {}
        crops = found.get("crops_top_left_height_width", np.zeros((0, 4))).astype(int).tolist()
        shifts = found.get("shift_margin_direction", np.zeros((0, 2))).tolist()
        for name in ("zoom", "crop", "flip", "vertical", "horizontal"):
            if case in (name, "all"):
                chosen = {"flip": True}.get(name)
                source = crops if name in ("zoom", "crop") else shifts
                if chosen is None:
                    chosen, source[:count] = source[:count], []
                draws[name] = chosen
        for k, image in enumerate(peer.augmented(images, draws)):
            np.testing.assert_allclose(image, found[f"out{k}"], atol=1e-5, err_msg=case)


def test_draws_stay_inside():
    for _ in range(20):
        draws = peer.FeatureDraws.drawn(5, 40, 12, 7, 1)
        assert draws.mix.sum(1).min() >= 3 and draws.drop.sum() >= 3
        for x1, x2, y1, y2 in draws.rectangles:
            assert 0 <= x1 <= x2 < 12 and 0 <= y1 <= y2 < 7
        images = [torch.rand(5, 3, 8, 12), torch.rand(5, 3, 16, 24)]
        changed = peer.augmented(images, peer.drawn_augmentation(5, 16, 24, 0.7))
        assert [x.shape for x in changed] == [x.shape for x in images]
        assert all(x.min() >= 0 and x.max() <= 1 for x in changed)
