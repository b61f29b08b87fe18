"""The PyTorch peers of the benchmarks equal the recordings of the references, in float64."""

import ast
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from benchmarks.golden_files import load, part

if importlib.util.find_spec("torch"):
    import torch

    from benchmarks.few_shot import pytorch_biggan, pytorch_peer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def with_pytorch():
    pytest.importorskip("torch", reason="PyTorch is not installed (extra `peers`)")


GOLDEN = Path(__file__).resolve().parents[2] / "golden"


class Recording:
    """A recording's arrays as float64 tensors, its settings, its parts."""

    def __init__(self, name):
        self.arrays = load(GOLDEN / f"{name}.npz")
        self.meta = ast.literal_eval(str(self.arrays["meta"]))

    def __getitem__(self, name):
        array = torch.from_numpy(self.arrays[name])
        return array.double() if array.is_floating_point() else array

    def part(self, prefix):
        """dict of tensors."""
        return {name: self[f"{prefix}/{name}"] for name in part(self.arrays, prefix)}

    def fill(self, network, prefix):
        """The network with the weights under a prefix, in float64."""
        found = network.load_state_dict(self.part(prefix), strict=False)
        fixed = ("blur.kernel", "upsample.kernel", "conv2.0.kernel", "skip.0.kernel")
        assert not found.missing_keys and all(k.endswith(fixed) for k in found.unexpected_keys)
        return network.double()


def close(found, wanted, scale=None, tolerance=1e-6):
    """Compares relative to the greatest value, of the wanted ones by default."""
    found = found.detach()[tuple(slice(n) for n in wanted.shape)]
    scale = float(wanted.abs().max()) if scale is None else scale
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * max(scale, 1e-12))


