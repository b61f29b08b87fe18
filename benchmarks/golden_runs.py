"""What computes the entries of a recording: our networks, with its weights."""

from benchmarks.golden_files import meta, nhwc, part

IMAGE_LAYOUT = 4  # dimensions of images and maps


class Run:
    """Networks that compute what a recording holds.

    Args:
        recording: the recording.
        dtype: "float32" or "float64".

    Attributes:
        meta: its settings.
    """

    def __init__(self, recording, dtype="float32"):
        self.recording, self.dtype, self.meta = recording, dtype, meta(recording)

    def cast(self, array):
        """An array as a tensor of the dtype."""
        import tensorflow as tf

        return tf.constant(array, self.dtype)

    def input(self, name):
        """A recorded array as a tensor of the dtype, images and maps in our layout."""
        array = self.recording[name]
        return self.cast(nhwc(array) if array.ndim == IMAGE_LAYOUT else array)


class ModelRun(Run):
    """A model that computes what a recording holds, always from its start.

    Args:
        recording, dtype: as of ``Run``.
        build_model: function ``config, dtype=str -> model`` with ``variables()`` and networks.
        config: of the model.
        load: function (network, state dict) that sets a network's weights.
    """

    def __init__(self, recording, dtype, build_model, config, load):
        super().__init__(recording, dtype)
        self.config, self.model = config, build_model(config, dtype=dtype)
        for network, start in (
            ("generator", "G0"),
            ("generator_ema", "G0"),
            ("discriminator", "D0"),
        ):
            load(getattr(self.model, network), part(recording, start))
        self._start = {name: v.numpy() for name, v in self.model.variables().items()}

    def restart(self):
        """Puts the model back to its start."""
        for name, variable in self.model.variables().items():
            variable.assign(self._start[name])
