"""OASIS in plain PyTorch, written from docs/specification.md: what the benchmarks compare with.

Layouts are PyTorch's (NCHW, kernels OIHW) and the weights have the official names, so that one set
of weights fits here, in official checkpoints and, by `oasis_tf.convert.load_official`, in the
networks of `oasis_tf`.
Nothing is optimised: label maps become one-hot maps, every SPADE norm resizes its own.
"""

import copy

try:
    import torch
except ImportError as error:
    raise ImportError('The PyTorch peer needs PyTorch: pip install "oasis-tf[bench]".') from error

from torch import nn
from torch.nn import functional as F
from torch.nn.utils import spectral_norm

GENERATOR_WIDTHS = (16, 16, 16, 8, 4, 2, 1)
DISCRIMINATOR_WIDTHS = (2, 2, 4, 4, 8, 8)
# 0.2 as single precision holds it. TensorFlow's LeakyReLU knows no other, and where both sides run
# in double precision the difference would be the largest between them.
LEAKY_SLOPE = torch.tensor(0.2, dtype=torch.float32).item()
FAKE = 0  # the discriminator's channel for "fake"; label class k has channel k + 1


def leaky_relu(x):
    """LeakyReLU of slope 0.2, as everywhere in OASIS."""
    return F.leaky_relu(x, LEAKY_SLOPE)


def xavier_(network, gain=0.02, generator=None):
    """Draws all kernels of a network from Xavier's normal distribution; biases become 0.

    Args:
        network: ``Generator`` or ``Discriminator``.
        gain: float.
        generator: ``torch.Generator`` to draw from, default PyTorch's own.
    """
    for parameter in network.parameters():
        if parameter.ndim == 4:
            nn.init.xavier_normal_(parameter, gain, generator=generator)
        else:
            nn.init.zeros_(parameter)


# === Generator ===


class SPADE(nn.Module):
    """Batch norm whose scale and shift are computed from the condition [B, Z + N, H, W]."""

    def __init__(self, channels, condition_channels, hidden_channels):
        super().__init__()
        self.first_norm = nn.BatchNorm2d(channels, affine=False)
        self.mlp_shared = nn.Sequential(
            nn.Conv2d(condition_channels, hidden_channels, 3, padding=1), nn.ReLU()
        )
        self.mlp_gamma = nn.Conv2d(hidden_channels, channels, 3, padding=1)
        self.mlp_beta = nn.Conv2d(hidden_channels, channels, 3, padding=1)

    def forward(self, x, condition):
        hidden = self.mlp_shared(F.interpolate(condition, x.shape[2:], mode="nearest"))
        return self.first_norm(x) * (1 + self.mlp_gamma(hidden)) + self.mlp_beta(hidden)


class SPADEResBlock(nn.Module):
    """``conv_1(lrelu(norm_1(conv_0(lrelu(norm_0(x))))))`` beside a learned or identity shortcut."""

    def __init__(self, in_channels, out_channels, *spade_sizes):
        super().__init__()
        mid_channels = min(in_channels, out_channels)
        self.learned_shortcut = in_channels != out_channels
        self.norm_0 = SPADE(in_channels, *spade_sizes)
        self.conv_0 = spectral_norm(nn.Conv2d(in_channels, mid_channels, 3, padding=1))
        self.norm_1 = SPADE(mid_channels, *spade_sizes)
        self.conv_1 = spectral_norm(nn.Conv2d(mid_channels, out_channels, 3, padding=1))
        if self.learned_shortcut:
            self.norm_s = SPADE(in_channels, *spade_sizes)
            self.conv_s = spectral_norm(nn.Conv2d(in_channels, out_channels, 1, bias=False))

    def forward(self, x, condition):
        shortcut = self.conv_s(self.norm_s(x, condition)) if self.learned_shortcut else x
        y = self.conv_0(leaky_relu(self.norm_0(x, condition)))
        y = self.conv_1(leaky_relu(self.norm_1(y, condition)))
        return shortcut + y


