"""Makes the pictures of docs/editing.md: the editing figures of ICLR 2021, by your own model.

    python -m benchmarks.oasis.editing_figures --model_dir=MODEL --data_dir=DATA \
        --output=docs/images

Writes editing_figure_2, _f, _h, _i, _j, _k, _l and editing_kinds (lossless .webp), replacing what
is there. Scenes are those of the first validation ones that show the most classes. What a label map
has in red is the region whose noise is edited.
"""

import os

import numpy as np
from absl import flags
from PIL import Image

from benchmarks import inputs
from oasis_tf.cli import runner
from oasis_tf.io import files
from oasis_tf.settings import path_flags

SCENES = 32  # of the validation split, among which is chosen
SAMPLES = 5
CHANGE_GAIN = 4  # of the differences that are shown
RED = (225, 0, 0)
CLASSES = 5  # of figure J
REGIONS = ("half", "disc", "diagonal", "stripes")


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    path_flags.define_path("model_dir", None, "Model directory.", required=True, **where)
    path_flags.define_path("data_dir", None, "Prepared data set; default: the model's.", **where)
    path_flags.define_path("output", None, "Folder of the pictures.", required=True, **where)
    flags.DEFINE_integer("seed", 0, "The first noise seed.", **where)
    flags.DEFINE_integer("scale", 2, "Pixels of the picture to one of an image.", 1, 8, **where)


def main(argv):
    """Generates the images and writes the figures."""
    del argv
    from oasis_tf.io import images
    from oasis_tf.systems.oasis.models.oasis import OASIS

    args = flags.FLAGS
    model = OASIS.load(args.model_dir)
    model.config.model.check_segments("recreate photographs")
    maker = FigureMaker(
        model, read_scenes(model, args.data_dir or model.config.data.data_dir), args.seed
    )
    for name, rows in maker.figures():
        sheet = images.contact_sheet(rows).repeat(args.scale, axis=0).repeat(args.scale, axis=1)
        path = os.path.join(args.output, f"editing_{name}.webp")
        write_webp(path, sheet)
        print(f"{path}: {os.path.getsize(path)} bytes")


def write_webp(path, image):
    """Writes uint8 [H, W, 3] as a lossless WebP file: a quarter less bytes than PNG here."""
    with files.written_aside(path) as aside:
        Image.fromarray(image).save(aside, "WEBP", lossless=True)


def read_scenes(model, data_dir):
    """Images and label maps of the validation split, those with the most classes first."""
    data = model.config.data
    found = inputs.prepared(data_dir, "val", SCENES, data.crop_height, data.crop_width)
    order = np.argsort([-len(np.unique(label)) for label in found.label_maps], kind="stable")
    return found.images[order], found.label_maps[order]


