"""Command: write the generator, or the discriminator as a segmenter, as TFLite files.

    python -m export.tflite --model_dir=DIR --output=FILE.tflite|DIR
        [--network=generator|segmenter] [--quantize=none,float16,dynamic,int8]

A file needs TFLite's built-in operations alone: it runs on phones, in browsers (LiteRT.js) and in
`ai-edge-litert`. Signature `serving_default`:
    generator: label_map int32 [1, H, W], model ids; noise float32 [1, Z] (none if Z = 0)
        -> image float32 [1, H, W, 3] in [-1, 1].
    segmenter: image float32 [1, H, W, 3] in [-1, 1]
        -> label_map int32 [1, H, W], model ids; fake_probability float32 [1, H, W].
With --dynamic_size, number and size of the images are free.

What the file is, with the names and colours of all classes, stands in its metadata (`oasis_tf`)
and beside it in FILE.json; size, latency and error against the engine in FILE.report.json. See
docs/tflite.md.
"""

import dataclasses
import importlib.util
import os

from absl import flags

from oasis_tf.cli import common_flags, runner

NETWORKS = ("generator", "segmenter")
QUANTIZATIONS = {"none": "float32", "float16": "float16", "dynamic": "dynamic", "int8": "int8"}
_SUFFIX = ".tflite"


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    flags.DEFINE_string("model_dir", None, "Model directory.", required=True, **where)
    common_flags.define_checkpoint_flag(flag_values)
    flags.DEFINE_string(
        "output",
        None,
        "File to write, NAME.tflite; or a folder, for files named by network, size and "
        "quantization.",
        required=True,
        **where,
    )
    flags.DEFINE_enum("network", "generator", NETWORKS, "What to write.", **where)
    flags.DEFINE_list(
        "quantize",
        ["none"],
        "none (float32), float16 (half the size), dynamic (a quarter: weights int8) or int8 "
        "(convolutions int8 throughout: quickest, with a visible loss); several, separated by "
        "commas, go to a folder.",
        **where,
    )
    flags.DEFINE_integer(
        "height", None, "Image height, with --width; default: the training crop's.", **where
    )
    flags.DEFINE_integer(
        "width", None, "Image width, with --height; default: the training crop's.", **where
    )
    flags.DEFINE_bool(
        "dynamic_size", False, "Leave number and size of the images free. Slower.", **where
    )
    flags.DEFINE_bool("overwrite", False, "Replace files that exist; default: refuse.", **where)
    _define_measuring(where)


def _define_measuring(where):
    flags.DEFINE_string(
        "data_dir",
        None,
        "Prepared data set: training examples calibrate int8, validation examples measure. "
        "Default: the one trained on.",
        **where,
    )
    flags.DEFINE_integer(
        "representative_examples", 100, "Examples that calibrate int8.", lower_bound=1, **where
    )
    flags.DEFINE_bool("report", True, "Measure every file (extra `tflite`).", **where)
    flags.DEFINE_integer("report_examples", 8, "Examples measured with.", lower_bound=1, **where)
    flags.DEFINE_integer("threads", 2, "Threads measured with.", lower_bound=1, **where)
    flags.DEFINE_integer(
        "seed", 0, "The i-th example has noise of seed --seed + i.", lower_bound=0, **where
    )


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be written: paths by quantization, and the size (None: dynamic)."""

    network: str
    paths: dict
    height: int | None
    width: int | None


def plan_export(config, output, network, quantizations, height, width, dynamic_size, overwrite):
    """Checks a request; needs no TensorFlow.

    Args:
        config: `Config` of the model.
        output: file or folder.
        network: one of `NETWORKS`.
        quantizations: list of keys of `QUANTIZATIONS`.
        height, width: size of the images or None, both or none.
        dynamic_size: whether the size is left free.
        overwrite: whether files may be replaced.

    Returns:
        `Plan`.

    Raises:
        ValueError: what is asked for does not go together, or does not fit the model.
        FileExistsError: a file is there already.
    """
    if network == "segmenter":
        config.model.check_segments("segment")
    _check_quantizations(quantizations, output, dynamic_size)
    size = (None, None) if dynamic_size else (height, width)
    if (height is None) != (width is None) or (dynamic_size and height is not None):
        raise ValueError(
            "`height` and `width` go together, and not with --dynamic_size. Received: "
            f"height={height}, width={width}, dynamic_size={dynamic_size}."
        )
    if height is None and not dynamic_size:
        size = config.data.crop_height, config.data.crop_width
    _check_size(config.model, network, size)
    paths = _paths(output, network, quantizations, size)
    for path in paths.values():
        for written in (path, sidecar(path), report_path(path)):
            if os.path.exists(written) and not overwrite:
                raise FileExistsError(
                    f"{written} exists. Name another --output, or replace it with --overwrite."
                )
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


def _check_size(model, network, size):
    multiple = model.generator_stride if network == "generator" else model.discriminator_stride
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


def check_runtime():
    """Raises ValueError: the runtime that files are measured with is not installed."""
    if importlib.util.find_spec("ai_edge_litert") is None:
        raise ValueError(
            'Measuring needs the LiteRT runtime: pip install "oasis-tf[tflite]". Or write '
            "unmeasured files, with --noreport."
        )


def main(argv):
    """Checks everything, loads the model, converts, measures, writes."""
    del argv
    from oasis_tf.systems.oasis.config import Config

    args = flags.FLAGS
    config = Config.load(args.model_dir)
    plan = plan_export(
        config,
        args.output,
        args.network,
        args.quantize,
        args.height,
        args.width,
        args.dynamic_size,
        args.overwrite,
    )
    if args.report:
        check_runtime()
    from export.litert import writing  # here: bad flags answer without TensorFlow
    from oasis_tf import OASIS

    prepared = writing.dataset_for(plan, config, args.data_dir)
    writing.write(
        OASIS.load(args.model_dir, common_flags.checkpoint(args.checkpoint)),
        plan,
        prepared,
        representative_examples=args.representative_examples,
        report_examples=args.report_examples if args.report else 0,
        threads=args.threads,
        seed=args.seed,
    )


if __name__ == "__main__":
    runner.run(main, define_flags)
