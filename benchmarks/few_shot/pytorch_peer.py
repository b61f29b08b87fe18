"""StyleGAN2 and its adaptation to few images in plain PyTorch: what the benchmarks compare with.

Written from the specification. Layouts are PyTorch's (NCHW, kernels OIHW); the weights have the
official names. Nothing is optimised: kernels are modulated for every sample, zeros are inserted
before filtering, and smoothness similarity runs both generators by themselves. BigGAN is in
`pytorch_biggan.py`.
"""

import copy
import math
import random

try:
    import torch
except ImportError as error:
    raise ImportError('The PyTorch peer needs PyTorch: pip install "oasis-tf[bench]".') from error

from torch import nn
from torch.nn import functional as F

LEAKY_SLOPE = 0.2


# === Operators ===


def upfirdn(x, up=1, down=1, pad=(0, 0), gain=1):
    """Zeros inserted, padded, filtered by [1, 3, 3, 1], samples dropped."""
    if up > 1:
        batch, channels, height, width = x.shape
        x = F.pad(x[:, :, :, None, :, None], (0, up - 1, 0, 0, 0, up - 1))
        x = x.reshape(batch, channels, height * up, width * up)
    row = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype, device=x.device)
    kernel = (torch.outer(row, row) * (gain / 64)).expand(x.shape[1], 1, 4, 4)
    x = F.pad(x, (*pad, *pad))
    return F.conv2d(x, kernel, stride=down, groups=x.shape[1])


def upsample(x):
    """To twice the sides."""
    return upfirdn(x, up=2, pad=(2, 1), gain=4)


def activate(x, bias):
    """LeakyReLU of x + bias, times √2."""
    return math.sqrt(2) * F.leaky_relu(x + bias.view(-1, *[1] * (x.dim() - 2)), LEAKY_SLOPE)


class FusedLeakyReLU(nn.Module):
    """`activate` with a bias of its own."""

    def __init__(self, channels):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        return activate(x, self.bias)


class Linear(nn.Module):
    """Equalised; the stored weight and bias are used times ``multiplier``."""

    def __init__(self, fan_in, fan_out, bias=0.0, multiplier=1, active=False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in) / multiplier)
        self.bias = nn.Parameter(torch.full((fan_out,), float(bias)))
        self.multiplier, self.active = multiplier, active

    def forward(self, x):
        weight = self.weight * (self.multiplier / math.sqrt(self.weight.shape[1]))
        bias = self.bias * self.multiplier
        if self.active:
            return activate(x @ weight.T, bias)
        return F.linear(x, weight, bias)


class Conv(nn.Module):
    """Equalised convolution."""

    def __init__(self, fan_in, fan_out, size, stride=1, padding=0, bias=False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in, size, size))
        self.bias = nn.Parameter(torch.zeros(fan_out)) if bias else None
        self.options = {"stride": stride, "padding": padding}

    def forward(self, x):
        weight = self.weight / math.sqrt(self.weight[0].numel())
        return F.conv2d(x, weight, self.bias, **self.options)


class Blur(nn.Module):
    """The filter alone."""

    def __init__(self, pad):
        super().__init__()
        self.pad = pad

    def forward(self, x):
        return upfirdn(x, pad=self.pad)


# === Generator ===


