"""Command: write the generator, or the discriminator as a segmenter, as TFLite files.

    python -m export.tflite --model_dir=DIR --output=FILE.tflite|DIR
        [--network=generator|segmenter] [--quantize=none,float16,dynamic,int8]

A file needs TFLite's built-in operations alone: it runs on phones, in browsers (LiteRT.js) and in
`ai-edge-litert`. The system declares its networks; those of OASIS have the signature
`serving_default`:
    generator: label_map int32 [1, H, W], model ids; noise float32 [1, Z] (none if Z = 0)
        -> image float32 [1, H, W, 3] in [-1, 1].
    segmenter: image float32 [1, H, W, 3] in [-1, 1]
        -> label_map int32 [1, H, W], model ids; fake_probability float32 [1, H, W].
With --dynamic_size, number and size of the images are free. Of one_shot, the
    generator: latent float32 [1, Z] -> image, and with masks mask uint8 [1, H, W].

What the file is, with the names and colours of all classes, stands in its metadata (`oasis_tf`)
and beside it in FILE.json; size, latency and error against the engine in FILE.report.json. See
docs/tflite.md.
"""

import importlib.util

from absl import flags

from oasis_tf import systems
from oasis_tf.cli import common_flags, runner
from oasis_tf.settings import path_flags


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    common_flags.define_model_dir_flag(flag_values)
    common_flags.define_checkpoint_flag(flag_values)
    path_flags.define_path(
        "output",
        None,
        "File to write, NAME.tflite; or a folder, for files named by network, size and "
        "quantization.",
        required=True,
        **where,
    )
    flags.DEFINE_string(
        "network", "generator", "Network of the system. OASIS: generator or segmenter.", **where
    )
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
    path_flags.define_path(
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
    from export.litert import planning

    args = flags.FLAGS
    system = systems.of_model_dir(args.model_dir)
    config = system.config.load(args.model_dir)
    plan = planning.plan_export(
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
    from export.litert import writing

    prepared = writing.dataset_for(plan, config, args.data_dir)
    writing.write(
        system.load(args.model_dir, common_flags.checkpoint(args.checkpoint)),
        plan,
        prepared,
        representative_examples=args.representative_examples,
        report_examples=args.report_examples if args.report else 0,
        threads=args.threads,
        seed=args.seed,
    )


if __name__ == "__main__":
    runner.run(main, define_flags)
