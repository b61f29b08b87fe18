"""SIV-GAN in plain PyTorch, written from its specification: what the benchmarks compare with.

Layouts are PyTorch's (NCHW, kernels OIHW) and the weights have the official names. Nothing is
optimised: every image is made, skips are convolved at the larger size, scales are augmented at full
size. Random numbers come from Python's `random`, whose draws may be given instead.
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
from torch.nn.utils import spectral_norm

GENERATOR_WIDTHS = (8, 8, 8, 8, 8, 8, 8, 4, 2, 1)
DISCRIMINATOR_WIDTHS = (1, 2, 4, 8, 8, 8, 8, 8, 8)
BRANCHES = ("content", "layout", "low")
# 0.2 as single precision holds it, like TensorFlow's.
LEAKY_SLOPE = torch.tensor(0.2, dtype=torch.float32).item()


def conv(in_channels, out_channels, size, bias=True):
    """A convolution with spectral norm that keeps the size."""
    layer = nn.Conv2d(in_channels, out_channels, size, padding=size // 2, bias=bias)
    nn.init.normal_(layer.weight, 0, 0.02)
    return spectral_norm(layer)


def leaky_relu(x):
    """LeakyReLU of slope 0.2."""
    return F.leaky_relu(x, LEAKY_SLOPE)


def up(x):
    """Every pixel twice along both axes."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


def resized(x, size):
    """Bilinear, half-pixel centres, without antialiasing."""
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


# === Networks ===


class GeneratorBlock(nn.Module):
    """``conv2(lrelu(conv1(up(lrelu(x)))))`` beside the convolved upsampled ``x``."""

    def __init__(self, in_channels, out_channels, upsample):
        super().__init__()
        middle, self.upsample = min(in_channels, out_channels), upsample
        self.conv1 = conv(in_channels, middle, 3)
        self.conv2 = conv(middle, out_channels, 3)
        self.conv_sc = conv(in_channels, out_channels, 1, bias=False)

    def forward(self, x):
        y, skip = leaky_relu(x), x
        if self.upsample:
            y, skip = up(y), up(skip)
        return self.conv_sc(skip) + self.conv2(leaky_relu(self.conv1(y)))


class Generator(nn.Module):
    """Latents to images of all scales.

    Args:
        noise_shape: (height, width) of the first map.
        blocks: int.
        channels: int, unit of the widths.
        noise_dim: int.

    ``forward(z)``: float [B, noise_dim] -> (images, smallest first; features of all blocks).
    """

    def __init__(self, noise_shape, blocks, channels=32, noise_dim=64):
        super().__init__()
        widths = [int(width * channels) for width in GENERATOR_WIDTHS[-blocks - 1 :]]
        self.first_linear = nn.ConvTranspose2d(noise_dim, widths[0], noise_shape)
        bound = 1 / math.sqrt(widths[0] * math.prod(noise_shape))
        for parameter in self.first_linear.parameters():
            nn.init.uniform_(parameter, -bound, bound)
        self.body = nn.ModuleList(
            GeneratorBlock(*widths[k : k + 2], upsample=k > 0) for k in range(blocks)
        )
        self.rgb_converters = nn.ModuleList(conv(width, 3, 3) for width in widths[1:])

    def forward(self, z):
        x, images, features = self.first_linear(z[:, :, None, None]), [], []
        for block, to_rgb in zip(self.body, self.rgb_converters, strict=True):
            x = block(x)
            features.append(torch.tanh(x))
            images.append(torch.tanh(to_rgb(x)))
        return images, features


class DiscriminatorBlock(nn.Module):
    """``pool(conv2(lrelu(conv1(lrelu(x)))))`` beside the pooled convolved ``x``.

    ``size=1`` is a content block: 1x1 kernels, no pooling, an identity skip for equal widths.
    """

    def __init__(self, in_channels, out_channels, size=3, first=False):
        super().__init__()
        middle, self.pools, self.first = min(in_channels, out_channels), size == 3, first
        self.conv1 = conv(in_channels, middle, size)
        self.conv2 = conv(middle, out_channels, size)
        if self.pools or in_channels != out_channels:
            self.conv_sc = conv(in_channels, out_channels, 1, bias=False)

    def forward(self, x):
        y = self.conv2(leaky_relu(self.conv1(x if self.first else leaky_relu(x))))
        skip = self.conv_sc(x) if hasattr(self, "conv_sc") else x
        return F.avg_pool2d(y, 2) + F.avg_pool2d(skip, 2) if self.pools else y + skip