class ModulatedConv(nn.Module):
    """A convolution whose kernel a style scales, sample by sample."""

    def __init__(self, fan_in, fan_out, size, style_dim, up=False, demodulate=True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, fan_out, fan_in, size, size))
        self.modulation = Linear(style_dim, fan_in, bias=1)
        self.up, self.demodulate = up, demodulate

    def forward(self, x, style):
        batch, fan_in, height, width = x.shape
        fan_out, size = self.weight.shape[1], self.weight.shape[-1]
        scale = self.modulation(style).view(batch, 1, fan_in, 1, 1)
        kernel = self.weight / math.sqrt(fan_in * size**2) * scale
        if self.demodulate:
            kernel = kernel * torch.rsqrt(kernel.square().sum((2, 3, 4), keepdim=True) + 1e-8)
        x = x.reshape(1, batch * fan_in, height, width)
        if self.up:
            kernel = kernel.transpose(1, 2).reshape(batch * fan_in, fan_out, size, size)
            x = F.conv_transpose2d(x, kernel, stride=2, groups=batch)
            return upfirdn(x.view(batch, fan_out, *x.shape[2:]), pad=(1, 1), gain=4)
        kernel = kernel.view(batch * fan_out, fan_in, size, size)
        x = F.conv2d(x, kernel, padding=size // 2, groups=batch)
        return x.view(batch, fan_out, height, width)


class Noise(nn.Module):
    """Adds noise of a learned strength."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x, noise):
        return x + self.weight * noise


class StyledConv(nn.Module):
    """Modulated convolution, noise, activation."""

    def __init__(self, fan_in, fan_out, style_dim, up=False):
        super().__init__()
        self.conv = ModulatedConv(fan_in, fan_out, 3, style_dim, up=up)
        self.noise = Noise()
        self.activate = FusedLeakyReLU(fan_out)

    def forward(self, x, style, noise):
        return self.activate(self.noise(self.conv(x, style), noise))


class ToRGB(nn.Module):
    """Adds to the image of half the sides."""

    def __init__(self, fan_in, style_dim):
        super().__init__()
        self.conv = ModulatedConv(fan_in, 3, 1, style_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x, style, image=None):
        made = self.conv(x, style) + self.bias
        return made if image is None else made + upsample(image)


class Generator(nn.Module):
    """Latents to images.

    Args:
        size: int, side of the images.
        channels: dict from resolutions to widths.
        style_dim, layers: ints, of the mapping.
    """

    def __init__(self, size, channels, style_dim=512, layers=8):
        super().__init__()
        self.style_dim = style_dim
        square = style_dim, style_dim
        mapping = (Linear(*square, multiplier=0.01, active=True) for _ in range(layers))
        self.style = nn.Sequential(PixelNorm(), *mapping)
        self.input = nn.ParameterDict({"input": torch.randn(1, channels[4], 4, 4)})
        self.conv1 = StyledConv(channels[4], channels[4], style_dim)
        self.to_rgb1 = ToRGB(channels[4], style_dim)
        self.convs, self.to_rgbs = nn.ModuleList(), nn.ModuleList()
        self.noises = nn.Module()
        self.sides = [4]
        for side in [2**k for k in range(3, size.bit_length())]:
            self.convs.append(StyledConv(channels[side // 2], channels[side], style_dim, up=True))
            self.convs.append(StyledConv(channels[side], channels[side], style_dim))
            self.to_rgbs.append(ToRGB(channels[side], style_dim))
            self.sides += [side] * 2
        for k, side in enumerate(self.sides):
            self.noises.register_buffer(f"noise_{k}", torch.randn(1, 1, side, side))
        self.num_rows = len(self.sides) + 1

    def fixed_noise(self):
        """The stored noise of all layers."""
        return list(self.noises.buffers())

    def fresh_noise(self, batch):
        """Noise of all layers, other for every sample."""
        return [torch.randn(batch, 1, side, side) for side in self.sides]

    def rows(self, z, z_after=None, index=0):
        """Styles [B, rows, S] of latents; of ``z_after`` from row ``index`` on, unless 0."""
        w = self.style(z)[:, None].expand(-1, self.num_rows, -1)
        if not index:
            return w
        after = self.style(z_after)[:, None].expand(-1, self.num_rows - index, -1)
        return torch.cat([w[:, :index], after], 1)

    def forward(self, rows, noise, until=None):
        """Images [B, 3, H, W]; with ``until`` features [B, C, until, until] instead."""
        x = self.input["input"].expand(len(rows), -1, -1, -1)
        x = self.conv1(x, rows[:, 0], noise[0])
        image = self.to_rgb1(x, rows[:, 1])
        for k, to_rgb in enumerate(self.to_rgbs):
            for layer in (2 * k, 2 * k + 1):
                x = self.convs[layer](x, rows[:, layer + 1], noise[layer + 1])
            if x.shape[-1] == until:
                return x
            image = to_rgb(x, rows[:, 2 * k + 3], image)
        return image


class PixelNorm(nn.Module):
    """Latents of unit mean square."""

    def forward(self, z):
        return z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)


# === Discriminator ===


def _active_conv(fan_in, fan_out, size, **options):
    return [Conv(fan_in, fan_out, size, **options), FusedLeakyReLU(fan_out)]


class Block(nn.Module):
    """A residual block that halves the sides."""

    def __init__(self, fan_in, fan_out):
        super().__init__()
        self.conv1 = nn.Sequential(*_active_conv(fan_in, fan_in, 3, padding=1))
        self.conv2 = nn.Sequential(Blur((2, 2)), *_active_conv(fan_in, fan_out, 3, stride=2))
        self.skip = nn.Sequential(Blur((1, 1)), Conv(fan_in, fan_out, 1, stride=2))

    def forward(self, x):
        return (self.conv2(self.conv1(x)) + self.skip(x)) / math.sqrt(2)


class Discriminator(nn.Module):
    """Images to (outputs of the residual blocks, logits [B, 1]).

    Args:
        size, channels: as of ``Generator``.
    """

    def __init__(self, size, channels):
        super().__init__()
        sides = [2**k for k in range(size.bit_length() - 1, 2, -1)]
        blocks = [Block(channels[side], channels[side // 2]) for side in sides]
        first = nn.Sequential(*_active_conv(3, channels[size], 1))
        self.convs = nn.Sequential(first, *blocks)
        width = channels[4]
        self.final_conv = nn.Sequential(*_active_conv(width + 1, width, 3, padding=1))
        self.final_linear = nn.Sequential(Linear(16 * width, width, active=True), Linear(width, 1))

    def forward(self, image):
        x, features = self.convs[0](image), []
        for block in self.convs[1:]:
            x = block(x)
            features.append(x)
        x = self.final_conv(torch.cat([x, deviation(x)], 1))
        return features, self.final_linear(x.flatten(1))


def deviation(x):
    """Minibatch standard deviation, a channel [B, 1, H, W]."""
    batch, _, height, width = x.shape
    group = min(batch, 4)
    spread = x.view(group, batch // group, *x.shape[1:])
    spread = (spread.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
    return spread.repeat(group).view(batch, 1, 1, 1).expand(-1, -1, height, width)


def new_heads(channels, size):
    """Heads of all residual blocks, for `all_logits`."""
    sides = [2**k for k in range(size.bit_length() - 2, 1, -1)]
    return nn.ModuleList(
        nn.Sequential(Conv(channels[side], 1, 3, padding=1, bias=True)) for side in sides
    )


def all_logits(discriminator, heads, image):
    """Logits of every head, the final stage last."""
    features, logits = discriminator(image)
    pairs = zip(heads, features, strict=True) if heads else ()
    return [*(head(x) for head, x in pairs), logits]


# === Losses ===


def logistic(logits, real):
    """The mean over heads of the mean loss."""
    return sum(F.softplus(-x if real else x).mean() for x in logits) / len(logits)


def r1(logits, image):
    """Squared gradient norms [B]; maps and heads are averaged first."""
    score = sum(x.flatten(1).mean(1) for x in logits) / len(logits)
    (gradient,) = torch.autograd.grad(score.sum(), image, create_graph=True)
    return gradient.square().sum((1, 2, 3))


def path_lengths(image, rows, y):
    """Lengths [B] of the gradients of ⟨image, y⟩ / side."""
    projection = (image * y).sum() / math.sqrt(image.shape[2] * image.shape[3])
    (gradient,) = torch.autograd.grad(projection, rows, create_graph=True)
    return gradient.square().sum(2).mean(1).sqrt()


def jacobian_row(feature_of, z, y, differentiable):
    """∇_z⟨feature_of(z), y⟩."""
    z = z.detach().requires_grad_(True)
    (row,) = torch.autograd.grad((feature_of(z) * y).sum(), z, create_graph=differentiable)
    return row


def smoothness(source_of, target_of, z, y, weight=5, epsilon=1e-8):
    """L_SS: how far apart the rows of two generators are; functions from latents to features."""
    gap = jacobian_row(target_of, z, y, True) - jacobian_row(source_of, z, y, False)
    return weight * (gap.square().sum(1) + epsilon).sqrt().mean()


# === One iteration ===


class StyleGAN2:
    """Networks, the averaged generator, optimizers and the training iteration.

    Args:
        generator, discriminator: the networks.
        smooth_side: int, resolution of the features of L_SS; None: no L_SS.
        heads: of L_all; None: the final logit alone.
        r1_every, path_every: ints, iterations between the lazy steps; 0: never.
        ema_decay: float.
        fixed_noise: bool, stored noise instead of fresh noise.
    """

    def __init__(
        self,
        generator,
        discriminator,
        smooth_side=None,
        heads=None,
        r1_every=16,
        path_every=4,
        ema_decay=0.5 ** (32 / 10000),
        fixed_noise=False,
    ):
        self.generator, self.discriminator, self.heads = generator, discriminator, heads
        self.average = copy.deepcopy(generator).requires_grad_(False)
        self.source = copy.deepcopy(self.average) if smooth_side else None
        self.smooth_side, self.r1_every, self.path_every = smooth_side, r1_every, path_every
        self.ema_decay, self.fixed_noise = ema_decay, fixed_noise
        self.path_mean = torch.zeros(())
        self.judges = nn.ModuleList([discriminator, *([heads] if heads else [])])
        self.optimizer_g = _adam(generator, path_every)
        self.optimizer_d = _adam(self.judges, r1_every)

    def iteration(self, step, image, given=None):
        """D step, lazy R1, G step, lazy path length, average.

        Args:
            step: int, from 0.
            image: float [B, 3, H, W] in [-1, 1].
            given: dict of draws; those that are not there are drawn. "d", "g", "path": (z, z_after,
                index); "path_y": [b, 3, H, W].

        Returns:
            dict of terms: "d", "g", and "r1", "path", "smoothness" where they were computed.
        """
        given, batch = given or {}, len(image)
        terms = self.discriminator_step(image, given.get("d") or self._latents(batch))
        if self.r1_every and step % self.r1_every == 0:
            terms["r1"] = self.r1_step(image)
        terms |= self.generator_step(given.get("g") or self._latents(batch))
        if self.path_every and step % self.path_every == 0:
            latents = given.get("path") or self._latents(max(1, batch // 2))
            terms["path"] = self.path_step(latents, given.get("path_y"))
        self.update_average()
        return {name: term.detach() for name, term in terms.items()}

    def discriminator_step(self, image, latents):
        """One step of the discriminator."""
        self._train(self.judges)
        with torch.no_grad():
            fake = self._made(latents)
        loss = logistic(self._logits(fake), False) + logistic(self._logits(image), True)
        _apply(self.optimizer_d, loss)
        return {"d": loss}

    def r1_step(self, image):
        """One step on the gradient penalty alone."""
        self._train(self.judges)
        image = image.detach().requires_grad_(True)
        penalty = r1(self._logits(image), image).mean()
        _apply(self.optimizer_d, 10 / 2 * self.r1_every * penalty)
        return penalty

    def generator_step(self, latents):
        """One step of the generator, with L_SS if there is a source."""
        self._train(self.generator)
        terms = {"g": logistic(self._logits(self._made(latents)), True)}
        if self.source:
            terms["smoothness"] = self.smoothness(len(latents[0]))
        _apply(self.optimizer_g, sum(terms.values()))
        return terms

    def smoothness(self, batch):
        """L_SS of drawn latents."""
        z, noise = torch.randn(batch, self.generator.style_dim), self._noise(batch)
        features = [
            lambda z, net=net: net(net.rows(z), noise, self.smooth_side)
            for net in (self.source, self.generator)
        ]
        with torch.no_grad():
            y = torch.randn_like(features[0](z))
        return smoothness(*features, z, y)

    def path_step(self, latents, y=None):
        """One step on the path lengths alone."""
        self._train(self.generator)
        rows = self.generator.rows(*latents)
        image = self.generator(rows, self._noise(len(rows)))
        lengths = path_lengths(image, rows, torch.randn_like(image) if y is None else y)
        mean = self.path_mean + 0.01 * (lengths.mean() - self.path_mean)
        penalty = (lengths - mean).square().mean()
        self.path_mean = mean.detach()
        _apply(self.optimizer_g, 2 * self.path_every * penalty)
        return penalty

    @torch.no_grad()
    def update_average(self):
        """Moving average of the parameters."""
        for average, value in zip(
            self.average.parameters(), self.generator.parameters(), strict=True
        ):
            average.lerp_(value, 1 - self.ema_decay)

    def _train(self, chosen):
        for network in (self.generator, self.judges):
            network.requires_grad_(network is chosen)

    def _latents(self, batch):
        """(z, z_after, index): mixed with probability 0.9."""
        z, after = torch.randn(2, batch, self.generator.style_dim)
        return z, after, random.randint(1, self.generator.num_rows - 1) * (random.random() < 0.9)

    def _noise(self, batch):
        network = self.generator
        return network.fixed_noise() if self.fixed_noise else network.fresh_noise(batch)

    def _made(self, latents):
        return self.generator(self.generator.rows(*latents), self._noise(len(latents[0])))

    def _logits(self, image):
        return all_logits(self.discriminator, self.heads, image)


def _adam(network, every):
    """Adam, corrected for a lazy step ``every`` so many."""
    share = every / (every + 1) if every else 1
    return torch.optim.Adam(network.parameters(), 0.002 * share, (0.0, 0.99**share), eps=1e-8)


def _apply(optimizer, loss):
    """One step; absent gradients count as zero."""
    optimizer.zero_grad()
    loss.backward()
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
