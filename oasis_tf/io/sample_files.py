"""Files of a command that generates an image of every seed: images, a sheet, a walk."""

import os

from oasis_tf.io import images, output_paths

_BATCH = 8  # images that are generated at a time


class SampleFiles:
    """Where the images of seeds go: `seedSEED.png`, `grid.png`, and an animation.

    Args:
        folder: path, made when needed.
        seeds: range of ints.
        grid: whether all images also go on one sheet.
        walk: path of an animation, or None.
    """

    def __init__(self, folder, seeds, grid=False, walk=None):
        self._folder, self._seeds, self._walk = folder, seeds, walk
        self._grid = os.path.join(folder, "grid.png") if grid else None

    def path(self, seed, what=""):
        """Path of the image of a seed, or of `what` belongs to it."""
        return os.path.join(self._folder, f"seed{seed}{what}.png")

    def check(self, kinds=("",), *, overwrite=False):
        """Refuses files that exist, that cannot be written, or an animation of another kind.

        Args:
            kinds: what is written of every seed, as in `path`.
            overwrite: whether files may be replaced.

        Raises:
            ValueError, NotWritten, NotADirectoryError.
        """
        output_paths.check_folder(self._folder)
        outputs = [self.path(seed, kind) for seed in self._seeds for kind in kinds]
        outputs += filter(None, (self._grid, self._walk))
        if self._walk:
            images.check_animation(self._walk)
        output_paths.check_outputs(outputs, [], overwrite=overwrite)

    def write(self, generate, shown, parts):
        """Writes the files of every seed, and the sheet.

        Args:
            generate: function(list of seeds) -> samples.
            shown: function(samples) -> the images as they are shown, float [B,H,W,3] in [-1, 1].
            parts: function(samples, row) -> Pillow images of a row by kinds, as in `path`.
        """
        made = []
        for first in range(0, len(self._seeds), _BATCH):
            batch = list(self._seeds[first : first + _BATCH])
            samples = generate(batch)
            made += list(images.to_uint8(shown(samples)))
            for row, seed in enumerate(batch):
                for kind, picture in parts(samples, row).items():
                    images.save_png(self.path(seed, kind), picture)
        if self._grid:
            images.save_png(self._grid, images.image_grid(made))

    def write_walk(self, latents, generate):
        """Writes the walk, if there is to be one.

        Args:
            latents: float [N, Z], one for each frame.
            generate: function(latents [b, Z]) -> images as they are shown, float [b,H,W,3].
        """
        parts = range(0, len(latents), _BATCH)
        frames = [images.to_uint8(generate(latents[k : k + _BATCH])) for k in parts]
        images.write_animation(self._walk, [frame for part in frames for frame in part])
