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
        self._kept, self._free = {}, _KEPT_BYTES

    def label_map(self, scene):
        """Model ids [H, W] of the label file of a scene."""
        return self._label(scene)[0]

    def photograph(self, scene):
        """The photograph of a scene, uint8 [H, W, 3]."""
        return self._photograph(scene)[0]

    def mask(self, scene):
        """The mask of a scene, bool [H, W]; None if it has none."""
        if scene.mask_path is None:
            return None
        size = self.size(scene)  # part of the key: a mask for all scenes must fit each of them
        read = lambda path: label_files.read_mask(path, size)  # noqa: E731
        return self._once(("mask", size), scene.mask_path, read, self._sizing.label_map)[0]

    def size(self, scene):
        """(height, width) of the label file, else of the photograph of a scene, before resizing."""
        return (self._label if scene.label_path else self._photograph)(scene)[1]

    def photograph_size(self, scene):
        """(height, width) of the photograph of a scene, before resizing."""
        return self._photograph(scene)[1]

    def _label(self, scene):
        read = lambda path: label_files.read_label_map(path, self._space, self._format)  # noqa: E731
        return self._once("label", scene.label_path, read, self._sizing.label_map)

    def _photograph(self, scene):
        read, resize = images.read_photograph, self._sizing.photograph
        return self._once("photograph", scene.photo_path, read, resize)

    def _once(self, kind, path, read, resize):
        """(array at the size of the output, (height, width) of the file)."""
        if (kind, path) in self._kept:
            return self._kept[kind, path]
        array = read(path)
        found = resize(array), array.shape[:2]
        if found[0].nbytes <= self._free:
            self._free -= found[0].nbytes
            self._kept[kind, path] = found
        return found
