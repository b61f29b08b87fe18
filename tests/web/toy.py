"""A model of no system, with inputs of every kind."""


class Toy:
    """Its outputs are its inputs as text, and the first picture backwards."""

    kinds = {
        "png": {"image_bytes": "bytes", "seed": "integer"},
        "mix": {"map_bytes": "bytes", "seed": "integers", "share": "share", "amounts": "amounts"},
        "both": {"image_bytes": "bytes"},
    }
    outputs = {"png": ("text_bytes",), "mix": ("text_bytes",), "both": ("text_bytes", "back_bytes")}
    version = 5

    def __call__(self, name, inputs):
        if inputs.get("seed") == 13:
            raise ValueError("`seed` must not be 13.")
        if inputs.get("seed") == 14:
            raise KeyError("secret")
        outputs = {"text_bytes": repr(sorted(inputs.items())).encode()}
        return outputs | ({"back_bytes": inputs["image_bytes"][::-1]} if name == "both" else {})