class Discriminator(nn.Module):
    """Logits of low-level, content and layout heads.

    Args:
        blocks, blocks_low: ints, all and the low-level ones.
        channels: int, unit of the widths.

    ``forward(images, change=None)``: the ``blocks_low`` largest scales, smallest first, and a
    ``FeatureDraws`` -> dict of lists by branch.
    """

    def __init__(self, blocks, blocks_low, channels=32):
        super().__init__()
        widths = [width * channels for width in DISCRIMINATOR_WIDTHS[: blocks + 1]]
        low, high = widths[: blocks_low + 1], widths[blocks_low:]
        rgb = [low[0], *(width // 8 for width in low[1:-1])]
        into = [low[0], *(a + b for a, b in zip(low[1:-1], rgb[1:], strict=True))]
        squeezed = [high[0], *(1 for _ in high[1:])]

        def blocks_of(fan_in, fan_out, **options):
            return nn.ModuleList(
                DiscriminatorBlock(a, b, **options) for a, b in zip(fan_in, fan_out, strict=True)
            )

        def heads(fans):
            return nn.ModuleList(conv(fan, 1, 1) for fan in fans)

        self.rgb_to_features = nn.ModuleList(conv(3, width, 3) for width in rgb)
        self.body_ll = blocks_of(into, low[1:])
        self.body_ll[0].first = True
        self.body_content = blocks_of(high[:-1], high[1:], size=1)
        self.body_layout = blocks_of(squeezed[:-1], squeezed[1:])
        self.final_ll = heads(low[1:])
        self.final_content = heads(high[1:])
        self.final_layout = heads(squeezed[1:])

    def forward(self, images, change=None):
        x, low = None, []
        for image, from_rgb, block, head in zip(
            images[::-1], self.rgb_to_features, self.body_ll, self.final_ll, strict=True
        ):
            features = from_rgb(image)
            x = block(features if x is None else torch.cat([x, features], 1))
            low.append(head(x))
        pooled, layout = x.mean((2, 3), keepdim=True), x
        if change is not None:
            pooled, layout = mixed(pooled, change), swapped(layout, change)
        return {
            "content": through(pooled, self.body_content, self.final_content),
            "layout": through(layout, self.body_layout, self.final_layout),
            "low": low,
        }


def through(x, blocks, heads):
    """The logits of every block."""
    logits = []
    for block, head in zip(blocks, heads, strict=True):
        x = block(x)
        logits.append(head(x))
    return logits


# === Feature augmentation ===


class FeatureDraws:
    """What changes features of reals.

    Attributes:
        mix: bool [pairs, C], channels that a row takes from the next one; drop: bool [C].
        rectangles: (x1, x2, y1, y2) for each pair, rows then columns; x1 < 0: none.
    """

    def __init__(self, mix, drop, rectangles):
        self.mix, self.drop, self.rectangles = mix, drop, rectangles

    @classmethod
    def drawn(cls, batch, channels, height, width, probability):
        """Draws as in training."""
        pairs, coin = batch // 2, lambda: random.random() < probability
        mix, drop = torch.zeros(pairs, channels, dtype=bool), torch.zeros(channels, dtype=bool)
        if coin():
            for row in mix:
                row[_some_channels(channels)] = True
        if coin():
            drop[_some_channels(channels)] = True
        found = [_rectangle(height, width) if coin() else (-1,) * 4 for _ in range(pairs)]
        return cls(mix, drop, found)


def _some_channels(channels):
    return random.sample(range(channels), int(channels * random.uniform(0.1, 0.3)))


def _rectangle(height, width):
    ends = []
    for size in (height, width):
        centre, side = random.random(), random.uniform(0.1, 0.5)
        first, last = int((centre - side / 2) * size), int((centre + side / 2) * size)
        shift = -first if first < 0 else min(0, size - 1 - last)
        ends += [first + shift, last + shift]
    return ends


def mixed(pooled, draws):
    """Vectors [B, C, 1, 1] after mixing and dropping channels."""
    rows = list(pooled)
    for pair, mask in enumerate(draws.mix):
        rows[2 * pair] = torch.where(mask[:, None, None], rows[2 * pair + 1], rows[2 * pair])
    return torch.stack(rows).masked_fill(draws.drop[:, None, None], 0)


def swapped(features, draws):
    """Maps [B, C, h, w] with rectangles exchanged between the two of a pair."""
    found = features.clone()
    for pair, (x1, x2, y1, y2) in enumerate(draws.rectangles):
        if x1 >= 0:
            found[2 * pair, :, x1:x2, y1:y2] = features[2 * pair + 1, :, x1:x2, y1:y2]
            found[2 * pair + 1, :, x1:x2, y1:y2] = features[2 * pair, :, x1:x2, y1:y2]
    return found


# === Differentiable augmentation ===


def drawn_augmentation(batch, height, width, probability):
    """Draws of the reduced pipe, by transform; what is not there does not act."""
    coin, draws = lambda p=probability: random.random() < p, {}

    def crops(h, w, most_h, most_w):
        places = [(random.randint(0, most_h), random.randint(0, most_w)) for _ in range(batch)]
        return [(top, left, h, w) for top, left in places]

    def shifts():
        return [(random.uniform(0.05, 0.3), random.random() < 0.5) for _ in range(batch)]

    if coin(probability / 2):
        draws["zoom"] = crops(height, width, height, width)
    if coin():
        if coin(0.5):
            share = random.uniform(0.75, 1)
            h, w = int(height * share), int(width * share)
            draws["crop"] = crops(h, w, height - h, width - w)
        else:
            draws["rotate"] = [random.uniform(-8, 8) for _ in range(batch)]
    if coin():
        draws["flip"] = True
    for name in ("vertical", "horizontal"):
        if coin():
            draws[name] = shifts()
    return draws


def augmented(images, draws):
    """Images of all scales, smallest first, after the reduced pipe."""
    full = images[-1].shape[2:]
    return [resized(_changed(resized(x, full), draws), x.shape[2:]) for x in images]


def _changed(x, draws):
    full = x.shape[2:]
    if "zoom" in draws:
        x = _cropped(resized(x, [2 * side for side in full]), draws["zoom"])
    if "crop" in draws:
        x = resized(_cropped(x, draws["crop"]), full)
    if "rotate" in draws:
        x = resized(_rotated(x, draws["rotate"]), full)
    if "flip" in draws:
        x = x.flip(3)
    if "vertical" in draws:
        x = _shifted(x, draws["vertical"])
    if "horizontal" in draws:
        x = _shifted(x.transpose(2, 3), draws["horizontal"]).transpose(2, 3)
    return x


def _cropped(x, places):
    rows = zip(x, places, strict=True)
    return torch.stack([row[:, top : top + h, left : left + w] for row, (top, left, h, w) in rows])


def _rotated(x, degrees):
    height, width = x.shape[2:]
    angle = torch.tensor(degrees, dtype=x.dtype) * math.pi / 180
    cosine, sine, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    rows = [cosine, -sine * height / width, zero, sine * width / height, cosine, zero]
    grid = F.affine_grid(torch.stack(rows, 1).reshape(-1, 2, 3), x.shape, align_corners=False)
    x = F.grid_sample(x, grid, align_corners=False)
    h, w = int(0.8 * height), int(0.8 * width)
    top, left = (height - h) // 2, (width - w) // 2
    return x[:, :, top : top + h, left : left + w]


def _shifted(x, shifts):
    """Rows moved down, or up, their margin mirrored."""
    found = []
    for row, (share, down) in zip(x, shifts, strict=True):
        row = row if down else row.flip(1)
        margin = int(row.shape[1] * share)
        row = torch.cat([row[:, :margin].flip(1), row[:, : row.shape[1] - margin]], 1)
        found.append(row if down else row.flip(1))
    return torch.stack(found)


# === Losses ===


def head_losses(logits, real):
    """The mean loss of every head, lists by branch."""
    sign = -1 if real else 1
    return {name: [F.softplus(sign * x).mean() for x in part] for name, part in logits.items()}


def weighted(losses):
    """The weighted sum of every branch."""
    blocks = len(losses["content"]) + len(losses["low"])
    weights = {"content": 0.5 / blocks, "layout": 0.5 / blocks, "low": 1 / blocks}
    return {name: weights[name] * sum(losses[name]) for name in BRANCHES}


def diversity(features):
    """How far apart the samples of a batch are, by the number of pairs of blocks."""
    total, blocks, batch = 0, len(features), len(features[0])
    for x in features:
        for i in range(batch):
            for j in range(i + 1, batch):
                total = total + (x[i] - x[j]).abs().mean()
    return total * 2 / (blocks * (blocks - 1))


# === One iteration ===


class SIVGAN:
    """Networks, the averaged generator, optimizers and the training iteration.

    Args:
        generator, discriminator: the networks; they stay in training mode.
        lr, ema_decay, lambda_dr: floats.
        probability, feature_probability: of augmentation and of feature augmentation.
    """

    def __init__(
        self,
        generator,
        discriminator,
        lr=2e-4,
        ema_decay=0.9999,
        lambda_dr=0.15,
        probability=0.7,
        feature_probability=0.4,
    ):
        self.generator, self.discriminator = generator.train(), discriminator.train()
        self.average = copy.deepcopy(generator).requires_grad_(False)
        self.ema_decay, self.lambda_dr = ema_decay, lambda_dr
        self.probability, self.feature_probability = probability, feature_probability
        options = {"lr": lr, "betas": (0.5, 0.999), "eps": 1e-8}
        self.optimizer_g = torch.optim.Adam(generator.parameters(), **options)
        self.optimizer_d = torch.optim.Adam(discriminator.parameters(), **options)
        self.scales = len(discriminator.body_ll)

    def iteration(self, image, z_g, z_d, change=None):
        """G step, D step, average.

        Args:
            image: float [B, 3, H, W] in [-1, 1].
            z_g, z_d: float [B, Z], latents of the steps of G and of D.
            change: ``FeatureDraws``; drawn by default.

        Returns:
            dict of the weighted terms: ``g_…``, ``real_…`` and ``fake_…`` of the branches, and
            ``g_diversity``.
        """
        terms = self.generator_step(z_g)
        terms |= self.discriminator_step(image, z_d, change)
        self.update_average()
        return {name: term.detach() for name, term in terms.items()}

    def generator_step(self, z):
        """One step of the generator against the discriminator as it is."""
        self.discriminator.requires_grad_(False)
        self.optimizer_g.zero_grad()
        images, features = self.generator(z)
        logits = self.discriminator(self._augmented(images[-self.scales :]))
        terms = _named("g", weighted(head_losses(logits, real=True)))
        terms["g_diversity"] = -self.lambda_dr * diversity(features)
        sum(terms.values()).backward()
        self.optimizer_g.step()
        return terms

    def discriminator_step(self, image, z, change):
        """One step of the discriminator: real images, then generated ones."""
        self.discriminator.requires_grad_(True)
        self.optimizer_d.zero_grad()
        reals = [image]
        for _ in range(self.scales - 1):
            reals.insert(0, resized(reals[0], [side // 2 for side in reals[0].shape[2:]]))
        change = change or self._drawn_change(image)
        logits = self.discriminator(self._augmented(reals), change)
        terms = _named("real", weighted(head_losses(logits, real=True)))
        sum(terms.values()).backward()
        with torch.no_grad():
            images, _ = self.generator(z)
        logits = self.discriminator(self._augmented(images[-self.scales :]))
        fakes = _named("fake", weighted(head_losses(logits, real=False)))
        sum(fakes.values()).backward()
        self.optimizer_d.step()
        return terms | fakes

    def _augmented(self, images):
        if not self.probability:
            return images
        height, width = images[-1].shape[2:]
        draws = drawn_augmentation(len(images[-1]), height, width, self.probability)
        return augmented(images, draws)

    def _drawn_change(self, image):
        height, width = (side >> self.scales for side in image.shape[2:])
        channels = self.discriminator.body_content[0].conv1.in_channels
        sizes = (len(image), channels, height, width)
        return FeatureDraws.drawn(*sizes, self.feature_probability)

    @torch.no_grad()
    def update_average(self):
        """Moving average of the whole state, u and v as well."""
        state = self.generator.state_dict()
        for name, average in self.average.state_dict().items():
            average.copy_(self.ema_decay * average + (1 - self.ema_decay) * state[name])


def _named(prefix, terms):
    return {f"{prefix}_{name}": term for name, term in terms.items()}