def close_gradients(loss, network, wanted, norms=False):
    """Compares d(loss)/d(parameters), absent ones as zero; or their norms."""
    names, parameters = zip(*network.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    assert set(names) == set(wanted)
    for name, value, parameter in zip(names, found, parameters, strict=True):
        value = torch.zeros_like(parameter) if value is None else value
        # Some are zero but for rounding.
        scale = max(1e-6, float(wanted[name].abs().max()))
        close(value.norm() if norms else value, wanted[name], scale)


# === StyleGAN2 ===


@pytest.fixture(scope="module")
def style():
    return Recording("stylegan2")


@pytest.fixture
def networks(style):
    """(generator, perturbed generator, discriminator)."""
    sizes = style.meta["size"], style.meta["CH"]
    mapping = style.meta["style"], style.meta["mlp"]
    made = [pytorch_peer.Generator(*sizes, *mapping) for _ in range(2)]
    made.append(pytorch_peer.Discriminator(*sizes))
    return [style.fill(*pair) for pair in zip(made, ("G0", "Gt", "D0"), strict=True)]


@pytest.fixture
def heads(style):
    return style.fill(pytorch_peer.new_heads(style.meta["CH"], style.meta["size"]), "heads")


def test_stylegan2_outputs(style, networks):
    generator, target, discriminator = networks
    noise, z = generator.fixed_noise(), style["z"]
    image = generator(generator.rows(z), noise)
    close(image, style["G_image"])
    close(target(target.rows(z), noise), style["Gt_image"])
    rows = generator.rows(z, style["z2"], int(style["G_mix_index"]))
    close(generator(rows, noise), style["G_mix_image"])
    features, logits = discriminator(image)
    close(logits, style["D_fake"])
    for k, feature in enumerate(features):
        close(feature, style[f"D_feat/convs.{k + 1}"])
    close(pytorch_peer.upsample(style["unit/x"]), style["unit/upsample"])
    noise = list(style.part("noise_batch").values())
    close(generator(generator.rows(z[: len(noise[0])]), noise), style["G_noise_batch_image"])


def test_stylegan2_losses(style, networks):
    generator, _, discriminator = networks
    rows = generator.rows(style["z"])
    image, real = generator(rows, generator.fixed_noise()), style["real"].requires_grad_(True)
    fakes, reals = ([discriminator(x)[1]] for x in (image, real))
    loss = pytorch_peer.logistic(fakes, False) + pytorch_peer.logistic(reals, True)
    close(loss, style["loss_d"])
    close_gradients(loss, discriminator, style.part("gradD"))
    penalty = pytorch_peer.r1(reals, real)
    close(penalty, style["r1_per_sample"])
    close_gradients(penalty.mean(), discriminator, style.part("gradR1"))
    loss = pytorch_peer.logistic(fakes, True)
    close(loss, style["loss_g"])
    close_gradients(loss, generator, style.part("gradG"))
    few = generator.rows(style["z"][: len(style["path_y"])])
    made = generator(few, generator.fixed_noise())
    lengths = pytorch_peer.path_lengths(made, few, style["path_y"])
    close(lengths, style["path_lengths"])


@pytest.mark.parametrize("side", [16, 32])
def test_smoothness(style, networks, side):
    features = [
        lambda z, net=net: net(net.rows(z), networks[0].fixed_noise(), side) for net in networks[:2]
    ]
    inputs = style["z"], style[f"ss{side}/y"]
    loss = pytorch_peer.smoothness(*features, *inputs, epsilon=1e-8)
    close(loss, style[f"ss{side}/loss_eps1e-8"])
    loss = pytorch_peer.smoothness(*features, *inputs, epsilon=0)
    close(loss, style[f"ss{side}/loss"])
    kind = "grad" if side == 16 else "grad_norm"
    close_gradients(loss, networks[1], style.part(f"ss{side}/{kind}"), norms=side == 32)


def test_all_blocks(style, networks, heads):
    generator, _, discriminator = networks
    image, real = style["G_image"], style["real"].requires_grad_(True)
    image = generator(generator.rows(style["z"]), generator.fixed_noise())
    fakes, reals = (pytorch_peer.all_logits(discriminator, heads, x) for x in (image, real))
    for k, (fake, found) in enumerate(zip(fakes, reals, strict=True)):
        close(fake, style[f"all/logits_fake_{k}"])
        close(found, style[f"all/logits_real_{k}"])
    close(pytorch_peer.r1(reals, real), style["all/r1_per_sample"])
    loss = pytorch_peer.logistic(fakes, False) + pytorch_peer.logistic(reals, True)
    close(loss, style["all/loss_d"])
    close_gradients(loss, discriminator, style.part("all/gradD"))
    close_gradients(loss, heads, style.part("all/gradheads"))
    loss = pytorch_peer.logistic(fakes, True)
    close(loss, style["all/loss_g"])
    close_gradients(loss, generator, style.part("all/gradG_norm"), norms=True)


def test_stylegan2_iterations(style, networks):
    generator, _, discriminator = networks
    model = pytorch_peer.StyleGAN2(
        generator, discriminator, ema_decay=style.meta["ema_decay"], fixed_noise=True
    )
    history = []
    for step, index in enumerate(style["train/mix_index"].tolist()):
        draws = style.part(f"train/{step}")
        given = {"d": (draws["z0"], draws["z1"], index), "g": (draws["z2"], draws["z3"], index)}
        if step == 0:
            given |= {"path": (draws["path_z"],), "path_y": draws["path_y"]}
        real = draws["real_small"].repeat_interleave(8, 2).repeat_interleave(8, 3)
        terms = model.iteration(step, real, given)
        history.append([float(terms.get(name, 0)) for name in ("d", "r1", "g", "path")])
    recorded = style["train/history_d_r1_g_path_mean"]
    close(torch.tensor(history)[:, ::2], recorded[:, :4:2])
    close(torch.tensor(history[0]), recorded[0, :4])
    close(model.path_mean, recorded[-1, 4])
    states = {"G3": generator, "D3": discriminator, "EMA3": model.average}
    for prefix, network in states.items():
        for name, value in network.named_parameters():
            close(value, style[f"{prefix}/{name}"])


# === BigGAN ===


@pytest.fixture(scope="module")
def big():
    return Recording("biggan")


@pytest.fixture
def big_networks(big):
    """(generator, perturbed generator, discriminator), in evaluation mode."""
    meta = big.meta
    sizes = meta["resolution"], meta["ch"], meta["n_classes"]
    dims = meta["dim_z"], meta["shared_dim"], (int(meta["G_attn"]),)
    made = [pytorch_biggan.Generator(*sizes, *dims) for _ in range(2)]
    made.append(pytorch_biggan.Discriminator(*sizes, (int(meta["D_attn"]),)))
    pairs = zip(made, ("G0", "Gt", "D0"), strict=True)
    return [big.fill(*pair).eval() for pair in pairs]


def close_state(big, network, prefix, tolerance=1e-6):
    """Compares weights and buffers."""
    state = network.state_dict()
    for name, wanted in big.part(prefix).items():
        scale = max(1, float(wanted.abs().max()))
        close(state[name], wanted, scale, tolerance)


def test_biggan_outputs(big, big_networks):
    generator, _, discriminator = big_networks
    embedding = generator.shared(big["label"])
    close(embedding, big["embedding"])
    image = generator(big["z"], embedding)
    close(image, big["G_eval"])
    close(generator(big["z"], embedding, 16), big["G_eval_feat/1"])
    fake = discriminator(image, big["label"])
    real = discriminator(big["real"], big["label_real"])
    close(fake, big["D_eval_fake"])
    close(discriminator(image), big["D_eval_fake_unconditional"])
    found = [*pytorch_biggan.hinge_d(real, fake), -fake.mean()]
    for term, name in zip(found, ("d_real", "d_fake", "g"), strict=True):
        close(term, big[f"hinge_{name}"])
    close(generator.train()(big["z"], embedding), big["G_train"])
    close_state(big, generator, "G_after_train")
    both = torch.cat([image.detach(), big["real"]]), torch.cat([big["label"], big["label_real"]])
    close(discriminator.train()(*both), big["D_train_fake_real"])
    close_state(big, discriminator, "D_after_train")


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_biggan_smoothness(big, big_networks, mode):
    nets = [network.train(mode == "train") for network in big_networks[:2]]
    features = [lambda v, net=net: net.feature(v, big.meta["ss"]) for net in nets]
    loss = pytorch_peer.smoothness(*features, big["ss/v"], big["ss/y"], epsilon=0)
    close(loss, big[f"ss/{mode}/loss"])
    recorded = big.part(f"ss/{mode}/grad_norm")
    for name, parameter in nets[1].named_parameters():
        if name.endswith("conv2.weight") and name in recorded:
            (gradient,) = torch.autograd.grad(
                loss, parameter, retain_graph=True, materialize_grads=True, allow_unused=True
            )
            close(gradient.norm(), recorded[name], max(1e-6, float(recorded[name])))


def test_biggan_iteration(big, big_networks):
    generator, _, discriminator = big_networks
    model = pytorch_biggan.BigGAN(generator, discriminator, ema_decay=big.meta["ema_decay"])
    latents = (big["z"], big["label"]), (big["z2"], big["label2"])
    terms = model.iteration(big["real"], big["label_real"], *latents)
    close(torch.stack(list(terms.values())), big["train/loss_d_real_fake_g"])
    close_state(big, discriminator, "D1")
    close_state(big, generator, "G1", 3e-5)
    close_state(big, model.average, "EMA1", 3e-5)
