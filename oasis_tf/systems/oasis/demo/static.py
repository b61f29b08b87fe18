"""What the demo's page is made of where no server of this project hands it out."""

from oasis_tf.systems.oasis.demo.contract import facts
from oasis_tf.systems.oasis.demo.examples import from_folder
from oasis_tf.web import pages

__all__ = ["facts", "files", "from_folder", "noise_channels"]

# Files that one way of making predictions alone needs, or pages that generate from seeds.
_OF_MODES = {
    "server": {"uploads.js"},
    "rest": {"rest.js", "predictions.js", "base64.js"},
    "litert": {"litert.js", "litert_worker.js", "philox.js"},
    "seeds": {"generating.js", "generating.css"},
}


def files(mode):
    """The page's files as a list of `importlib.resources` paths.

    Args:
        mode: "rest": predictions come from TensorFlow Serving; "litert": from LiteRT.js.
    """
    others = set().union(*(names for other, names in _OF_MODES.items() if other != mode))
    return [file for file in pages.files(__package__) if file.name not in others]


def noise_channels(config):
    """Channels of the noise that a page can edit pixel by pixel, of a model of this config."""
    return config.model.local_channels
