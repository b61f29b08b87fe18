"""BigGAN in plain PyTorch, written from the specification, as `pytorch_peer.py` is.

The weights have the official names. Batch norm is the default variant.
"""

import copy
import itertools

try:
    import torch
except ImportError as error:
    raise ImportError('The PyTorch peer needs PyTorch: pip install "oasis-tf[bench]".') from error

from torch import nn
from torch.nn import functional as F

# Widths, in units, into and out of the blocks, by resolution.
GENERATOR_WIDTHS = {
    256: (16, 16, 8, 8, 4, 2, 1),
    128: (16, 16, 8, 4, 2, 1),
    64: (16, 16, 8, 4, 2),
}
DISCRIMINATOR_WIDTHS = {
    256: (1, 2, 4, 8, 8, 16, 16),
    128: (1, 2, 4, 8, 16, 16),
    64: (1, 2, 4, 8, 16),
}


class SpectralNorm(nn.Module):
    """A weight divided by its largest singular value, by one power step in every pass."""

    def __init__(self, shape, bias=False, epsilon=1e-6):
        super().__init__()
        self.weight = nn.Parameter(nn.init.orthogonal_(torch.empty(shape)))
        self.bias = nn.Parameter(torch.zeros(shape[0])) if bias else None
        self.epsilon = epsilon
        self.register_buffer("u0", torch.randn(1, shape[0]))
        self.register_buffer("sv0", torch.ones(1))

    def normalised(self):
        """The weight that is used; training keeps u and the singular value."""
        weight = self.weight.flatten(1)
        with torch.no_grad():
            v = F.normalize(self.u0 @ weight, eps=self.epsilon)
            u = F.normalize(v @ weight.T, eps=self.epsilon)
        sigma = (v @ weight.T @ u.T).squeeze()
        if self.training:
            self.u0, self.sv0[0] = u, sigma.detach()
        return self.weight / sigma


class Linear(SpectralNorm):
    """A dense layer."""

    def __init__(self, fan_in, fan_out, **options):
        super().__init__((fan_out, fan_in), **options)

    def forward(self, x):
        return F.linear(x, self.normalised(), self.bias)


