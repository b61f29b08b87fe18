"""The signature of a demo's model: two seeds in, pictures as bytes out.

It is answered by a model loaded in the demo's process (`signatures.py`), or by an exported model in
TensorFlow Serving (`application.served`).

    png   seed, other_seed, share -> image_bytes, and of models with masks mask_bytes

The image is that of the latent between those of `seed` (share 0) and `other_seed` (share 1). Seeds
are int64, those of `OneShot.sample`. `mask_bytes` is a grey PNG of ids.
"""

KINDS = {"png": {"seed": "integer", "other_seed": "integer", "share": "share"}}
EXAMPLE = {"seed": 0, "other_seed": 1, "share": 0.0}


def outputs(num_classes):
    """The outputs of every signature, for a model with masks of so many classes, or 0."""
    return {"png": ("image_bytes", "mask_bytes") if num_classes else ("image_bytes",)}
