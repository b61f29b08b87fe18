"""Command: generate images like the picture that a model has learnt from.

    python -m oasis_tf.synthesize --model_dir=DIR --num_samples=100 --output=DIR

writes the image of each of the seeds `--seed`, `--seed` + 1, … to `seedSEED.png`, and the mask of a
model with masks to `seedSEED_mask.png`, ids of classes with a palette. `--grid` also writes all of
them on one sheet, `grid.png`. `--walk=FILE.gif` (or `.webp`) walks from the latent of each seed to
that of the next, and back to the first.
"""

import numpy as np
from absl import flags
from PIL import Image

from oasis_tf import pretrained
from oasis_tf.cli import common_flags
from oasis_tf.io.images import to_uint8
from oasis_tf.io.sample_files import SampleFiles
from oasis_tf.systems.one_shot.config import Config


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    common_flags.define_model_dir_flag(flag_values)
    common_flags.define_checkpoint_flag(flag_values)
    common_flags.define_sampling_flags(flag_values)
    for side in ("height", "width"):
        flags.DEFINE_integer(
            f"grid_{side}",
            None,
            f"Other {side} of the generator's first map, for images of other sizes: exact for a "
            "model with --latent=broadcast, otherwise the learned map is resized, an experiment.",
            lower_bound=1,
            flag_values=flag_values,
        )


def main(argv):
    """Checks the outputs, loads the model, writes the images."""
    del argv
    args = flags.FLAGS
    grid = _grid(args)
    seeds = range(args.seed, args.seed + args.num_samples)
    files = SampleFiles(args.output, seeds, args.grid, args.walk)
    config = Config.load(pretrained.find(args.model_dir))
    files.check(("", "_mask") if config.model.num_classes else ("",), overwrite=args.overwrite)

    from oasis_tf.systems.one_shot.loading import load_model  # here: it loads TensorFlow

    model = load_model(args.model_dir, common_flags.checkpoint(args.checkpoint))
    files.write(lambda batch: model.sample(batch, grid=grid), _image, _pictures)
    if args.walk:
        walk = _walk(model, seeds, args.frames)
        files.write_walk(walk, lambda latents: _image(model.sample_latents(latents, grid)))
    print(f"Wrote {len(seeds)} images to {args.output}.")


def _grid(args):
    given = (args.grid_height, args.grid_width)
    if given == (None, None):
        return None
    if None in given:
        raise ValueError(
            "`grid_height` and `grid_width` must be given together. Received: "
            f"grid_height={given[0]}, grid_width={given[1]}."
        )
    return given


def _image(samples):
    return samples.image


def _pictures(samples, row):
    """Image and mask of a row, as Pillow images by the ends of their files' names."""
    from oasis_tf.systems.one_shot import palette

    found = {"": Image.fromarray(to_uint8(samples.image[row]))}
    return found if samples.mask is None else found | {"_mask": palette.picture(samples.mask[row])}


def _walk(model, seeds, frames):
    """Latents from that of each seed to that of the next, and back to the first."""
    from oasis_tf.latents import closed_walk
    from oasis_tf.systems.one_shot import draws

    latents = draws.latents_of(np.array(seeds, np.int64), model.config.model.noise_dim)
    return closed_walk(latents, frames)