class Conv(SpectralNorm):
    """A convolution that keeps the sides."""

    def __init__(self, fan_in, fan_out, size, bias=True, **options):
        super().__init__((fan_out, fan_in, size, size), bias=bias, **options)

    def forward(self, x):
        size = self.weight.shape[-1]
        return F.conv2d(x, self.normalised(), self.bias, padding=size // 2)


class Embedding(SpectralNorm):
    """A look-up."""

    def forward(self, label):
        return self.normalised()[label]


class BatchNorm(nn.Module):
    """Statistics, and what is conditional or learned of a batch norm."""

    def __init__(self, channels, epsilon):
        super().__init__()
        self.epsilon = epsilon
        self.register_buffer("stored_mean", torch.zeros(channels))
        self.register_buffer("stored_var", torch.ones(channels))

    def standardised(self, x):
        """Mean 0, variance 1: of the batch in training, else with the stored statistics."""
        stored = self.stored_mean, self.stored_var
        return F.batch_norm(x, *stored, None, None, self.training, 0.1, self.epsilon)


class ConditionalBatchNorm(BatchNorm):
    """Gain and bias come from a condition."""

    def __init__(self, channels, condition, epsilon, sn_epsilon):
        super().__init__(channels, epsilon)
        self.gain = Linear(condition, channels, epsilon=sn_epsilon)
        self.bias = Linear(condition, channels, epsilon=sn_epsilon)

    def forward(self, x, condition):
        gain, bias = (layer(condition)[:, :, None, None] for layer in (self.gain, self.bias))
        return self.standardised(x) * (1 + gain) + bias


class OutputBatchNorm(BatchNorm):
    """Gain and bias are learned."""

    def __init__(self, channels):
        super().__init__(channels, 1e-5)
        self.gain = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        return self.standardised(x) * self.gain[:, None, None] + self.bias[:, None, None]


class Attention(nn.Module):
    """Every position looks at the pooled ones."""

    def __init__(self, channels, epsilon=1e-6):
        super().__init__()
        options = {"size": 1, "bias": False, "epsilon": epsilon}
        self.theta = Conv(channels, channels // 8, **options)
        self.phi = Conv(channels, channels // 8, **options)
        self.g = Conv(channels, channels // 2, **options)
        self.o = Conv(channels // 2, channels, **options)
        self.gamma = nn.Parameter(torch.tensor(0.0))

    def forward(self, x):
        theta = self.theta(x).flatten(2)
        phi, g = (F.max_pool2d(layer(x), 2).flatten(2) for layer in (self.phi, self.g))
        beta = torch.softmax(theta.transpose(1, 2) @ phi, -1)
        found = (g @ beta.transpose(1, 2)).view(len(x), -1, *x.shape[2:])
        return self.gamma * self.o(found) + x


# === Generator ===


class GeneratorBlock(nn.Module):
    """A residual block that doubles the sides."""

    def __init__(self, fan_in, fan_out, condition, bn_epsilon, sn_epsilon):
        super().__init__()
        norm = {"condition": condition, "epsilon": bn_epsilon, "sn_epsilon": sn_epsilon}
        self.conv1 = Conv(fan_in, fan_out, 3, epsilon=sn_epsilon)
        self.conv2 = Conv(fan_out, fan_out, 3, epsilon=sn_epsilon)
        self.conv_sc = Conv(fan_in, fan_out, 1, epsilon=sn_epsilon)
        self.bn1 = ConditionalBatchNorm(fan_in, **norm)
        self.bn2 = ConditionalBatchNorm(fan_out, **norm)

    def forward(self, x, condition):
        y, x = (F.interpolate(part, scale_factor=2) for part in (F.relu(self.bn1(x, condition)), x))
        return self.conv2(F.relu(self.bn2(self.conv1(y), condition))) + self.conv_sc(x)


class Generator(nn.Module):
    """Latents and embeddings to images.

    Args:
        resolution, unit: ints, side of the images and unit of the widths.
        classes, latent_dim, shared_dim: ints.
        attention: sides of the maps that are attended to.
        bn_epsilon, sn_epsilon: floats.
    """

    def __init__(
        self,
        resolution,
        unit=96,
        classes=1000,
        latent_dim=120,
        shared_dim=128,
        attention=(64,),
        bn_epsilon=1e-5,
        sn_epsilon=1e-6,
    ):
        super().__init__()
        widths = [width * unit for width in GENERATOR_WIDTHS[resolution]]
        blocks = len(widths) - 1
        self.chunk = latent_dim // (blocks + 1)
        self.latent_dim = self.chunk * (blocks + 1)
        self.shared = nn.Embedding(classes, shared_dim)
        self.linear = Linear(self.chunk, 16 * widths[0], bias=True, epsilon=sn_epsilon)
        self.blocks = nn.ModuleList()
        for k, fans in enumerate(itertools.pairwise(widths)):
            parts = [GeneratorBlock(*fans, shared_dim + self.chunk, bn_epsilon, sn_epsilon)]
            if 8 << k in attention:
                parts.append(Attention(fans[1], sn_epsilon))
            self.blocks.append(nn.ModuleList(parts))
        last = Conv(widths[-1], 3, 3, epsilon=sn_epsilon)
        self.output_layer = nn.Sequential(OutputBatchNorm(widths[-1]), nn.ReLU(), last)

    def forward(self, z, embedding, until=None):
        """Images [B, 3, H, W]; with ``until`` features [B, C, until, until] instead."""
        first, *chunks = z.split(self.chunk, 1)
        x = self.linear(first).view(len(z), -1, 4, 4)
        for (block, *attention), chunk in zip(self.blocks, chunks, strict=True):
            x = block(x, torch.cat([embedding, chunk], 1))
            for layer in attention:
                x = layer(x)
            if x.shape[-1] == until:
                return x
        return torch.tanh(self.output_layer(x))

    def feature(self, v, until):
        """Features of [z | embedding]."""
        return self(v[:, : self.latent_dim], v[:, self.latent_dim :], until)


# === Discriminator ===


class DiscriminatorBlock(nn.Module):
    """A residual block; the first one starts without ReLU and pools before its shortcut."""

    def __init__(self, fan_in, fan_out, halves, first, epsilon):
        super().__init__()
        self.halves, self.first = halves, first
        self.conv1 = Conv(fan_in, fan_out, 3, epsilon=epsilon)
        self.conv2 = Conv(fan_out, fan_out, 3, epsilon=epsilon)
        if halves or fan_in != fan_out:
            self.conv_sc = Conv(fan_in, fan_out, 1, epsilon=epsilon)

    def forward(self, x):
        y = self.pooled(self.conv2(F.relu(self.conv1(x if self.first else F.relu(x)))))
        shortcut = self.conv_sc if hasattr(self, "conv_sc") else nn.Identity()
        return y + (shortcut(self.pooled(x)) if self.first else self.pooled(shortcut(x)))

    def pooled(self, x):
        """Half the sides, if the block halves them."""
        return F.avg_pool2d(x, 2) if self.halves else x


class Discriminator(nn.Module):
    """Images and labels to logits [B, 1]; without labels there is no projection."""

    def __init__(self, resolution, unit=96, classes=1000, attention=(64,), epsilon=1e-6):
        super().__init__()
        widths = [3, *(width * unit for width in DISCRIMINATOR_WIDTHS[resolution])]
        self.blocks, side = nn.ModuleList(), resolution
        for k, fans in enumerate(itertools.pairwise(widths)):
            halves = k < len(widths) - 2  # all but the last
            side //= 2 if halves else 1
            parts = [DiscriminatorBlock(*fans, halves, k == 0, epsilon)]
            if side in attention:
                parts.append(Attention(fans[1], epsilon))
            self.blocks.append(nn.Sequential(*parts))
        self.linear = Linear(widths[-1], 1, bias=True, epsilon=epsilon)
        self.embed = Embedding((classes, widths[-1]), epsilon=epsilon)

    def forward(self, image, label=None):
        x = image
        for block in self.blocks:
            x = block(x)
        pooled = F.relu(x).sum((2, 3))
        logits = self.linear(pooled)
        if label is None:
            return logits
        return logits + (self.embed(label) * pooled).sum(1, keepdim=True)


# === One iteration ===


def hinge_d(real, fake):
    """(loss of reals, loss of fakes)."""
    return F.relu(1 - real).mean(), F.relu(1 + fake).mean()


class BigGAN:
    """Networks, the averaged generator, optimizers and the training iteration."""

    def __init__(self, generator, discriminator, lr_g=1e-4, lr_d=4e-4, ema_decay=0.9999):
        self.generator, self.discriminator = generator.train(), discriminator.train()
        self.average = copy.deepcopy(generator).requires_grad_(False)
        self.ema_decay = ema_decay
        options = {"betas": (0.0, 0.999), "eps": 1e-6}
        self.optimizer_g = torch.optim.Adam(generator.parameters(), lr_g, **options)
        self.optimizer_d = torch.optim.Adam(discriminator.parameters(), lr_d, **options)

    def iteration(self, image, label, latents_d, latents_g):
        """D step, G step, average.

        Args:
            image, label: float [B, 3, H, W] in [-1, 1], int [B].
            latents_d, latents_g: (z, label) of the two steps.

        Returns:
            dict of the terms "real", "fake" and "g".
        """
        real, fake = self._discriminator_step(image, label, *latents_d)
        terms = {"real": real, "fake": fake, "g": self._generator_step(*latents_g)}
        self._update_average()
        return {name: term.detach() for name, term in terms.items()}

    def _discriminator_step(self, image, label, z, z_label):
        self.discriminator.requires_grad_(True)
        self.optimizer_d.zero_grad()
        with torch.no_grad():
            made = self.generator(z, self.generator.shared(z_label))
        logits = self.discriminator(torch.cat([made, image]), torch.cat([z_label, label]))
        fake, real = logits.split([len(made), len(image)])
        losses = hinge_d(real, fake)
        sum(losses).backward()
        self.optimizer_d.step()
        return losses

    def _generator_step(self, z, label):
        self.discriminator.requires_grad_(False)
        self.optimizer_g.zero_grad()
        made = self.generator(z, self.generator.shared(label))
        loss = -self.discriminator(made, label).mean()
        loss.backward()
        self.optimizer_g.step()
        return loss

    @torch.no_grad()
    def _update_average(self):
        state = self.generator.state_dict()
        for name, average in self.average.state_dict().items():
            average.copy_(self.ema_decay * average + (1 - self.ema_decay) * state[name])
