"""The signatures of a demo's model: pictures as bytes in and out.

They are answered by a model loaded in the demo's process (`signatures.py`), or by an exported model
in TensorFlow Serving (`served.py`). All maps are PNGs of one channel, 8 or 16 bits. Seeds are
int64; a seed's noise vector is the one of `OASIS.generate(label_map, seed)`.

    png           label_map_bytes, seed -> image_bytes
    png_edit      label_map_bytes, noise_index_bytes, seed [K], other_seed [K], share -> image_bytes
                  pixels of noise index k have the noise vector between those of seed[k] (share 0)
                  and other_seed[k] (share 1); K is at most MOST_SEEDS
    png_resample  label_map_bytes, seed, region_bytes, region_seed -> image_bytes
                  the noise of region_seed where region_bytes is not 0
    png_segment   image_bytes -> label_map_bytes
    png_recreate  image_bytes, seed -> image_bytes, label_map_bytes

`PLAIN`, `EDITS` (of models with local noise) and `PHOTOGRAPHS` (of models whose discriminator
segments) are dicts from names to dicts from inputs to kinds, as `rest.parse` reads them. `OUTPUTS`
has the outputs, all of them bytes.
"""

from oasis_tf.web import rest

MOST_SEEDS = rest.MAX_LIST

_MAP = {"label_map_bytes": "bytes"}
PLAIN = {"png": _MAP | {"seed": "integer"}}
EDITS = {
    "png_edit": _MAP
    | {
        "noise_index_bytes": "bytes",
        "seed": "integers",
        "other_seed": "integers",
        "share": "share",
    },
    "png_resample": _MAP | {"seed": "integer", "region_bytes": "bytes", "region_seed": "integer"},
}
PHOTOGRAPHS = {
    "png_segment": {"image_bytes": "bytes"},
    "png_recreate": {"image_bytes": "bytes", "seed": "integer"},
}
OUTPUTS = {
    "png": ("image_bytes",),
    "png_edit": ("image_bytes",),
    "png_resample": ("image_bytes",),
    "png_segment": ("label_map_bytes",),
    "png_recreate": ("image_bytes", "label_map_bytes"),
}


def max_pixels(height, width):
    """Most pixels of a generated image, for the size that a model was trained on."""
    return 4 * height * width


def facts(label_space):
    """The classes for a page, a dict for JSON."""
    return {
        "dataset": label_space.dataset,
        "classes": label_space.classes(),
    }
