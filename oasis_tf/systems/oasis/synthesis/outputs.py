"""Files that `synthesize` writes: none is replaced unasked, each records its request.

Every PNG file has a text chunk, `oasis_tf`, with its request as JSON: the model (a digest of its
weights and its step), the inputs (digests), seed and edit. So interrupted work continues with the
missing files, and a file of another request is never taken for one of this request.
"""

import dataclasses
import hashlib
import json
import os

from oasis_tf.io import images

TEXT_KEY = "oasis_tf"


def model_identity(model):
    """What identifies a loaded model: a dict of its step and a digest of its weights."""
    digest = hashlib.sha256()
    networks = (model.generator_ema, model.discriminator, model.encoder_ema)
    for network in (one for one in networks if one is not None):
        for variable in network.variables:
            digest.update(variable.path.encode())
            digest.update(variable.numpy().tobytes())
    return {"weights": digest.hexdigest()[:16], "step": int(model.step.numpy())}


def common_request(model, sizing):
    """The part of a request that all outputs of a model at a `Sizing` share."""
    return {"model": model_identity(model), "sizing": dataclasses.asdict(sizing)}


def check_grid(path):
    """Raises ValueError unless the path of a contact sheet ends in .png; None is no sheet."""
    if path and not os.fspath(path).lower().endswith(".png"):
        raise ValueError(f"The contact sheet must be a .png file. Received: {path}")


def request_digest(requests):
    """SHA-256 of JSON-ready values, hexadecimal."""
    return hashlib.sha256(json.dumps(requests, sort_keys=True).encode()).hexdigest()


class PictureFolder:
    """Writes pictures, or keeps those that an earlier run of the same requests has written.

    Args:
        requests: dict from the path of every PNG file to be written to its request, a JSON-ready
            dict of all that decides its pixels.
        skip_existing: whether files that exist are kept.

    Raises:
        ValueError: a file to be kept that another request has written, or something else has.

    Attributes:
        kept: paths of the files that are kept.
    """

    def __init__(self, requests, skip_existing=False):
        self._texts = {path: json.dumps(r, sort_keys=True) for path, r in requests.items()}
        self.kept = {path for path in requests if skip_existing and os.path.exists(path)}
        for path in self.kept:
            if images.read_texts(path).get(TEXT_KEY) != self._texts[path]:
                raise ValueError(
                    f"{path} was not made by this request (other model, step, input, size, seed or "
                    "edit). Nothing was written. Choose another folder, or replace files with "
                    "--overwrite."
                )

    def text(self, path):
        """The text chunks of a file to be written."""
        return {TEXT_KEY: self._texts[path]}

    def write(self, path, picture):
        """Writes uint8 [H, W, 3], unless it is kept."""
        if path not in self.kept:
            images.write_png(path, picture, self.text(path))
