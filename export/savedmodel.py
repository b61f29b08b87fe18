"""Command: write a model as a TensorFlow SavedModel.

    python -m export.savedmodel --model_dir=DIR --output=DIR
        [--batching=image|dense --version=N --max_pixels=N --nowarmup]

Writes OUTPUT/VERSION/, the layout TensorFlow Serving watches. The artefact needs TensorFlow alone,
neither Keras nor this package. The system declares its signatures; those of OASIS are in
docs/savedmodel.md. The same seed gives the image of `OASIS.generate`, on a CPU bit for bit, with
--batching=dense to rounding. `serving_default` is
    label_map: int32 [B, H, W], model ids; H and W multiples of 32.
    seed: int64 [B], one noise seed an image.
    -> image: float32 [B, H, W, 3] in [-1, 1].
"""

import glob
import os
import time

from absl import flags

from oasis_tf import systems
from oasis_tf.cli import common_flags, runner
from oasis_tf.io import files, output_paths
from oasis_tf.io.paths import check_no_pattern
from oasis_tf.settings import path_flags

BATCHINGS = ("image", "dense")
MAX_PIXELS = 4096 * 4096


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    common_flags.define_model_dir_flag(flag_values)
    common_flags.define_checkpoint_flag(flag_values)
    path_flags.define_path(
        "output",
        None,
        "Folder of versions; the model goes to OUTPUT/VERSION.",
        required=True,
        **where,
    )
    flags.DEFINE_integer(
        "version",
        None,
        "Number of the version; default: one more than the highest there, or 1.",
        lower_bound=1,
        **where,
    )
    flags.DEFINE_integer(
        "max_pixels",
        MAX_PIXELS,
        "Most pixels of an image that the model accepts, as numbers or in a file.",
        lower_bound=1,
        **where,
    )
    flags.DEFINE_enum(
        "batching",
        "image",
        BATCHINGS,
        "How a batch is computed. image: one image after the other, each with the same bits in any "
        "batch. dense: all at the same time, equal to rounding; for GPUs.",
        **where,
    )
    flags.DEFINE_bool(
        "warmup",
        True,
        "Write warm-up records for TensorFlow Serving; needs the extra `serving`.",
        **where,
    )


def version_path(output_dir, version=None):
    """Where the next version goes.

    Args:
        output_dir: folder of versions; need not exist.
        version: positive int, or None for one more than the highest there.

    Returns:
        path `output_dir/version`, at which nothing lies.

    Raises:
        ValueError: the version exists, or TensorFlow would take the path for a pattern.
        NotADirectoryError: `output_dir` is a file.
        NotWritten: it cannot be made or written into.
    """
    check_no_pattern(output_dir)
    output_paths.check_folder(output_dir)
    names = os.listdir(output_dir) if os.path.exists(output_dir) else []
    versions = [int(name) for name in names if name.isdecimal()]
    if version is None:
        version = max(versions, default=0) + 1
    if version in versions:
        raise ValueError(
            f"Version {version} exists: {os.path.join(output_dir, str(version))}. Versions are "
            "never replaced; leave out --version for the next one, or remove that folder."
        )
    return os.path.join(output_dir, str(version))


def export(model, path, max_pixels=MAX_PIXELS, warm_up=False, batching="image"):
    """Writes a SavedModel that is whole or absent.

    Args:
        model: a model with its `config`.
        path: folder to make, as from `version_path`.
        max_pixels: int, most pixels of an image that the model accepts.
        warm_up: whether to write warm-up records for TensorFlow Serving.
        batching: one of `BATCHINGS`.

    Returns:
        tuple of the names of its signatures.

    Raises:
        ValueError: the system writes no SavedModels, or TensorFlow would take the path for a
            pattern.
        NotWritten: the folder cannot be written.
    """
    check_no_pattern(path)
    import tensorflow as tf  # here: bad flags answer without it

    from export.serving import labels, warmup

    ability = systems.get(model.config.SYSTEM).ability("savedmodel")
    module, signatures = ability.serving_module(model, max_pixels, batching)
    options = tf.saved_model.SaveOptions(save_debug_info=False, experimental_custom_gradients=False)
    # The name of the folder aside is no number: servers pass over it.
    with files.folder_written_aside(path) as aside:
        tf.saved_model.save(module, aside, signatures=signatures, options=options)
        if "label_space" in model.config.FACTS:
            labels.write(aside, model.config)
        if warm_up:
            functions = {k: function.get_concrete_function() for k, function in signatures.items()}
            warmup.write(aside, functions)
    return tuple(signatures)


def main(argv):
    """Checks the target, loads the model, writes."""
    del argv
    args = flags.FLAGS
    path = version_path(args.output, args.version)
    if args.warmup:
        from export.serving import warmup

        warmup.check_extra()
    system = systems.of_model_dir(args.model_dir)
    system.ability("savedmodel")  # or the reason why not, before the model is loaded
    model = system.load(args.model_dir, common_flags.checkpoint(args.checkpoint))
    start = time.monotonic()
    names = export(model, path, args.max_pixels, args.warmup, args.batching)
    seconds = time.monotonic() - start
    graph, weights = (
        sum(os.path.getsize(file) for file in glob.glob(os.path.join(path, pattern))) / 1e6
        for pattern in ("saved_model.pb", "variables/*")
    )
    print(
        f"Wrote {path} in {seconds:.1f} s: graph {graph:.1f} MB, weights {weights:.1f} MB.\n"
        f"Signatures: {', '.join(names)}"
    )


if __name__ == "__main__":
    runner.run(main, define_flags)
