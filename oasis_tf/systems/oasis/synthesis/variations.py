"""The images of one scene: seeds, edits and interpolations, with their names.

The first sample has one noise vector for the whole image, that of the first seed. Without an edit,
the other samples have those of the next seeds. With an edit, the first sample is the base. The
others have the vector of their own seed inside the edited classes or region, and the noise of the
base elsewhere.
"""

import dataclasses
import re
from pathlib import Path

import numpy as np

from oasis_tf.systems.oasis import editing

_LONGEST_NAME = 60


@dataclasses.dataclass(frozen=True)
class Picture:
    """One image of a scene: the noise of `seed`, interpolated to that of `other` inside the edit.

    Attributes:
        name: follows the stem in the name of the file.
        seed: int.
        other: int, or None for the noise of `seed` everywhere.
        share: float in 0..1, of `other`.
        style: path of an image that gives the style, by the model's encoder; or None.
    """

    name: str
    seed: int
    other: int | None = None
    share: float = 1.0
    style: str | None = None


@dataclasses.dataclass(frozen=True)
class Variation:
    """The images of every scene.

    Attributes:
        seed, num_samples: noise seeds `seed`, ..., `seed + num_samples - 1`.
        classes: model ids to resample, or ().
        edit: name of the edit in names of files; "" without one.
        frames: K >= 2: instead of samples, for each seed K pictures from it to the next seed; or 0.
        spherical: whether to interpolate along the great circle instead of a line.
        styles: paths of images, each of which gives its style to samples; or ().
    """

    seed: int = 0
    num_samples: int = 1
    classes: tuple[int, ...] = ()
    edit: str = ""
    frames: int = 0
    spherical: bool = False
    styles: tuple[str, ...] = ()

    def __post_init__(self):
        if self.num_samples < 1:
            raise ValueError(
                f"`num_samples` must be at least 1. Received: num_samples={self.num_samples}"
            )
        if self.frames and self.frames < 2:
            raise ValueError(
                "An interpolation needs at least 2 frames, its two ends. "
                f"Received: interpolate={self.frames}"
            )
        if self.edit and not self.frames and self.num_samples < 2:
            raise ValueError(
                "The first sample is the base of an edit and the others differ from it: "
                "--resample_classes and --region need --num_samples of at least 2, or "
                f"--interpolate. Received: num_samples={self.num_samples}"
            )

    def series(self):
        """Lists of pictures that belong together: all samples, or those of each interpolation."""
        seeds = range(self.seed, self.seed + self.num_samples)
        if self.frames:
            return [self._interpolation(seed) for seed in seeds]
        if self.styles:
            pairs = [(style, seed) for style in self.styles for seed in seeds]
            return [[Picture(f"style-{Path(p).stem}_seed{s}", s, style=p) for p, s in pairs]]
        if not self.edit:
            return [[Picture(f"seed{seed}", seed) for seed in seeds]]
        first, *others = seeds
        edited = [Picture(f"seed{first}_{self.edit}_seed{s}", first, s) for s in others]
        return [[Picture(f"seed{first}", first), *edited]]

    def series_name(self, seed):
        """Follows the stem in the name of the interpolation that begins at a seed."""
        edit = f"_{self.edit}" if self.edit else ""
        kind = "_spherical" if self.spherical else ""
        return f"seed{seed}{edit}_to_seed{seed + 1}{kind}"

    def _interpolation(self, seed):
        digits = max(2, len(str(self.frames - 1)))
        return [
            Picture(
                f"{self.series_name(seed)}_frame{k:0{digits}}of{self.frames}",
                seed,
                seed + 1,
                k / (self.frames - 1),
            )
            for k in range(self.frames)
        ]

    def region(self, label_map, mask):
        """The region of the edit: bool [H, W], or None for everything."""
        if mask is not None:
            return mask
        return np.isin(label_map, self.classes) if self.classes else None

    def field(self, picture, shape, region, noise_channels):
        """The `NoiseField` of a picture.

        Args:
            picture: one of `series`.
            shape: (H, W).
            region: what `region` gave.
            noise_channels: int Z > 0.
        """
        base = editing.image_noise(*shape, picture.seed, noise_channels)
        if picture.other is None:
            return base
        if not self.frames:
            return editing.resample(base, region, picture.other)
        other = editing.image_noise(*shape, picture.other, noise_channels)
        return editing.interpolate(
            base, other, picture.share, spherical=self.spherical, region=region
        )


# === Classes ===


def edit_name(classes, label_space):
    """An edit of classes in names of files: the names of the classes, or their ids if too long."""
    names = [re.sub(r"\W+", "_", label_space.class_names[c]).strip("_") for c in classes]
    joined = "-".join(names)
    if len(joined) <= _LONGEST_NAME:
        return joined
    ids = "-".join(str(label_space.raw_ids[c]) for c in classes)
    return f"{len(classes)}classes" if len(ids) > _LONGEST_NAME else f"classes{ids}"
