"""Writes a shipped model: a small model directory, for use alone.

    python -m oasis_tf.pretrained.pack --model_dir=RUN --output=oasis_tf/pretrained/NAME

The ability "pretrained" of a system is a module with `packed(model_dir, checkpoint)`: a `Packed`.
Kernels are rounded to float16; all other numbers stay as they are. A model of more than 8 MB is
refused. Remove a model first that is to be replaced. `setup.py` puts the folder into wheels.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from oasis_tf import pretrained, systems
from oasis_tf.cli import common_flags, runner
from oasis_tf.io import files, output_paths
from oasis_tf.settings import path_flags
from oasis_tf.settings.run_config import RunConfig

MOST_BYTES = 8 * 10**6


class Packed(NamedTuple):
    """What a system ships of a model.

    Attributes:
        config: the configuration, without paths.
        step: step of the checkpoint.
        training, inference: arrays by name, as in `CheckpointStore.save`.
        examples: inputs to begin with: PIL images by name, as files that the system reads.
    """

    config: RunConfig
    step: int
    training: Mapping[str, np.ndarray]
    inference: Mapping[str, np.ndarray]
    examples: Mapping[str, Any]


def rounded(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns arrays with kernels in float16: floats of two axes and more.

    Biases, statistics and spectral vectors are few, and may be smaller or larger than float16
    holds.
    """
    return {
        name: array.astype(np.float16) if array.ndim > 1 and array.dtype.kind == "f" else array
        for name, array in arrays.items()
    }


def pack(model_dir, output, checkpoint=None):
    """Writes the model of a model directory as a shipped one; it is whole or absent.

    Args:
        model_dir: model directory.
        output: folder to write, whose name is that of the model.
        checkpoint: as in `oasis_tf.load`.

    Returns:
        its size in bytes.

    Raises:
        ValueError: the system ships no models, or the model is too large.
        OSError: not a model directory; the folder is not empty, or cannot be written.
    """
    from oasis_tf.training.store import CheckpointStore  # here: flags are checked first

    output_paths.check_new_folder(output)
    of_system = systems.of_model_dir(model_dir).ability("pretrained")
    packed = of_system.packed(model_dir, checkpoint)
    with files.folder_written_aside(output) as aside:
        packed.config.save(aside)
        arrays = rounded(packed.training), rounded(packed.inference)
        CheckpointStore(aside).save(packed.step, *arrays)
        if packed.examples:
            os.mkdir(os.path.join(aside, pretrained.EXAMPLES))
        for name, picture in packed.examples.items():
            picture.save(os.path.join(aside, pretrained.EXAMPLES, f"{name}.png"))
        size = sum(path.stat().st_size for path in Path(aside).rglob("*") if path.is_file())
        if size > MOST_BYTES:
            raise ValueError(
                f"A shipped model must have at most {MOST_BYTES / 1e6:g} MB. Received: "
                f"{size / 1e6:.1f} MB. Train a narrower one."
            )
    return size


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    common_flags.define_model_dir_flag(flag_values)
    common_flags.define_checkpoint_flag(flag_values)
    path_flags.define_path(
        "output", None, "Folder to write.", required=True, flag_values=flag_values
    )


def main(argv):
    """Packs and prints the size."""
    del argv
    args = flags.FLAGS
    size = pack(args.model_dir, args.output, common_flags.checkpoint(args.checkpoint))
    print(f"Wrote {args.output}, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    runner.run(main, define_flags)
