"""The input files of `synthesize` as arrays at the size of the output."""

from oasis_tf.io import images, label_files

_KEPT_BYTES = 2**28


class InputFiles:
    """Reads the files of scenes. Checks and work share it, so that each file is decoded once.

    Arrays are kept up to 256 MiB; files beyond that are decoded again for the work.

    Args:
        sizing: `Sizing`.
        label_space: `LabelSpace` of the model.
        label_format: see `label_files.read_label_map`.
    """

    def __init__(self, sizing, label_space, label_format="auto"):
        self._sizing, self._space, self._format = sizing, label_space, label_format
        self._kept, self._free, self._sizes = {}, _KEPT_BYTES, {}

    def label_map(self, scene):
        """Model ids [H, W] of the label file of a scene."""
        return self._once(
            *(label_files.read_label_map, scene.label_path, self._space, self._format),
            resize=self._sizing.label_map,
        )

    def photograph(self, scene):
        """The photograph of a scene, uint8 [H, W, 3]."""
        return self._once(images.read_photograph, scene.photo_path, resize=self._sizing.photograph)

    def mask(self, scene):
        """The mask of a scene, bool [H, W]; None if it has none."""
        if scene.mask_path is None:
            return None
        size = self.size(scene)
        return self._once(
            label_files.read_mask, scene.mask_path, size, resize=self._sizing.label_map
        )

    def size(self, scene):
        """(height, width) of the label file, else of the photograph of a scene, before resizing."""
        if scene.label_path is None:
            return self.photograph_size(scene)
        if scene.label_path not in self._sizes:
            self.label_map(scene)
        return self._sizes[scene.label_path]

    def photograph_size(self, scene):
        """(height, width) of the photograph of a scene, before resizing."""
        if scene.photo_path not in self._sizes:
            self.photograph(scene)
        return self._sizes[scene.photo_path]

    def _once(self, read, path, *options, resize):
        """The array that `read(path, *options)` gives, resized."""
        key = read, path, options
        if key not in self._kept:
            array = read(path, *options)
            self._sizes[path], array = array.shape[:2], resize(array)
            if array.nbytes > self._free:
                return array
            self._free -= array.nbytes
            self._kept[key] = array
        return self._kept[key]
