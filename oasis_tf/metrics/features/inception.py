"""InceptionV3 as trained in 2015, the network of the Fréchet inception distance, up to pool3.

Heusel et al. 2017 took the frozen graph ``classify_image_graph_def.pb``; the widely used PyTorch
code takes the same weights under the names of torchvision; `inception_table` holds both. What sets
the network of 2015 apart from its successors: 1008 classes, averages over 3x3 pixels leave the
border out, and the last block pools by the maximum.
"""

import keras
from keras import layers, ops

from oasis_tf.io import pth_files, weight_files
from oasis_tf.metrics.features.inception_table import (
    AVERAGE,
    CLASSIFIER,
    HALVE,
    LEAVES,
    MAX,
    NETWORK,
    convolutions,
)

SIZE = 299
TAPS = (64, 192, 768, 2048)  # channels of the maps that SIFID compares
MIN_SIZE, MIN_SIZE_OF_THREE = 75, 43  # of four maps, and of the first three
PIXEL_PATH = 1  # changes when `to_input` changes the result

# === The network ===


def to_input(image):
    """The pixel path of the common PyTorch FID code.

    Bilinear to 299x299 with half-pixel centres and without antialiasing, in [0, 1], then to
    [-1, 1]; nothing is clipped because nothing overshoots.

    Args:
        image: float32 [B,H,W,3] in 0..255.

    Returns:
        float32 [B,299,299,3] in [-1, 1].
    """
    return 2.0 * resized(image, SIZE) - 1.0


def resized(image, size):
    """Images in 0..255 as squares in [0, 1]: bilinear, half-pixel centres, no antialiasing."""
    return ops.image.resize(
        image / 255.0, (size, size), interpolation="bilinear", antialias=False,
        data_format="channels_last",
    )  # fmt: skip


def build_network():
    """The untrained network.

    Returns:
        Keras model, float32 [B,H,W,3] in [-1, 1], of 75x75 pixels or more -> float32 [B,2048], the
        means over space.
    """
    image = keras.Input((None, None, 3), dtype="float32")
    x = _blocks(image, _POOLS)["Mixed_7c."]
    x = layers.GlobalAveragePooling2D(data_format="channels_last", dtype="float32", name="pool_3")(
        x
    )
    return keras.Model(image, x, name="inception2015")


def build_taps(torchvision):
    """The untrained network with the maps that SIFID compares.

    Args:
        torchvision: whether it is torchvision's, which counts the border of zeros in averages and
            pools by the average in the last block too; else that of 2015.

    Returns:
        Keras model, float32 [B,H,W,3] in [-1, 1] -> list of four maps [B,h,w,C], of `TAPS`
        channels.
    """
    image = keras.Input((None, None, 3), dtype="float32")
    blocks = _blocks(image, _POOLS_TORCHVISION if torchvision else _POOLS)
    whole = keras.Model(image, blocks["Mixed_7c."])
    stem = [whole.get_layer(f"{name}.relu").output for name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3")]
    return keras.Model(image, [*stem, blocks["Mixed_6e."], blocks["Mixed_7c."]])


def _blocks(x, pools):
    """Outputs of all blocks by name."""
    outputs = {}
    for name, _, branches in NETWORK:
        x = outputs[name] = _block(x, branches, name, pools)
    return outputs


def _block(x, branches, name, pools):
    outputs = []
    for steps in branches:
        y = x
        for step in steps:
            y = _step(y, step, name, pools)
        outputs.append(y)
    return outputs[0] if len(outputs) == 1 else layers.Concatenate(dtype="float32")(outputs)


def _average(x):
    """Over the pixels inside the image alone."""
    return layers.AveragePooling2D(3, 1, "same", data_format="channels_last", dtype="float32")(x)


def _average_with_border(x):
    """Over 3x3 pixels, zeros outside the image among them."""
    x = layers.ZeroPadding2D(1, data_format="channels_last", dtype="float32")(x)
    return layers.AveragePooling2D(3, 1, data_format="channels_last", dtype="float32")(x)


def _maximum(x):
    return layers.MaxPooling2D(3, 1, "same", data_format="channels_last", dtype="float32")(x)


_POOLS = {AVERAGE: _average, MAX: _maximum}
_POOLS_TORCHVISION = {AVERAGE: _average_with_border, MAX: _average_with_border}


def _step(x, step, name, pools):
    if isinstance(step, list):
        return _block(x, step, name, pools)
    if step in (AVERAGE, MAX):
        return pools[step](x)
    if step == HALVE:
        return layers.MaxPooling2D(3, 2, data_format="channels_last", dtype="float32")(x)
    return _convolution(x, step, name + step.name)


def _convolution(x, step, name):
    x = layers.Conv2D(
        step.channels, step.kernel, strides=2 if step.halves else 1, use_bias=False,
        padding="valid" if step.halves or step.valid else "same",
        data_format="channels_last", dtype="float32",
        name=f"{name}.conv",
    )(x)  # fmt: skip
    x = layers.BatchNormalization(epsilon=1e-3, dtype="float32", name=f"{name}.bn")(x)
    return layers.Activation("relu", dtype="float32", name=f"{name}.relu")(x)


# === Its weights ===


def network_weights(network):
    """Variables by our name, `NAME/LEAF`, e.g. `Mixed_5b.branch1x1/kernel`."""
    variables = {}
    for name, _ in convolutions():
        norm = network.get_layer(f"{name}.bn")
        variables[f"{name}/kernel"] = network.get_layer(f"{name}.conv").kernel
        for leaf, _, _ in LEAVES[1:]:
            variables[f"{name}/{leaf}"] = getattr(norm, leaf)
    return variables


def _wanted(network, kind):
    """What `weight_files.select` wants of a file, `kind` as of `load_weights`."""
    frozen, torchvision = kind == "frozen", kind == "torchvision"
    variables, wanted = network_weights(network), {}
    for name, scope in convolutions():
        for leaf, constant, entry in LEAVES:
            convert = weight_files.unchanged
            if leaf == "kernel" and not frozen:
                convert = weight_files.from_oihw
            theirs = f"{scope}/{constant}" if frozen else f"{name}.{entry}"
            wanted[f"{name}/{leaf}"] = (theirs, variables[f"{name}/{leaf}"].shape, convert)
    for ours, constant, entry, shape in CLASSIFIER if not torchvision else ():
        transposed = len(shape) == 2 and not frozen
        convert = weight_files.from_linear if transposed else weight_files.unchanged
        wanted[ours] = (constant if frozen else entry, shape, convert)
    return wanted


def read_weights(path, kind):
    """What a weight file holds, by its own names.

    Args:
        path: str.
        kind: "frozen" for `classify_image_graph_def.pb`, "torch" for the PyTorch weights.

    Returns:
        dict of name -> array.

    Raises:
        ValueError: the file is of another kind; PyTorch is not installed, for "torch".
    """
    if kind == "frozen":
        return weight_files.read_frozen_constants(path)
    return pth_files.read_state_dict(path)


def load_weights(network, found, kind, path):
    """Fills the network.

    Args:
        network: what `build_network` returned.
        found: what `read_weights` returned.
        kind: "frozen" or "torch", as there; "torchvision" for torchvision's own weights.
        path: of the file, for errors.

    Returns:
        dict of our name -> float32 array, what was assigned.

    Raises:
        ValueError: missing, misshapen or non-finite arrays, all of them listed; nothing is
            assigned then.
    """
    values = weight_files.select(found, _wanted(network, kind), path)
    variables = network_weights(network)
    for name, variable in variables.items():
        variable.assign(values[name])
    return {name: values[name] for name in variables}
