"""SPADE's generator and encoder in plain NumPy, float64, channel first, from its own state dict.

Written from the table of the networks: an independent account of names, layouts and order.
"""

import numpy as np

BLOCKS = ("head_0", "G_middle_0", "G_middle_1", "up_0", "up_1", "up_2", "up_3")


def random_generator(inputs, widths, hidden=3, latent=None, seed=0):
    """A state dict of SPADE's names and shapes.

    Args:
        inputs: int, channels of label maps.
        widths: input width of the first block, then the output width of each.
        hidden: int, channels of ``mlp_shared``.
        latent: None, or (latent channels, first features' height, width): a dense first layer.
        seed: int.
    """
    rng = np.random.default_rng(seed)
    found = {}

    def plain(name, *shape):
        found[f"{name}.weight"] = rng.normal(0, 0.3, shape).astype(np.float32)
        found[f"{name}.bias"] = rng.normal(0, 0.3, shape[0]).astype(np.float32)

    if latent:
        channels, height, width = latent
        plain("fc", widths[0] * height * width, channels)
    else:
        plain("fc", widths[0], inputs, 3, 3)
    for block, fan_in, fan_out in zip(BLOCKS, widths[:-1], widths[1:], strict=True):
        middle = min(fan_in, fan_out)
        convs = {"0": (middle, fan_in, 3, 3), "1": (fan_out, middle, 3, 3)}
        norms = {"0": fan_in, "1": middle}
        if fan_in != fan_out:
            convs["s"], norms["s"] = (fan_out, fan_in, 1, 1), fan_in
        for part, shape in convs.items():
            found |= spectral(f"{block}.conv_{part}", shape, rng)
            if part != "s":
                found[f"{block}.conv_{part}.bias"] = rng.normal(0, 0.3, shape[0]).astype("float32")
        for part, width in norms.items():
            norm = f"{block}.norm_{part}"
            plain(f"{norm}.mlp_shared.0", hidden, inputs, 3, 3)
            plain(f"{norm}.mlp_gamma", width, hidden, 3, 3)
            plain(f"{norm}.mlp_beta", width, hidden, 3, 3)
            moments = rng.normal(0, 0.3, width), rng.uniform(0.5, 2, width)
            if part == "s":  # both norms see the same features
                before = f"{block}.norm_0.param_free_norm"
                moments = found[f"{before}.running_mean"], found[f"{before}.running_var"]
            for name, value in zip(("running_mean", "running_var"), moments, strict=True):
                found[f"{norm}.param_free_norm.{name}"] = np.float32(value)
            found[f"{norm}.param_free_norm.num_batches_tracked"] = np.int64(9)
    plain("conv_img", 3, widths[-1], 3, 3)
    return found


def random_encoder(latent, channels, layers, seed=1):
    """A state dict of an encoder of so many convolutions."""
    rng = np.random.default_rng(seed)
    widths = [3, *(channels * min(2**k, 8) for k in range(layers))]
    found = {}
    for k in range(layers):
        found |= spectral(f"layer{k + 1}.0", (widths[k + 1], widths[k], 3, 3), rng)
    for name in ("fc_mu", "fc_var"):
        shape = (latent, 16 * widths[-1])
        found[f"{name}.weight"] = rng.normal(0, 0.3, shape).astype(np.float32)
        found[f"{name}.bias"] = rng.normal(0, 0.3, latent).astype(np.float32)
    return found


def spectral(layer, shape, rng):
    """Kernel and vectors under spectral norm; sigma is near the largest singular value."""
    kernel = rng.normal(0, 0.3, shape)
    left, _, right = np.linalg.svd(kernel.reshape(shape[0], -1), full_matrices=False)
    values = {"weight_orig": kernel, "weight_u": left[:, 0] * 0.9, "weight_v": right[0]}
    return {f"{layer}.{name}": np.float32(value) for name, value in values.items()}


def in_old_form(state_dict, chosen):
    """What PyTorch before 1.1 wrote: the normalised kernel in the place of v."""
    found = dict(state_dict)
    for name in [n for n in state_dict if n.startswith(chosen) and n.endswith(".weight_v")]:
        stem = name.removesuffix("_v")
        found[stem] = np.float32(_kernel(state_dict, stem.removesuffix(".weight")))
        del found[name]
    return found


def _kernel(weights, layer):
    kernel = np.float64(weights[f"{layer}.weight_orig"])
    sigma = weights[f"{layer}.weight_u"] @ kernel.reshape(len(kernel), -1)
    return kernel / (sigma @ weights[f"{layer}.weight_v"])


def _conv(x, kernel, bias=None, stride=1):
    pad = kernel.shape[-1] // 2
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[-2:], axis=(1, 2))
    y = np.einsum("chwij,ocij->ohw", windows[:, ::stride, ::stride], np.float64(kernel))
    return y if bias is None else y + bias[:, None, None]


def _leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def _spade(weights, norm, x, one_hot):
    step = one_hot.shape[-1] // x.shape[-1]
    mean, variance = (
        np.float64(weights[f"{norm}.param_free_norm.running_{m}"])[:, None, None]
        for m in ("mean", "var")
    )

    def conv(name, y):
        return _conv(y, weights[f"{norm}.{name}.weight"], weights[f"{norm}.{name}.bias"])

    hidden = np.maximum(conv("mlp_shared.0", one_hot[:, ::step, ::step]), 0)
    gamma, beta = conv("mlp_gamma", hidden), conv("mlp_beta", hidden)
    return (x - mean) / np.sqrt(variance + 1e-5) * (1 + gamma) + beta


def _block(weights, block, x, one_hot):
    def conv(part, y):
        layer = f"{block}.conv_{part}"
        return _conv(y, _kernel(weights, layer), weights.get(f"{layer}.bias"))

    y = conv("0", _leaky(_spade(weights, f"{block}.norm_0", x, one_hot)))
    y = conv("1", _leaky(_spade(weights, f"{block}.norm_1", y, one_hot)))
    if f"{block}.conv_s.weight_orig" in weights:
        x = conv("s", _spade(weights, f"{block}.norm_s", x, one_hot))
    return x + y


def image(weights, one_hot, latent=None, start=None):
    """float64 [H, W, 3] of one label map, one-hot [channels, H, W]; "normal" upsampling.

    With ``latent`` [L] the first features are those of the dense layer, of size ``start``.
    """
    if latent is None:
        step = 32
        x = _conv(one_hot[:, ::step, ::step], weights["fc.weight"], weights["fc.bias"])
    else:
        x = (weights["fc.weight"] @ latent + weights["fc.bias"]).reshape(-1, *start)
    for block in BLOCKS:
        if block not in ("head_0", "G_middle_1"):
            x = x.repeat(2, 1).repeat(2, 2)
        x = _block(weights, block, x, one_hot)
    x = np.tanh(_conv(_leaky(x), weights["conv_img.weight"], weights["conv_img.bias"]))
    return x.transpose(1, 2, 0)


def moments(weights, picture):
    """(mean, log variance), float64 [L], of an image [H, W, 3] of the encoder's size."""
    x, layer = np.float64(picture).transpose(2, 0, 1), 1
    while f"layer{layer}.0.weight_orig" in weights:
        x = _conv(x, _kernel(weights, f"layer{layer}.0"), stride=2)
        mean, variance = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
        x, layer = _leaky((x - mean) / np.sqrt(variance + 1e-5)), layer + 1
    return tuple(
        weights[f"{name}.weight"] @ x.reshape(-1) + weights[f"{name}.bias"]
        for name in ("fc_mu", "fc_var")
    )