class Generator(nn.Module):
    """Label map and 3D noise in, image out.

    Args:
        num_classes: int N, the unknown class included.
        noise_channels: int Z >= 0.
        channels: int, unit of the widths.
        spade_channels: int, hidden channels of every SPADE norm.

    ``forward(label_map, noise)``: int64 [B, H, W] with H and W divisible by 32; float [B, Z] or
    [B, Z, H, W], or None if Z = 0. Returns float [B, 3, H, W] in [-1, 1].
    """

    def __init__(self, num_classes, noise_channels=64, channels=64, spade_channels=128):
        super().__init__()
        self.num_classes = num_classes
        condition_channels = noise_channels + num_classes
        units = [width * channels for width in GENERATOR_WIDTHS]
        self.fc = nn.Conv2d(condition_channels, units[0], 3, padding=1)
        self.body = nn.ModuleList(
            SPADEResBlock(fan_in, fan_out, condition_channels, spade_channels)
            for fan_in, fan_out in zip(units[:-1], units[1:], strict=True)
        )
        self.conv_img = nn.Conv2d(units[-1], 3, 3, padding=1)

    def condition(self, label_map, noise):
        """Noise, then one-hot labels: [B, Z + N, H, W]."""
        one_hot = F.one_hot(label_map, self.num_classes).permute(0, 3, 1, 2)
        one_hot = one_hot.to(self.fc.weight.dtype)
        if noise is None:
            return one_hot
        if noise.ndim == 2:
            noise = noise[:, :, None, None].expand(-1, -1, *label_map.shape[1:])
        return torch.cat([noise, one_hot], dim=1)

    def forward(self, label_map, noise=None):
        condition = self.condition(label_map, noise)
        factor = 2 ** (len(self.body) - 1)
        size = [side // factor for side in label_map.shape[1:]]
        x = self.fc(F.interpolate(condition, size, mode="nearest"))
        for index, block in enumerate(self.body):
            if index:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = block(x, condition)
        return torch.tanh(self.conv_img(leaky_relu(x)))


# === Discriminator ===


def _shortcut(in_channels, out_channels):
    return spectral_norm(nn.Conv2d(in_channels, out_channels, 1))


def _second_conv(channels):
    return nn.Sequential(
        nn.LeakyReLU(LEAKY_SLOPE), spectral_norm(nn.Conv2d(channels, channels, 3, 1, 1))
    )


class DownBlock(nn.Module):
    """``avgpool(conv2(lrelu(conv1(lrelu(x)))))`` beside the pooled shortcut; halves H and W.

    ``first=True``: no leading LeakyReLU, and the shortcut pools before its convolution.
    """

    def __init__(self, in_channels, out_channels, first):
        super().__init__()
        self.first = first
        self.learned_shortcut = in_channels != out_channels
        conv = spectral_norm(nn.Conv2d(in_channels, out_channels, 3, padding=1))
        self.conv1 = (
            nn.Sequential(conv) if first else nn.Sequential(nn.LeakyReLU(LEAKY_SLOPE), conv)
        )
        self.conv2 = _second_conv(out_channels)
        if self.learned_shortcut:
            self.conv_s = _shortcut(in_channels, out_channels)

    def shortcut(self, x):
        if not self.learned_shortcut:
            return F.avg_pool2d(x, 2)
        if self.first:
            return self.conv_s(F.avg_pool2d(x, 2))
        return F.avg_pool2d(self.conv_s(x), 2)

    def forward(self, x):
        return self.shortcut(x) + F.avg_pool2d(self.conv2(self.conv1(x)), 2)


class UpBlock(nn.Module):
    """``conv2(lrelu(conv1(up2(lrelu(x)))))`` beside the upsampled shortcut; doubles H and W."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.learned_shortcut = in_channels != out_channels
        self.conv1 = nn.Sequential(
            nn.LeakyReLU(LEAKY_SLOPE),
            nn.Upsample(scale_factor=2),
            spectral_norm(nn.Conv2d(in_channels, out_channels, 3, padding=1)),
        )
        self.conv2 = _second_conv(out_channels)
        if self.learned_shortcut:
            self.conv_s = _shortcut(in_channels, out_channels)

    def forward(self, x):
        shortcut = F.interpolate(x, scale_factor=2, mode="nearest")
        if self.learned_shortcut:
            shortcut = self.conv_s(shortcut)
        return shortcut + self.conv2(self.conv1(x))


class Discriminator(nn.Module):
    """U-Net: image in, N + 1 logits per pixel out, channel 0 for "fake".

    Args:
        num_classes: int N, the unknown class included.
        channels: int, unit of the widths.

    ``forward(image)``: float [B, 3, H, W], H and W divisible by 64, to [B, N + 1, H, W].
    """

    def __init__(self, num_classes, channels=64):
        super().__init__()
        down = [width * channels for width in DISCRIMINATOR_WIDTHS]
        up = [*down[-2::-1], channels]
        skips = [0, *down[-2::-1]]
        self.body_down = nn.ModuleList(
            DownBlock(fan_in, fan_out, first=index == 0)
            for index, (fan_in, fan_out) in enumerate(zip([3, *down[:-1]], down, strict=True))
        )
        self.body_up = nn.ModuleList(
            UpBlock(below + skip, fan_out)
            for below, skip, fan_out in zip([down[-1], *up[:-1]], skips, up, strict=True)
        )
        self.layer_up_last = nn.Conv2d(channels, num_classes + 1, 1)

    def forward(self, image):
        features = [image]
        for block in self.body_down:
            features.append(block(features[-1]))
        x = self.body_up[0](features[-1])
        for block, skip in zip(self.body_up[1:], features[-2:0:-1], strict=True):
            x = block(torch.cat([skip, x], dim=1))
        return self.layer_up_last(x)


# === Losses ===


def class_weight_map(label_map, num_classes, has_unknown, dtype=torch.float32):
    """Weight of every pixel's class, ``B*H*W / (present * c_k)``: int64 [B, H, W] to ``dtype``.

    ``present`` counts the known classes in the batch; unknown pixels (model id 0) weigh 0.
    """
    counts = torch.bincount(label_map.flatten(), minlength=num_classes).to(dtype)
    if has_unknown:
        counts[0] = 0
    present = (counts > 0).sum().clamp(min=1)
    weights = torch.where(counts > 0, label_map.numel() / (present * counts), 0)
    return weights[label_map]


def real_loss(logits, label_map, weight_map):
    """Balanced cross-entropy of pixels that should look like their label: a scalar."""
    return (weight_map * F.cross_entropy(logits, label_map + 1, reduction="none")).mean()


def fake_loss(logits):
    """Cross-entropy of pixels that should be called fake: a scalar."""
    target = torch.full_like(logits[:, 0], FAKE, dtype=torch.int64)
    return F.cross_entropy(logits, target)


# === One iteration ===


class OASIS:
    """Both networks, the averaged generator, their optimizers and the training iteration.

    Args:
        generator, discriminator: the networks; they are put into training mode.
        has_unknown: bool, whether model id 0 is the unknown label.
        lr_g, lr_d: floats, learning rates.
        ema_decay: float in [0, 1).
        lambda_labelmix: float >= 0; 0 leaves LabelMix out.
    """

    def __init__(
        self,
        generator,
        discriminator,
        has_unknown,
        lr_g=1e-4,
        lr_d=4e-4,
        ema_decay=0.9999,
        lambda_labelmix=10.0,
    ):
        self.generator = generator.train()
        self.discriminator = discriminator.train()
        self.average = copy.deepcopy(generator).eval().requires_grad_(False)
        self.has_unknown = has_unknown
        self.ema_decay = ema_decay
        self.lambda_labelmix = lambda_labelmix
        options = {"betas": (0.0, 0.999), "eps": 1e-8}
        self.optimizer_g = torch.optim.Adam(generator.parameters(), lr=lr_g, **options)
        self.optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=lr_d, **options)

    def iteration(self, image, label_map, generator_noise, discriminator_noise, bits):
        """G step, D step, average.

        Args:
            image: float [B, 3, H, W] in [-1, 1].
            label_map: int64 [B, H, W].
            generator_noise, discriminator_noise: float [B, Z], or None if Z = 0.
            bits: int64 [N] zeros and ones for LabelMix, 1 for the real image.

        Returns:
            dict of scalar tensors: ``loss_g``, ``loss_d_fake``, ``loss_d_real``, ``loss_labelmix``
            (weighted) and ``loss_d``, the sum of the last three.
        """
        weight_map = class_weight_map(
            label_map, self.generator.num_classes, self.has_unknown, image.dtype
        )
        losses = self.generator_step(label_map, weight_map, generator_noise)
        losses |= self.discriminator_step(image, label_map, weight_map, discriminator_noise, bits)
        self.update_average()
        return losses

    def generator_step(self, label_map, weight_map, noise):
        """One step of the generator against the discriminator as it is."""
        self.discriminator.requires_grad_(False)
        self.optimizer_g.zero_grad()
        logits = self.discriminator(self.generator(label_map, noise))
        loss = real_loss(logits, label_map, weight_map)
        loss.backward()
        self.optimizer_g.step()
        return {"loss_g": loss.detach()}

    def discriminator_step(self, image, label_map, weight_map, noise, bits):
        """One step of the discriminator: passes in the order fake, real, mixed."""
        self.discriminator.requires_grad_(True)
        self.optimizer_d.zero_grad()
        with torch.no_grad():
            fake = self.generator(label_map, noise)
        logits_fake, logits_real = self.discriminator(fake), self.discriminator(image)
        parts = {
            "loss_d_fake": fake_loss(logits_fake),
            "loss_d_real": real_loss(logits_real, label_map, weight_map),
            "loss_labelmix": image.new_zeros(()),
        }
        if self.lambda_labelmix:
            mask = bits[label_map][:, None].to(image.dtype)
            logits_mix = self.discriminator(mask * image + (1 - mask) * fake)
            mix_of_logits = mask * logits_real + (1 - mask) * logits_fake
            parts["loss_labelmix"] = self.lambda_labelmix * F.mse_loss(logits_mix, mix_of_logits)
        parts["loss_d"] = sum(parts.values())
        parts["loss_d"].backward()
        self.optimizer_d.step()
        return {name: loss.detach() for name, loss in parts.items()}

    @torch.no_grad()
    def update_average(self):
        """Moving average of the whole state: kernels, u, v and batch statistics."""
        state = self.generator.state_dict()
        for name, average in self.average.state_dict().items():
            if average.is_floating_point():
                average.copy_(self.ema_decay * average + (1 - self.ema_decay) * state[name])
