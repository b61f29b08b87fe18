r"""Command: write the demo as a static page that any web server can hand out.

    python -m export.page --output=SITE --tflite=GENERATOR.tflite [--segmenter=SEGMENTER.tflite]
    python -m export.page --output=SITE --model_dir=DIR \
      --serving_url=http://HOST:8501/v1/models/NAME

With `--tflite` the model runs in the browser (LiteRT.js on the CPU) and no request leaves the
page's origin: a Content-Security-Policy in the page forbids it. With `--serving_url` the browser
asks TensorFlow Serving itself, which must be started with `--rest_api_enable_cors_support`.
To try a page: `python -m http.server --directory=SITE`.
"""

from absl import flags

from oasis_tf.cli import common_flags, runner
from oasis_tf.settings import path_flags


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    path_flags.define_path(
        "output", None, "Folder to write; must not exist, or be empty.", required=True, **where
    )
    path_flags.define_path(
        "tflite",
        None,
        "Generator as .tflite of a fixed size, its .json beside it, as export.tflite writes them.",
        **where,
    )
    path_flags.define_path(
        "segmenter",
        None,
        "Segmenter as .tflite of the same size and classes; without one the page takes no "
        "photographs.",
        **where,
    )
    path_flags.define_path(
        "litert",
        None,
        "Folder of the npm package @litertjs/core (default: npm fetches it).",
        **where,
    )
    flags.DEFINE_string(
        "serving_url",
        None,
        "In place of --tflite: model behind TensorFlow Serving, http://HOST:8501/v1/models/NAME, "
        "as visitors' browsers reach it.",
        **where,
    )
    common_flags.define_model_dir_flag(
        flag_values, "Directory of the model that --serving_url names (config.json).", False
    )
    path_flags.define_path(
        "examples",
        None,
        "Label PNG, or folder of label PNGs, to begin with (the first 24).",
        **where,
    )


def check(args):
    """Checks which flags go together.

    Raises:
        ValueError: neither or both of --tflite and --serving_url, or flags of the other one.
    """
    if bool(args.tflite) == bool(args.serving_url):
        raise ValueError("Either --tflite or --serving_url must be given.")
    way, others = ("tflite", ["model_dir"])
    if args.serving_url:
        way, others = "serving_url", ["segmenter", "litert"]
        if not args.model_dir:
            raise ValueError("--serving_url needs --model_dir: the classes stand in config.json.")
    given = [f"--{name}" for name in others if args[name].value]
    if given:
        raise ValueError(f"--{way} does not go with {', '.join(given)}.")


def main(argv):
    """Checks everything, writes the page."""
    del argv
    args = flags.FLAGS
    check(args)
    from export import static_page

    if args.tflite:
        source = static_page.Tflite.load(args.tflite, args.segmenter, args.litert)
    else:
        source = static_page.Serving.load(args.serving_url, args.model_dir)
    static_page.write(args.output, source, args.examples)
    print(f"Wrote {args.output}. To try it: python -m http.server --directory={args.output}")


if __name__ == "__main__":
    runner.run(main, define_flags)
