"""The peer that ships as a contender."""

import json

import pytest

from benchmarks import pytorch_contender

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def peer():
    """`benchmarks.oasis.pytorch_peer`, where there is PyTorch."""
    pytest.importorskip("torch")
    from benchmarks.oasis import pytorch_peer

    return pytorch_peer


def test_step_of_both(peer, report_of):
    run = report_of("step", "--peer=eager")[1]["runs"][0]
    facts = {name: found["facts"] for name, found in run["contenders"].items()}
    assert facts["eager"]["versions"].keys() == {"torch"}
    assert facts["ours float32"]["versions"].keys() == {"tensorflow", "keras"}


def test_generate_of_both(peer, report_of):
    run = report_of("generate", "--peer=eager", "--peer=bfloat16")[1]["runs"][0]
    names = ["ours float32", "eager", "bfloat16"]
    assert list(run["contenders"]) == names
    assert len(run["ratios"]) == 2 * (len(names) - 1)
    # Counted independently: a generator here, one and its average there.
    ours, eager = (run["contenders"][name]["facts"]["state_bytes"] for name in names[:2])
    assert ours == pytest.approx(2 * eager, rel=0.01)


@pytest.mark.parametrize("task", [pytest.param("step", marks=pytest.mark.exhaustive), "generate"])
@pytest.mark.parametrize(
    ("system", "sizes", "title"),
    [
        (
            "one_shot",
            ["--height=48", "--width=64", "--channels=4", "--noise_channels=4"],
            "48×64, batch 2, widths × 4; 1 rounds",
        ),
        (
            "few_shot",
            ["--height=16", "--width=16", "--channels=1", "--noise_channels=4", "--smoothness=8"],
            "16×16, batch 2, widths × 1, L_SS at 8×8; 1 rounds",
        ),
    ],
)
def test_other_systems(peer, run_module, tmp_path, task, system, sizes, title):
    """Both sides compute, with about as many weights."""
    path = tmp_path / "report.json"
    often = ["--batch_size=2", "--rounds=1", "--iterations=1", "--warmup=1", f"--json={path}"]
    done = run_module(f"benchmarks.{task}", f"--system={system}", *sizes, *often)
    assert done.returncode == 0, done.stderr
    assert title in done.stdout
    run = json.loads(path.read_text())["runs"][0]
    assert len(run["ratios"]) == 1
    ours, eager = (found["facts"]["state_bytes"] for found in run["contenders"].values())
    # Adam's first moments, where beta_1 is 0, are the peer's alone.
    assert ours == pytest.approx(
        eager, rel=0.4 if system == "few_shot" and task == "step" else 0.05
    )


@pytest.mark.exhaustive
@pytest.mark.parametrize("mode", ["channels_last", "bfloat16"])
def test_modes_compute_the_same(peer, mode):
    """Up to the precision of the mode, in evaluation and through a step."""
    from benchmarks.oasis.pytorch_peer import torch

    torch.manual_seed(1)
    label_map, noise = torch.randint(5, (2, 64, 64)), torch.randn(2, 4)
    image, bits = torch.rand(2, 3, 64, 64), torch.randint(2, (5,))
    images, losses = [], []
    for changes in (set(), pytorch_contender.MODES[mode]):
        torch.manual_seed(0)
        model = peer.OASIS(
            peer.Generator(5, 4, 3, spade_channels=7), peer.Discriminator(5, 3), False
        )
        for network in (model.generator, model.discriminator):
            pytorch_contender._change(network, changes)
        found = model.iteration(image, label_map, noise, noise, bits)
        losses.append({name: float(loss) for name, loss in found.items()})
        images.append(model.generator(label_map, noise))
    rel = 1e-4 if mode == "channels_last" else 0.05
    assert losses[1] == pytest.approx(losses[0], rel=rel)
    assert images[1].dtype == torch.float32
    assert images[1].detach().numpy() == pytest.approx(images[0].detach().numpy(), abs=4 * rel)
    assert not (mode == "bfloat16" and torch.equal(*images))


@pytest.mark.exhaustive
def test_spade_channels(peer):
    generator = peer.Generator(5, 4, 2, spade_channels=7)
    assert {m.weight.shape[0] for n, m in generator.named_modules() if n.endswith("shared.0")} == {
        7
    }
