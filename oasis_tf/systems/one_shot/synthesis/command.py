"""Command: generate images like the picture that a model has learnt from.

    python -m oasis_tf.synthesize --model_dir=DIR --num_samples=100 --output=DIR

writes the image of each of the seeds `--seed`, `--seed` + 1, … to `seedSEED.png`, and the mask of a
model with masks to `seedSEED_mask.png`, ids of classes with a palette. `--grid` also writes all of
them on one sheet, `grid.png`. `--walk=FILE.gif` (or `.webp`) walks from the latent of each seed to
that of the next, and back to the first.
"""

import os

from absl import flags

from oasis_tf import pretrained
from oasis_tf.cli import common_flags
from oasis_tf.io import images, output_paths
from oasis_tf.settings import path_flags
from oasis_tf.systems.one_shot.config import Config

_BATCH = 8


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    common_flags.define_model_dir_flag(flag_values)
    common_flags.define_checkpoint_flag(flag_values)
    path_flags.define_path(
        "output", None, "Folder for the outputs, made when needed.", required=True, **where
    )
    flags.DEFINE_integer("seed", 0, "First seed.", lower_bound=0, **where)
    flags.DEFINE_integer("num_samples", 1, "Number of images.", lower_bound=1, **where)
    flags.DEFINE_bool("grid", False, "Also write grid.png, all images on one sheet.", **where)
    path_flags.define_path(
        "walk",
        None,
        "Animation (.gif or .webp) of a walk through the latents of the seeds.",
        **where,
    )
    flags.DEFINE_integer(
        "frames", 12, "Frames of --walk from a latent to the next.", lower_bound=1, **where
    )
    for side in ("height", "width"):
        flags.DEFINE_integer(
            f"grid_{side}",
            None,
            f"Other {side} of the generator's first map, for images of other sizes: exact for a "
            "model with --latent=broadcast, otherwise the learned map is resized, an experiment.",
            lower_bound=1,
            **where,
        )
    flags.DEFINE_bool("overwrite", False, "Replace files that exist.", **where)


def main(argv):
    """Checks the outputs, loads the model, writes the images."""
    del argv
    args = flags.FLAGS
    grid = _grid(args)
    seeds = range(args.seed, args.seed + args.num_samples)
    output_paths.check_folder(args.output)
    config = Config.load(pretrained.find(args.model_dir))
    kinds = ("", "_mask") if config.model.num_classes else ("",)
    outputs = [_path(args.output, seed, kind) for seed in seeds for kind in kinds]
    outputs += [os.path.join(args.output, "grid.png")] if args.grid else []
    if args.walk:
        images.check_animation(args.walk)
        outputs.append(args.walk)
    output_paths.check_outputs(outputs, [], overwrite=args.overwrite)

    from oasis_tf.systems.one_shot.loading import load_model  # here: it loads TensorFlow

    model = load_model(args.model_dir, common_flags.checkpoint(args.checkpoint))
    made = _write_samples(model, args.output, seeds, grid)
    if args.grid:
        images.save_png(os.path.join(args.output, "grid.png"), images.image_grid(made))
    if args.walk:
        _write_walk(model, args.walk, seeds, args.frames, grid)
    print(f"Wrote {len(made)} images to {args.output}.")


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


def _path(folder, seed, what=""):
    return os.path.join(folder, f"seed{seed}{what}.png")


def _write_samples(model, folder, seeds, grid):
    """Writes images and masks of seeds; returns the images, uint8."""
    from oasis_tf.systems.one_shot import palette

    made = []
    for first in range(0, len(seeds), _BATCH):
        batch = seeds[first : first + _BATCH]
        samples = model.sample(list(batch), grid=grid)
        for row, seed in enumerate(batch):
            made.append(images.to_uint8(samples.image[row]))
            images.write_png(_path(folder, seed), made[-1])
            if samples.mask is not None:
                images.save_png(_path(folder, seed, "_mask"), palette.picture(samples.mask[row]))
    return made


def _write_walk(model, path, seeds, frames, grid):
    """Writes a walk from the latent of each seed to the next, and back to the first."""
    import numpy as np

    from oasis_tf.systems.one_shot import draws

    latents = draws.latents_of(np.array(seeds, np.int64), model.config.model.noise_dim).numpy()
    shares = np.arange(frames, dtype=np.float32)[:, None] / np.float32(frames)
    pairs = zip(latents, np.roll(latents, -1, axis=0), strict=True)
    steps = np.concatenate([draws.between(a[None], b[None], shares) for a, b in pairs])
    shown = [
        images.to_uint8(model.sample_latents(steps[k : k + _BATCH], grid).image)
        for k in range(0, len(steps), _BATCH)
    ]
    images.write_animation(path, list(np.concatenate(shown)))
