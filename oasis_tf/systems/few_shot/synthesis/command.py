"""Command: generate images with a StyleGAN2 or BigGAN, adapted or not.

    python -m oasis_tf.synthesize --model_dir=DIR --num_samples=100 --output=DIR

writes the image of each of the seeds `--seed`, `--seed` + 1, … to `seedSEED.png`. `--grid` also
writes all of them on one sheet, `grid.png`. `--walk=FILE.gif` (or `.webp`) walks from the latent of
each seed to that of the next, and back to the first. With `--beside_source`, for an adapted model,
the source generates from the same latents: to `seedSEED_source.png`, and to the left of each image
in sheet and walk.
"""

import numpy as np
from absl import flags
from PIL import Image

from oasis_tf import pretrained
from oasis_tf.cli import common_flags
from oasis_tf.io.images import to_uint8
from oasis_tf.io.sample_files import SampleFiles
from oasis_tf.systems.few_shot.config import Config


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    common_flags.define_model_dir_flag(flag_values)
    common_flags.define_checkpoint_flag(flag_values)
    common_flags.define_sampling_flags(flag_values)
    flags.DEFINE_float(
        "truncation",
        1.0,
        "Less variety, fewer failures below 1. StyleGAN2: how far w may be from its mean; BigGAN: "
        "scale of the latent.",
        lower_bound=0,
        upper_bound=1,
        flag_values=flag_values,
    )
    flags.DEFINE_bool(
        "beside_source",
        False,
        "Also generate with the source that the model was adapted from, from the same latents.",
        flag_values=flag_values,
    )


def main(argv):
    """Checks the outputs, loads the model, writes the images."""
    del argv
    args = flags.FLAGS
    seeds = range(args.seed, args.seed + args.num_samples)
    files = SampleFiles(args.output, seeds, args.grid, args.walk)
    config = Config.load(pretrained.find(args.model_dir))
    if args.beside_source:
        config.check_adapted("beside_source")
    files.check(("", "_source") if args.beside_source else ("",), overwrite=args.overwrite)

    from oasis_tf.systems.few_shot.loading import load_model  # here: it loads TensorFlow

    model = load_model(args.model_dir, common_flags.checkpoint(args.checkpoint))
    options = {"truncation": args.truncation, "source": args.beside_source}
    files.write(lambda batch: model.sample(batch, **options), _shown, _pictures)
    if args.walk:
        walk = model.closed_walk(list(seeds), args.frames)
        files.write_walk(walk, lambda latents: _shown(model.sample_latents(latents, **options)))
    print(f"Wrote {len(seeds)} images to {args.output}.")


def _shown(samples):
    """The images as sheets and walks have them."""
    if samples.source is None:
        return samples.image
    return np.concatenate([samples.source, samples.image], axis=2)


def _pictures(samples, row):
    """The images of a row, as Pillow images by the ends of their files' names."""
    ends = {"image": "", "source": "_source"}
    found = samples.named().items()
    return {ends[name]: Image.fromarray(to_uint8(images[row])) for name, images in found}
