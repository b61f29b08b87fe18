"""The signature of a demo's model: a seed and the places of sliders in, pictures as bytes out.

It is answered by a model loaded in the demo's process (`signatures.py`), or by an exported model in
TensorFlow Serving (`application.served`).

    png   seed, amounts, truncation -> image_bytes, and of adapted models source_bytes

`seed` is that of `FewShot.sample`. Each of the `amounts` moves the latent along one direction, the
same for every seed. Both images are of the same latent.
"""

SLIDERS = 6
KINDS = {"png": {"seed": "integer", "amounts": "amounts", "truncation": "share"}}
EXAMPLE = {"seed": 0, "amounts": [0.0] * SLIDERS, "truncation": 1.0}
OUTPUTS = {"image": "image_bytes", "source": "source_bytes"}


def outputs(adapted):
    """The outputs of every signature, for a model that was adapted from a source or not."""
    return {"png": tuple(OUTPUTS.values()) if adapted else ("image_bytes",)}
