"""What a TFLite file says about itself: JSON in its `Metadata`, and the same beside it."""

import json

import flatbuffers
import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from oasis_tf import systems

NAME = "oasis_tf"
FORMAT_VERSION = 1
# Runtimes read weights in place, by instructions that want them aligned.
_ALIGNMENT = 16


def describe(model, network, quantize, height, width):
    """What an application must know to use a file.

    Args:
        model: a model with its `config`.
        network: name that the system's ability `tflite` has for it.
        quantize: as for `conversion.convert`.
        height, width: of the one image, or None.

    Returns:
        dict: `format_version`, `system`, `network`, `quantize`, `height`, `width`, and what the
        system says of the network (of OASIS `size_multiple` and `noise_channels`) and of the model
        (of OASIS `dataset`, `step`, `has_unknown`, and `classes` in model-id order, each with `id`,
        `name`, `color` and `raw_id`).
    """
    system = model.config.SYSTEM
    ability = systems.get(system).ability("tflite")
    return {
        "format_version": FORMAT_VERSION,
        "system": system,
        "network": network,
        "quantize": quantize,
        "height": height,
        "width": width,
        **ability.facts(model.config, network),
        **ability.description(model),
    }


def embed(contents, description):
    """The file with a description in its metadata, all constants aligned.

    Args:
        contents: bytes of a TFLite file.
        description: what `json.dumps` takes.

    Returns:
        bytes.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(contents))
    text = np.frombuffer(json.dumps(description).encode(), np.uint8)
    entry = schema.MetadataT()
    entry.name, entry.buffer = NAME, len(model.buffers)
    model.metadata = [*(model.metadata or ()), entry]
    model.buffers = [_AlignedBuffer(data) for data in (*(b.data for b in model.buffers), text)]
    builder = flatbuffers.Builder(len(contents) + len(text) + 2**16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class _AlignedBuffer(schema.BufferT):
    """Constants as they are packed by TensorFlow's own converter; Python's packs them anywhere."""

    def __init__(self, data):
        super().__init__(data)

    def Pack(self, builder):
        vector = None
        if self.data is not None:
            builder.StartVector(1, len(self.data), _ALIGNMENT)
            builder.head = builder.Head() - len(self.data)
            builder.Bytes[builder.Head() : builder.Head() + len(self.data)] = bytes(self.data)
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if vector is not None:
            schema.BufferAddData(builder, vector)
        return schema.BufferEnd(builder)


def read(contents):
    """The description in a file's metadata.

    Args:
        contents: bytes of a TFLite file.

    Raises:
        ValueError: there is none.
    """
    model = schema.Model.GetRootAs(contents)
    entries = (model.Metadata(i) for i in range(model.MetadataLength()))
    for entry in entries:
        if entry.Name() == NAME.encode():
            return json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
    raise ValueError(f"The TFLite file has no metadata named {NAME}: it was not written here.")
