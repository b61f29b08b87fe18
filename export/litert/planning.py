"""Which TFLite files are to be written, and the files beside them."""

import dataclasses
import os

from oasis_tf import systems
from oasis_tf.io.write_errors import check_writable

QUANTIZATIONS = {"none": "float32", "float16": "float16", "dynamic": "dynamic", "int8": "int8"}
_SUFFIX = ".tflite"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be written: paths by quantization, and the size (None: dynamic)."""

    network: str
    paths: dict
    height: int | None
    width: int | None


def plan_export(config, output, network, quantizations, height, width, dynamic_size, overwrite):
    """Checks a request.

    Args:
        config: configuration of the model.
        output: file or folder.
        network: name that the system's ability `tflite` has for it.
        quantizations: list of keys of `QUANTIZATIONS`.
        height, width: size of the images or None, both or none.
        dynamic_size: whether the size is left free.
        overwrite: whether files may be replaced.

    Returns:
        `Plan`.

    Raises:
        ValueError: the system writes no TFLite files; what is asked for does not go together, or
            does not fit the model.
        FileExistsError: a file is there already.
        NotWritten: a folder cannot be made or written into.
    """
    networks = systems.get(config.SYSTEM).ability("tflite")
    facts = networks.facts(config, network)
    _check_quantizations(quantizations, output, dynamic_size)
    size = (None, None) if dynamic_size else (height, width)
    if (height is None) != (width is None) or (dynamic_size and height is not None):
        raise ValueError(
            "`height` and `width` go together, and not with --dynamic_size. Received: "
            f"height={height}, width={width}, dynamic_size={dynamic_size}."
        )
    if dynamic_size and not facts.get("dynamic_size", True):
        raise ValueError(
            f"`dynamic_size` is not for a {network} of {config.SYSTEM}, whose first map has a "
            "fixed size. Received: dynamic_size=True. Give --height and --width instead."
        )
    of_model = networks.size(config)
    if height is None and not dynamic_size:
        size = of_model
    if facts.get("fixed_size") and size != of_model:
        raise ValueError(
            f"`height` and `width` must be those of the model, {'x'.join(map(str, of_model))}, for "
            f"a {network} of {config.SYSTEM}. Received: {height}x{width}. Leave them out."
        )
    _check_size(facts["size_multiple"], network, size)
    paths = _paths(output, network, quantizations, size)
    for path in paths.values():
        for written in (path, sidecar(path), report_path(path)):
            if os.path.exists(written) and not overwrite:
                raise FileExistsError(
                    f"{written} exists. Name another --output, or replace it with --overwrite."
                )
        check_writable(path)
    return Plan(network, paths, *size)


def _check_quantizations(quantizations, output, dynamic_size):
    unknown = set(quantizations) - set(QUANTIZATIONS)
    if unknown or not quantizations or len(set(quantizations)) < len(quantizations):
        raise ValueError(
            f"`quantize` must be some of {', '.join(QUANTIZATIONS)}, each once. "
            f"Received: quantize={','.join(quantizations)}."
        )
    if len(quantizations) > 1 and output.endswith(_SUFFIX):
        raise ValueError(
            "`output` must be a folder where --quantize asks for several files. "
            f"Received: output={output}, quantize={','.join(quantizations)}."
        )
    if "int8" in quantizations and dynamic_size:
        raise ValueError(
            "`quantize=int8` needs a fixed size: what its scales are measured on. Leave out "
            "--dynamic_size, or name none, float16 or dynamic."
        )


def _check_size(multiple, network, size):
    for name, side in zip(("height", "width"), size, strict=True):
        if side is not None and (side <= 0 or side % multiple):
            raise ValueError(
                f"`{name}` must be a positive multiple of {multiple} for a {network}. "
                f"Received: {name}={side}."
            )


def _paths(output, network, quantizations, size):
    if output.endswith(_SUFFIX):
        return {quantizations[0]: output}
    shape = "dynamic_size" if size[0] is None else f"{size[0]}x{size[1]}"
    return {
        quantize: os.path.join(output, f"{network}_{shape}_{QUANTIZATIONS[quantize]}{_SUFFIX}")
        for quantize in quantizations
    }


def sidecar(path):
    """Where the description of a file goes: NAME.json beside NAME.tflite."""
    return path.removesuffix(_SUFFIX) + ".json"


def report_path(path):
    """Where the measurements of a file go: NAME.report.json beside NAME.tflite."""
    return path.removesuffix(_SUFFIX) + ".report.json"