class FigureMaker:
    """The figures, each a list of rows of tiles uint8 [H, W, 3].

    Args:
        model: `OASIS`.
        scenes: images uint8 [S, H, W, 3] and label maps int32 [S, H, W].
        seed: int, the first of the noise seeds.
    """

    def __init__(self, model, scenes, seed):
        self._model = model
        self._real, self._label_maps = scenes
        self._seed = seed

    def figures(self):
        """(name, rows) of every figure."""
        yield "figure_2", self.global_and_local()
        yield "figure_f", self.classes_resampled()
        yield "figure_h", self.regions_resampled()
        yield "kinds", self.kinds_of_noise()
        yield "figure_i", self.interpolations()
        yield "figure_j", self.local_interpolations()
        yield "figure_k", self.recreations()
        yield "figure_l", self.labelmix()

    # === Resampling ===

    def global_and_local(self):
        """Figure 2: label map, 5 images; two rows global, one in a class, one in a shape."""
        rows = [self._global_row(self._label_map(k)) for k in (0, 1)]
        label_map = self._label_map(2)
        rows.append(self._local_row(label_map, _largest_class(label_map)))
        return [*rows, self._local_row(self._label_map(3), region("disc", label_map.shape))]

    def classes_resampled(self):
        """Figure F: for two scenes global noise, then noise in the largest or second class."""
        rows = []
        for k, rank in ((4, 0), (5, 1)):
            label_map = self._label_map(k)
            rows.append(self._global_row(label_map))
            rows.append(self._local_row(label_map, _largest_class(label_map, rank)))
        return rows

    def regions_resampled(self):
        """Figure H: region, two images, the second's noise in the region of the first, change."""
        rows = []
        for k, name in enumerate(REGIONS):
            label_map = self._label_map(7 + k)
            where = region(name, label_map.shape)
            ends = [self._field(label_map, j) for j in (0, 1)]
            fields = [*ends, self._resampled(ends[0], where, 1)]
            tiles = self._images(label_map, fields)
            rows.append([self._marked(label_map, where), *tiles, change_tile(tiles[0], tiles[2])])
        return rows

    def kinds_of_noise(self):
        """Label map; one vector for the image, each class, each segment, each pixel."""
        from oasis_tf.systems.oasis import editing

        rows = []
        for k in (0, 3, 5):
            label_map = self._label_map(k)
            seed, channels = self._seed + k, self._channels
            fields = [
                editing.image_noise(*label_map.shape, seed, channels),
                editing.class_noise(label_map, seed, channels),
                editing.segment_noise(label_map, seed, channels),
                editing.pixel_noise(*label_map.shape, seed, channels),
            ]
            rows.append([self._colours(label_map), *self._images(label_map, fields)])
        return rows

    def _global_row(self, label_map):
        fields = [self._field(label_map, k) for k in range(SAMPLES)]
        return [self._colours(label_map), *self._images(label_map, fields)]

    def _local_row(self, label_map, where):
        base = self._field(label_map, 0)
        fields = [base, *(self._resampled(base, where, k) for k in range(1, SAMPLES))]
        return [self._marked(label_map, where), *self._images(label_map, fields)]

    # === Interpolation ===

    def interpolations(self):
        """Figure I: label map, 5 frames between two noises, for four scenes."""
        return [
            [self._colours(label_map), *self._frames(label_map, k, None)]
            for k, label_map in ((k, self._label_map(11 + k)) for k in range(4))
        ]

    def local_interpolations(self):
        """Figure J: the class in red, 5 frames inside it, change from the first to the last."""
        rows = []
        for class_id in self._largest_classes():
            areas = np.sum(self._label_maps == class_id, axis=(1, 2))
            label_map = self._label_maps[np.argmax(areas)]
            where = label_map == class_id
            frames = self._frames(label_map, class_id, where)
            change = change_tile(frames[0], frames[-1])
            rows.append([self._marked(label_map, where), *frames, change])
        return rows

    def _frames(self, label_map, number, where):
        from oasis_tf.systems.oasis import editing

        ends = [self._field(label_map, 2 * number + k) for k in (0, 1)]
        shares = np.linspace(0, 1, SAMPLES)
        return self._images(
            label_map, [editing.interpolate(*ends, share, region=where) for share in shares]
        )

    def _largest_classes(self):
        """Model ids of the classes with the most pixels, in their order."""
        counts = np.bincount(self._label_maps.ravel(), minlength=self._model.num_classes)
        return sorted(c for c in np.argsort(-counts, kind="stable")[:CLASSES] if counts[c])

    # === Photographs ===

    def recreations(self):
        """Figure K: true label map, image, what D sees, three recreations."""
        rows = []
        for k in (15, 16, 17):
            image = self._real[k % len(self._real)]
            segmentation = self._model.segment(image)
            again = [self._model.recreate(image, self._seed + j) for j in range(3)]
            labels = [self._colours(self._label_map(k)), image, self._colours(segmentation)]
            rows.append(labels + [_uint8(one) for one in again])
        return rows

    def labelmix(self):
        """Figure L: the columns of `labelmix.COLUMNS`."""
        from oasis_tf.systems.oasis.synthesis import labelmix, scenes

        sizing = scenes.Sizing.chosen(
            self._model.config, "crop", None, None, needs_discriminator=True
        )
        return [
            labelmix.figure_row(
                self._model,
                sizing,
                self._real[k % len(self._real)],
                self._label_map(k),
                self._seed + k,
            )
            for k in (18, 19, 20, 21)
        ]

    # === Parts ===

    @property
    def _channels(self):
        return self._model.generator.noise_channels

    def _label_map(self, number):
        return self._label_maps[number % len(self._label_maps)]

    def _field(self, label_map, number):
        from oasis_tf.systems.oasis import editing

        return editing.image_noise(*label_map.shape, self._seed + number, self._channels)

    def _resampled(self, field, where, number):
        from oasis_tf.systems.oasis import editing

        return editing.resample(field, where, self._seed + number)

    def _images(self, label_map, fields):
        label_maps = np.repeat(label_map[None], len(fields), axis=0)
        return list(_uint8(self._model.generate(label_maps, noise=fields)))

    def _colours(self, label_map):
        return self._model.label_space.colorize(label_map)

    def _marked(self, label_map, where):
        """Label colours, red in a region and paler elsewhere."""
        pale = (self._colours(label_map) // 2 + 128).astype(np.uint8)
        return np.where(where[..., None], np.uint8(RED), pale)


def region(name, shape):
    """One of `REGIONS` at a size (H, W): bool [H, W]."""
    y, x = ((np.arange(side) + 0.5) / side for side in shape)
    y, x = y[:, None], x[None, :]
    everywhere = np.ones(shape, bool)
    return (
        everywhere
        & {
            "half": x > 0.5,
            "disc": (x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.3**2,
            "diagonal": x + y > 1,
            "stripes": (4 * y) % 2 >= 1,
        }[name]
    )


def change_tile(first, second):
    """Absolute difference of two tiles, times `CHANGE_GAIN`, mean of the colours, in grey."""
    change = np.abs(first.astype(np.float64) - second).mean(axis=-1, keepdims=True)
    return np.clip(np.round(change * CHANGE_GAIN), 0, 255).astype(np.uint8).repeat(3, axis=-1)


def _largest_class(label_map, rank=0):
    """Region of the class with the most pixels, or of one that comes later; bool [H, W]."""
    counts = np.bincount(label_map.ravel())
    return label_map == np.argsort(-counts, kind="stable")[rank]


def _uint8(image):
    from oasis_tf.io import images

    return images.to_uint8(image)


if __name__ == "__main__":
    runner.run(main, define_flags)
